// ClusterSetup: the shape of a simulated cluster, its work and its world, as drawn by a run or
// chosen by a test. Plain values.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "base/versions.h"
#include "io/sim_options.h"
#include "sim/tuning.h"
#include "sim/workload.h"

namespace sp::sim {

// What works on the volumes: Workload, JournalLoad, DatabaseLoad, or one of these for each.
enum class LoadChoice : uint8_t { stamps, journal, database, mixed };

struct ClusterSetup {
  uint32_t storage_nodes = 3;
  bool witness = false;
  uint32_t management = 1;  // services, on the first nodes
  uint32_t client_nodes = 2;
  bool clients_on_storage = false;  // there are no client nodes: the first so many storage nodes
  uint32_t spare_nodes = 0;         // storage nodes that may join
  uint64_t older = 0;  // bit id - 1: the processes of this node begin with older_version
  uint32_t clients_per_node = 2;
  uint32_t volumes = 2;  // each begins at a client of its own; further clients are there to move to
  uint32_t guests = 0;   // clients, on the first client node, for volumes of administrators
  uint32_t disks_per_server = 1;
  uint32_t sets = 8;
  uint8_t copies = 3, min_copies = 2;
  uint64_t disk_bytes = 40u << 20;
  uint32_t disk_log_pages = 1280;  // no more than a layout for disk_bytes has
  uint32_t disk_slots = 0;         // no more than such a layout has; 0: as many
  uint64_t volume_bytes = 32u << 20;
  uint32_t log_entries_kept = 200;  // of the beacons: few, so that snapshots are needed
  bool database = false;            // of the beacons, for people: only written, so mostly left out
  WorkloadOptions work;
  LoadChoice load = LoadChoice::stamps;
  bool loads_in_history = true;  // blocks of journals and databases are judged as registers too
  Tuning tuning;
  io::SimOptions world;
  // Clocks are beyond their bound: leases may overlap, reads be stale and fences late.
  bool leases_hold = true;
  std::optional<BlockKey> watch;  // a timeline of this block is made
  bool keep_log = true;  // lines in Cluster::log; formatting them costs as much as all else
  std::function<void(std::string_view line)> line_sink;  // besides the lines kept
};

// What everybody spoke before protocol and feature level 2.
constexpr Versions older_version{1, 1, 1, 0};

constexpr uint64_t beacon_log_bytes = 8u << 20;  // frames: the least

}  // namespace sp::sim
