// sp-placement: placement groups, that is named sets of disks.
//   sp-placement list | show GROUP | add GROUP DISK... | remove GROUP DISK... | rename GROUP NEW |
//   delete GROUP GROUP
// Exit codes: sp(7).
#include <fmt/format.h>

#include "base/limits.h"
#include "base/units.h"
#include "cli/remote.h"

using namespace sp;

namespace {

struct Values {
  std::string group, rename;
  std::vector<std::string> disks;
  cli::Confirmation confirmation;

  std::string call(const char* name_of_call) const {
    return std::string(name_of_call) + "/" + api::path_part(group);
  }
};

Status check_disks(const Values& v) {
  for (const auto& disk : v.disks) {
    if (auto number = parse_number(disk, limits::disks_max - 1); !number.ok())
      return std::move(number).error().with("DISK");
  }
  return {};
}

int change_disks(cli::Remote& remote, const Values& v, const char* member) {
  api::Json json;
  json.begin_object().key(member).begin_array();
  for (const auto& disk : v.disks)
    json.number(static_cast<int64_t>(*parse_number(disk, limits::disks_max - 1)));
  return remote.change(v.call("PlacementGroupUpdate"), json.end_array().end_object().take(),
                       fmt::format("placement group {} changed", v.group));
}

}  // namespace

int main(int argc, char** argv) {
  Values v;
  cli::Options options("sp-placement", "Placement groups: named sets of disks.");
  cli::Remote remote(options);
  const auto verb = [&](const char* name, const char* help) -> cli::Options& {
    return options.verb(name, help).argument("GROUP", v.group, "Name of the placement group.");
  };
  options.verb("list", "All placement groups.").run([&] {
    return remote.list("PlacementGroupsList", cli::columns::placement_groups);
  });
  verb("show", "One placement group.").run([&] {
    return remote.show(v.call("PlacementGroupDescribe"), cli::columns::placement_groups);
  });
  auto& adding = verb("add", "Add disks; makes the group when there is none.")
                     .arguments("DISK", v.disks, "Numbers of disks.");
  adding.check([&] { return check_disks(v); }).run([&] {
    return change_disks(remote, v, "addDisks");
  });
  auto& removing = verb("remove", "Take disks out; their data moves to the others.")
                       .arguments("DISK", v.disks, "Numbers of disks.");
  removing.check([&] { return check_disks(v); }).run([&] {
    return change_disks(remote, v, "rmDisks");
  });
  auto& renaming =
      verb("rename", "Give a group another name.").argument("NEW", v.rename, "New name.");
  renaming.run([&] {
    return remote.change_text(v.call("PlacementGroupUpdate"), "rename", v.rename,
                              fmt::format("placement group {} is now {}", v.group, v.rename));
  });
  auto& deleting = verb("delete", "Delete a group that no template uses.");
  v.confirmation.add(deleting, v.group);
  deleting.run([&] {
    return remote.destroy(v.confirmation, v.call("PlacementGroupDescribe"),
                          v.call("PlacementGroupDelete"),
                          fmt::format("placement group {} deleted", v.group));
  });
  return options.execute(argc, argv);
}
