#include "sim/tuning.h"

#include <string_view>

#include "base/checksum.h"
#include "io/random.h"

namespace sp::sim {

namespace {

class Draw {
 public:
  explicit Draw(uint64_t seed) : seed_(mix64(seed ^ 0x7a11)) {}

  // Half of them stay what they are.
  template <class T, size_t count>
  void one_of(std::string_view name, T& value, const T (&small)[count]) const {
    io::SeededRandom random(seed_ ^ crc64(as_bytes(name)));
    if (random.below(2) == 0) value = small[random.below(count)];
  }

 private:
  uint64_t seed_;
};

void draw_serve(const Draw& draw, serve::Tuning& serve) {
  using std::chrono::milliseconds;
  draw.one_of("serve.undecided", serve.undecided_max, {1u, 2u, 4u, 16u});
  draw.one_of("serve.waiting", serve.waiting_max, {1u, 4u, 16u});
  draw.one_of("serve.in_service", serve.in_service_max, {1u, 8u, 16u});
  draw.one_of("serve.operations", serve.operations_per_attachment_max, {1u, 4u, 16u, 64u});
  draw.one_of("serve.layer_views", serve.layer_views_max, {1u, 2u, 4u});
  draw.one_of("serve.holes", serve.holes_max, {1u, 4u});
  draw.one_of("serve.recoveries", serve.recoveries, {1u, 2u});
  draw.one_of("serve.recovery_objects", serve.recovery_objects, {1u, 2u});
  draw.one_of("serve.recovery_blocks", serve.recovery_blocks, {1u, 3u, 16u});
  draw.one_of("serve.recovery_batch", serve.recovery_batch_objects, {1u, 2u, 5u});
  draw.one_of("serve.repair_attempts", serve.repair_attempts, {1u, 2u});
  draw.one_of<io::Duration>("serve.parked", serve.request_parked_max,
                            {milliseconds(50), milliseconds(300)});
}

void draw_store(const Draw& draw, store::Options& store) {
  using std::chrono::milliseconds;
  draw.one_of("store.operations", store.operations_kept_max, {16u, 64u, 200u});
  draw.one_of("store.round_blocks", store.round_blocks_max, {1u, 8u, 64u});
  draw.one_of("store.round_pages", store.round_pages_max, {16u});
  draw.one_of<uint64_t>("store.table_bytes", store.table_bytes_max, {9000, 40000, 100000});
  draw.one_of("store.home_batch", store.home_batch_pages, {1u, 2u});
  draw.one_of("store.index_turn", store.index_turn_objects, {1u, 3u});
  draw.one_of<io::Duration>("store.lazy", store.lazy_delay, {milliseconds(2), milliseconds(200)});
}

void draw_agreement(const Draw& draw, Tuning& tuning) {
  raft::Bounds& raft = tuning.raft;
  draw.one_of("raft.append_bytes", raft.append_bytes_max, {1u, 500u, 4096u});
  draw.one_of("raft.append_entries", raft.append_entries_max, {1u, 2u, 8u});
  draw.one_of("raft.appends", raft.appends_in_flight_max, {1u, 2u});
  draw.one_of("raft.uncommitted", raft.uncommitted_entries_max, {4u, 16u});
  draw.one_of("raft.apply_ahead", raft.apply_ahead_max, {1u, 3u, 10u});
  draw.one_of("raft.chunk", raft.snapshot_chunk_bytes, {100u, 700u, 4096u});
  draw.one_of("beacon.commands", tuning.beacon_commands_max, {4u, 32u});
}

}  // namespace

Tuning small_tuning(uint64_t seed) {
  const Draw draw(seed);
  Tuning tuning;
  draw_serve(draw, tuning.serve);
  draw_store(draw, tuning.store);
  draw_agreement(draw, tuning);
  draw.one_of("client.window", tuning.client.window, {1u, 2u, 8u});
  draw.one_of("client.pieces", tuning.client.pieces_started_max, {1u, 3u, 20u});
  return tuning;
}

}  // namespace sp::sim
