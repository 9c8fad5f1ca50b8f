#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/callback.h"
#include "base/checksum.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/result.h"

using namespace sp;

TEST_CASE("crc64 is ECMA-182 reflected: the check value of the standard") {
  CHECK(crc64(as_bytes("123456789")) == 0x995dc9bbdf1939faull);
  CHECK(crc64(as_bytes("6789"), crc64(as_bytes("12345"))) == crc64(as_bytes("123456789")));
  CHECK(crc64({}) == 0);
}

TEST_CASE("crc32c has the check value of the standard") {
  CHECK(crc32c(as_bytes("123456789")) == 0xe3069283u);
  CHECK(crc32c(as_bytes("6789"), crc32c(as_bytes("12345"))) == crc32c(as_bytes("123456789")));
}

TEST_CASE("an error gathers context from the inside out") {
  auto open = [](int n) -> Result<int> {
    if (n < 0) return Error(Code::not_found, "no such disk");
    return n;
  };
  auto use = [&](int n) -> Result<int> {
    auto opened = open(n);
    if (!opened.ok()) return std::move(opened).error().with("open disk 7");
    SP_TRY(const int again, open(n + 1));
    return *opened + again;
  };
  CHECK(*use(1) == 3);
  const auto failed = use(-1);
  CHECK(failed.error().code() == Code::not_found);
  CHECK(failed.error().message() == "open disk 7: no such disk");
}

TEST_CASE("a reader past its end fails and yields zeros") {
  Writer writer;
  writer.number<uint32_t>(7).text("abc");
  Reader reader(writer.view());
  CHECK(reader.number<uint32_t>() == 7);
  CHECK(reader.text(10) == "abc");
  CHECK(reader.finished());
  CHECK(reader.number<uint64_t>() == 0);
  CHECK(reader.failed());

  Reader limited(writer.view());
  limited.number<uint32_t>();
  CHECK(limited.text(2).empty());
  CHECK(limited.failed());
}

TEST_CASE("hex goes both ways and refuses what is not hex") {
  std::byte out[2];
  CHECK(from_hex("0aF3", out));
  CHECK(to_hex(out) == "0af3");
  CHECK(!from_hex("0a", out));
  CHECK(!from_hex("0g00", out));
}

TEST_CASE("buffers share memory between copies and are aligned") {
  Buffer a = Buffer::copy_of(as_bytes("hello"));
  Buffer b = a;
  CHECK(b.data() == a.data());
  CHECK(reinterpret_cast<uintptr_t>(a.data()) % Buffer::alignment == 0);
  a = Buffer();
  CHECK(as_text(b.bytes()) == "hello");
  CHECK(!a);
}

TEST_CASE("a callback owns what it captures and can be moved") {
  auto owned = std::make_shared<int>(5);
  Callback<int(int)> add = [owned](int n) { return *owned + n; };
  Callback<int(int)> moved = std::move(add);
  CHECK(!add);
  CHECK(moved(2) == 7);
  CHECK(owned.use_count() == 2);
  CHECK(moved.call_once(3) == 8);
  CHECK(!moved);
  CHECK(owned.use_count() == 1);
}

TEST_CASE("versions order by epoch, then sequence") {
  CHECK(Version(2, 1) > Version(1, Version::sequence_max));
  CHECK(Version(1, 5).next() == Version(1, 6));
  CHECK(Version(3, 9).epoch() == 3);
  CHECK(Version(3, 9).sequence() == 9);
  CHECK(SetId::from_packed(SetId{3, 9}.packed()) == SetId{3, 9});
}

TEST_CASE("log fields are quoted only where needed") {
  std::vector<std::string> lines;
  Log log("serve.2", LogLevel::info,
          [&](LogLevel, std::string_view line) { lines.emplace_back(line); });
  log.debug("not seen");
  log.info("set activated", {{"set", 12}, {"why", "copy \"b\" lost\n"}, {"ok", true}});
  REQUIRE(lines.size() == 1);
  CHECK(lines[0] == "serve.2: set activated set=12 why=\"copy \\\"b\\\" lost\\n\" ok=true");
}
