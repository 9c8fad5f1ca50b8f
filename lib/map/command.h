// Commands: what can be agreed on. A command is encoded, goes through the Raft log, and is applied
// on every node in the same order; applying is a pure function of state and command (times and
// random ids are in the command, put there by whoever proposes it). A command that is refused
// changes nothing but the index and answers with an Error of the Code named here.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "map/map.h"
#include "map/snapshot_commands.h"

namespace sp::map {

// membership
struct InitCluster {
  ClusterId id = 0;
  std::string name;
};  // first command of a new cluster; exists when repeated
struct PutNode {
  Node node;
};  // from sp.toml; `up` is ignored. From feature level 2 on `voting` counts for a new node only,
    // and a node that was removed stays out: refused
struct NodeUp {
  NodeId node = 0;
};
struct NodeDown {
  NodeId node = 0;
};  // and all its services and disks
struct AddNode {
  Node node;
};  // by an administrator: as PutNode, for a new node or one that was removed; exists otherwise
struct RemoveNode {
  NodeId node = 0;
};  // with its services and with disks that are in no set and no placement group. Refused while
    // other disks of it are known, it holds attachments, or it is the last that votes
struct SetNodeVoting {
  NodeId node = 0;
  bool voting = true;
};  // refused for the last one that votes
struct RaiseFeatureLevel {
  uint32_t level = 0;
};  // exists when it is as high; never lowered: refused
struct ServiceUp {
  Service service;
  std::vector<Disk> disks;
};  // servers: exactly the disks that they hold now
struct ServiceDown {
  ServiceId service;
  uint64_t start_id = 0;
};  // ignored when another start_id is up
struct DiskFailed {
  DiskId disk = 0;
  uint64_t start_id = 0;
  std::string why;
};
struct DiskReturned {
  Disk disk;
  uint64_t start_id = 0;
};  // opened later by a running server
struct DescribeDisk {
  DiskId disk = 0;
  std::string description;
};
struct ForgetDisk {
  DiskId disk = 0;
};  // refused while up or the only complete copy of a set

// sets
struct SetActivated {
  SetId set;
  uint32_t epoch = 0;
};  // stale when the epoch moved
struct SetPromote {
  SetId set;
  uint64_t revision = 0;
  DiskId disk = 0;
};  // stale when the row changed in any way since
struct SetEvict {
  SetId set;
  uint32_t epoch = 0;
  DiskId disk = 0;
  bool lost = false;  // it lacks what it acknowledged: it is out of base as well, however few act
};

// configuration
struct UpdatePlacementGroup {
  std::string name;
  std::optional<std::string> rename;
  std::vector<DiskId> add, remove;
};  // creates too
struct DeletePlacementGroup {
  std::string name;
};  // refused while a template uses it
struct PutTemplate {
  Template row;
  uint32_t set_count = 0;
  bool create = true;
  std::string name_before;
};  // set_count 0: chosen by the number of disks
struct ChangeTemplate {
  Template read, row;
};  // stale when it is not what was read any more; from feature level 2 on, before it PutTemplate
struct DeleteTemplate {
  std::string name;
};  // refused while volumes use it
struct CreateVolume {
  std::string name;
  uint64_t size_bytes = 0;
  std::string template_name;
  Limits limits;
  std::map<std::string, std::string> tags;
  int64_t created_ms = 0;
};
struct UpdateVolume {
  VolumeId volume = 0;
  std::optional<std::string> rename;
  std::optional<uint64_t> size_bytes;
  bool shrink_ok = false;  // a smaller size without it: refused
  std::optional<Limits> limits;
  std::map<std::string, std::string> tags;  // an empty value removes the tag
};
struct DeleteVolume {
  VolumeId volume = 0;
};  // or snapshot; refused while attached, and while a snapshot of it is being taken

// attachments
struct Reassignment {
  VolumeId volume = 0;
  std::vector<ClientId> read_write, read_only;
  std::vector<ClientId> detach;
  bool detach_all = false;
};
// All or none. Attaching read-write while another client has it read-write is refused unless
// `force` or that client is detached in the same command. A plain detach sets `detaching` (the
// client confirms by AttachmentGone); with `force` the row goes at once: that fences. A forced
// attach raises the generation of everything about the volume and removes other clients' read-write
// rows.
struct Reassign {
  std::vector<Reassignment> volumes;
  bool force = false;
};
struct AttachmentReady {
  VolumeId volume = 0;
  ClientId client = 0;
  uint32_t generation = 0;
  std::string device;
};
struct AttachmentGone {
  VolumeId volume = 0;
  ClientId client = 0;
  uint32_t generation = 0;
};

// key-value store
struct CreateBucket {
  std::string name;
};
struct DeleteBucket {
  std::string name;
};
struct SetBucket {
  std::string name;
  std::optional<uint64_t> run_if_version_is;
  std::map<std::string, std::string> set;
};  // an empty value deletes; stale on version mismatch

using Command =
    std::variant<InitCluster, PutNode, NodeUp, NodeDown, ServiceUp, ServiceDown, DiskFailed,
                 DiskReturned, DescribeDisk, ForgetDisk, SetActivated, SetPromote, SetEvict,
                 UpdatePlacementGroup, DeletePlacementGroup, PutTemplate, DeleteTemplate,
                 CreateVolume, UpdateVolume, DeleteVolume, Reassign, AttachmentReady,
                 AttachmentGone, CreateBucket, DeleteBucket, SetBucket, AddNode, RemoveNode,
                 SetNodeVoting, RaiseFeatureLevel, ChangeTemplate, OpenCut, CloseCut, CloneVolume,
                 RevertVolume, UpdateSnapshot>;

// A version byte, the alternative's fixed number (not the position in the variant), then its
// fields.
std::vector<std::byte> encode(const Command& command);
std::optional<Command> decode(Bytes bytes);
std::string_view name(const Command& command);
// The feature level that a process has to support to apply this command.
uint32_t feature_level_of(const Command& command);
// Of an encoded map, also when a newer version has made it; 0: not to be found out.
uint32_t feature_level_of(Bytes map);

}  // namespace sp::map
