// Applying commands to a Draft: one function per command, grouped by subject in apply_*.cc. A
// refusal may leave the draft half changed: the caller rolls it back.
#pragma once
#include <map>
#include <set>
#include <string>

#include "base/result.h"
#include "map/command.h"
#include "state/draft.h"

namespace sp::state {

Status apply(Draft& draft, const map::Command& command);

#define SP_APPLY(COMMAND) Status apply_one(Draft& draft, const map::COMMAND& command)
SP_APPLY(InitCluster);
SP_APPLY(PutNode);
SP_APPLY(AddNode);
SP_APPLY(RemoveNode);
SP_APPLY(SetNodeVoting);
SP_APPLY(RaiseFeatureLevel);
SP_APPLY(NodeUp);
SP_APPLY(NodeDown);
SP_APPLY(ServiceUp);
SP_APPLY(ServiceDown);
SP_APPLY(DiskFailed);
SP_APPLY(DiskReturned);
SP_APPLY(DescribeDisk);
SP_APPLY(ForgetDisk);
SP_APPLY(SetActivated);
SP_APPLY(SetPromote);
SP_APPLY(SetEvict);
SP_APPLY(UpdatePlacementGroup);
SP_APPLY(DeletePlacementGroup);
SP_APPLY(PutTemplate);
SP_APPLY(ChangeTemplate);
SP_APPLY(DeleteTemplate);
SP_APPLY(CreateVolume);
SP_APPLY(UpdateVolume);
SP_APPLY(DeleteVolume);
SP_APPLY(OpenCut);
SP_APPLY(CloseCut);
SP_APPLY(CloneVolume);
SP_APPLY(RevertVolume);
SP_APPLY(UpdateSnapshot);
SP_APPLY(Reassign);
SP_APPLY(AttachmentReady);
SP_APPLY(AttachmentGone);
SP_APPLY(CreateBucket);
SP_APPLY(DeleteBucket);
SP_APPLY(SetBucket);
#undef SP_APPLY

// shared by the groups
// Names as the control API has them: letters, digits and _ - in all; `dotted` ones also . : and a #
// in front; those of snapshots . : @ and a * in front.
enum class NameStyle : uint8_t { plain, dotted, snapshot };
Status check_name(std::string_view what, std::string_view name, NameStyle style);
// A volume or snapshot, for messages.
std::string volume_text(const Draft& draft, const map::Volume& volume);
Error no_volume(VolumeId id);
Error no_template(const std::string& name);
Status check_new_name(const Draft& draft, const std::string& who, const std::string& name,
                      NameStyle style = NameStyle::dotted);
// Nobody has it, but those whose process is gone: they lose it.
Status check_detached(Draft& draft, const std::string& who, VolumeId volume);
Result<VolumeId> new_volume_id(Draft& draft, const std::string& who);
Status check_size(std::string_view what, uint64_t size_bytes);
Status check_tags(const std::map<std::string, std::string>& tags);

std::string text(ServiceId id);  // "server 3.2"
Error no_node(NodeId id);        // the cluster has no such node
std::string text(SetId id);      // "disk set 4.17"

// The disks' rows are marked already; tells the sets.
void disks_went_down(Draft& draft, const std::set<DiskId>& disks);
// Attachments of the volume by clients that attached for themselves (base/client_id.h) and whose
// process is gone.
void drop_abandoned(Draft& draft, VolumeId volume);
void disks_came_up(Draft& draft, const std::set<DiskId>& disks);
// Another, empty disk has come under this id, which is down: no set counts it as complete any more.
// Sets whose only complete copy the old one held keep it, and so do all others: the text names
// them, and is empty when there are none.
std::string replace_disk(Draft& draft, DiskId disk);
// Computes the placement of the group anew and retargets the sets that it changes; makes the sets
// of a new group.
void place_group(Draft& draft, GroupId group);
void place_groups_of(Draft& draft, const std::set<std::string>& placement_groups);
void place_all_groups(Draft& draft);
// The placement groups that the template names.
std::set<std::string> placement_groups_of(const map::Template& row);

}  // namespace sp::state
