#include <doctest/doctest.h>

#include "api/errors.h"
#include "checks.h"

using namespace sp;
using namespace sp::api;
using namespace sp::api::test;
using namespace std::chrono_literals;

TEST_CASE("a request without the right token learns nothing, not even which calls there are") {
  Bench bench;
  for (const char* token : {"", "secret-toke", "secret-tokeN", "secret-token2"}) {
    for (const char* path : {"VolumesList", "NoSuchCall", "/elsewhere"}) {
      const Response response = bench.call("GET", path, "", token);
      CHECK(response.status == 401);
      CHECK(mentions(response, "notAuthorized"));
    }
  }
  CHECK(bench.call("POST", "VolumeDelete/alpha", "", "wrong").status == 401);
  CHECK(bench.member.commands.empty());
}

TEST_CASE("an Api without a token of its own lets nobody in") {
  Bench bench;
  bench.api = Api::make(bench.host.host(), bench.member, {{ServiceKind::mgmt, 1, 1}, "", 7});
  CHECK(bench.call("GET", "VolumesList", "", "").status == 401);
}

TEST_CASE("an inactive management service names the active one") {
  Bench bench;
  bench.member.row.cluster.active_mgmt = ServiceId{ServiceKind::mgmt, 3, 1};
  for (const auto& [method, path] : {std::pair<const char*, const char*>{"GET", "VolumesList"},
                                     {"POST", "VolumeDelete/alpha"}}) {
    const Response response = bench.call(method, path);
    CHECK(response.status == 503);
    const Value error = (*parse_json(response.body))["error"];
    CHECK(error["name"].text_or_empty() == "notActive");
    CHECK(error["transient"].boolean_or_false());
    CHECK(error["active"].text_or_empty() == "10.0.0.3:81");
  }
  CHECK(bench.member.commands.empty());
  CHECK(bench.call("GET", "ServersListBlocked").status == 200);
}

TEST_CASE("an active management service whose lease has ended answers like one without quorum") {
  Bench bench;
  bench.member.has_lease = false;
  CHECK(bench.error("GET", "VolumesList") == "noQuorum");
  CHECK(bench.error("POST", "VolumeDelete/alpha") == "noQuorum");
  bench.member.has_lease = true;
  bench.member.row.cluster.active_mgmt.reset();
  CHECK(bench.error("GET", "VolumesList") == "noQuorum");
  bench.member.has_lease = bench.member.is_connected = false;
  CHECK(bench.data("GET", "ServersListBlocked")["clusterStatus"].text_or_empty() == "down");
  const Value status = bench.data("GET", "SpStatus");
  CHECK(status["severity"].text_or_empty() == "critical");
  CHECK_FALSE(status["cluster"]["quorum"].boolean_or_false());
}

TEST_CASE("paths that are no calls, and calls by the wrong method, are told apart") {
  Bench bench;
  CHECK(bench.error("GET", "VolumesLis") == "noSuchCall");
  CHECK(bench.error("GET", "") == "noSuchCall");
  CHECK(bench.error("GET", "VolumesList/") == "noSuchCall");
  CHECK(bench.error("GET", "Volume/") == "noSuchCall");
  CHECK(bench.error("GET", "/ctrl/2.0/VolumesList") == "noSuchCall");
  CHECK(bench.error("POST", "VolumesList") == "wrongMethod");
  CHECK(bench.error("GET", "VolumeCreate") == "wrongMethod");
  CHECK(bench.error("GET", "RemoteCommand/other/VolumesList") == "notSupported");
  CHECK(bench.error("GET", "MultiCluster/VolumesList") == "notSupported");
}

TEST_CASE("hostile JSON is refused by name of the fault") {
  Bench bench;
  const std::string deep(100'000, '['), wide = "{\"name\":\"" + std::string(9u << 20, 'x') + "\"}";
  for (const std::string& json :
       {deep, wide, std::string("{"), std::string("{\"name\":\"a\",\"name\":\"b\"}"),
        std::string("{\"name\":\"\xff\"}"), std::string("\0", 1), std::string("[1e999999]"),
        std::string("{\"a\":nul}"), std::string("{}{}")}) {
    CAPTURE(json.substr(0, 40));
    CHECK(bench.error("POST", "VolumeCreate", json) == "invalidParam");
  }
  for (const char* json :
       {"[]", "3", "\"x\"", "{\"name\":7}", "{\"name\":[]}",
        "{\"name\":\"a\",\"template\":\"t3\",\"size\":-4096}",
        "{\"name\":\"a\",\"template\":\"t3\",\"size\":1e30}",
        "{\"name\":\"a\",\"template\":\"t3\",\"size\":4097}",
        "{\"name\":\"a/b\",\"template\":\"t3\",\"size\":4096}",
        "{\"name\":\"list\",\"template\":\"t3\",\"size\":4096}",
        "{\"name\":\"~x.b.1\",\"template\":\"t3\",\"size\":4096}",
        "{\"name\":\"a\",\"template\":\"t3\",\"size\":4096,\"sise\":1}",
        "{\"name\":\"a\",\"template\":\"t3\",\"size\":4096,\"tags\":{\"a\":1}}",
        "{\"name\":\"a\",\"size\":4096}", "{\"name\":\"a\",\"template\":\"nope\",\"size\":4096}",
        "{\"name\":\"a\",\"template\":\"t3\"}",
        "{\"name\":\"a\",\"template\":\"t3\",\"size\":4096,\"iops\":0}"}) {
    CAPTURE(json);
    CHECK(bench.error("POST", "VolumeCreate", json) == "invalidParam");
  }
  CHECK(bench.member.commands.empty());
}

TEST_CASE("all faults of a request are reported at once") {
  Bench bench;
  const Response response =
      bench.call("POST", "VolumeCreate", R"({"name":"a b","size":5,"iops":"many","colour":"red"})");
  for (const char* part :
       {"a b", "size must be", "iops must be", "colour is not a member", "template is missing"})
    CHECK_MESSAGE(mentions(response, part), part);
}

TEST_CASE("a volume goes by its name or its global id") {
  Bench bench;
  const std::string id =
      bench.data("GET", "Volume/alpha").elements()[0]["globalId"].text_or_empty();
  CHECK(bench.data("GET", "Volume/~" + id).elements()[0]["name"].text_or_empty() == "alpha");
  CHECK(bench.error("GET", "Volume/~" + id + "0") == "objectDoesNotExist");
  CHECK(bench.error("GET", "Volume/~other.b.1") == "objectDoesNotExist");
  CHECK(bench.error("GET", "Volume/~" + id.substr(0, id.rfind('.')) + ".zzzz") ==
        "objectDoesNotExist");
  CHECK(bench.error("GET", "Volume/gamma") == "objectDoesNotExist");
  CHECK(bench.error("GET", "Volume/a%20b") == "invalidParam");
}

TEST_CASE("creating a volume fills in from its template and tells the id of what it made") {
  Bench bench;
  bench.member.row.templates["t3"].size_bytes = 1 << 20;
  bench.member.row.templates["t3"].limits = {.iops = 100, .bytes_per_second = 200};
  const Value made = bench.data("POST", "VolumeCreate", R"({"template":"t3","iops":5})");
  CHECK(made["name"].text_or_empty() == "~" + made["globalId"].text_or_empty());
  const auto& create = last_command<map::CreateVolume>(bench);
  CHECK(create.size_bytes == 1 << 20);
  CHECK(create.limits.iops == 5);
  CHECK(create.limits.bytes_per_second == 200);
  CHECK(bench
            .data("POST", "VolumeCreate",
                  R"({"name":"x","placeAll":"ssd","replication":3,"size":4096})")["name"]
            .text_or_empty() == "x");
  CHECK(last_command<map::CreateVolume>(bench).template_name == "t3");
  CHECK(bench.error("POST", "VolumeCreate",
                    R"({"name":"y","placeAll":"ssd","replication":2,"size":4096})") ==
        "invalidParam");
  CHECK(bench.error("POST", "VolumeCreate", R"({"name":"x","template":"t3","size":4096})") ==
        "objectExists");
}

TEST_CASE("a change that concerns the data path is answered when every server has it in force") {
  Bench bench;
  bench.member.hold_confirms = true;
  for (const auto& [path, json] :
       {std::pair<const char*, const char*>{"VolumeUpdate/alpha", R"({"sizeAdd":4096})"},
        {"VolumesReassign", R"([{"volume":"beta","rw":[1]}])"},
        {"VolumesReassign", R"([{"volume":"beta","detach":[1],"force":true}])"},
        {"VolumeDelete/beta", ""}}) {
    const std::string shown = path;
    CAPTURE(shown);
    const size_t before = bench.member.confirmed.size();
    const auto answer = bench.start("POST", path, json);
    bench.settle();
    CHECK_FALSE(answer->has_value());
    REQUIRE(bench.member.confirmed.size() == before + 1);
    CHECK(bench.member.confirmed.back() == bench.member.row.index);
    bench.member.release();
    bench.settle();
    REQUIRE(answer->has_value());
    CHECK((*answer)->status == 200);
  }
  bench.member.hold_confirms = false;
  bench.member.confirm_result = Error(Code::timed_out, "server 2 on node 3 does not answer");
  const Response response = bench.call("POST", "VolumeUpdate/alpha", R"({"sizeAdd":4096})");
  CHECK(response.status == 504);
  CHECK(mentions(response, "the change is agreed"));
  CHECK(mentions(response, "server 2 on node 3"));
}

TEST_CASE("two additions to a size at once both count") {
  Bench bench;
  bench.member.hold_commands = true;
  const auto one = bench.start("POST", "VolumeUpdate/beta", R"({"sizeAdd":4096})"),
             two = bench.start("POST", "VolumeUpdate/beta", R"({"sizeAdd":8192})");
  bench.settle();
  CHECK(bench.member.commands.size() == 1);
  bench.member.release();
  bench.settle();
  bench.member.release();
  bench.settle();
  CHECK((*one)->status == 200);
  CHECK((*two)->status == 200);
  CHECK(bench.member.row.volumes.at(2).size_bytes == 4 * 4096);
}

TEST_CASE("a refused change lets the next one have its turn") {
  Bench bench;
  CHECK(bench.error("POST", "VolumeUpdate/beta", R"({"size":1})") == "invalidParam");
  CHECK(bench.error("POST", "VolumeUpdate/alpha", R"({"size":4096})") == "operationRefused");
  bench.member.refuse_next = Error(Code::transient, "no leader");
  const Response response = bench.call("POST", "VolumeUpdate/alpha", R"({"rename":"omega"})");
  CHECK(response.status == 503);
  CHECK(mentions(response, "\"transient\":true"));
  CHECK(bench.data("POST", "VolumeUpdate/alpha", R"({"size":4096,"shrinkOk":true})")["ok"]
            .boolean_or_false());
}

TEST_CASE("errors of the system keep their kind") {
  Bench bench;
  const std::tuple<Code, const char*, int> kinds[] = {{Code::not_found, "objectDoesNotExist", 404},
                                                      {Code::exists, "objectExists", 409},
                                                      {Code::refused, "operationRefused", 409},
                                                      {Code::unreachable, "noQuorum", 503},
                                                      {Code::no_space, "noSpace", 507},
                                                      {Code::stale, "versionMismatch", 409}};
  for (const auto& [code, name, status] : kinds) {
    bench.member.refuse_next = Error(code, "because");
    const Response response = bench.call("POST", "VolumeDelete/beta");
    CHECK(response.status == status);
    CHECK((*parse_json(response.body))["error"]["name"].text_or_empty() == name);
    CHECK(error_kind(name)->code == code);
  }
}

TEST_CASE("waiting for an attachment ends when the client has it") {
  Bench bench;
  const auto answer =
      bench.start("POST", "VolumesReassignWait",
                  R"({"reassign":[{"volume":"beta","rw":[3]}],"attachTimeout":60})");
  bench.world.run_for(30s);
  CHECK_FALSE(answer->has_value());
  bench.member.row.attachments.at({2, 3}).state = map::AttachmentState::ready;
  bench.api->map_changed();
  bench.settle();
  REQUIRE(answer->has_value());
  CHECK((*answer)->status == 200);
}

TEST_CASE("waiting for an attachment times out and says who is missing") {
  Bench bench;
  bench.member.row.services.at({ServiceKind::client, 3, 1}).up = false;
  const auto answer = bench.start("POST", "VolumesReassignWait",
                                  R"({"reassign":[{"volume":"beta","rw":[3]}],"attachTimeout":5})");
  bench.world.run_for(4900ms);
  CHECK_FALSE(answer->has_value());
  bench.world.run_for(200ms);
  REQUIRE(answer->has_value());
  CHECK((*answer)->status == 504);
  CHECK(mentions(**answer, "whose sp-block does not run"));
}

TEST_CASE(
    "waiting for a detach ends when the client let go, and a volume taken away meanwhile is no "
    "success") {
  Bench bench;
  const auto detach = bench.start("POST", "VolumesReassignWait",
                                  R"({"reassign":[{"volume":"alpha","detach":[2]}]})");
  const auto attach =
      bench.start("POST", "VolumesReassignWait", R"({"reassign":[{"volume":"beta","rw":[3]}]})");
  bench.settle();
  CHECK_FALSE(detach->has_value());
  bench.member.row.attachments.clear();
  bench.api->map_changed();
  bench.settle();
  REQUIRE(detach->has_value());
  CHECK((*detach)->status == 200);
  REQUIRE(attach->has_value());
  CHECK(mentions(**attach, "operationRefused"));
}

TEST_CASE("reassignments that contradict themselves are refused whole") {
  Bench bench;
  for (const char* json :
       {"{}", "[]", "[3]", R"([{"rw":[1]}])", R"([{"volume":"beta","rw":[1],"ro":[1]}])",
        R"([{"volume":"beta","rw":[0]}])", R"([{"volume":"beta","rw":[9]}])",
        R"([{"volume":"beta","rw":"all"}])",
        R"([{"volume":"beta","rw":[1]},{"volume":"beta","ro":[2]}])",
        R"([{"volume":"beta","rw":[1],"force":true},{"volume":"alpha","detach":"all"}])"}) {
    CAPTURE(json);
    CHECK(bench.error("POST", "VolumesReassign", json) == "invalidParam");
  }
  CHECK(bench.error("POST", "VolumesReassign",
                    R"([{"volume":"beta","rw":[1]},{"volume":"gone","rw":[1]}])") ==
        "objectDoesNotExist");
  CHECK(bench.error("POST", "VolumesReassign", R"([{"snapshot":"s","ro":[1]}])") ==
        "objectDoesNotExist");
  CHECK(bench.member.commands.empty());
}

TEST_CASE("requests beyond the bounds are told to try again") {
  Bench bench;
  bench.member.hold_commands = true;
  std::vector<std::shared_ptr<std::optional<Response>>> answers;
  for (uint32_t i = 0; i < limits::api_requests_in_flight_max + 5; ++i)
    answers.push_back(bench.start("POST", "VolumeDelete/beta"));
  bench.settle();
  size_t refused = 0;
  for (const auto& answer : answers)
    refused += answer->has_value() && mentions(**answer, "tooManyRequests");
  CHECK(refused == 5);
  for (uint32_t i = 0; i < limits::api_requests_in_flight_max; ++i) bench.member.release();
  bench.settle();
  for (const auto& answer : answers) CHECK(answer->has_value());
  bench.member.hold_commands = false;
  CHECK(bench.call("GET", "VolumesList").status == 200);
}

TEST_CASE("waits beyond their bound leave room for other requests") {
  Bench bench;
  std::vector<std::shared_ptr<std::optional<Response>>> answers;
  for (uint32_t i = 0; i < limits::api_waits_max + 1; ++i)
    answers.push_back(
        bench.start("POST", "VolumesReassignWait", R"({"reassign":[{"volume":"beta","rw":[3]}]})"));
  bench.settle();
  size_t refused = 0;
  for (const auto& answer : answers)
    refused += answer->has_value() && mentions(**answer, "tooManyRequests");
  CHECK(refused == 1);
  CHECK(bench.call("GET", "VolumesList").status == 200);
}

TEST_CASE("an Api that ends with requests in every stage drops them quietly") {
  Bench bench;
  bench.member.hold_commands = true;
  const auto waits_for_command = bench.start("POST", "VolumeDelete/beta"),
             in_turn = bench.start("POST", "VolumeUpdate/beta", R"({"sizeAdd":4096})"),
             queued = bench.start("POST", "VolumeUpdate/beta", R"({"sizeAdd":4096})");
  bench.settle();
  bench.member.hold_commands = false;
  const auto waits_for_client =
      bench.start("POST", "VolumesReassignWait", R"({"reassign":[{"volume":"beta","rw":[3]}]})");
  bench.settle();
  const auto not_begun = bench.start("GET", "VolumesList");
  bench.member.changed = nullptr;
  bench.api.reset();
  bench.member.release();
  bench.member.release();
  bench.settle();
  for (const auto& answer : {waits_for_command, in_turn, queued, waits_for_client, not_begun})
    CHECK_FALSE(answer->has_value());
}

TEST_CASE("the key-value store compares and sets") {
  Bench bench;
  CHECK(
      bench.data("POST", "KV/Set/conf", R"({"set":{"a":"","b":"x y\n"},"runIfVersionIs":4})")["ok"]
          .boolean_or_false());
  CHECK(bench.error("POST", "KV/Set/conf", R"({"set":{"a":"1"},"runIfVersionIs":4})") ==
        "versionMismatch");
  const Value pairs = bench.data("GET", "KV/List/conf")["pairs"];
  CHECK(pairs["a"].is_null());
  CHECK(pairs["b"].text_or_empty() == "x y\n");
  CHECK(bench.error("GET", "KV/Get/conf/a") == "objectDoesNotExist");
  CHECK(bench.error("GET", "KV/List/none") == "objectDoesNotExist");
  CHECK(bench.error("POST", "KV/Create/conf") == "objectExists");
  CHECK(bench.error("POST", "KV/Set/conf",
                    R"({"set":{"big":")" + std::string(2u << 20, 'x') + "\"}}") == "invalidParam");
}

TEST_CASE("the summary of health says what is wrong and how badly") {
  Bench bench;
  CHECK(bench.data("GET", "SpStatus")["severity"].text_or_empty() == "ok");
  bench.member.row.sets.at({1, 0}).acting.pop_back();
  Value status = bench.data("GET", "SpStatus");
  CHECK(status["severity"].text_or_empty() == "warning");
  CHECK(status["sets"]["degraded"].integer_or_zero() == 1);
  bench.member.report_list = {
      {.service = {ServiceKind::server, 1, 1},
       .report = {.disks = {{.disk = 100, .blocks_total = 100, .blocks_used = 98}},
                  .sets = {{.set = {1, 0},
                            .writes_waiting = 7,
                            .waits_for = "min_copies: disks 200, 300 are missing"}}}}};
  status = bench.data("GET", "SpStatus");
  CHECK(status["severity"].text_or_empty() == "critical");
  CHECK(status["waiting"].elements()[0]["for"].text_or_empty() ==
        "min_copies: disks 200, 300 are missing");
  bool full = false;
  for (const Value& warning : status["warnings"].elements())
    full = full || warning["text"].text_or_empty() == "disk 100 is 98 % full";
  CHECK(full);
}

TEST_CASE("who is not the active one any more does not say that a change was made") {
  Bench bench;
  bench.member.hold_commands = true;
  const auto answer = bench.start("POST", "KV/Create/fresh");
  bench.settle();
  bench.member.row.cluster.active_mgmt = ServiceId{ServiceKind::mgmt, 3, 1};
  bench.member.release();
  bench.settle();
  REQUIRE(answer->has_value());
  CHECK((*parse_json((*answer)->body))["error"]["name"].text_or_empty() == "tryAgain");
}

// Whoever was asked next did not know of it yet (sp-sim seed 110017504).
TEST_CASE("who is not the active one any more does not say why a change was refused") {
  for (const bool active : {true, false}) {
    Bench bench;
    bench.member.hold_commands = true;
    bench.member.refuse_next = Error(Code::stale, "bucket 'conf' is at version 4, not 77");
    const auto answer =
        bench.start("POST", "KV/Set/conf", R"({"set":{"k":"1"},"runIfVersionIs":77})");
    bench.settle();
    if (!active) bench.member.row.cluster.active_mgmt = ServiceId{ServiceKind::mgmt, 3, 1};
    bench.member.release();
    bench.settle();
    REQUIRE(answer->has_value());
    CHECK((*parse_json((*answer)->body))["error"]["name"].text_or_empty() ==
          (active ? "versionMismatch" : "tryAgain"));
  }
}

TEST_CASE("what was looked up is not told after the lease is over") {
  Bench bench;
  const auto answer = bench.start("GET", "DisksList");
  REQUIRE(bench.world.step());  // it has asked for the reports
  bench.member.has_lease = false;
  bench.settle();
  REQUIRE(answer->has_value());
  CHECK((*answer)->status == 503);
}

TEST_CASE("a map of the time before this start of the service is too old to answer from") {
  Bench bench;
  bench.member.row.services.at({ServiceKind::mgmt, 1, 1}).start_id = 5;
  CHECK(bench.error("GET", "VolumesList") == "noQuorum");
  CHECK(bench.error("POST", "VolumeDelete/alpha") == "noQuorum");
}
