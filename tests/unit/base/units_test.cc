#include "base/units.h"

#include <doctest/doctest.h>

using namespace sp;

TEST_CASE("sizes are read as people write them") {
  CHECK(*parse_size("4096") == 4096);
  CHECK(*parse_size("4k") == 4096);
  CHECK(*parse_size("10M") == 10u << 20);
  CHECK(*parse_size("2GiB") == 2ull << 30);
  CHECK(*parse_size("1.5G") == 3ull << 29);
  CHECK(*parse_size("9007199254740993") ==
        9007199254740993ull);  // above 2^53: doubles would round it
  for (const char* wrong :
       {"", "k", "-1", "4x", "4kk", "1.0001k", "nan", "1e400", "99999999P", "0x10"})
    CHECK_MESSAGE(!parse_size(wrong).ok(), wrong);
}

TEST_CASE("durations are read as people write them") {
  CHECK(*parse_duration("50us") == std::chrono::microseconds(50));
  CHECK(*parse_duration("500ms") == std::chrono::milliseconds(500));
  CHECK(*parse_duration("10m") == std::chrono::minutes(10));
  CHECK(*parse_duration("3") == std::chrono::seconds(3));
  for (const char* wrong : {"", "ms", "-1s", "1w", "1e99d"})
    CHECK_MESSAGE(!parse_duration(wrong).ok(), wrong);
}

TEST_CASE("sizes and durations are written for people") {
  CHECK(format_size(1023) == "1023 B");
  CHECK(format_size(4096) == "4 KiB");
  CHECK(format_size(3ull << 29) == "1.5 GiB");
  CHECK(format_duration(std::chrono::milliseconds(4200)) == "4.2 s");
  CHECK(format_duration(std::chrono::seconds(190)) == "3 m 10 s");
}
