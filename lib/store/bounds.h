// Bounds of the store: what no queue, round or share of it exceeds.
#pragma once
#include <chrono>
#include <cstdint>

namespace sp::store {

constexpr uint32_t round_pages_max = 64;     // log pages of one round; fewer where the log is small
constexpr uint32_t round_blocks_max = 2048;  // calls are taken into a round until it has so many
// Until decisions, and the proof that the last round was whole, are written when nothing else is.
constexpr auto lazy_delay = std::chrono::milliseconds(20);
constexpr uint32_t home_batch_pages = 256;  // table pages written home at a time
// Objects that a saved index is told of in one turn, as long as they fill no device write.
constexpr uint32_t index_turn_objects = 4096;
// Slot table entries in memory, where the table has more; about 2 GiB of data take 16 MiB.
constexpr uint64_t table_bytes_max = 64ull << 20;
constexpr size_t relief_pages_max = 4096;  // written home at a time to make room for others
constexpr uint32_t share_for_users_percent = 95;
constexpr uint32_t operations_share_of_log = 32;  // client operations, remembered: a 32nd
constexpr uint64_t objects_min = 4096;
constexpr uint64_t slots_per_object_least = 64;

}  // namespace sp::store
