// Management services that end, stand still and take over from each other.
#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "stage.h"

namespace sp::sim {
namespace {

using namespace std::chrono_literals;
using Death = io::SimHost::Death;

ClusterSetup setup_of(uint32_t management) {
  ClusterSetup setup = one_volume();
  setup.management = management;
  return setup;
}

Management::Answer call(Cluster& cluster, Management::Call call, uint32_t tries = 30) {
  std::optional<Management::Answer> answer;
  cluster.management.call(std::move(call), tries, [&](const auto& given) { answer = given; });
  REQUIRE(cluster.world.run_until([&] { return answer.has_value(); }, 120s));
  return *answer;
}

TEST_CASE("a management service may be ended while its requests wait for agreement") {
  Cluster cluster(1, setup_of(1));
  REQUIRE_EQ(cluster.start(), "");
  auto& process = cluster.management.processes()[0];
  // Nobody can agree on anything, and the service does not know yet.
  for (auto& node : cluster.nodes) {
    if (node.id != process.node) cluster.end_beacon(node, Death::process);
  }
  uint32_t answers = 0;
  for (const char* path : {"VolumesReassign", "KV/Create/a", "VolumeCreate"}) {
    const std::string json = path == std::string("VolumeCreate")
                                 ? R"({"name":"new","template":"work","size":4096})"
                                 : R"([{"volume":"volume1","detach":"all"}])";
    cluster.management.ask(0, Management::post(path, json), 45s, [&](const auto& answer) {
      CHECK_FALSE(answer.ok());
      ++answers;
    });
  }
  cluster.world.run_for(100ms);
  CHECK_NE(process.service->waits_for(), "");
  cluster.management.end(process, Death::process);
  cluster.world.run_for(120s);
  CHECK_EQ(answers, 3);
}

TEST_CASE("without any management service reads and writes go on, and volumes are taken by force") {
  Cluster cluster(2, setup_of(2));
  REQUIRE_EQ(cluster.start(), "");
  for (auto& process : cluster.management.processes())
    cluster.management.end(process, Death::process);
  run(cluster, 1s);
  uint64_t before = cluster.operations();
  run(cluster, 5s);
  CHECK_GT(cluster.operations(), before + 100);
  cluster.end_server(cluster.nodes[1], Death::power);
  run(cluster, 3s);
  cluster.start_server(cluster.nodes[1]);
  auto* const old = cluster.holder_of(cluster.volumes[0]);
  for (auto& client : cluster.clients) {
    if (&client == old || client.up) continue;
    cluster.move_volume(cluster.volumes[0], client, false);
    break;
  }
  run(cluster, 3s);
  CHECK_NE(cluster.holder_of(cluster.volumes[0]), old);
  before = cluster.operations();
  run(cluster, 2s);
  CHECK_GT(cluster.operations(), before + 20);
}

TEST_CASE("who takes over from a management service knows everything that it had answered") {
  Cluster cluster(3, setup_of(3));
  REQUIRE_EQ(cluster.start(), "");
  for (int round = 0; round < 6; ++round) {
    const std::string bucket = "bucket" + std::to_string(round);
    const auto made = call(cluster, Management::post("KV/Create/" + bucket));
    REQUIRE_EQ(made.error, "");
    auto& active = cluster.management.processes()[made.process];
    cluster.management.end(active, round % 2 == 0 ? Death::process : Death::silent);
    const auto list = call(cluster, Management::get("KV"), 100);
    REQUIRE_EQ(list.error, "");
    CHECK_NE(list.process, made.process);
    CHECK_GE(list.generation, made.generation);
    CHECK_FALSE(list.data["buckets"][bucket].is_null());
    cluster.management.start(active);
    cluster.world.run_for(2s);
  }
}

}  // namespace
}  // namespace sp::sim
