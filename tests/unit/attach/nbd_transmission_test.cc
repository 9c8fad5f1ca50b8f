#include <doctest/doctest.h>

#include <algorithm>

#include "base/limits.h"
#include "nbd_client.h"

using namespace sp;
using namespace sp::attach;
using namespace sp::attach::test;
using nbd::Command;
using nbd::Errno;

namespace {

std::vector<std::byte> pattern(size_t size, uint64_t seed) {
  std::vector<std::byte> out(size);
  io::SeededRandom(seed).fill(out);
  return out;
}
uint32_t number_of(Errno error) { return static_cast<uint32_t>(error); }

}  // namespace

TEST_CASE("what was written is read back: whole blocks, parts of blocks, and 32 MiB at once") {
  NbdStage stage;
  auto client = stage.connect();
  client->go("vol");
  struct Range {
    uint64_t offset;
    uint32_t size;
  };
  for (const auto& [offset, size] : {Range{0, 4096},
                                     {8192, 65536},
                                     {777, 1},
                                     {4095, 2},
                                     {100001, 1234567},
                                     {1 << 20, 32 << 20}}) {
    const auto data = pattern(size, offset + size);
    client->request(Command::write, offset, size, nbd::command_fua, 5, data);
    CHECK(client->simple(5) == 0);
    client->request(Command::read, offset, size, 0, 6);
    CHECK(client->simple(6) == 0);
    CHECK(client->take(size) == data);
  }
}

TEST_CASE("many small requests in one segment are all answered, each with its cookie") {
  NbdStage stage;
  auto client = stage.connect();
  client->go("vol");
  std::vector<std::byte> out;
  constexpr uint64_t count = 1000;
  for (uint64_t i = 0; i < count; ++i) {
    const auto request =
        NbdClient::request_bytes(Command::write, i * 4096, 4096, 0, i, pattern(4096, i));
    out.insert(out.end(), request.begin(), request.end());
  }
  client->send(out);
  std::vector<bool> seen(count);
  for (uint64_t i = 0; i < count; ++i) {
    REQUIRE(client->number<uint32_t>() == nbd::simple_reply_magic);
    REQUIRE(client->number<uint32_t>() == 0);
    const auto cookie = client->number<uint64_t>();
    REQUIRE(cookie < count);
    REQUIRE_FALSE(seen[cookie]);
    seen[cookie] = true;
  }
  client->request(Command::read, 999 * 4096, 4096);
  CHECK(client->simple() == 0);
  CHECK(client->take(4096) == pattern(4096, 999));
}

TEST_CASE("a structured read comes in chunks that together are the range, or one when asked for") {
  NbdStage stage;
  auto client = stage.connect();
  CHECK((client->go("vol", true) & nbd::export_send_df) != 0);
  const auto data = pattern(3 << 20, 1);
  client->request(Command::write, 1000, 3 << 20, 0, 1, data);
  CHECK(client->simple(1) == 0);
  // Often, since the last chunk to come is the one to say so, whatever the order of the pieces.
  for (uint64_t cookie = 10; cookie < 40; ++cookie) {
    const uint64_t begin = 4096, size = 2 << 20;
    client->request(Command::read, begin, size, 0, cookie);
    std::vector<std::byte> got(size);
    for (bool done = false; !done;) {
      const auto chunk = client->chunk();
      REQUIRE(chunk.cookie == cookie);
      REQUIRE(chunk.type == nbd::Chunk::offset_data);
      const auto offset = nbd::BigReader(chunk.data).number<uint64_t>();
      std::copy(chunk.data.begin() + 8, chunk.data.end(),
                got.begin() + static_cast<std::ptrdiff_t>(offset - begin));
      done = chunk.done;
    }
    REQUIRE(std::equal(got.begin(), got.end(),
                       data.begin() + static_cast<std::ptrdiff_t>(begin - 1000)));
  }
  client->request(Command::read, 4096, 1 << 20, nbd::command_df, 3);
  CHECK(client->chunk().done);
  client->request(Command::read, 4096, 2 << 20, nbd::command_df, 4);
  const auto refused = client->chunk();
  CHECK(refused.type == nbd::Chunk::error);
  CHECK(nbd::BigReader(refused.data).number<uint32_t>() == number_of(Errno::overflow));
}

TEST_CASE("block status says data for all that was asked for, and only after it was agreed on") {
  NbdStage stage;
  auto client = stage.connect();
  client->go("vol", true);
  client->request(Command::block_status, 4096, 1 << 20, nbd::command_req_one);
  const auto chunk = client->chunk();
  CHECK(chunk.type == nbd::Chunk::block_status);
  nbd::BigReader reader(chunk.data);
  CHECK(reader.number<uint32_t>() == nbd::allocation_context_id);
  CHECK(reader.number<uint32_t>() == 1u << 20);
  CHECK(reader.number<uint32_t>() == 0);
  CHECK(reader.finished());
  auto plain = stage.connect();
  plain->go("vol");
  plain->request(Command::block_status, 0, 4096);
  CHECK(plain->simple() == number_of(Errno::invalid));
}

TEST_CASE(
    "trim and write-zeroes make ranges read as zeros; zeros that must stay allocated are written") {
  NbdStage stage;
  auto client = stage.connect();
  client->go("vol");
  const auto zero_after = [&](Command command, uint64_t offset, uint32_t size, uint16_t flags) {
    const auto data = pattern(size, 3);
    client->request(Command::write, offset, size, 0, 77, data);
    CHECK(client->simple() == 0);
    client->request(command, offset, size, flags);
    CHECK(client->simple() == 0);
    client->request(Command::read, offset, size);
    CHECK(client->simple() == 0);
    CHECK(client->take(size) == std::vector<std::byte>(size));
  };
  zero_after(Command::trim, 4096, 1 << 20, 0);
  zero_after(Command::write_zeroes, 4096, 1 << 20, nbd::command_fast_zero);
  zero_after(Command::write_zeroes, 1, 100, nbd::command_fua);
  zero_after(Command::write_zeroes, 5, 20 << 20, nbd::command_no_hole);
  client->request(Command::write_zeroes, 1, 4096, nbd::command_fast_zero);
  CHECK(client->simple() == number_of(Errno::not_supported));
  client->request(Command::write_zeroes, 0, 4096, nbd::command_fast_zero | nbd::command_no_hole);
  CHECK(client->simple() == number_of(Errno::not_supported));
}

TEST_CASE("requests that make no sense get an error and the connection goes on") {
  NbdStage stage;
  auto client = stage.connect();
  client->go("vol");
  const auto error = [&](Command command, uint64_t offset, uint32_t length, uint16_t flags = 0) {
    const std::vector<std::byte> payload(command == Command::write ? length : 0);
    client->request(command, offset, length, flags, 77, payload);
    return client->simple();
  };
  CHECK(error(Command::read, 64 << 20, 4096) == number_of(Errno::invalid));
  CHECK(error(Command::read, (64 << 20) - 100, 101) == number_of(Errno::invalid));
  CHECK(error(Command::read, UINT64_MAX, 4096) == number_of(Errno::invalid));
  CHECK(error(Command::read, 0, 0) == number_of(Errno::invalid));
  CHECK(error(Command::read, 0, (32 << 20) + 1) == number_of(Errno::overflow));
  CHECK(error(Command::read, 0, 4096, nbd::command_df) == number_of(Errno::invalid));
  CHECK(error(Command::write, 64 << 20, 100000) == number_of(Errno::no_space));
  CHECK(error(Command::write, 0, 0) == number_of(Errno::invalid));
  CHECK(error(Command::trim, 64 << 20, 1) == number_of(Errno::invalid));
  CHECK(error(Command::write_zeroes, 4096, UINT32_MAX) == number_of(Errno::no_space));
  CHECK(error(static_cast<Command>(99), 0, 0) == number_of(Errno::invalid));
  CHECK(error(Command::flush, 0, 0, 0x8000) == number_of(Errno::invalid));
  CHECK(error(Command::flush, 0, 0) == 0);
  CHECK(stage.device->flush_count() == 1);
}

TEST_CASE("a read-only export refuses every change, and its payload is skipped") {
  NbdStage stage;
  REQUIRE(stage.server->add_export({"frozen", "", true, stage.device.get()}).ok());
  auto client = stage.connect();
  CHECK((client->go("frozen") & (nbd::export_read_only | nbd::export_send_trim)) ==
        nbd::export_read_only);
  client->request(Command::write, 0, 200000, 0, 77, pattern(200000, 1));
  CHECK(client->simple() == number_of(Errno::permission));
  client->request(Command::trim, 0, 4096);
  CHECK(client->simple() == number_of(Errno::permission));
  client->request(Command::write_zeroes, 0, 4096);
  CHECK(client->simple() == number_of(Errno::permission));
  client->request(Command::read, 0, 4096);
  CHECK(client->simple() == 0);
  CHECK(client->take(4096) == std::vector<std::byte>(4096));
}

TEST_CASE("errors of the device reach the client as the protocol names them") {
  const std::pair<Code, Errno> cases[] = {{Code::damaged, Errno::io},
                                          {Code::no_space, Errno::no_space},
                                          {Code::closed, Errno::shutdown},
                                          {Code::invalid, Errno::invalid}};
  for (const auto& [code, expected] : cases) {
    NbdStage stage;
    auto simple = stage.connect();
    simple->go("vol");
    auto structured = stage.connect();
    structured->go("vol", true);
    stage.device->fail_all(code);
    simple->request(Command::read, 0, 2 << 20);
    CHECK(simple->simple() == number_of(expected));
    structured->request(Command::write, 0, 4096, 0, 77, pattern(4096, 1));
    auto chunk = structured->chunk();
    CHECK(chunk.type == nbd::Chunk::error);
    CHECK(chunk.done);
    nbd::BigReader error(chunk.data);
    CHECK(error.number<uint32_t>() == number_of(expected));
    CHECK(error.text(error.number<uint16_t>()) == "injected failure");
    stage.device->fail_all(std::nullopt);
    stage.device->fail_range(1 << 20, 4096, code);
    structured->request(Command::read, 0, 2 << 20);
    size_t errors = 0, data = 0;
    do {
      chunk = structured->chunk();
      (chunk.type == nbd::Chunk::error_offset ? errors : data) += 1;
    } while (!chunk.done);
    CHECK(errors == 1);
    CHECK(data == 1);
  }
}

TEST_CASE("hostile requests cut off their own connection only") {
  NbdStage stage;
  auto innocent = stage.connect();
  innocent->go("vol");
  auto oversized = stage.connect();
  oversized->go("vol");
  oversized->request(Command::write, 0, (32u << 20) + 1);
  CHECK(oversized->wait_closed());
  CHECK(stage.logged("a write of more than 32 MiB"));
  auto garbage = stage.connect();
  garbage->go("vol");
  garbage->send(pattern(100, 5));
  CHECK(garbage->wait_closed());
  CHECK(stage.logged("a request without its magic number"));
  innocent->request(Command::flush, 0, 0);
  CHECK(innocent->simple() == 0);
  CHECK(stage.world.run_until([&] { return stage.server->counts("vol").connections == 1; }, 1s));
}

TEST_CASE(
    "a client that does not read its replies is not read either, and holds a bounded amount of "
    "memory") {
  NbdStage stage;
  auto client = stage.connect();
  client->go("vol");
  client->stop_receiving();
  std::vector<std::byte> out;
  constexpr uint64_t count = 200, size = 1 << 20;
  for (uint64_t i = 0; i < count; ++i) {
    const auto request = NbdClient::request_bytes(Command::read, 0, size, 0, i);
    out.insert(out.end(), request.begin(), request.end());
  }
  client->send(out);
  uint64_t most = 0;
  stage.device->hold(true);
  for (int i = 0; i < 100; ++i) {
    stage.world.run_for(100ms);
    most = std::max<uint64_t>(most, stage.device->operations_waiting());
  }
  CHECK(most * size <= limits::nbd_bytes_in_flight);
  stage.device->hold(false);
  client->resume_receiving();
  for (uint64_t i = 0; i < count; ++i) {
    REQUIRE(client->number<uint32_t>() == nbd::simple_reply_magic);
    REQUIRE(client->number<uint32_t>() == 0);
    client->number<uint64_t>();
    client->take(size);
  }
}

TEST_CASE("disconnect is served after what was asked before it") {
  NbdStage stage;
  auto client = stage.connect();
  client->go("vol");
  auto out = NbdClient::request_bytes(Command::write, 0, 4096, 0, 9, pattern(4096, 9));
  const auto bye = NbdClient::request_bytes(Command::disconnect, 0, 0);
  out.insert(out.end(), bye.begin(), bye.end());
  client->send(out);
  CHECK(client->simple(9) == 0);
  CHECK(client->wait_closed());
  CHECK(stage.world.run_until([&] { return stage.server->counts("vol").connections == 0; }, 1s));
}

TEST_CASE(
    "a client that goes away with requests under way leaves the device in peace once they end") {
  NbdStage stage;
  stage.device->hold(true);
  auto client = stage.connect();
  client->go("vol");
  client->request(Command::write, 5, 4096, 0, 1, pattern(4096, 1));
  client->request(Command::read, 0, 8 << 20, 0, 2);
  CHECK(stage.world.run_until([&] { return stage.server->counts("vol").operations == 9; }, 1s));
  std::string closed_export;
  stage.server->on_connection_closed([&](const std::string& name) { closed_export = name; });
  client->hang_up();
  CHECK(stage.world.run_until([&] { return stage.server->counts("vol").connections == 0; }, 1s));
  CHECK(stage.server->counts("vol").operations == 9);
  stage.device->hold(false);
  CHECK(stage.world.run_until([&] { return closed_export == "vol"; }, 1s));
  CHECK(stage.server->counts("vol").operations == 0);
}

TEST_CASE("removing an export cuts its connections off and waits for the operations under way") {
  NbdStage stage;
  stage.device->hold(true);
  auto client = stage.connect();
  client->go("vol");
  client->request(Command::write, 0, 4096, 0, 1, pattern(4096, 1));
  CHECK(stage.world.run_until([&] { return stage.device->operations_waiting() == 1; }, 1s));
  bool removed = false;
  stage.server->remove_export("vol", [&] { removed = true; });
  CHECK(client->wait_closed());
  auto next = stage.connect();
  next->greet();
  next->option(nbd::Option::go, NbdClient::info_query("vol"));
  CHECK(next->answer().type == nbd::OptionReply::error_unknown);
  CHECK_FALSE(removed);
  stage.device->hold(false);
  CHECK(stage.world.run_until([&] { return removed; }, 1s));
  bool unknown = false;
  stage.server->remove_export("vol", [&] { unknown = true; });
  CHECK(stage.world.run_until([&] { return unknown; }, 1s));
}

TEST_CASE("two connections changing parts of one block lose nothing") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    NbdStage stage(seed);
    auto one = stage.connect(), two = stage.connect();
    one->go("vol");
    two->go("vol");
    std::vector<std::byte> first, second;
    for (uint32_t i = 0; i < 8; ++i) {
      const auto even = NbdClient::request_bytes(Command::write, i * 512, 256, 0, 77,
                                                 std::vector(256, std::byte{1}));
      const auto odd = NbdClient::request_bytes(Command::write, i * 512 + 256, 256, 0, 77,
                                                std::vector(256, std::byte{2}));
      first.insert(first.end(), even.begin(), even.end());
      second.insert(second.end(), odd.begin(), odd.end());
    }
    one->send(first);
    two->send(second);
    for (int i = 0; i < 8; ++i) {
      CHECK(one->simple() == 0);
      CHECK(two->simple() == 0);
    }
    one->request(Command::read, 0, 4096);
    CHECK(one->simple() == 0);
    const auto data = one->take(4096);
    for (size_t i = 0; i < 4096; ++i) REQUIRE(data[i] == std::byte(i / 256 % 2 == 0 ? 1 : 2));
  }
}

TEST_CASE("a volume that grew or shrank is served at its new size") {
  NbdStage stage;
  auto client = stage.connect();
  client->go("vol");
  stage.device->set_size(128 << 20);
  client->request(Command::read, 100 << 20, 4096);
  CHECK(client->simple() == 0);
  client->take(4096);
  stage.device->set_size(1 << 20);
  client->request(Command::read, 100 << 20, 4096);
  CHECK(client->simple() == number_of(Errno::invalid));
  auto next = stage.connect();
  next->go("vol");
  CHECK(next->size_bytes == 1u << 20);
}

TEST_CASE("an export whose device is gone with operations under way is dropped at once") {
  NbdStage stage;
  stage.device->hold(true);
  auto client = stage.connect();
  client->go("vol");
  client->request(Command::read, 5, 8 << 20, 0, 2);
  client->request(Command::write, 5, 4096, 0, 1, pattern(4096, 1));
  CHECK(stage.world.run_until([&] { return stage.device->operations_waiting() == 12; }, 1s));
  stage.device.reset();
  stage.server->drop_export("vol");
  CHECK(client->wait_closed());
  stage.device = std::make_unique<client::MemoryDevice>(stage.host.host(), 1 << 20);
  REQUIRE(stage.server->add_export({"vol", "", false, stage.device.get()}).ok());
  auto next = stage.connect();
  next->go("vol");
  CHECK(next->size_bytes == 1u << 20);
}
