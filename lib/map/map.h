// Map: the agreed configuration of the cluster as every service knows it: a value, versioned by
// `index` (the number of the last agreed command in it). Beacons make it (module state) and send it
// to services whole once, then as changes. Pure data: no clock, no I/O, no pointers between rows.
// All containers are ordered, so that equal maps are equal bytes everywhere. Each row type has a
// key, `encode(Writer&)` and `decode(Reader&)` (map/codec.cc), used for the wire, for snapshots and
// for content hashes.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/limits.h"
#include "map/lineage.h"
#include "map/removed_node.h"
#include "map/template.h"

namespace sp::map {

struct Cluster {
  ClusterId id = 0;
  std::string name;
  uint32_t feature_level = 1;  // what came with a higher one is not used before it is agreed
  // To be raised when a cluster is rebuilt from its disks, so that the old one is fenced:
  // handshakes refuse another incarnation. Nothing raises it yet, so it is 1 everywhere, and
  // nothing but the handshake and the status looks at it.
  uint32_t incarnation = 1;
  VolumeId volume_last = 0;  // newest id given out; ids are never reused
  GroupId group_last = 0;
  uint32_t generation_last = 0;  // newest attachment generation given out
  std::optional<ServiceId> active_mgmt;
};

struct Node {
  NodeId id = 0;
  std::string name;
  std::string fault_set;  // empty: the node is its own fault set
  bool voting = true;
  bool up = false;
  std::string address;  // of its beacon
};

struct Service {
  ServiceId id;
  bool up = false;
  uint64_t start_id =
      0;  // drawn by the process at its start: tells a restarted service from the same one
  std::string address;  // where it listens; empty for clients
  std::string version;
  int64_t started_ms = 0;
};

struct Disk {
  DiskId id = 0;
  ServiceId server;  // where it was seen last
  bool up = false;
  std::string failure;  // why the server retired it; empty while healthy
  uint64_t uuid = 0;
  uint64_t capacity_bytes = 0;  // for user data; also its weight in placement
  std::string device, model, serial, description;
  bool solid_state = true;
};

struct AllocationGroup {
  GroupId id = 0;
  std::string template_name;
  uint32_t set_count = 0;  // power of two; never changes
  uint8_t copies = 3;
  uint8_t min_copies = 2;
  std::string warning;  // degraded placement: why; empty when all is well
};

// One disk set. `epoch` changes with `acting` and with every need of a new activation; `revision`
// with every change of the row.
struct DiskSet {
  SetId id;
  uint32_t epoch = 1;
  uint64_t revision = 1;
  bool activated = false;  // the primary of this epoch has made the copies agree: it serves
  std::vector<DiskId>
      acting;  // complete copies that every write has to reach; acting[0] is the primary
  std::vector<DiskId>
      recovering;              // get new writes at once, are brought up to date, do not count yet
  std::vector<DiskId> base;    // those that hold everything decided: the last acting set activated
                               // with min_copies members, and who was promoted since
  std::vector<DiskId> target;  // where placement wants the copies, primary first
};

struct Volume {
  VolumeId id = 0;
  std::string name;
  uint64_t size_bytes = 0;
  uint64_t end() const;  // in bytes, of its last block
  std::string template_name;
  GroupId group = 0;
  VolumeId root = 0;  // the volume whose id places the objects: itself, or the root of its clones
  int64_t created_ms = 0;
  Limits limits;
  std::map<std::string, std::string> tags;
};

enum class Rights : uint8_t { read_only = 1, read_write = 2 };
enum class AttachmentState : uint8_t { requested = 1, ready = 2, detaching = 3 };

struct Attachment {
  VolumeId volume = 0;
  ClientId client = 0;
  Rights rights = Rights::read_write;
  AttachmentState state = AttachmentState::requested;
  uint32_t generation = 0;  // requests that carry another one are refused (fencing)
  uint16_t position = 0;    // 0..1023 on its client
  std::string device;       // path on the client once it is ready
};

struct KeyValueBucket {
  std::string name;
  uint64_t version = 0;
  std::map<std::string, std::string> pairs;
};

struct Map {
  uint64_t index = 0;
  Cluster cluster;
  std::map<NodeId, Node> nodes;
  std::map<ServiceId, Service> services;
  std::map<DiskId, Disk> disks;
  std::map<std::string, PlacementGroup> placement_groups;
  std::map<std::string, Template> templates;
  std::map<GroupId, AllocationGroup> groups;
  std::map<SetId, DiskSet> sets;
  std::map<VolumeId, Volume> volumes;
  std::map<std::pair<VolumeId, ClientId>, Attachment> attachments;
  std::map<std::string, KeyValueBucket> buckets;
  std::map<NodeId, RemovedNode> removed_nodes;
  std::map<VolumeId, Layer> layers;
  std::map<VolumeId, Lineage> lineages;  // by volume or snapshot
  std::map<VolumeId, Cut> cuts;

  const Volume* find_volume(std::string_view name) const;  // by name, or "~ID"
  const Service* server_of(DiskId disk) const;             // nullptr when unknown
  bool disk_serves(DiskId disk) const;                     // disk and its server are up
  const Attachment* attachment(VolumeId volume, ClientId client) const;
  // What servers keep under this id is nobody's any more: it is no layer, nor the holes of one. Not
  // because this map is behind: ids are never used again.
  bool is_deleted(VolumeId layer) const;
};

// Where an object lives. Pure arithmetic, no table per object.
SetId set_of(const Map& map, const Volume& volume, uint32_t object_index);

enum class Table : uint8_t {
  cluster = 1,
  node,
  service,
  disk,
  placement_group,
  template_,
  group,
  set,
  volume,
  attachment,
  bucket,
  removed_node,
  layer,
  lineage,
  cut,
};

// One row that changed: its encoded form, or none when it was removed. `key` is the encoded key.
struct Change {
  Table table = Table::cluster;
  std::vector<std::byte> key;
  std::optional<std::vector<std::byte>> row;
};

// Map codec. decode fails (nullopt / false) on anything malformed and bounds every count before it
// allocates.
std::vector<std::byte> encode(const Map& map, bool with_buckets);
std::optional<Map> decode_map(Bytes bytes);
void encode(Writer& writer, const Change& change);
std::optional<Change> decode_change(Reader& reader);
bool apply(Map& map, const Change& change);  // does not touch index
std::vector<Change> rows(const Map& map);    // every row as a change, in order of table and key
uint64_t row_hash(const Change& change);  // of table, key and row; the content hash of a map is the
                                          // wrapping sum over its rows

}  // namespace sp::map
