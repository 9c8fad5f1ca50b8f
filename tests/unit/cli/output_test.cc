#include "cli/output.h"

#include <doctest/doctest.h>

#include "cli/exit_code.h"

using namespace sp;
using namespace sp::cli;

namespace {

Table sample() {
  Table table({{"name", "NAME"}, {"size", "SIZE"}, {"count", "COUNT"}, {"up", "UP"}});
  table.add({std::string("alpha"), Bytes64{3ull << 29}, uint64_t{7}, true});
  table.add({std::string("a\tb\n\"\\"), Bytes64{0}, int64_t{-12}, false});
  return table;
}

OutputOptions as(Format format) {
  OutputOptions output;
  output.format = format;
  return output;
}

}  // namespace

TEST_CASE("a table is aligned for people") {
  CHECK(sample().format(as(Format::table)) ==
        "NAME       SIZE  COUNT  UP\n"
        "alpha   1.5 GiB      7  yes\n"
        "a?b?\"\\      0 B    -12  no\n");
  auto exact = as(Format::table);
  exact.exact = exact.no_header = true;
  CHECK(sample().format(exact) ==
        "alpha   1610612736    7  yes\n"
        "a?b?\"\\           0  -12  no\n");
}

TEST_CASE("tab-separated text has exact sizes and one line a row whatever the texts hold") {
  CHECK(sample().format(as(Format::tsv)) ==
        "name\tsize\tcount\tup\n"
        "alpha\t1610612736\t7\tyes\n"
        "a\\tb\\n\"\\\\\t0\t-12\tno\n");
}

TEST_CASE("JSON has typed values and stays valid whatever the texts hold") {
  CHECK(sample().format(as(Format::json)) ==
        "[\n{\"name\":\"alpha\",\"size\":1610612736,\"count\":7,\"up\":true},\n"
        "{\"name\":\"a\\u0009b\\u000a\\\"\\\\\",\"size\":0,\"count\":-12,\"up\":false}\n]\n");
  CHECK(json_quoted("gr\xc3\xbc\xc3\x9f") == "\"gr\xc3\xbc\xc3\x9f\"");
  CHECK(json_quoted("\xff\xc3(\xed\xa0\x80") == "\"\\ufffd\\ufffd(\\ufffd\\ufffd\\ufffd\"");
  CHECK(Table(std::vector<Column>{{"a", "A"}}).format(as(Format::json)) == "[]\n");
}

TEST_CASE("each kind of failure has the exit code that sp(7) promises") {
  CHECK(exit_code(Code::failed) == 1);
  CHECK(exit_code(Code::invalid) == 2);
  CHECK(exit_code(Code::not_found) == 3);
  CHECK(exit_code(Code::transient) == 4);
  CHECK(exit_code(Code::refused) == 5);
  CHECK(exit_code(Code::timed_out) == 6);
  CHECK(exit_code(Code::unreachable) == 7);
  CHECK(exit_code(Code::not_authorised) == 8);
  CHECK(exit_code(Code::damaged) == 9);
  CHECK(exit_code(Code::interrupted) == 130);
}
