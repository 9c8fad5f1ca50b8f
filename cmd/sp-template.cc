// sp-template: templates, that is how volumes are kept: copies, placement, limits.
//   sp-template list | show NAME | status | create NAME | update NAME | delete NAME NAME
// Exit codes: sp(7).
#include <fmt/format.h>

#include "cli/remote.h"

using namespace sp;

namespace {

struct Values {
  std::string name, rename, place_all, place_tail, place_head;
  std::optional<uint64_t> copies, min_copies, size, iops, bandwidth;
  cli::Confirmation confirmation;

  std::string call(const char* name_of_call) const {
    return std::string(name_of_call) + "/" + api::path_part(name);
  }
};

void add_policy(cli::Options& verb, Values& v) {
  verb.text("--place-tail", "GROUP", v.place_tail,
            "Placement group of the copy that serves reads (default: --place-all).");
  verb.text("--place-head", "GROUP", v.place_head,
            "Placement group of the first copy (default: --place-all).");
  verb.number("--min-copies", 1, 3, v.min_copies,
              "Fewer copies in sync than this: writes wait (default 2).");
  verb.size("--size", v.size, "Size of volumes made without one.");
  verb.number("--iops", 0, UINT32_MAX, v.iops, "Limit of a volume's operations a second; 0: none.");
  verb.size("--bandwidth", v.bandwidth, "Limit of a volume's bytes a second; 0: none.");
}

std::string policy(const Values& v, bool named) {
  api::Json json;
  json.begin_object();
  if (named) json.put("name", v.name);
  for (const auto& [key, text] : {std::pair{"placeAll", &v.place_all},
                                  {"placeTail", &v.place_tail},
                                  {"placeHead", &v.place_head},
                                  {"rename", &v.rename}}) {
    if (!text->empty()) json.put(key, *text);
  }
  for (const auto& [key, number] :
       {std::pair{"replication", &v.copies}, {"minCopies", &v.min_copies}, {"size", &v.size}}) {
    if (*number) json.put_number(key, **number);
  }
  cli::put_limit(json, "iops", v.iops);
  cli::put_limit(json, "bw", v.bandwidth);
  return json.end_object().take();
}

}  // namespace

int main(int argc, char** argv) {
  Values v;
  cli::Options options("sp-template", "Templates: how volumes are kept.");
  cli::Remote remote(options);
  const auto verb = [&](const char* name, const char* help) -> cli::Options& {
    return options.verb(name, help).argument("NAME", v.name, "Name of the template.");
  };
  options.verb("list", "All templates.").run([&] {
    return remote.list("VolumeTemplatesList", cli::columns::templates);
  });
  options.verb("status", "Volumes and space by template.").run([&] {
    return remote.list("VolumeTemplatesStatus", cli::columns::template_status);
  });
  verb("show", "One template.").run([&] {
    return remote.show(v.call("VolumeTemplateDescribe"), cli::columns::templates);
  });

  auto& creating = verb("create", "Create a template.");
  creating.text("--place-all", "GROUP", v.place_all, "Placement group of the copies.").required();
  creating.number("--copies", 1, 3, v.copies, "Copies of each block (default 3).");
  add_policy(creating, v);
  creating.run([&] {
    return remote.change("VolumeTemplateCreate", policy(v, true),
                         fmt::format("template {} created", v.name));
  });
  auto& updating = verb("update", "Change a template; placement of its volumes follows.");
  updating.text("--place-all", "GROUP", v.place_all, "Placement group of the copies.");
  updating.text("--rename", "NEW", v.rename, "New name.");
  add_policy(updating, v);
  updating.run([&] {
    return remote.change(v.call("VolumeTemplateUpdate"), policy(v, false),
                         fmt::format("template {} updated", v.name));
  });
  auto& deleting = verb("delete", "Delete a template that no volume uses.");
  v.confirmation.add(deleting, v.name);
  deleting.run([&] {
    return remote.destroy(v.confirmation, v.call("VolumeTemplateDescribe"),
                          v.call("VolumeTemplateDelete"),
                          fmt::format("template {} deleted", v.name));
  });
  return options.execute(argc, argv);
}
