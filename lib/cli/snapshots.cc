#include "cli/snapshots.h"

#include <fmt/format.h>

#include "cli/exit_code.h"

namespace sp::cli {

namespace {

std::string call_of(const char* call, const std::string& name) {
  return std::string(call) + "/" + api::path_part(name);
}

// Into a list of what VolumesGroupSnapshot takes. A name of a snapshot does not begin with what
// ids ('~') and some names ('#') of volumes begin with.
void put_target(api::Json& json, const std::string& target) {
  const size_t at = target.find('@');
  json.begin_object().put("volume", target.substr(0, at));
  const bool marked = target.starts_with('~') || target.starts_with('#');
  if (at != std::string::npos) json.put("name", target.substr(marked ? 1 : 0));
  json.end_object();
}

}  // namespace

Status check_targets(const std::vector<std::string>& targets) {
  for (const auto& target : targets) {
    const size_t at = target.find('@');
    if (at == 0 || at == target.size() - 1)
      return Error(
          Code::invalid,
          fmt::format("'{}': write VOLUME@NAME, or VOLUME alone for a name that is made", target));
  }
  return {};
}

std::string group_snapshot(const std::vector<std::string>& targets,
                           const std::vector<std::string>& tags,
                           std::chrono::milliseconds delete_after) {
  api::Json json;
  json.begin_object().key("volumes").begin_array();
  for (const auto& target : targets) put_target(json, target);
  json.end_array();
  if (!tags.empty()) (void)put_tags(json.key("tags"), tags);  // checked before
  if (delete_after.count() > 0)
    json.put_number("deleteAfter", static_cast<uint64_t>(delete_after.count() + 999) / 1000);
  return json.end_object().take();
}

int take_snapshots(Remote& remote, const std::vector<std::string>& targets,
                   const std::vector<std::string>& tags, std::chrono::milliseconds delete_after) {
  const auto data =
      remote.post("VolumesGroupSnapshot", group_snapshot(targets, tags, delete_after));
  return data.ok() ? remote.print((*data)["snapshots"], columns::snapshots_taken)
                   : remote.failed(data.error());
}

int delete_snapshots(Remote& remote, const std::vector<std::string>& names,
                     const Confirmation& confirmation) {
  int code = exit_done;
  for (const auto& name : names) {
    const int one =
        remote.destroy(confirmation, call_of("Snapshot", name), call_of("SnapshotDelete", name),
                       fmt::format("snapshot {} deleted", name));
    if (code == exit_done) code = one;
  }
  return code;
}

int roll_back(Remote& remote, const std::string& volume, const std::string& snapshot,
              bool dry_run) {
  const std::string what = fmt::format("volume {} is as in snapshot {}", volume, snapshot);
  if (!dry_run)
    return remote.change_text(call_of("VolumeRevert", volume), "toSnapshot", snapshot, what);
  // Both are looked up, so that a wrong name shows before it counts.
  const auto there = remote.get(call_of("Volume", volume));
  if (!there.ok()) return remote.failed(there.error());
  return remote.destroy({.dry_run = true}, call_of("Snapshot", snapshot), "", what);
}

Result<std::set<std::string>> snapshots_among(Remote& remote,
                                              const std::vector<std::string>& names) {
  std::set<std::string> snapshots;
  for (const auto& name : names) {
    if (name.find('@') == std::string::npos) {
      const auto found = remote.get(call_of("Snapshot", name));
      const bool is_none = !found.ok() && (found.error().code() == Code::not_found ||
                                           found.error().code() == Code::invalid);
      if (is_none) continue;
      if (!found.ok()) return found.error();
    }
    snapshots.insert(name);
  }
  return snapshots;
}

std::string reassignment(const std::vector<std::string>& names,
                         const std::set<std::string>& snapshots, ClientId client, const char* what,
                         bool force) {
  api::Json json;
  json.begin_array();
  for (const auto& name : names) {
    json.begin_object()
        .put(snapshots.count(name) != 0 ? "snapshot" : "volume", name)
        .put_boolean("force", force)
        .put_numbers(what, std::vector<ClientId>{client})
        .end_object();
  }
  return json.end_array().take();
}

}  // namespace sp::cli
