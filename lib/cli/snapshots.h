// Snapshots: what commands that speak of them ask the control API, and how they tell a snapshot
// from a volume.
#pragma once
#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "cli/remote.h"

namespace sp::cli {

// Snapshots to be taken: "VOLUME", or "VOLUME@NAME", which is the name of the snapshot.
Status check_targets(const std::vector<std::string>& targets);
// The request of VolumesGroupSnapshot. `delete_after` 0: they stay.
std::string group_snapshot(const std::vector<std::string>& targets,
                           const std::vector<std::string>& tags,
                           std::chrono::milliseconds delete_after);
// Takes all of them at one moment, and prints their names.
int take_snapshots(Remote& remote, const std::vector<std::string>& targets,
                   const std::vector<std::string>& tags, std::chrono::milliseconds delete_after);
// Goes on after one that fails; the exit code is that of the first.
int delete_snapshots(Remote& remote, const std::vector<std::string>& names,
                     const Confirmation& confirmation);
int roll_back(Remote& remote, const std::string& volume, const std::string& snapshot, bool dry_run);

// Which of these names are snapshots. Those with '@' are; about the others management is asked.
Result<std::set<std::string>> snapshots_among(Remote& remote,
                                              const std::vector<std::string>& names);
// The request of VolumesReassign: `what` is "rw", "ro" or "detach".
std::string reassignment(const std::vector<std::string>& names,
                         const std::set<std::string>& snapshots, ClientId client, const char* what,
                         bool force);

}  // namespace sp::cli
