// A store on a FakeMachine, with blocking calls and a small disk whose log wraps soon.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "base/checksum.h"
#include "crash/fake_machine.h"
#include "disk/superblock.h"
#include "store/check.h"
#include "store/store.h"

namespace sp::test {

// `index_chunks`: of each home of the saved index; 0: a disk without, as of minor 1.
inline disk::Layout small_layout(uint64_t log_pages = 128, uint64_t slots = 600,
                                 uint64_t index_chunks = 0) {
  disk::Layout layout;
  const uint64_t pages = (slots + disk::slots_per_table_page - 1) / disk::slots_per_table_page;
  layout.log_offset = 4096;
  layout.log_bytes = log_pages * 4096;
  layout.table_offset = layout.log_offset + layout.log_bytes;
  layout.table_bytes = pages * 2 * 4096;
  layout.data_offset = layout.table_offset + layout.table_bytes;
  layout.data_bytes = slots * 4096;
  layout.index_offset = layout.data_offset + layout.data_bytes;
  layout.index_bytes = 2 * index_chunks * disk::index_chunk_bytes;
  layout.device_bytes = layout.index_offset + layout.index_bytes + 4096;
  return layout;
}

inline Buffer block_of(uint64_t stamp, size_t count = 1) {
  Buffer data = Buffer::allocate(count * 4096);
  for (size_t block = 0; block < count; block++) {
    auto* words = reinterpret_cast<uint64_t*>(data.data() + block * 4096);
    for (size_t i = 0; i < 512; i++) words[i] = mix64(stamp * 1024 + block) + i;
  }
  return data;
}

inline std::vector<uint64_t> crcs_of(const Buffer& data) {
  std::vector<uint64_t> crcs;
  for (size_t at = 0; at < data.size(); at += 4096)
    crcs.push_back(crc64(data.bytes().subspan(at, 4096)));
  return crcs;
}

class StoreRig {
 public:
  explicit StoreRig(FakeMedium& medium, uint64_t seed = 1)
      : medium_(medium), machine_(std::make_unique<FakeMachine>(seed)) {}
  ~StoreRig() {
    machine_->reactor.drop_all();
    store.reset();
  }

  static FakeMedium formatted(const disk::Layout& layout) {
    FakeMedium medium(layout.device_bytes);
    FakeMachine machine(7);
    FakeDisk disk(machine.reactor, medium);
    disk::FormatOptions options;
    options.cluster = 0x1122334455667788;
    options.disk = 5;
    options.layout = layout;
    bool done = false;
    disk::format(machine.host, disk, options,
                 [&done](Result<disk::Superblock> made) { done = made.ok(); });
    machine.reactor.run_until([&] { return done; });
    SP_ASSERT(done);
    medium.operations = 0;
    return medium;
  }

  std::unique_ptr<io::Disk> new_disk() {
    return std::make_unique<FakeDisk>(machine_->reactor, medium_);
  }

  Status open(bool verify_only = false) {
    std::optional<Status> outcome;
    options.verify_only = verify_only;
    store::Store::open(machine_->host, new_disk(), options,
                       [&](Result<std::unique_ptr<store::Store>> opened) {
                         if (opened.ok()) store = std::move(opened).value();
                         outcome = opened.ok() ? Status{} : Status(opened.error());
                       });
    return wait(outcome);
  }

  // Runs until the outcome is there; an Error of Code::interrupted when the device stopped first.
  Status wait(std::optional<Status>& outcome) {
    if (machine_->reactor.run_until([&] { return outcome.has_value(); }))
      return std::move(*outcome);
    return Error(Code::interrupted, "the device has stopped");
  }
  template <class Call>
  Status blocking(Call&& call) {
    auto outcome = std::make_shared<std::optional<Status>>();
    call([outcome](Status status) { *outcome = std::move(status); });
    return wait(*outcome);
  }

  static store::WriteRecord record(store::WriteKind kind, ObjectId object, uint16_t first,
                                   uint16_t count, Version version, SetId set = {1, 0}) {
    store::WriteRecord out;
    out.kind = kind;
    out.set = set;
    out.version = version;
    out.object = object;
    out.first_block = first;
    out.block_count = count;
    out.operation = {3, 1, version.packed()};
    return out;
  }
  Status write(ObjectId object, uint16_t first, uint16_t count, Version version, uint64_t stamp,
               SetId set = {1, 0}) {
    const Buffer data = block_of(stamp, count);
    const auto crcs = crcs_of(data);
    const auto what = record(store::WriteKind::data, object, first, count, version, set);
    return blocking(
        [&](store::Store::Done done) { store->prepare(what, crcs, data, 0, std::move(done)); });
  }
  Status discard(ObjectId object, uint16_t first, uint16_t count, Version version,
                 SetId set = {1, 0}) {
    const auto what = record(store::WriteKind::discard, object, first, count, version, set);
    return blocking(
        [&](store::Store::Done done) { store->prepare(what, {}, Buffer{}, 0, std::move(done)); });
  }
  Status put_set(const store::SetRecord& record) {
    return blocking([&](store::Store::Done done) { store->put_set(record, std::move(done)); });
  }
  Status drop(SetId set = {1, 0}) {
    return blocking([&](store::Store::Done done) { store->drop_undecided(set, std::move(done)); });
  }
  Status remove_set(SetId set) {
    return blocking([&](store::Store::Done done) { store->remove_set(set, std::move(done)); });
  }
  Status remove_volume(VolumeId volume) {
    return blocking(
        [&](store::Store::Done done) { store->remove_volume(volume, std::move(done)); });
  }
  Status checkpoint() {
    return blocking([&](store::Store::Done done) { store->checkpoint(std::move(done)); });
  }
  Status save_index() {
    return blocking([&](store::Store::Done done) { store->save_index(std::move(done)); });
  }
  Status apply(const store::ObjectState& source, std::vector<uint16_t> carried, Buffer data,
               std::vector<uint16_t> lost = {}) {
    return blocking([&](store::Store::Done done) {
      store->apply_recovered(source, carried, lost, data, std::move(done));
    });
  }
  Status repair(ObjectId object, uint16_t block, Version version, Buffer data) {
    const uint64_t crc = crc64(data.bytes());
    return blocking([&](store::Store::Done done) {
      store->repair(object, block, version, crc, data, std::move(done));
    });
  }

  // The content of one block, empty on an error (kept in read_error).
  struct Read {
    Buffer data;
    Version version;
    Status status;
    bool zero() const {
      const auto bytes = data.bytes();
      return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
    }
    bool holds(uint64_t stamp, size_t block = 0) const {
      const Buffer expected = block_of(stamp, block + 1);
      return std::memcmp(data.data(), expected.data() + block * 4096, 4096) == 0;
    }
  };
  Read read(ObjectId object, uint16_t block) {
    struct Call {
      Read read;
      std::optional<Status> outcome;
    };
    auto call = std::make_shared<Call>();
    call->read.data = Buffer::zeroed(4096);
    store->read(object, block, 1, call->read.data.mutable_bytes(),
                [call](Result<std::vector<store::BlockRead>> blocks) {
                  if (blocks.ok()) call->read.version = blocks->front().version;
                  call->outcome = blocks.ok() ? Status{} : Status(blocks.error());
                });
    Status status = wait(call->outcome);
    Read out = call->read;
    out.status = std::move(status);
    return out;
  }
  store::ObjectState object_state(ObjectId object) {
    auto state = std::make_shared<store::ObjectState>();
    const Status status = blocking([&](store::Store::Done done) {
      auto kept = std::make_shared<store::Store::Done>(std::move(done));
      store->object_state(object, [state, kept](Result<store::ObjectState> made) {
        if (made.ok()) *state = *made;
        kept->call_once(made.ok() ? Status{} : Status(made.error()));
      });
    });
    SP_ASSERT(status.ok());
    return *state;
  }
  // What sp-disk-check says of the disk, which nobody may have open.
  Status check(store::Report& report) {
    std::optional<Status> outcome;
    store::check(machine_->host, new_disk(), {}, [&](Result<store::Report> made) {
      if (made.ok()) report = *made;
      outcome = made.ok() ? Status{} : Status(made.error());
    });
    return wait(outcome);
  }
  // Lets timers fire and everything finish.
  void settle() {
    while (machine_->reactor.step()) {
    }
  }
  FakeMachine& machine() { return *machine_; }
  FakeMedium& medium() { return medium_; }

 private:
  FakeMedium& medium_;
  std::unique_ptr<FakeMachine> machine_;

 public:
  store::Options options;  // of the next open
  std::unique_ptr<store::Store> store;
};

}  // namespace sp::test
