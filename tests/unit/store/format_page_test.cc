// The worked example of sp-disk-format(5) is the bytes of a really formatted disk: made here again,
// and compared line by line.
#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

#include "crash/store/store_rig.h"
#include "store/log_page.h"
#include "store/record_views.h"
#include "store/slot_table.h"

using namespace sp;
using namespace sp::test;

namespace {

// One block of zeros but for a text, written, decided, and checkpointed.
FakeMedium example_disk() {
  FakeMedium medium = StoreRig::formatted(small_layout());
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  Buffer data = Buffer::zeroed(4096);
  std::memcpy(data.data(), "hello", 5);
  const auto crcs = crcs_of(data);
  const auto record = StoreRig::record(store::WriteKind::data, {9, 4}, 3, 1, Version(1, 7));
  REQUIRE(rig.blocking([&](store::Store::Done done) {
               rig.store->prepare(record, crcs, data, 0, std::move(done));
             })
              .ok());
  rig.store->decide({1, 0}, Version(1, 7));
  REQUIRE(rig.checkpoint().ok());
  rig.settle();
  medium.settle();
  return medium;
}

std::string line_at(const FakeMedium& medium, uint64_t offset) {
  char text[32];
  std::snprintf(text, sizeof text, "%08llx ", static_cast<unsigned long long>(offset));
  std::string line = text;
  for (uint64_t i = 0; i < 16; i++) {
    if (i % 8 == 0) line += ' ';
    std::snprintf(text, sizeof text, "%02x ", std::to_integer<unsigned>(medium.bytes[offset + i]));
    line += text;
  }
  line.pop_back();
  return line;
}

}  // namespace

TEST_CASE("the worked example in sp-disk-format(5) is what a disk holds, and decodes") {
  const FakeMedium medium = example_disk();
  const disk::Layout layout = small_layout();
  std::string expected;
  const auto show = [&](uint64_t from, uint64_t size) {
    for (uint64_t at = from; at < from + size; at += 16) expected += line_at(medium, at) + "\n";
  };
  show(0, 112);
  show(4080, 16);
  const uint64_t second_page = layout.log_offset + 2 * 4096;
  show(second_page, 80 + 64);
  const uint64_t home = store::table_home_offset(layout, 0, 1);
  show(home, 64 + 32);
  show(layout.data_offset, 16);

  std::string path = __FILE__;
  path.resize(path.find("tests/unit/store/"));
  std::ifstream page(path + "man/sp-disk-format.5");
  REQUIRE_MESSAGE(page.good(), "man/sp-disk-format.5 is missing");
  std::string found;
  for (std::string line; std::getline(page, line);)
    if (line.size() == 58 && line.find_first_not_of("0123456789abcdef ") == line.npos)
      found += line + "\n";
  REQUIRE_MESSAGE(found == expected, "the page should show:\n" << expected);

  // And the library reads the bytes as the page says.
  const Bytes all = medium.bytes;
  disk::Superblock superblock = *disk::decode_superblock(all.first(4096));
  CHECK(superblock.disk == 5);
  const auto header = store::open_log_page(all.subspan(second_page, 4096), superblock);
  REQUIRE(header.ok());
  CHECK(header->lsn == 2);
  store::RecordCursor cursor(store::log_payload(all.subspan(second_page, 4096), *header), {600, 5});
  store::Record record;
  REQUIRE(cursor.next(record));
  CHECK(store::write_record_of(record).object == ObjectId{9, 4});
  CHECK(store::write_slot(record, 0) == 0);
  const auto table = store::open_table_home(all.subspan(home, 4096), superblock, 0);
  REQUIRE(table.ok());
  CHECK(table->at(0).block() == 3);
  CHECK(table->at(0).crc == crc64(all.subspan(layout.data_offset, 4096)));
}
