// Every bound of the system by name. A queue, batch, retry or message without a name here is a
// defect.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace sp::limits {

using namespace std::chrono_literals;

// Data geometry.
constexpr uint32_t block_bytes = 4096;       // unit of checksum and copy-on-write
constexpr uint32_t object_bytes = 4u << 20;  // unit of placement and recovery
constexpr uint32_t blocks_per_object = object_bytes / block_bytes;
constexpr uint32_t io_blocks_max = 256;  // largest single data request: 1 MiB
constexpr uint32_t io_bytes_max = io_blocks_max * block_bytes;
constexpr uint64_t volume_bytes_max = 1ull << 50;  // 1 PiB
constexpr size_t buffer_bytes_max = 8u << 20;
constexpr size_t buffers_kept_per_size = 64;  // free memory kept for reuse, per thread and size

// Cluster.
constexpr uint32_t nodes_max = 63;    // node ids 1..63
constexpr uint32_t disks_max = 4096;  // disk ids 0..4095 (0 is not used)
constexpr uint32_t servers_per_node_max = 12;
constexpr uint32_t services_max = 4096;
constexpr uint32_t copies_max = 3;
constexpr uint32_t sets_per_group_max = 1u << 15;
constexpr uint32_t allocation_groups_max = 1u << 12;
constexpr uint32_t volumes_max = 1u << 20;  // and snapshots
constexpr uint32_t layers_per_chain_max = 4096;
constexpr uint32_t layers_max = 1u
                                << 18;  // of all volumes and snapshots: servers look at all of them
constexpr uint32_t layer_views_per_set_max = 256;  // twice as many are remembered, 2 KiB each
constexpr uint32_t holes_per_set_max = 4096;       // objects with holes that are remembered
constexpr auto sweep_interval = std::chrono::seconds(2);        // of what deleted snapshots leave
constexpr uint32_t sweep_objects_max = 64;                      // looked at in one step
constexpr auto cut_open_max = std::chrono::milliseconds(1500);  // then it is given up
constexpr uint32_t name_bytes_max = 200;
constexpr uint32_t attachments_per_client_max = 1024;
constexpr uint32_t kv_value_bytes_max = 1u << 20;
constexpr uint32_t kv_keys_per_bucket_max = 1u << 16;

// Wire.
constexpr uint32_t message_body_bytes_max = 1u << 20;      // encoded fields of one message
constexpr uint32_t message_data_bytes_max = io_bytes_max;  // block data of one message
constexpr uint32_t connections_per_service_max = 4096;
constexpr uint32_t send_queue_messages_max = 4096;  // per connection; beyond it the peer is cut off
constexpr uint32_t connection_receive_bytes =
    128u << 10;  // receive buffer of a connection; a larger body makes it grow

// Data path.
constexpr uint32_t client_window_per_server =
    256;  // requests in flight from one client to one server
constexpr uint32_t requests_in_service_max =
    24;  // of one disk, when several clients are active: together (tests/bench/volumes_bench.cc)
constexpr uint32_t client_in_service_min = 2;  // of each, however many they are
constexpr uint32_t set_operations_max = 4096;  // operations that one copy tells a new primary of
constexpr uint32_t set_undecided_max = 1024;  // undecided records of one set; beyond it writes wait
constexpr uint32_t recovery_objects_in_flight = 4;  // per recovering disk set

// Data path, servers and clients.
constexpr uint32_t recoveries_in_flight = 16;  // recovering disk sets of one server at a time
constexpr uint32_t operations_per_attachment_max =
    1u << 16;  // remembered by a primary for one attachment and set
constexpr uint32_t repair_attempts_max =
    4;  // of one read that meets damage, while the block keeps changing
constexpr uint32_t space_margin_blocks =
    64;  // a primary refuses writes with less free space on one of the copies' disks
constexpr uint32_t space_margin_objects = 512;  // the same of objects
constexpr uint32_t space_reserve_divisor =
    64;  // the share of a disk that is kept for writes under way when several primaries fill it
constexpr uint64_t space_low_blocks = 1u << 16;  // a disk with less is asked more often

// Agreement. A message fits in message_body_bytes_max.
constexpr uint32_t raft_command_bytes_max =
    message_body_bytes_max - (16u << 10);  // data of one log entry
constexpr uint32_t raft_append_bytes_max =
    256u << 10;  // entries of one append, unless the first alone is larger
constexpr uint32_t raft_append_entries_max = 1024;
constexpr uint32_t raft_appends_in_flight_max = 16;  // per follower
constexpr uint32_t raft_uncommitted_entries_max =
    4096;  // beyond it proposals are refused: transient
constexpr uint32_t raft_apply_ahead_max =
    1024;  // entries handed out to apply and not yet reported applied
constexpr uint64_t map_bytes_max = 1ull << 30;
constexpr uint32_t beacon_commands_max =
    4096;  // of the services of one beacon, waiting for their outcome; beyond it: transient
constexpr uint32_t beacon_log_entries_kept =
    4096;                                       // applied entries beyond these are compacted away
constexpr uint32_t raft_barriers_max = 4096;    // read barriers waiting
constexpr uint32_t raft_promote_lag_max = 256;  // entries a learner may lack when it is promoted
constexpr uint32_t raft_snapshot_chunk_bytes = 256u << 10;
constexpr uint64_t raft_snapshot_bytes_max = 1ull << 30;

// Attach.
constexpr size_t nbd_connections_max = 256;  // of one NBD server
constexpr size_t nbd_requests_in_flight =
    256;  // of one NBD connection; beyond it its socket is not read
constexpr size_t nbd_bytes_in_flight =
    32u << 20;  // payload of one NBD connection; one request of any size always fits
constexpr size_t nbd_zero_pieces_in_flight = 8;  // pieces of one NBD request that writes zeros out
constexpr uint32_t fuse_requests_in_flight =
    512;  // what the kernel may have open at our FUSE mount
constexpr uint32_t ublk_queue_depth = 128;

// Control API.
constexpr size_t api_json_bytes_max = 8u << 20;       // body of a request
constexpr size_t api_answer_bytes_max = 512u << 20;   // what a client reads of an answer
constexpr uint32_t api_requests_in_flight_max = 256;  // beyond it: transient
constexpr uint32_t api_waits_max = 48;                // of those, waiting for attachments
constexpr uint32_t api_http_threads = 64;  // must exceed api_waits_max: a wait holds a thread
constexpr auto api_confirm_timeout = 30s;  // for all servers to put a change in force
constexpr auto api_wait_max = 600s;        // longest wait for attachments of one request
static_assert(api_waits_max < api_http_threads);

// Time. `lease` must end before any voter may elect another leader: lease * (1 + drift) <
// election_min * (1 - drift).
constexpr auto heartbeat_interval = 100ms;
constexpr auto election_timeout_min = 700ms;
constexpr auto election_timeout_max = 1000ms;
constexpr auto lease_length = 600ms;
constexpr double clock_drift_max = 0.02;  // rate difference between two clocks that leases survive
constexpr auto node_silent_after = 1000ms;  // a node not heard of for so long is declared down
constexpr auto copy_timeout =
    1000ms;  // a copy that has not acknowledged for so long is complained of
constexpr auto connect_timeout = 1000ms;
constexpr auto reconnect_backoff_min = 10ms;
constexpr auto reconnect_backoff_max = 500ms;
constexpr auto request_timeout =
    3000ms;  // a client drops a server's connection that leaves a request unanswered for so long
constexpr auto request_parked_max =
    1000ms;  // a server says not_ready to what it could not answer for so long
constexpr auto retry_backoff_min = 2ms;
constexpr auto retry_backoff_max = 200ms;
constexpr auto decided_delay =
    5ms;  // until copies are told of decisions that no Prepare has carried
constexpr auto server_tick = 50ms;          // overdue copies, failed disks, parked requests
constexpr auto command_retry = 300ms;       // of a command whose outcome is open
constexpr auto space_count_interval = 5ms;  // a disk's free blocks are not counted more often
constexpr auto space_known_for = 100ms;     // a refusal for a full disk is not older
constexpr auto space_low_known_for = 1s;
constexpr auto space_high_known_for = 30s;
constexpr uint32_t tombstones_log_divisor = 4;  // the share of a disk's log that discards may take
constexpr auto tombstone_interval = 10s;
constexpr auto beacon_silent_after = 3000ms;  // a service goes to another beacon
constexpr auto command_connect_timeout =
    5000ms;  // of a command while no beacon is connected, or none leads
constexpr auto peer_ping_interval = 500ms;   // between beacons
constexpr auto peer_silent_after = 2000ms;   // a beacon's connection that says nothing is made anew
constexpr auto lease_round_interval = 20ms;  // rounds for leases are no more frequent
static_assert(lease_length.count() * (1 + clock_drift_max) <
              election_timeout_min.count() * (1 - clock_drift_max));
static_assert(lease_length.count() * (1 + clock_drift_max) <
              node_silent_after.count() * (1 - clock_drift_max));

}  // namespace sp::limits
