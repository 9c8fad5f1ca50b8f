// Snapshots through the API: when they count as taken, who may be called what, and who deletes
// them.
#include <doctest/doctest.h>

#include <algorithm>

#include "api/snapshot_names.h"
#include "checks.h"

using namespace sp;
using namespace sp::api;
using namespace sp::api::test;
using namespace std::chrono_literals;

namespace {

using Answer = std::shared_ptr<std::optional<Response>>;

std::string error_name(const Answer& answer) {
  REQUIRE(answer->has_value());
  return (*parse_json((*answer)->body))["error"]["name"].text_or_empty();
}

std::vector<std::string> names_in(const Value& list) {
  std::vector<std::string> names;
  for (const Value& row : list.elements()) names.push_back(row["name"].text_or_empty());
  return names;
}

Value described(Bench& bench, const std::string& call) {
  const Value list = bench.data("GET", call);
  REQUIRE(list.elements().size() == 1);
  return list.elements()[0];
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a snapshot is answered with success only when its cut was closed as taken") {
  Bench bench;
  bench.member.cuts = FakeMember::Cuts::left_open;
  const Answer answer = bench.start("POST", "VolumeSnapshot/alpha", R"({"name":"db@monday"})");
  bench.world.run_for(5s);
  CHECK_FALSE(answer->has_value());
  CHECK(bench.data("GET", "SnapshotsList").elements().empty());
  CHECK(bench.data("GET", "VolumesGetStatus")["db@monday"].is_null());
  CHECK(bench.error("GET", "Snapshot/db@monday") == "tryAgain");
  CHECK(bench.error("POST", "VolumeCreate", R"({"name":"c","parent":"db@monday"})") == "tryAgain");

  const VolumeId id = bench.member.named("db@monday");
  bench.member.command(map::CloseCut{id, true}, [](Result<uint64_t>) {});
  bench.settle();
  REQUIRE(answer->has_value());
  const Value data = (*parse_json((*answer)->body))["data"];
  CHECK(data["snapshotVisibleVolumeId"].integer_or_zero() == id);
  CHECK(data["autoName"].is_null());
  CHECK(names_in(bench.data("GET", "SnapshotsList")) == Names{"db@monday"});
}

TEST_CASE("a snapshot whose cut was given up is an error that says what to do") {
  Bench bench;
  bench.member.cuts = FakeMember::Cuts::given_up;
  const Response response = bench.call("POST", "VolumeSnapshot/alpha", R"({"name":"s"})");
  CHECK(response.status == 503);
  CHECK(mentions(response, "\"transient\":true"));
  CHECK(mentions(response, "cannot write just now ('sp-status' says which); nothing has changed"));
  CHECK(bench.error("GET", "Snapshot/s") == "objectDoesNotExist");
  bench.member.cuts = FakeMember::Cuts::taken;
  CHECK(bench.data("POST", "VolumeSnapshot/alpha", R"({"name":"s"})")["ok"].boolean_or_false());
}

TEST_CASE("a cut that nobody closes ends in an answer that says where to look") {
  Bench bench;
  bench.member.cuts = FakeMember::Cuts::left_open;
  const Answer answer = bench.start("POST", "VolumeSnapshot/alpha");
  bench.world.run_for(9s);
  CHECK_FALSE(answer->has_value());
  bench.world.run_for(2s);
  REQUIRE(answer->has_value());
  CHECK(error_name(answer) == "timeout");
  CHECK(mentions(**answer, "not known"));
  CHECK(mentions(**answer, "sp-snap list"));
}

TEST_CASE("a service that is replaced while a snapshot is taken does not say that it was") {
  Bench bench;
  bench.member.cuts = FakeMember::Cuts::left_open;
  const Answer answer = bench.start("POST", "VolumeSnapshot/alpha", R"({"name":"s"})");
  bench.settle();
  bench.member.row.cluster.active_mgmt = ServiceId{ServiceKind::mgmt, 3, 1};
  bench.member.command(map::CloseCut{bench.member.named("s"), true}, [](Result<uint64_t>) {});
  bench.settle();
  CHECK(error_name(answer) == "tryAgain");
}

TEST_CASE("a snapshot that could not be waited for is not begun") {
  Bench bench;
  std::vector<Answer> answers;
  for (uint32_t i = 0; i < limits::api_waits_max; ++i)
    answers.push_back(
        bench.start("POST", "VolumesReassignWait", R"({"reassign":[{"volume":"beta","rw":[3]}]})"));
  bench.settle();
  const size_t before = bench.member.commands.size();
  CHECK(bench.error("POST", "VolumeSnapshot/alpha") == "tooManyRequests");
  CHECK(bench.member.commands.size() == before);
}

TEST_CASE("a snapshot without a name gets one of its volume and of the time, never twice") {
  Bench bench;
  const Value first = bench.data("POST", "VolumeSnapshot/alpha"),
              group = bench.data("POST", "VolumesGroupSnapshot",
                                 R"({"volumes":[{"volume":"alpha"},{"volume":"beta"}]})");
  const std::string name = first["autoName"].text_or_empty();
  CHECK(name.starts_with("alpha@"));
  CHECK(is_made_name(name));
  CHECK(described(bench, "Snapshot/" + name)["autoName"].boolean_or_false());
  const auto& made = group["snapshots"].elements();
  REQUIRE(made.size() == 2);
  CHECK(is_made_name(made[0]["snapshot"].text_or_empty()));
  CHECK(made[0]["snapshot"].text_or_empty() != name);
  CHECK(made[1]["snapshot"].text_or_empty().starts_with("beta@"));
  CHECK(made[1]["volume"].text_or_empty() == "beta");
}

TEST_CASE("made names tell the time in UTC and step aside for those that are taken") {
  const map::Map map = sample_map();
  const map::Volume& alpha = map.volumes.at(1);
  CHECK(made_name(map, alpha, 1'700'000'000'123, {}) == "alpha@20231114-221320.123");
  CHECK(made_name(map, alpha, 1'700'000'000'123, {"alpha@20231114-221320.123"}) ==
        "alpha@20231114-221320.124");
  map::Volume other = alpha;
  other.name = "#" + std::string(199, 'x');
  const std::string cut = made_name(map, other, 0, {});
  CHECK(cut.starts_with("xxx"));
  CHECK(cut.size() < limits::name_bytes_max);
  CHECK(is_made_name(cut));
  other.name.clear();
  CHECK_FALSE(made_name(map, other, 0, {}).starts_with("~"));
  for (const char* name : {"", "@20231114-221320.123", "db@monday", "db@20231114-221320-123"})
    CHECK_FALSE(is_made_name(name));
}

TEST_CASE("a group is one cut, with the tags of the group and of each volume") {
  Bench bench;
  bench.data("POST", "VolumesGroupSnapshot", R"({"tags":{"job":"7","a":"x"},"deleteAfter":60,
      "volumes":[{"volume":"alpha","name":"a@1","tags":{"a":"y"}},{"volume":"beta","name":"b@1"}]})");
  const auto& open = last_command<map::OpenCut>(bench);
  REQUIRE(open.items.size() == 2);
  CHECK(open.items[0].tags == std::map<std::string, std::string>{{"job", "7"}, {"a", "y"}});
  CHECK(open.items[1].tags == std::map<std::string, std::string>{{"job", "7"}, {"a", "x"}});
  CHECK(open.items[1].delete_at_s >= 60);
  CHECK(bench.error("POST", "VolumesGroupSnapshot", R"({"volumes":[]})") == "invalidParam");
  CHECK(bench.error("POST", "VolumesGroupSnapshot", R"({"volumes":[{"volume":"none"}]})") ==
        "objectDoesNotExist");
  CHECK(bench.error("POST", "VolumesGroupSnapshot",
                    R"({"volumes":[{"volume":"beta","name":"a/b"}]})") == "invalidParam");
}

TEST_CASE("calls for volumes say of a snapshot that it is one, and the other way round") {
  Bench bench;
  bench.data("POST", "VolumeSnapshot/alpha", R"({"name":"snap"})");
  CHECK(names_in(bench.data("GET", "VolumesList")) == Names{"alpha", "beta"});
  CHECK(names_in(bench.data("GET", "SnapshotsList")) == Names{"snap"});
  const std::string id = described(bench, "Snapshot/snap")["globalId"].text_or_empty();
  const size_t before = bench.member.commands.size();
  for (const std::string& name : {std::string("snap"), "~" + id}) {
    for (const auto& [method, call, json] : {std::tuple{"GET", "Volume/", ""},
                                             {"GET", "VolumeDescribe/", ""},
                                             {"POST", "VolumeDelete/", ""},
                                             {"POST", "VolumeUpdate/", R"({"rename":"x"})"},
                                             {"POST", "VolumeSnapshot/", ""}}) {
      const Response response = bench.call(method, call + name, json);
      CHECK(response.status == 404);
      CHECK(mentions(response, "is a snapshot"));
    }
  }
  for (const auto& [method, call, json] :
       {std::tuple{"GET", "Snapshot/alpha", ""},
        {"POST", "SnapshotDelete/alpha", ""},
        {"POST", "SnapshotUpdate/alpha", R"({"rename":"x"})"},
        {"POST", "VolumeRevert/beta", R"({"toSnapshot":"alpha"})"},
        {"POST", "VolumeCreate", R"({"name":"x","parent":"alpha"})"}}) {
    const Response response = bench.call(method, call, json);
    CHECK(response.status == 404);
    CHECK(mentions(response, "is a volume"));
  }
  CHECK(bench.member.commands.size() == before);
  CHECK(described(bench, "Snapshot/~" + id)["name"].text_or_empty() == "snap");
}

TEST_CASE("a snapshot tells of its volume, a clone of its snapshot") {
  Bench bench;
  bench.data("POST", "VolumeSnapshot/alpha", R"({"name":"one"})");
  bench.data("POST", "VolumeSnapshot/alpha", R"({"name":"two"})");
  bench.data("POST", "VolumeSnapshot/beta", R"({"name":"other"})");
  bench.data("POST", "VolumeCreate", R"({"name":"clone","parent":"one"})");
  CHECK(described(bench, "Snapshot/two")["onVolume"].text_or_empty() == "alpha");
  CHECK(described(bench, "Snapshot/two")["parentName"].text_or_empty() == "one");
  CHECK(described(bench, "Snapshot/one")["parentName"].text_or_empty() == "");
  CHECK(described(bench, "Volume/alpha")["parentName"].text_or_empty() == "two");
  CHECK(described(bench, "Volume/clone")["parentName"].text_or_empty() == "one");
  CHECK(names_in(bench.data("GET", "VolumeListSnapshots/alpha")) == Names{"one", "two"});
  bench.data("POST", "SnapshotDelete/two");
  CHECK(described(bench, "Volume/alpha")["parentName"].text_or_empty() == "one");
  bench.data("POST", "VolumesReassign", R"([{"volume":"alpha","detach":"all","force":true}])");
  bench.data("POST", "VolumeDelete/alpha");
  CHECK(described(bench, "Snapshot/one")["onVolume"].text_or_empty().starts_with("~"));
}

TEST_CASE("a volume is made of a snapshot, and follows its policy") {
  Bench bench;
  bench.data("POST", "VolumeSnapshot/beta", R"({"name":"snap"})");
  CHECK(bench
            .data("POST", "VolumeCreate",
                  R"({"name":"c1","parent":"snap","size":8192,"template":"t3","iops":7})")["name"]
            .text_or_empty() == "c1");
  const auto& clone = last_command<map::CloneVolume>(bench);
  CHECK(clone.snapshot == bench.member.named("snap"));
  CHECK(clone.size_bytes == 8192);
  CHECK(clone.limits.iops == 7);
  const Value unnamed = bench.data("POST", "VolumeCreate", R"({"parent":"snap"})");
  CHECK(unnamed["name"].text_or_empty() == "~" + unnamed["globalId"].text_or_empty());
  bench.member.row.templates["other"] = {.name = "other", .place_all = "ssd", .group = 2};
  for (const char* json :
       {R"({"name":"c2","parent":"snap","template":"other"})",
        R"({"name":"c2","parent":"snap","replication":1})",
        R"({"name":"c2","parent":"snap","iops":"-"})",
        R"({"name":"c2","parent":"snap","baseOn":"alpha"})", R"({"name":"c2","parent":"s n a p"})"})
    CHECK(bench.error("POST", "VolumeCreate", json) == "invalidParam");
  bench.data("POST", "VolumeSnapshot/alpha", R"({"name":"big"})");
  const Response small = bench.call("POST", "VolumeCreate", R"({"parent":"big","size":4096})");
  CHECK(small.status == 400);
  CHECK(mentions(small, "at least that of 'big'"));
}

TEST_CASE("a volume based on another is made of a snapshot that goes by itself") {
  Bench bench;
  const Value made = bench.data("POST", "VolumeCreate", R"({"name":"copy","baseOn":"alpha"})");
  CHECK(made["name"].text_or_empty() == "copy");
  const std::string between = made["autoName"].text_or_empty();
  CHECK(described(bench, "Volume/copy")["parentName"].text_or_empty() == between);
  CHECK(described(bench, "Snapshot/" + between)["targetDeleteDate"].integer_or_zero() > 0);
  bench.world.run_for(11min);
  CHECK(bench.error("GET", "Snapshot/" + between) == "objectDoesNotExist");
  CHECK(bench.data("GET", "Volume/copy").elements().size() == 1);

  const size_t before = bench.member.commands.size();
  CHECK(bench.error("POST", "VolumeCreate", R"({"name":"copy","baseOn":"alpha"})") ==
        "objectExists");
  CHECK(bench.member.commands.size() == before);
  bench.member.cuts = FakeMember::Cuts::given_up;
  CHECK(bench.error("POST", "VolumeCreate", R"({"name":"copy2","baseOn":"alpha"})") == "tryAgain");
  CHECK(bench.member.named("copy2") == 0);
}

TEST_CASE("a snapshot changes its name, its tags and its time, and nothing else") {
  Bench bench;
  bench.data("POST", "VolumeSnapshot/alpha", R"({"name":"snap"})");
  const VolumeId id = bench.member.named("snap");
  bench.data("POST", "SnapshotUpdate/snap",
             R"({"rename":"db@tuesday","tags":{"k":"v"},"deleteAfter":100})");
  CHECK(bench.member.row.volumes.at(id).name == "db@tuesday");
  CHECK(bench.member.row.volumes.at(id).tags.at("k") == "v");
  CHECK(bench.member.row.lineages.at(id).delete_at_s > 0);
  bench.data("POST", "SnapshotUpdate/db@tuesday", R"({"deleteAfter":0})");
  CHECK(bench.member.row.lineages.at(id).delete_at_s == 0);
  bench.data("POST", "SnapshotUpdate/db@tuesday", R"({"targetDeleteDate":9999999999})");
  CHECK(bench.member.row.lineages.at(id).delete_at_s == 9'999'999'999);
  const size_t before = bench.member.commands.size();
  for (const char* json :
       {R"({"iops":5})", R"({"bw":"-"})", R"({"template":"other"})", R"({"bind":true})",
        R"({"size":4096})", R"({"deleteAfter":1,"targetDeleteDate":9999999999})",
        R"({"targetDeleteDate":1})"})
    CHECK(bench.error("POST", "SnapshotUpdate/db@tuesday", json) == "invalidParam");
  CHECK(bench.member.commands.size() == before);
}

TEST_CASE("going back to a snapshot, and deleting one, are answered when every server knows") {
  Bench bench;
  bench.data("POST", "VolumeSnapshot/beta", R"({"name":"snap"})");
  bench.member.hold_confirms = true;
  for (const auto& [call, json] :
       {std::pair{"VolumeRevert/beta", R"({"toSnapshot":"snap"})"}, {"SnapshotDelete/snap", ""}}) {
    const Answer answer = bench.start("POST", call, json);
    bench.settle();
    CHECK_FALSE(answer->has_value());
    bench.member.release();
    bench.settle();
    REQUIRE(answer->has_value());
    CHECK((*answer)->status == 200);
  }
  CHECK(bench.error("POST", "VolumeRevert/beta") == "invalidParam");
}

TEST_CASE("a snapshot is attached for reading only, and attachments show that it is one") {
  Bench bench;
  bench.data("POST", "VolumeSnapshot/beta", R"({"name":"snap"})");
  bench.data("POST", "VolumesReassign", R"([{"snapshot":"snap","ro":[1]}])");
  const Value list = bench.data("GET", "AttachmentsList");
  const auto at =
      std::find_if(list.elements().begin(), list.elements().end(),
                   [](const Value& row) { return row["volume"].text_or_empty() == "snap"; });
  REQUIRE(at != list.elements().end());
  CHECK((*at)["snapshot"].boolean_or_false());
  CHECK((*at)["rights"].text_or_empty() == "ro");
  CHECK_FALSE(list.elements()[0]["snapshot"].boolean_or_false());
  CHECK(bench.error("POST", "VolumesReassign", R"([{"snapshot":"snap","rw":[1]}])") ==
        "invalidParam");
  CHECK(bench.error("POST", "VolumesReassign",
                    R"([{"snapshot":"snap","volume":"beta","ro":[1]}])") == "invalidParam");
  const Response wrong = bench.call("POST", "VolumesReassign", R"([{"volume":"snap","rw":[1]}])");
  CHECK(wrong.status == 404);
  CHECK(mentions(wrong, "attach it read-only"));
}

TEST_CASE("counts of volumes leave snapshots out and name them apart") {
  Bench bench;
  bench.data("POST", "VolumeSnapshot/beta");
  const Value status = bench.data("GET", "SpStatus")["volumes"],
              templates = bench.data("GET", "VolumeTemplatesStatus").elements()[0];
  CHECK(status["all"].integer_or_zero() == 2);
  CHECK(status["snapshots"].integer_or_zero() == 1);
  CHECK(templates["volumesCount"].integer_or_zero() == 2);
  CHECK(templates["snapshotsCount"].integer_or_zero() == 1);
  CHECK(templates["volumesSize"].integer_or_zero() == (1ll << 30) + 4096);
}

TEST_CASE("the active service deletes a snapshot once its time has come, and no other one does") {
  Bench bench;
  bench.data("POST", "VolumeSnapshot/beta", R"({"name":"short","deleteAfter":60})");
  bench.data("POST", "VolumeSnapshot/beta", R"({"name":"long","deleteAfter":600})");
  bench.data("POST", "VolumeSnapshot/beta", R"({"name":"kept"})");
  bench.world.run_for(50s);
  CHECK(bench.member.named("short") != 0);
  bench.member.row.cluster.active_mgmt = ServiceId{ServiceKind::mgmt, 3, 1};
  bench.world.run_for(30s);
  CHECK(bench.member.named("short") != 0);
  bench.member.row.cluster.active_mgmt = ServiceId{ServiceKind::mgmt, 1, 1};
  bench.world.run_for(5s);
  CHECK(bench.member.named("short") == 0);
  CHECK(bench.member.named("long") != 0);
  bench.data("POST", "SnapshotUpdate/long", R"({"deleteAfter":0})");
  bench.world.run_for(1h);
  CHECK(bench.member.named("long") != 0);
  CHECK(bench.member.named("kept") != 0);
}

TEST_CASE("an attached snapshot whose time has come goes after it was detached") {
  Bench bench;
  bench.data("POST", "VolumeSnapshot/beta", R"({"name":"snap","deleteAfter":10})");
  bench.data("POST", "VolumesReassign", R"([{"snapshot":"snap","ro":[1]}])");
  const size_t before = bench.member.commands.size();
  bench.world.run_for(60s);
  CHECK(bench.member.commands.size() == before);
  bench.data("POST", "VolumesReassign", R"([{"snapshot":"snap","detach":"all","force":true}])");
  bench.world.run_for(5s);
  CHECK(bench.member.named("snap") == 0);
}

TEST_CASE("a deletion that finds no leader is tried again") {
  Bench bench;
  bench.data("POST", "VolumeSnapshot/beta", R"({"name":"snap","deleteAfter":10})");
  bench.member.refuse_next = Error(Code::unreachable, "no leader");
  bench.world.run_for(60s);
  CHECK(bench.member.named("snap") == 0);
}

TEST_CASE("a deletion under way is not proposed twice, and the snapshot is not kept any more") {
  Bench bench;
  bench.data("POST", "VolumeSnapshot/beta", R"({"name":"snap","deleteAfter":10})");
  const size_t before = bench.member.commands.size();
  bench.member.hold_commands = true;
  bench.world.run_for(60s);
  CHECK(bench.member.commands.size() == before + 1);
  CHECK(bench.error("POST", "SnapshotUpdate/snap", R"({"deleteAfter":0})") == "operationRefused");
  bench.member.hold_commands = false;
  bench.member.release();
  CHECK(bench.member.named("snap") == 0);
}
