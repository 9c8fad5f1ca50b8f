// sp-volume: lists, creates, changes and deletes volumes, through the control API.
//   sp-volume list | show NAME | status [NAME] | info NAME | create NAME | resize NAME SIZE |
//   rename NAME NEW |
//             update NAME | delete NAME NAME
// Exit codes: sp(7). A change is reported as done when every server has it in force.
#include <fmt/format.h>

#include "cli/volume_options.h"

using namespace sp;

namespace {

struct Values {
  std::string name, name_new, template_name, snapshot, size_text;
  std::optional<uint64_t> size;
  cli::VolumeOptions options;
  bool shrink_ok = false;
  cli::Confirmation confirmation;

  std::string call(const char* name_of_call) const {
    return std::string(name_of_call) + "/" + api::path_part(name);
  }
};

int create(cli::Remote& remote, const Values& v) {
  api::Json json;
  json.begin_object().put("name", v.name);
  if (!v.template_name.empty()) json.put("template", v.template_name);
  if (!v.snapshot.empty()) json.put("parent", v.snapshot);
  if (v.size) json.put_number("size", *v.size);
  v.options.put(json);
  return remote.change("VolumeCreate", json.end_object().take(),
                       fmt::format("volume {} created", v.name));
}

int update(cli::Remote& remote, const Values& v) {
  api::Json json;
  v.options.put(json.begin_object());
  return remote.change(v.call("VolumeUpdate"), json.end_object().take(),
                       fmt::format("volume {} updated", v.name));
}

int resize(cli::Remote& remote, const Values& v) {
  const auto change = cli::parse_size_change(v.size_text);  // checked before
  api::Json json;
  json.begin_object().put_number(change->relative ? "sizeAdd" : "size", change->bytes);
  json.put_boolean("shrinkOk", v.shrink_ok).end_object();
  return remote.change(v.call("VolumeUpdate"), json.take(),
                       fmt::format("volume {} resized", v.name));
}

}  // namespace

int main(int argc, char** argv) {
  Values v;
  cli::Options options("sp-volume", "List, create, change and delete volumes.");
  cli::Remote remote(options);
  const auto verb = [&](const char* name, const char* help) -> cli::Options& {
    return options.verb(name, help).argument("NAME", v.name, "Name of the volume, or ~ID.");
  };
  options.verb("list", "All volumes.").run([&] {
    return remote.list("VolumesList", cli::columns::volumes);
  });
  verb("show", "One volume.").run([&] {
    return remote.show(v.call("Volume"), cli::columns::volume);
  });
  auto& status = options.verb("status", "Whether volumes can be used, and are whole.");
  status.optional_argument("NAME", v.name, "Only this one.");
  status.run([&] {
    return remote.list_named("VolumesGetStatusQuick", cli::columns::volume_status, v.name);
  });
  auto& info = verb("info", "Which disks hold a volume.");
  info.run([&] {
    return remote.list_inside(v.call("VolumeGetInfo"), "objectsPerChain", cli::columns::chains);
  });

  auto& creating = verb("create", "Create a volume.");
  creating.text("--template", "NAME", v.template_name, "Template: how its data is kept.");
  creating.text("--snapshot", "NAME", v.snapshot, "Make it of this snapshot, and as that is kept.");
  creating.size("--size", v.size, "Size, like 10G (default: the template's or snapshot's).");
  v.options.add(creating);
  creating.check([&]() -> Status {
    if (!v.template_name.empty() || !v.snapshot.empty()) return {};
    return Error(Code::invalid, "give --template, or --snapshot to make it of one");
  });
  creating.run([&] { return create(remote, v); });
  auto& resizing = verb("resize", "Change a volume's size.");
  resizing.argument("SIZE", v.size_text, "New size, or +SIZE to grow by.").check([&] {
    return cli::checked(cli::parse_size_change(v.size_text));
  });
  resizing.flag("--shrink-ok", v.shrink_ok, "Let it shrink: what is beyond the new end is lost.");
  resizing.run([&] { return resize(remote, v); });
  auto& renaming =
      verb("rename", "Give a volume another name.").argument("NEW", v.name_new, "New name.");
  renaming.run([&] {
    return remote.change_text(v.call("VolumeUpdate"), "rename", v.name_new,
                              fmt::format("volume {} is now {}", v.name, v.name_new));
  });
  auto& updating = verb("update", "Change limits and tags.");
  v.options.add(updating);
  updating.run([&] { return update(remote, v); });
  auto& deleting = verb("delete", "Delete a volume and all of its data.");
  v.confirmation.add(deleting, v.name);
  deleting.run([&] {
    return remote.destroy(v.confirmation, v.call("Volume"), v.call("VolumeDelete"),
                          fmt::format("volume {} deleted", v.name));
  });
  return options.execute(argc, argv);
}
