// sp-snap: takes, lists, changes and deletes snapshots, makes volumes of them and takes volumes
// back to them, through the control API.
//   sp-snap create VOLUME[@NAME]... | list [VOLUME] | show SNAPSHOT | delete SNAPSHOT... |
//           rename OLD NEW | tag SNAPSHOT NAME=VALUE... | rollback VOLUME SNAPSHOT |
//           clone SNAPSHOT VOLUME
// Exit codes: sp(7); 4 when a snapshot could not be taken now, and 6 when it is not known whether
// it was.
#include <fmt/format.h>

#include "cli/snapshots.h"
#include "cli/volume_options.h"

using namespace sp;

namespace {

struct Values {
  std::string name, name_new, volume;
  std::vector<std::string> names, tags;
  std::chrono::milliseconds delete_after{0};
  std::optional<uint64_t> size;
  cli::VolumeOptions options;
  cli::Confirmation confirmation;

  std::string call(const char* name_of_call) const {
    return std::string(name_of_call) + "/" + api::path_part(name);
  }
};

void add_confirmation(cli::Options& verb, Values& v, const char* what) {
  verb.flag("--yes", v.confirmation.yes, "It is meant.");
  verb.flag("--dry-run", v.confirmation.dry_run, "Only say what would be done.");
  verb.check([&v, what]() -> Status {
    if (v.confirmation.yes || v.confirmation.dry_run) return {};
    return Error(Code::invalid, fmt::format("{}: give --yes, or --dry-run to look first", what));
  });
}

int list(cli::Remote& remote, const Values& v) {
  return remote.list(
      v.volume.empty() ? "SnapshotsList" : "VolumeListSnapshots/" + api::path_part(v.volume),
      cli::columns::snapshots);
}

int tag(cli::Remote& remote, const Values& v) {
  api::Json json;
  (void)cli::put_tags(json.begin_object().key("tags"), v.tags);  // checked before
  return remote.change(v.call("SnapshotUpdate"), json.end_object().take(),
                       fmt::format("snapshot {} tagged", v.name));
}

int clone(cli::Remote& remote, const Values& v) {
  api::Json json;
  json.begin_object().put("name", v.name_new).put("parent", v.name);
  if (v.size) json.put_number("size", *v.size);
  v.options.put(json);
  return remote.change("VolumeCreate", json.end_object().take(),
                       fmt::format("volume {} created of snapshot {}", v.name_new, v.name));
}

}  // namespace

int main(int argc, char** argv) {
  Values v;
  cli::Options options("sp-snap", "Snapshots of volumes.");
  cli::Remote remote(options);
  const auto verb = [&](const char* name, const char* help) -> cli::Options& {
    return options.verb(name, help).argument("SNAPSHOT", v.name, "Name of the snapshot, or ~ID.");
  };
  auto& creating = options.verb("create", "Take snapshots, all at one moment.");
  creating.arguments("VOLUME[@NAME]", v.names,
                     "Volumes; with @NAME the snapshot is called so, else a name is made.");
  creating.list("--tag", "NAME=VALUE", v.tags, "Tag; may be repeated.");
  creating.duration("--delete-after", v.delete_after, "Delete them by themselves after so long.");
  creating.check([&] { return cli::check_targets(v.names); });
  creating.check([&] { return cli::check_tags(v.tags); });
  creating.run([&] { return cli::take_snapshots(remote, v.names, v.tags, v.delete_after); });
  options.verb("list", "All snapshots, or those of one volume.")
      .optional_argument("VOLUME", v.volume, "Name of the volume, or ~ID.")
      .run([&] { return list(remote, v); });
  verb("show", "One snapshot.").run([&] {
    return remote.show(v.call("Snapshot"), cli::columns::snapshot);
  });
  auto& deleting = options.verb("delete", "Delete snapshots; volumes made of them stay.");
  deleting.arguments("SNAPSHOT", v.names, "Names of snapshots, or ~ID.");
  add_confirmation(deleting, v, "what only a deleted snapshot holds is lost");
  deleting.run([&] { return cli::delete_snapshots(remote, v.names, v.confirmation); });
  verb("rename", "Give a snapshot another name.").argument("NEW", v.name_new, "New name.").run([&] {
    return remote.change_text(v.call("SnapshotUpdate"), "rename", v.name_new,
                              fmt::format("snapshot {} is now {}", v.name, v.name_new));
  });
  auto& tagging = verb("tag", "Change tags.");
  tagging.arguments("NAME=VALUE", v.tags, "Tags; an empty value removes one.");
  tagging.check([&] { return cli::check_tags(v.tags); }).run([&] { return tag(remote, v); });
  auto& rolling = options.verb("rollback", "Take a detached volume back to a snapshot.");
  rolling.argument("VOLUME", v.volume, "Name of the volume, or ~ID.");
  rolling.argument("SNAPSHOT", v.name, "Name of the snapshot, or ~ID.");
  add_confirmation(rolling, v, "what was written to the volume since is lost");
  rolling.run([&] { return cli::roll_back(remote, v.volume, v.name, v.confirmation.dry_run); });
  auto& cloning =
      verb("clone", "Make a volume of a snapshot.").argument("VOLUME", v.name_new, "Its name.");
  cloning.size("--size", v.size, "Size, like 10G, not below the snapshot's, which is the default.");
  v.options.add(cloning);
  cloning.run([&] { return clone(remote, v); });
  return options.execute(argc, argv);
}
