// Fuzz target of a disk's bytes: a small disk with data in all states is edited and opened. Edits
// to pages with a checksum are sealed again when the input says so, so that the search gets behind
// the checksums. Opening may refuse; what opens has to answer every read, with content or with an
// error, take new writes, and open again; sp-disk-check has to come to a report.
//
// Input: edits of 4 + n bytes: page number (2 bytes, modulo the pages), place within the page in
// units of 4 bytes (10 bits), seal (1 bit), size n = 1..8 (3 bits), content.
#include <cstdlib>

#include "base/checksum.h"
#include "crash/fake_machine.h"
#include "crash/store/store_rig.h"
#include "store/check.h"
#include "store/log_page.h"
#include "store/slot_table.h"

namespace {

using namespace sp;
using namespace sp::store;

struct Sample {
  test::FakeMedium medium;
  disk::Superblock superblock;
};

// Two sets, data of several versions, an overwrite, a discard, undecided writes, a checkpoint in
// the middle.
const Sample& sample() {
  static const Sample made = [] {
    test::FakeMedium medium = test::StoreRig::formatted(test::small_layout());
    {
      test::StoreRig rig(medium);
      if (!rig.open().ok()) std::abort();
      for (uint32_t i = 1; i <= 12; ++i) {
        const SetId set{1, static_cast<uint16_t>(i % 2)};
        (void)rig.put_set({set, 1, i % 3 == 0, Version(1, i)});
        (void)rig.write({i % 3u + 1, i}, static_cast<uint16_t>(i), 3, Version(1, i), i, set);
        if (i % 4 != 0) rig.store->decide(set, Version(1, i));
        if (i == 7) (void)rig.checkpoint();
      }
      (void)rig.discard({1, 3}, 0, 5, Version(1, 20), {1, 1});
      rig.settle();
    }
    medium.settle();
    const auto superblock = disk::decode_superblock(Bytes(medium.bytes).first(4096));
    if (!superblock.ok()) std::abort();
    return Sample{medium, *superblock};
  }();
  return made;
}

void seal(MutableBytes page, const disk::Superblock& superblock) {
  const auto magic = load<uint64_t>(page);
  if (magic == log_page_magic) {
    const auto header = load<LogPageHeader>(page);
    if (header.record_bytes <= log_payload_bytes) seal_log_page(page, superblock, header);
  } else if (magic == table_page_magic) {
    auto header = load<TablePageHeader>(page);
    header.crc = 0;
    std::memcpy(page.data(), &header, sizeof header);
    header.crc = crc64(page);
    std::memcpy(page.data(), &header, sizeof header);
  } else if (as_text(page.first(8)) == "SPDISK01") {
    const uint64_t crc = crc64(page.first(page.size() - sizeof(uint64_t)));
    std::memcpy(page.data() + page.size() - sizeof crc, &crc, sizeof crc);
  }
}

void edit(test::FakeMedium& medium, Bytes input) {
  while (input.size() > 4) {
    const auto page_number = load<uint16_t>(input);
    const auto how = load<uint16_t>(input.subspan(2));
    const size_t pages = medium.bytes.size() / 4096;
    const MutableBytes page(medium.bytes.data() + page_number % pages * 4096, 4096);
    const size_t size = std::min<size_t>((how >> 11 & 7) + 1, input.size() - 4);
    const size_t place = std::min<size_t>((how & 1023) * 4u, 4096 - size);
    std::memcpy(page.data() + place, input.data() + 4, size);
    if ((how >> 10 & 1) != 0) seal(page, sample().superblock);
    input = input.subspan(4 + size);
  }
}

void read_all(test::StoreRig& rig) {
  for (const VolumeId volume : rig.store->volumes())
    for (uint32_t object = 0; object < 16; ++object) {
      (void)rig.object_state({volume, object});
      for (uint16_t block = 0; block < 20; ++block) (void)rig.read({volume, object}, block);
    }
  for (const SetRecord& record : rig.store->sets()) {
    (void)rig.store->undecided(record.set);
    (void)rig.store->operations(record.set);
    (void)rig.store->changed_objects(record.set, {}, {}, 100);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes input(reinterpret_cast<const std::byte*>(data), std::min<size_t>(size, 4096));
  test::FakeMedium medium = sample().medium;
  edit(medium, input);
  {
    test::FakeMachine machine(3);
    bool reported = false;
    check(machine.host, std::make_unique<test::FakeDisk>(machine.reactor, medium), {},
          [&](const Result<Report>&) { reported = true; });
    if (!machine.reactor.run_until([&] { return reported; })) std::abort();
  }
  for (int opening = 0; opening < 2; ++opening) {
    test::StoreRig rig(medium);
    if (!rig.open().ok()) return 0;
    read_all(rig);
    const auto records = rig.store->sets();
    const SetId set = records.empty() ? SetId{1, 0} : records.front().set;
    (void)rig.write({1, 3}, 2, 2, Version(9, 1u + opening), 77, set);
    (void)rig.checkpoint();
    rig.settle();
  }
  return 0;
}
