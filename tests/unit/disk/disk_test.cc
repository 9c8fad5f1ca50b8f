// Layouts, superblocks, and what others leave on devices.
#include <doctest/doctest.h>

#include "base/buffer.h"
#include "crash/store/store_rig.h"
#include "disk/probe.h"

using namespace sp;
using namespace sp::disk;

TEST_CASE(
    "a layout exists for every size from the smallest on, keeps its rules, and loses little") {
  CHECK(plan_layout(device_bytes_min - 1).error().code() == Code::invalid);
  for (const uint64_t size : {device_bytes_min, device_bytes_min + 4096, device_bytes_min + 12345,
                              uint64_t{100} << 20, uint64_t{1} << 30, (uint64_t{1} << 40) + 512,
                              uint64_t{8} << 40, uint64_t{16} << 40, uint64_t{20} << 40}) {
    CAPTURE(size);
    const auto layout = plan_layout(size);
    REQUIRE(layout.ok());
    CHECK(check_layout(*layout).ok());
    CHECK(layout->device_bytes <= size);
    CHECK(layout->log_bytes >= 4 << 20);
    CHECK(layout->log_bytes <= size / 8);
    if (size > 1 << 30 && size <= uint64_t{16} << 40)
      CHECK(double(layout->data_bytes) / double(size) > 0.98);
  }
}

TEST_CASE("a layout that breaks a rule is refused") {
  const Layout good = *plan_layout(64 << 20);
  const auto broken = [&](auto&& change) {
    Layout layout = good;
    change(layout);
    return check_layout(layout).ok();
  };
  CHECK_FALSE(broken([](Layout& l) { l.log_offset = 0; }));
  CHECK_FALSE(broken([](Layout& l) { l.log_bytes += 1; }));
  CHECK_FALSE(broken([](Layout& l) { l.table_offset = l.log_offset; }));
  CHECK_FALSE(broken([](Layout& l) { l.data_bytes += l.device_bytes; }));
  CHECK_FALSE(broken([](Layout& l) { l.table_bytes -= 8192; }));
  CHECK_FALSE(broken([](Layout& l) { l.index_bytes -= 4096; }));
  CHECK_FALSE(broken([](Layout& l) { l.index_offset = l.data_offset; }));
  CHECK_FALSE(broken([](Layout& l) { l.index_offset += l.device_bytes; }));
  CHECK_FALSE(broken([](Layout& l) { l.index_offset += 1; }));
  CHECK_EQ(plan_layout(64 << 20, 1)->index_bytes, 0);  // of an older minor
  CHECK_FALSE(broken([](Layout& l) { l.data_bytes = 0; }));
  CHECK_FALSE(broken([](Layout& l) { l.device_bytes = ~uint64_t{0} / 4096 * 4096; }));
}

TEST_CASE("a superblock comes back as written, and every flipped bit is noticed") {
  Superblock superblock;
  superblock.cluster = 1;
  superblock.disk = 2;
  superblock.uuid = 3;
  superblock.created_ms = 4;
  superblock.layout = *plan_layout(64 << 20);
  auto bytes = encode_superblock(superblock);
  const auto back = decode_superblock(bytes);
  REQUIRE(back.ok());
  CHECK(back->uuid == 3);
  CHECK(back->layout.data_bytes == superblock.layout.data_bytes);
  for (size_t bit = 0; bit < bytes.size() * 8; bit += 7) {
    bytes[bit / 8] ^= std::byte(1u << bit % 8);
    CHECK_FALSE(decode_superblock(bytes).ok());
    bytes[bit / 8] ^= std::byte(1u << bit % 8);
  }
}

TEST_CASE("superblocks that disagree are damage, and a shrunk device is named") {
  Superblock a;
  a.cluster = 1;
  a.disk = 2;
  a.uuid = 3;
  a.layout = *plan_layout(64 << 20);
  Superblock b = a;
  b.uuid = 4;
  CHECK(choose_superblock({a, b}, 64 << 20).error().code() == Code::damaged);
  CHECK(choose_superblock({a, a}, 64 << 20).ok());
  CHECK(choose_superblock({a, Error(Code::not_found, "")}, 64 << 20).ok());
  CHECK(choose_superblock({a, a}, 32 << 20).error().message().find("when it was formatted") !=
        std::string::npos);
  CHECK(choose_superblock({Error(Code::not_found, ""), Error(Code::not_found, "")}, 1 << 20)
            .error()
            .code() == Code::not_found);
  CHECK(choose_superblock({Error(Code::not_found, ""), Error(Code::damaged, "")}, 1 << 20)
            .error()
            .code() == Code::damaged);
}

TEST_CASE("the signatures of others are recognised") {
  constexpr uint64_t size = 1 << 20;
  const auto found = [](std::vector<std::pair<uint64_t, std::string>> marks) {
    std::vector<std::byte> bytes(size);
    for (const auto& [offset, mark] : marks)
      std::memcpy(bytes.data() + offset, mark.data(), mark.size());
    const ProbeWindow windows[] = {{0, bytes}};
    std::string names;
    for (const Holding& holding : recognise(windows, size)) names += holding.name + " ";
    return names;
  };
  CHECK(found({}).empty());
  CHECK(found({{1080, "\x53\xef"}}) == "ext ");
  CHECK(found({{0, "XFSB"}}) == "xfs ");
  CHECK(found({{65600, "_BHRfS_M"}}) == "btrfs ");
  CHECK(found({{512, "LABELONE"}}) == "lvm ");
  CHECK(found({{4086, "SWAPSPACE2"}}) == "swap ");
  CHECK(found({{512, "EFI PART"}}) == "gpt ");
  CHECK(found({{size - 512, "EFI PART"}}) == "gpt ");
  CHECK(found({{0, "LUKS\xba\xbe"}}) == "luks ");
  CHECK(found({{4096, "\xfc\x4e\x2b\xa9"}}) == "md ");
  CHECK(found({{450, "\x83"}, {510, "\x55\xaa"}}) == "mbr ");
  CHECK(found({{510, "\x55\xaa"}}).empty());  // the mark alone says nothing
}

TEST_CASE(
    "a formatted disk is recognised as ours, with its name, and formatting anew changes its uuid") {
  test::FakeMedium medium = test::StoreRig::formatted(test::small_layout());
  test::FakeMachine machine(3);
  test::FakeDisk device(machine.reactor, medium);
  std::vector<Holding> holds;
  probe(machine.host, device, [&](Result<std::vector<Holding>> found) { holds = *found; });
  machine.reactor.run_until([&] { return !holds.empty(); });
  REQUIRE(holds.size() == 1);
  CHECK(holds[0].ours);
  CHECK(holds[0].superblock.disk == 5);
  std::optional<uint64_t> uuid;
  FormatOptions options;
  options.cluster = 1;
  options.disk = 9;
  options.layout = test::small_layout();
  format(machine.host, device, options, [&](Result<Superblock> made) { uuid = made->uuid; });
  machine.reactor.run_until([&] { return uuid.has_value(); });
  CHECK(*uuid != holds[0].superblock.uuid);
}

TEST_CASE("a disk of an older minor format is opened, one of a newer is refused with what to do") {
  for (const uint16_t minor : {0, 1, 2}) {
    CAPTURE(minor);
    Superblock superblock;
    superblock.disk = 7;
    superblock.minor = minor;
    superblock.layout = test::small_layout();
    const auto read = decode_superblock(encode_superblock(superblock));
    REQUIRE(read.ok());
    CHECK_EQ(read->minor, minor);
    const Status known = check_minor(*read, 1);
    CHECK_EQ(known.ok(), minor <= 1);
    if (!known.ok())
      CHECK_EQ(known.error().message(),
               "disk 7 has format 1.2; this version knows formats up to 1.1: upgrade this node, or "
               "bring the disk back to one that is upgraded");
  }
}

TEST_CASE("formatting that is interrupted leaves no disk, or a whole one") {
  const test::FakeMedium before = test::StoreRig::formatted(test::small_layout());
  for (uint64_t stop = 0; stop < 12; stop++) {
    test::FakeMedium medium = before;
    medium.operations = 0;
    medium.stop_at = stop;
    test::FakeMachine machine(stop + 10);
    {
      test::FakeDisk device(machine.reactor, medium);
      FormatOptions options;
      options.cluster = 1;
      options.disk = 9;
      options.layout = test::small_layout();
      format(machine.host, device, options, [](Result<Superblock>) {});
      while (machine.reactor.step()) {
      }
    }
    medium.unflushed.clear();
    test::FakeDisk device(machine.reactor, medium);
    std::optional<Result<Superblock>> read;
    read_superblock(machine.host, device,
                    [&](Result<Superblock> superblock) { read = std::move(superblock); });
    machine.reactor.run_until([&] { return read.has_value(); });
    CAPTURE(stop);
    if (read->ok())
      CHECK(((*read)->disk == 5 || (*read)->disk == 9));
    else
      CHECK(read->error().code() == Code::not_found);
  }
}
