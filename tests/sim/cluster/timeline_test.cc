// What is said of a block when a run has failed there.
#include "sim/timeline.h"

#include <doctest/doctest.h>

#include "sim/cluster_run.h"

namespace sp::sim {
namespace {

TEST_CASE("the block of a failure is found in its words") {
  CHECK_EQ(block_of("linearizability: volume 2 block 17: seen again"), BlockKey{2, 17});
  CHECK_EQ(block_of("copies: they differ at rest: volume 1 block 5120 (set 6): disk 8 holds"),
           BlockKey{1, 5120});
  CHECK_EQ(block_of("journal: client.4.1: volume 3 block 8: the superblock is gone"),
           BlockKey{3, 8});
  CHECK_FALSE(block_of("liveness: volume 3 is not attached").has_value());
  CHECK_FALSE(block_of("lease: serve.1 and serve.2 both may serve set 3").has_value());
  REQUIRE(parse_block("2:17").ok());
  CHECK_EQ(parse_block("2:17").value(), BlockKey{2, 17});
  for (const char* wrong : {"", "2", "2:", ":3", "2:x", "2:3:4", "-1:3"})
    CHECK_FALSE(parse_block(wrong).ok());
}

TEST_CASE(
    "a timeline takes what concerns its block, and says little of reads when there are many") {
  Timeline timeline({2, 1024 + 17});  // block 17 of object 1
  timeline.take(
      "    1.000001 10.0.0.1 serve.1: write ordered volume=2 object=1 first=16 count=2 "
      "version=3:4");
  timeline.take(
      "    1.000002 10.0.0.1 serve.1: write ordered volume=2 object=1 first=18 count=2 "
      "version=3:5");
  timeline.take(
      "    1.000003 10.0.0.1 serve.1: write ordered volume=2 object=0 first=16 count=2 "
      "version=3:6");
  timeline.take(
      "    1.000004 10.0.0.1 serve.1: write ordered volume=1 object=1 first=16 count=2 "
      "version=3:7");
  timeline.take("    1.000005 10.0.9.9 tools: block is damaged volume=2 first=1041 count=1 disk=3");
  for (int i = 0; i < 100; ++i)
    timeline.take(
        "    1.000006 10.0.0.1 serve.1: read answered volume=2 object=1 first=17 count=1");
  const std::string text = timeline.text();
  CHECK(text.find("volume 2 block 1041 (object 1, block 17 of it)") != std::string::npos);
  CHECK(text.find("|     1.000001 serve.1: write ordered first=16 count=2 version=3:4\n") !=
        std::string::npos);
  CHECK(text.find("version=3:5") == std::string::npos);
  CHECK(text.find("version=3:6") == std::string::npos);
  CHECK(text.find("version=3:7") == std::string::npos);
  CHECK(text.find("block is damaged first=1041") != std::string::npos);
  CHECK_EQ(std::count(text.begin(), text.end(), '\n'), 1 + 2 + 20);
}

// All of what a failure is explained by.
TEST_CASE(
    "the timeline of a run names the write, its version, the copies, the epoch and the end of "
    "servers") {
  RunOptions options;
  options.seed = 3;
  // Few operations meet the block, so that all of it is within the last 60 events.
  for (const auto& [knob, value] : {std::pair{Knob::load, 0},
                                    {Knob::nodes, 3},
                                    {Knob::blocks, 60},
                                    {Knob::stride, 1},
                                    {Knob::length, 2},
                                    {Knob::hot_percent, 0},
                                    {Knob::think_ms, 250},
                                    {Knob::depth, 1},
                                    {Knob::reads_percent, 20},
                                    {Knob::discards_percent, 0},
                                    {Knob::zeroes_percent, 0},
                                    {Knob::w_all, 900},
                                    {Knob::interval_ms, 2000}})
    options.pins[knob] = value;
  options.faults_for = std::chrono::seconds(6);
  const ClusterRunResult before = run_cluster(options);
  options.watch = BlockKey{1, 1};
  const ClusterRunResult watched = run_cluster(options);
  CHECK_EQ(watched.failure, "");
  CHECK_EQ(watched.trace_hash, before.trace_hash);  // to look changes nothing
  CHECK(before.details.empty());
  const std::string& text = watched.details;
  CAPTURE(text);
  size_t from = 0;
  for (const char* words : {"timeline of volume 1 block 1 (object 0, block 1 of it, set ",
                            "is in epoch ", ", activated, acting disks ", "ends: its power fails"})
    CHECK(text.find(words) != std::string::npos);
  // One write, from the client to the copies and back, in order.
  for (const char* words :
       {"write of the workload begins", "write sent ", "write ordered ", "version=", "operation=",
        "write durable on copy ", "disk=", "write durable on copy ", "write durable on copy ",
        "write decided ", "write answered ", "text=ok", "write of the workload ends", "stamps="}) {
    const size_t found = text.find(words, from);
    CAPTURE(words);
    REQUIRE(found != std::string::npos);
    from = found;
  }
}

}  // namespace
}  // namespace sp::sim
