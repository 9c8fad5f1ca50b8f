// Fuzz target of the files of a beacon: its agreement log and the snapshots of its state. A small
// log with votes, entries, a truncation, a compaction and a received snapshot is edited and opened;
// edits to what has a checksum are sealed again when the input says so. Opening may refuse; what
// opens has to be a log that the agreement can take, to take a batch, and to open again as it was.
//
// Input: the first byte picks log or snapshot file; then edits of 4 + n bytes: page number (2
// bytes, modulo the pages in use), place within the page in units of 4 bytes (10 bits), seal (1
// bit), size n = 1..8 (3 bits), content.
#include <array>
#include <cstdlib>
#include <map>

#include "base/checksum.h"
#include "beacon/raft_log.h"
#include "beacon/snapshot_file.h"
#include "crash/fake_machine.h"
#include "raft/raft.h"

namespace {

using namespace sp;
using namespace sp::beacon;

constexpr uint64_t page_bytes = 4096;
constexpr uint64_t snapshot_capacity = 8 * page_bytes;
const RaftLogIdentity identity{.cluster = 7,
                               .node = 1,
                               .log_id = 11,
                               .frames_bytes = 8u << 20,
                               .snapshot_bytes = 4 * page_bytes};

void require(bool condition) {
  if (!condition) std::abort();
}

// A disk of which only the pages that were written take memory. Everything completes in order.
struct Medium {
  uint64_t size = 0;
  std::map<uint64_t, std::array<std::byte, page_bytes>> pages;
};

class PagedDisk final : public io::Disk {
 public:
  PagedDisk(test::FakeReactor& reactor, Medium& medium) : reactor_(reactor), medium_(medium) {}
  ~PagedDisk() override { *alive_ = false; }
  uint64_t size_bytes() const override { return medium_.size; }
  uint32_t alignment() const override { return page_bytes; }
  void read(uint64_t offset, MutableBytes into, io::DiskDone done) override {
    check(offset, into);
    for (size_t at = 0; at < into.size(); at += page_bytes) {
      const auto found = medium_.pages.find((offset + at) / page_bytes);
      if (found == medium_.pages.end())
        std::memset(into.data() + at, 0, page_bytes);
      else
        std::memcpy(into.data() + at, found->second.data(), page_bytes);
    }
    finish(std::move(done));
  }
  void write(uint64_t offset, Bytes from, io::DiskDone done) override {
    check(offset, from);
    for (size_t at = 0; at < from.size(); at += page_bytes)
      std::memcpy(medium_.pages[(offset + at) / page_bytes].data(), from.data() + at, page_bytes);
    finish(std::move(done));
  }
  void flush(io::DiskDone done) override { finish(std::move(done)); }
  void discard(uint64_t, uint64_t, io::DiskDone done) override { finish(std::move(done)); }

 private:
  void check(uint64_t offset, Bytes memory) const {
    require(offset % page_bytes == 0 && memory.size() % page_bytes == 0);
    require(offset + memory.size() <= medium_.size);
  }
  void finish(io::DiskDone done) {
    reactor_.post([alive = alive_, kept = std::make_unique<io::DiskDone>(std::move(done))] {
      if (*alive) kept->call_once(Status{});
    });
  }
  test::FakeReactor& reactor_;
  Medium& medium_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// An opened log, or the refusal.
struct LogRig {
  test::FakeMachine machine{3};
  std::shared_ptr<void> opening;
  std::unique_ptr<RaftLog::Opened> opened;

  explicit LogRig(Medium& medium) {
    bool ended = false;
    opening = RaftLog::open(std::make_unique<PagedDisk>(machine.reactor, medium), 0,
                            [&](Result<std::unique_ptr<RaftLog::Opened>> result) {
                              ended = true;
                              if (result.ok())
                                opened = std::move(result).value();
                              else
                                require(!result.error().message().empty());
                            });
    require(machine.reactor.run_until([&] { return ended; }));
  }
  bool write(raft::Persist batch) {
    std::optional<Status> status;
    opened->log->write(std::move(batch), [&](Status s) { status = std::move(s); });
    require(machine.reactor.run_until([&] { return status.has_value(); }));
    while (machine.reactor.step()) continue;
    return status->ok();
  }
  raft::Index last() const { return opened->restored.base.index + opened->restored.entries.size(); }
};

raft::Persist entries(raft::Index first, int count, raft::Term term) {
  raft::Persist batch;
  for (int i = 0; i < count; ++i)
    batch.entries.push_back({first + static_cast<raft::Index>(i), term, raft::EntryKind::command,
                             std::vector<std::byte>(50, std::byte(i))});
  return batch;
}

const Medium& sample_log() {
  static const Medium made = [] {
    Medium medium{identity.disk_bytes(), {}};
    const raft::Config config{{{1, 11, true}, {2, 22, true}}};
    {
      test::FakeMachine machine(1);
      PagedDisk disk(machine.reactor, medium);
      std::optional<Status> status;
      RaftLog::format(disk, identity, {0, 0, config}, [&](Status s) { status = std::move(s); });
      require(machine.reactor.run_until([&] { return status.has_value(); }) && status->ok());
    }
    LogRig rig(medium);
    raft::Persist snapshot;
    snapshot.hard_state = raft::HardState{1, 2};
    snapshot.install = raft::Snapshot{
        {4, 1, config},
        std::make_shared<std::vector<std::byte>>(std::vector<std::byte>(5000, std::byte{9}))};
    require(rig.write(std::move(snapshot)));
    for (raft::Index i = 5; i < 12; ++i) require(rig.write(entries(i, 1, 2)));
    raft::Persist other = entries(10, 3, 3);
    other.truncate_from = 10;
    other.hard_state = raft::HardState{3, 1};
    require(rig.write(std::move(other)));
    raft::Persist configured = entries(13, 1, 3);
    configured.entries.front().kind = raft::EntryKind::configuration;
    configured.entries.front().data = config.encoded();
    require(rig.write(std::move(configured)));
    raft::Persist compacted;
    compacted.compact = raft::Mark{6, 2, config};
    require(rig.write(std::move(compacted)));
    require(rig.write(entries(14, 2, 3)));
    return medium;
  }();
  return made;
}

const Medium& sample_snapshots() {
  static const Medium made = [] {
    Medium medium{SnapshotFile::disk_bytes(snapshot_capacity), {}};
    test::FakeMachine machine(1);
    SnapshotFile file(std::make_unique<PagedDisk>(machine.reactor, medium), snapshot_capacity, 11);
    for (uint64_t index : {0, 3, 9}) {
      bool ended = false;
      if (index == 0)
        file.load([&](const Result<std::optional<SnapshotFile::Found>>&) { ended = true; });
      else
        file.write(index, std::vector<std::byte>(6000 * index / 3, std::byte{5}),
                   [&](const Status&) { ended = true; });
      require(machine.reactor.run_until([&] { return ended; }));
    }
    return medium;
  }();
  return made;
}

// Whatever kind of page it is: frames, headers, votes and identities have the crc64 of the whole
// in their second number; the head of a snapshot that of its fields in its sixth.
void seal(std::array<std::byte, page_bytes>& page, bool snapshot_file) {
  uint64_t crc = 0;
  if (snapshot_file) {
    crc = crc64(Bytes(page).first(40));
    std::memcpy(page.data() + 40, &crc, sizeof crc);
    return;
  }
  std::memcpy(page.data() + 8, &crc, sizeof crc);
  crc = crc64(page);
  std::memcpy(page.data() + 8, &crc, sizeof crc);
}

// Whether anything was sealed: such pages say what no program wrote.
bool edit(Medium& medium, Bytes input, bool snapshot_file) {
  bool forged = false;
  while (input.size() > 4) {
    const auto page_number = load<uint16_t>(input);
    const auto how = load<uint16_t>(input.subspan(2));
    const auto chosen =
        std::next(medium.pages.begin(), static_cast<ptrdiff_t>(page_number % medium.pages.size()));
    const size_t size = std::min<size_t>((how >> 11 & 7) + 1, input.size() - 4);
    const size_t place = std::min<size_t>((how & 1023) * 4u, page_bytes - size);
    std::memcpy(chosen->second.data() + place, input.data() + 4, size);
    const bool sealed = (how >> 10 & 1) != 0;
    if (sealed) seal(chosen->second, snapshot_file);
    forged = forged || sealed;
    input = input.subspan(4 + size);
  }
  return forged;
}

void try_log(Medium medium, bool forged) {
  std::vector<raft::LogEntry> before;
  for (int opening = 0; opening < 2; ++opening) {
    LogRig rig(medium);
    if (!rig.opened) return require(opening == 0 || forged);
    const raft::Restored& restored = rig.opened->restored;
    const raft::Log taken(restored.base, restored.entries);
    require(taken.last_term() <= restored.hard_state.term);
    if (opening == 1)
      return require(forged ||
                     (restored.entries.size() == before.size() + 1 &&
                      std::equal(before.begin(), before.end(), restored.entries.begin())));
    before = restored.entries;
    raft::Persist batch = entries(rig.last() + 1, 1, taken.last_term() + 1);
    batch.hard_state = raft::HardState{restored.hard_state.term + 1, 1};
    if (!rig.write(std::move(batch))) return;
  }
}

void try_snapshots(Medium medium) {
  uint64_t found_index = 0;
  for (int opening = 0; opening < 2; ++opening) {
    test::FakeMachine machine(2);
    SnapshotFile file(std::make_unique<PagedDisk>(machine.reactor, medium), snapshot_capacity, 11);
    bool ended = false;
    file.load([&](const Result<std::optional<SnapshotFile::Found>>& found) {
      ended = true;
      if (found.ok() && *found) found_index = (*found)->index;
    });
    require(machine.reactor.run_until([&] { return ended; }));
    if (opening == 1) return require(found_index == 77);
    ended = false;
    // Older than what lies there it would not count.
    if (found_index >= 77) return;
    file.write(77, std::vector<std::byte>(4097, std::byte{1}), [&](const Status& status) {
      ended = true;
      require(status.ok());
    });
    require(machine.reactor.run_until([&] { return ended; }));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Bytes input(reinterpret_cast<const std::byte*>(data + 1), std::min<size_t>(size - 1, 4096));
  const bool snapshot_file = (data[0] & 1) != 0;
  Medium medium = snapshot_file ? sample_snapshots() : sample_log();
  const bool forged = edit(medium, input, snapshot_file);
  if (snapshot_file)
    try_snapshots(std::move(medium));
  else
    try_log(std::move(medium), forged);
  return 0;
}
