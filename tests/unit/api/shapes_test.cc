#include <doctest/doctest.h>

#include "fake_member.h"
#include "schema.h"

using namespace sp;
using namespace sp::api;
using namespace sp::api::test;

namespace {

// What every answer with something in it looks like; down disks and services among them.
struct Troubled : Bench {
  Troubled() {
    member.row.disks[301].up = false;
    member.row.disks[301].failure = "write error";
    member.row.disks[300].description = "naïve/description that is far too long for the API";
    member.row.services[{ServiceKind::server, 2, 1}].up = false;
    member.row.nodes[2].up = false;
    member.row.sets[{1, 0}].recovering = {201};
    member.row.sets[{1, 1}].acting = {101};
    member.row.sets[{1, 2}].activated = false;
    member.row.volumes[3] = {
        .id = 3, .size_bytes = 10ull << 30, .template_name = "t3", .group = 1, .root = 3};
    member.row.templates["sized"] = {.name = "sized",
                                     .copies = 2,
                                     .place_all = "ssd",
                                     .place_tail = "ssd",
                                     .size_bytes = 1ull << 30,
                                     .limits = {.iops = 10, .bytes_per_second = 20}};
    member.report_list = {{.service = {ServiceKind::server, 1, 1},
                           .report = {.disks = {{.disk = 100,
                                                 .blocks_total = 1000,
                                                 .blocks_used = 10,
                                                 .objects_total = 50,
                                                 .objects_used = 3}},
                                      .tasks = {{.disk = 201,
                                                 .objects_all = 9,
                                                 .objects_completed = 4,
                                                 .objects_in_flight = 2}}}}};
  }
};

}  // namespace

TEST_CASE("every answer has the shape that integrations expect") {
  for (const bool troubled : {false, true}) {
    std::unique_ptr<Bench> bench =
        troubled ? std::make_unique<Troubled>() : std::make_unique<Bench>();
    const std::pair<const char*, const char*> reads[] = {
        {"ServicesList", "ClusterStatus"},
        {"ServersList", "ClusterStatus"},
        {"ServersListBlocked", "ClusterStatus"},
        {"NetworkPeersList", "{0..65535:PeerDesc}"},
        {"TasksList", "[Task]"},
        {"DisksList", "{0..4095:UpDiskSummary|DownDiskSummary}"},
        {"ServerDisksList/1", "{0..4095:UpDiskSummary|DownDiskSummary}"},
        {"DiskDescribe/100", "Disk"},
        {"PlacementGroupsList", "{placement:PlacementGroup}"},
        {"PlacementGroupDescribe/ssd", "PlacementGroup"},
        {"FaultSetsList", "{placement:FaultSet}"},
        {"VolumeTemplatesList", "[VolumeTemplateDesc]"},
        {"VolumeTemplateDescribe/t3", "VolumeTemplateDesc"},
        {"VolumeTemplatesStatus", "[VolumeTemplateStatusDesc]"},
        {"VolumesList", "[VolumeSummary]"},
        {"Volume/alpha", "[VolumeSummary]"},
        {"VolumeDescribe/alpha", "Volume"},
        {"VolumeGetInfo/alpha", "VolumeInfo"},
        {"VolumesGetStatus", "{volume:VolumeStatus}"},
        {"VolumesGetStatusQuick", "{volume:VolumeStatusQuick}"},
        {"SnapshotsList", "[null]"},
        {"VolumeListSnapshots/alpha", "[null]"},
        {"AttachmentsList", "[AttachmentDesc]"},
        {"KV", "KeyValueBucketsList"},
        {"KV/List/conf", "KeyValueBucket"},
        {"KV/Get/conf/path/to", "KeyValueBucket"}};
    for (const auto& [call, type] : reads) {
      const std::string shown = call;
      CAPTURE(shown);
      CHECK(differs(bench->data("GET", call), type) == "");
    }
    const std::tuple<const char*, const char*, const char*> changes[] = {
        {"VolumeCreate", R"({"name":"new","template":"t3","size":4096,"tags":{"a":"b"}})",
         "ApiOkVolumeCreate"},
        {"VolumeCreate", R"({"template":"t3","size":8192})", "ApiOkVolumeCreate"},
        {"VolumeUpdate/new", R"({"sizeAdd":4096,"iops":"-","bw":100,"tags":{"a":""}})", "ApiOk"},
        {"VolumeDelete/new", "", "ApiOk"},
        {"VolumesReassign", R"([{"volume":"beta","rw":[1]}])", "ApiOk"},
        {"VolumesReassignWait",
         R"({"reassign":[{"volume":"beta","detach":"all"}],"attachTimeout":0})", "ApiOk"},
        {"VolumeSnapshot/alpha", R"({"name":"snap","tags":{"a":"b"},"deleteAfter":3600})",
         "ApiOkSnapshotCreate"},
        {"VolumeSnapshot/alpha", "", "ApiOkSnapshotCreate"},
        {"VolumesGroupSnapshot",
         R"({"tags":{"a":"b"},"volumes":[{"volume":"alpha","name":"a@1"},{"volume":"beta"}]})",
         "GroupSnapshotsResult"},
        {"SnapshotUpdate/snap", R"({"rename":"shot","tags":{"a":""},"deleteAfter":7200})", "ApiOk"},
        {"VolumeCreate", R"({"name":"clone","parent":"shot"})", "ApiOkVolumeCreate"},
        {"VolumeCreate", R"({"name":"copy","baseOn":"alpha"})", "ApiOkVolumeCreate"},
        {"VolumesReassign", R"([{"snapshot":"shot","ro":[1]}])", "ApiOk"},
        {"VolumesReassign", R"([{"snapshot":"shot","detach":"all","force":true}])", "ApiOk"},
        {"VolumeRevert/beta", R"({"toSnapshot":"shot"})", "ApiOk"},
        {"SnapshotDelete/shot", "", "ApiOk"},
        {"PlacementGroupUpdate/fresh", R"({"addDisks":[100],"rmDisks":[]})", "ApiOk"},
        {"PlacementGroupDelete/ssd", "", "ApiOk"},
        {"VolumeTemplateCreate", R"({"name":"t1","placeAll":"ssd","replication":1,"size":4096})",
         "ApiOk"},
        {"VolumeTemplateUpdate/t1", R"({"rename":"t2","iops":7})", "ApiOk"},
        {"VolumeTemplateDelete/t2", "", "ApiOk"},
        {"DiskSetDescription/100", R"({"description":"top left"})", "ApiOk"},
        {"DiskForget/301", "", "ApiOk"},
        {"KV/Create/bucket", "", "ApiOk"},
        {"KV/Set/bucket", R"({"set":{"k":"v"},"runIfVersionIs":0})", "ApiOk"},
        {"KV/Delete/bucket", "", "ApiOk"}};
    for (const auto& [call, json, type] : changes) {
      const std::string shown = call;
      CAPTURE(shown);
      CHECK(differs(bench->data("POST", call, json), type) == "");
    }
  }
}

TEST_CASE("every answer about snapshots has the shape that integrations expect") {
  Bench bench;
  bench.data("POST", "VolumeSnapshot/alpha", R"({"name":"db@monday","deleteAfter":3600})");
  bench.data("POST", "VolumeSnapshot/alpha");
  bench.data("POST", "VolumeCreate", R"({"name":"clone","parent":"db@monday"})");
  bench.data("POST", "VolumesReassign", R"([{"snapshot":"db@monday","ro":[1]}])");
  const std::pair<const char*, const char*> reads[] = {
      {"SnapshotsList", "[SnapshotSummary]"},
      {"VolumeListSnapshots/alpha", "[SnapshotSummary]"},
      {"Snapshot/db@monday", "[SnapshotSummary]"},
      {"SnapshotDescribe/db@monday", "Snapshot"},
      {"SnapshotGetInfo/db@monday", "SnapshotInfo"},
      {"VolumesGetStatus", "{snapshot:SnapshotStatus|VolumeStatus}"},
      {"VolumesGetStatusQuick", "{snapshot:SnapshotStatusQuick|VolumeStatusQuick}"},
      {"VolumesList", "[VolumeSummary]"},
      {"AttachmentsList", "[AttachmentDesc]"},
      {"VolumeTemplatesStatus", "[VolumeTemplateStatusDesc]"}};
  for (const auto& [call, type] : reads) {
    const std::string shown = call;
    CAPTURE(shown);
    CHECK(differs(bench.data("GET", call), type) == "");
  }
}

TEST_CASE("the checker of shapes sees what is wrong") {
  const auto value = [](const char* text) { return *parse_json(text); };
  CHECK(differs(value(R"({"generation":1,"ok":true})"), "ApiOk") == "");
  CHECK(differs(value(R"({"generation":"1","ok":true})"), "ApiOk") ==
        "data.generation is not of type int");
  CHECK(differs(value(R"({"ok":true})"), "ApiOk") == "data.generation is missing");
  CHECK(differs(value(R"({"generation":1,"ok":true,"more":1})"), "ApiOk") ==
        "data.more does not belong there");
  CHECK(differs(value(R"({"generation":1,"ok":false})"), "ApiOk") == "data.ok is not of type true");
  CHECK(differs(value(R"([{"name":"a","servers":[0]}])"), "[FaultSet]") ==
        "data[0].servers[0] is not of type 1..32767");
  CHECK(differs(value(R"({"70000":{}})"), "{0..65535:PeerDesc}") != "");
  CHECK(differs(value("\"up\""), "'down'|'up'") == "");
  CHECK(differs(value("\"up.\""), "'down'|'up'") != "");
}

TEST_CASE("a volume's state follows from its disk sets") {
  Bench bench;
  const auto status = [&](const char* name) { return bench.data("GET", "VolumesGetStatus")[name]; };
  CHECK(status("alpha")["status"].text_or_empty() == "up");
  CHECK_FALSE(status("alpha")["decreasedRedundancy"].boolean_or_false());
  CHECK(status("alpha")["objectsCount"].integer_or_zero() == 256);

  // beta has one object, so it lives on one set only; another set's trouble is not its own.
  const uint16_t beta = map::set_of(bench.member.row, bench.member.row.volumes.at(2), 0).index;
  map::DiskSet& other = bench.member.row.sets.at({1, static_cast<uint16_t>((beta + 1) % 4)});
  other.acting.pop_back();
  CHECK(status("alpha")["decreasedRedundancy"].boolean_or_false());
  CHECK_FALSE(status("beta")["decreasedRedundancy"].boolean_or_false());
  other.activated = false;
  CHECK(status("alpha")["status"].text_or_empty() == "up soon");
  CHECK(status("alpha")["downBytes"].integer_or_zero() == 64 * (4 << 20));
  CHECK(status("beta")["status"].text_or_empty() == "up");
  bench.member.row.disks.at(other.acting.front()).up = false;
  CHECK(status("alpha")["status"].text_or_empty() == "down");
  CHECK(status("alpha")["missingDrives"].elements().size() == 1);
}

TEST_CASE("where a volume's objects are adds up in every description") {
  Bench bench;
  const Value info = bench.data("GET", "VolumeGetInfo/alpha"),
              described = bench.data("GET", "VolumeDescribe/alpha");
  int64_t chains = 0;
  for (const Value& chain : info["objectsPerChain"].elements())
    chains += chain["count"].integer_or_zero();
  CHECK(chains == 256);
  CHECK(described["objects"].elements().size() == 256);
  std::map<std::string, int64_t> by_disk;
  for (const Value& object : described["objects"].elements()) {
    for (const Value& disk : object.elements()) ++by_disk[disk.text_or_empty()];
  }
  for (const auto& [disk, count] : info["objectsPerDisk"].members())
    CHECK(by_disk[disk] == count.integer_or_zero());
  CHECK(by_disk.size() == info["objectsPerDisk"].members().size());
}
