#include "cli/options.h"

#include <doctest/doctest.h>

#include "cli/output.h"

using namespace sp;
using namespace sp::cli;

namespace {

struct Line {
  Options options{"sp-example", "An example."};
  OutputOptions output;
  std::string name;
  std::vector<std::string> tags;
  std::optional<uint64_t> size, count;
  std::chrono::milliseconds timeout{5000};
  bool force = false;

  Line() {
    output.add(options);
    options.duration("--timeout", timeout, "How long.");
    options.verb("list", "Lists.");
    auto& create = options.verb("create", "Creates.");
    create.argument("NAME", name, "Name.").size("-s,--size", size, "Size.").required();
    create.number("--count", 1, 3, count, "Copies.")
        .list("--tag", "K=V", tags, "Tag.")
        .flag("--force", force, "Force.");
  }
  std::optional<int> parse(std::vector<const char*> words) {
    words.insert(words.begin(), "sp-example");
    return options.parse(static_cast<int>(words.size()), words.data());
  }
};

}  // namespace

TEST_CASE("a line with a verb is read, options of the program on either side of it") {
  Line line;
  CHECK_FALSE(line.parse({"--timeout", "2m", "create", "vol", "-s", "10G", "--tag", "a=1",
                          "--count=2", "--tag", "b=2", "--json"})
                  .has_value());
  CHECK(line.options.chosen() == "create");
  CHECK(line.name == "vol");
  CHECK(line.size == 10ull << 30);
  CHECK(line.count == 2);
  CHECK(line.timeout == std::chrono::minutes(2));
  CHECK(line.tags == std::vector<std::string>{"a=1", "b=2"});
  CHECK(line.output.format == Format::json);
  CHECK_FALSE(line.force);
}

TEST_CASE("wrong usage is exit code 2") {
  for (const std::vector<const char*>& words :
       std::vector<std::vector<const char*>>{{},
                                             {"frobnicate"},
                                             {"list", "--nonsense"},
                                             {"create", "vol"},
                                             {"create", "-s", "1G"},
                                             {"create", "vol", "-s", "huge"},
                                             {"create", "vol", "-s", "1G", "--count", "4"},
                                             {"create", "vol", "-s", "1G", "--count", "0"},
                                             {"list", "--json", "--format=tsv"},
                                             {"list", "--format", "xml"},
                                             {"--timeout", "1500us", "list"},
                                             {"list", "create"},
                                             {"create", "", "-s", "1G"}}) {
    Line line;
    CHECK(line.parse(words) == 2);
  }
}

TEST_CASE("help and version end the program with success") {
  for (const std::vector<const char*>& words :
       std::vector<std::vector<const char*>>{{"--help"}, {"create", "--help"}, {"--version"}}) {
    Line line;
    CHECK(line.parse(words) == 0);
  }
}

TEST_CASE("checks run after conversion and an action may end the program") {
  Line line;
  line.options.check([&]() -> Status {
    return line.timeout > std::chrono::hours(1) ? Status(Error(Code::invalid, "too long"))
                                                : Status();
  });
  line.options.action([&]() -> std::optional<int> {
    return line.timeout == std::chrono::seconds(7) ? std::optional<int>(42) : std::nullopt;
  });
  CHECK(line.parse({"list", "--timeout", "2h"}) == 2);
  Line other;
  other.options.action([]() -> std::optional<int> { return 42; });
  CHECK(other.parse({"list"}) == 42);
}
