#include "schema.h"

#include <algorithm>
#include <cctype>

#include "base/units.h"

namespace sp::api::test {

namespace {

constexpr std::string_view kinds[] = {
    "ApiOk;generation=int;info?=str;ok=true",
    "ApiOkVolumeCreate;autoName?=snapshot;generation=int;globalId?=gid;info?=str;name?=volume;"
    "ok=true",
    "ApiOkSnapshotCreate;autoName?=snapshot;generation=int;info?=str;ok=true;"
    "snapshotGlobalId?=gid;snapshotVisibleVolumeId?=int",
    "AttachmentDesc;client=1..4095;cluster?=str;clusterId?=lid;globalId?=gid;pos=0..1023;"
    "rights='rw'|'ro';snapshot=bool;volume=volume|snapshot",
    "Client;id=1..4095;nodeId?=0..63;startTime=null|int;status='running'|'down';version=str",
    "ClusterStatus;bridges={1..4095:null};clients={1..4095:Client};"
    "clusterStatus='running'|'waiting'|'down';iscsiTargets={1..4095:null};mgmt={1..4095:Mgmt};"
    "servers={1..32767:Server}",
    "Disk;+UpDiskSummary;objects={int:null}",
    "DownDiskSummary;description=description;generationLeft=int;id=0..4095;model=str;"
    "serial=str;serverId=1..32767;softEject='on'|'off'|'paused';ssd=bool",
    "FaultSet;name=placement;servers=[1..32767]",
    "GroupSnapshotResult;remoteId=gid;snapshot?=snapshot;snapshotGlobalId=gid;volume=volume;"
    "volumeGlobalId=gid",
    "GroupSnapshotsResult;snapshots=[GroupSnapshotResult]",
    "KeyValueBucket;name=bucket;pairs?={str:str};version=int",
    "KeyValueBucketsList;buckets={bucket:int}",
    "Mgmt;active=bool;id=1..4095;nodeId?=0..63;startTime=null|int;status='running'|'down';"
    "version=str",
    "PeerDesc;beaconStatus='NODE_DOWN'|'NODE_UP';"
    "clusterStatus='CNODE_DOWN'|'CNODE_DAMPING'|'CNODE_UP';joined=bool;networks?={0..3:null};"
    "nonVoting=bool;rdma={0..3:null}",
    "PlacementGroup;disks=[0..4095];name=placement",
    "Server;id=1..32767;missingDisks=[0..4095];nodeId?=0..63;pendingDisks=[0..4095];"
    "startTime=null|int;status='running'|'waiting'|'booting'|'down';version=str",
    "Snapshot;+SnapshotSummary;objects=[[0..4095]];targetDiskSets=[[0..4095]]",
    "SnapshotInfo;+SnapshotSummary;disksCount=int;objectsPerChain=[VolumeChainStat];"
    "objectsPerDisk={0..4095:int};objectsPerDiskSet=[VolumeChainStat]",
    "SnapshotStatus;+SnapshotMore;+VolumeStatus",
    "SnapshotStatusQuick;+SnapshotMore;+VolumeStatusQuick",
    "SnapshotMore;autoName=bool;backup?=bool;backupOfGlobalId?=gid;backupOfVisibleVolumeId?=int;"
    "bound=bool;deleted=bool;onVolume=volume;recoveringFromRemote=bool;targetDeleteDate?=int;"
    "transient=bool",
    "SnapshotSummary;+SnapshotMore;+VolumeSummary",
    "Task;allObjects=int;completedObjects=int;diskId=0..4095;dispatchedObjects=int;"
    "transactionId=int",
    "UpDiskSummary;description=description;device=str;empty=bool;entriesAllocated=int;"
    "entriesCount=int;entriesFree=int;generationLeft=-1;id=0..4095;isWbc=bool;journaled=bool;"
    "lastScrubCompleted=int;model=str;noFlush=bool;noFua=bool;noTrim=bool;"
    "objectsAllocated=int;objectsCount=int;objectsFree=int;objectsOnDiskSize=int;"
    "scrubbedBytes=int;scrubbingBW=int;scrubbingFinishAfter=int;scrubbingPaused=bool;"
    "scrubbingPausedFor=int;scrubbingStartedBefore=int;sectorsCount=int;serial=str;"
    "serverId=1..32767;softEject='on'|'off'|'paused';ssd=bool",
    "Volume;+VolumeSummary;objects=[[0..4095]];targetDiskSets=[[0..4095]]",
    "VolumeChainStat;count=int;disks=[0..4095]",
    "VolumeInfo;+VolumeSummary;disksCount=int;objectsPerChain=[VolumeChainStat];"
    "objectsPerDisk={0..4095:int};objectsPerDiskSet=[VolumeChainStat]",
    "VolumeStatus;+VolumeSummary;balancerBlocked=bool;decreasedRedundancy=bool;downBytes=int;"
    "downDrives=[0..4095];migrating=bool;missingDrives=[0..4095];"
    "missingTargetDrives=[0..4095];onDiskSize=int;snapshot=bool;softEjectingDrives=[0..4095];"
    "status='up'|'up soon'|'data lost'|'down';storedSize=int;syncingDataBytes=int;"
    "syncingMetaObjects=int;upSoonChainsCount=int",
    "VolumeStatusQuick;+VolumeSummary;balancerBlocked=bool;decreasedRedundancy=bool;"
    "downBytes=int;downDrives=[0..4095];migrating=bool;missingDrives=[0..4095];"
    "missingTargetDrives=[0..4095];snapshot=bool;softEjectingDrives=[0..4095];"
    "status='up'|'up soon'|'data lost'|'down';syncingDataBytes=int;syncingMetaObjects=int;"
    "upSoonChainsCount=int",
    "VolumeSummary;bw='-'|1..;clusterId?=lid;clusterName?=cluster;creationTimestamp=int;"
    "globalId=gid;iops='-'|1..;limitType?='total'|'perGiB';name=volume|snapshot;"
    "objectsCount=int;"
    "parentName=''|volume|snapshot;placeAll=placement;placeHead=placement;placeTail=placement;"
    "replication=1..3;reuseServer?=bool;size=size;tags?={tag:str};templateName=''|template;"
    "visibleVolumeId=int",
    "VolumeTemplateDesc;bw='-'|1..;iops='-'|1..;limitType?='total'|'perGiB';name=template;"
    "parentName=''|volume;placeAll=placement;placeHead=placement;placeTail=placement;"
    "replication='-'|1..3;reuseServer?=bool;size='-'|size",
    "VolumeTemplateSpaceEst;capacity=int;free=int;placeAll=VolumeTemplateSpaceEstEntry;"
    "placeHead=VolumeTemplateSpaceEstEntry;placeTail=VolumeTemplateSpaceEstEntry",
    "VolumeTemplateSpaceEstEntry;capacity=int;free=int",
    "VolumeTemplateStatusDesc;availablePlaceAll=int;availablePlaceHead=int;"
    "availablePlaceTail=int;capacityPlaceAll=int;capacityPlaceHead=int;capacityPlaceTail=int;"
    "name=template;onDiskSize=int;placeAll=placement;placeHead=placement;placeTail=placement;"
    "removingSnapshotsCount=int;replication='-'|1..3;size=0..0|size;snapshotsCount=int;"
    "snapshotsWithChildrenSize?=0..0|size;snapshotsWithoutChildrenSize?=0..0|size;"
    "stored=VolumeTemplateSpaceEst;storedSize=int;totalSize=0..0|size;volumesCount=int;"
    "volumesSize?=0..0|size",
};

bool only(std::string_view text, std::string_view extra) {
  return !text.empty() && text.size() <= 200 && std::all_of(text.begin(), text.end(), [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || extra.find(c) != std::string_view::npos;
  });
}

// a.b.c of lower-case letters and digits.
bool dotted(std::string_view text, int parts) {
  const bool lower = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.';
  });
  return lower && std::count(text.begin(), text.end(), '.') == parts - 1 &&
         text.find("..") == std::string_view::npos && text.front() != '.' && text.back() != '.';
}

bool volume_name(std::string_view text) {
  if (text.starts_with('~')) return dotted(text.substr(1), 3);
  if (text.starts_with('#')) text.remove_prefix(1);
  return only(text, "_-.:") && text != "list" && text != "status";
}

bool has_form(std::string_view text, std::string_view form) {
  if (form == "gid") return dotted(text, 3);
  if (form == "lid") return dotted(text, 2);
  if (form == "volume") return volume_name(text);
  if (form == "snapshot") {
    if (text.starts_with('~')) return dotted(text.substr(1), 3);
    return only(text.starts_with('*') ? text.substr(1) : text, "_-.:@") && text != "list" &&
           text != "status";
  }
  if (form == "template" || form == "placement") return only(text, "_-") && text != "list";
  if (form == "tag") return only(text, "_-.:");
  if (form == "cluster") return only(text, "_-.:") && text.size() <= 64;
  if (form == "bucket") return only(text, "_-.:#");
  if (form == "description") return text.empty() || (only(text, "_- ") && text.size() <= 30);
  return false;
}

std::string_view kind_of(std::string_view name) {
  for (const std::string_view kind : kinds) {
    if (kind.starts_with(name) && kind[name.size()] == ';') return kind.substr(name.size() + 1);
  }
  return {};
}

// Splits at `separator` outside of brackets and quotes.
std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  int depth = 0;
  bool quoted = false;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\'') quoted = !quoted;
    if (quoted) continue;
    if (text[i] == '[' || text[i] == '{') ++depth;
    if (text[i] == ']' || text[i] == '}') --depth;
    if (text[i] == separator && depth == 0) {
      parts.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  parts.push_back(text.substr(begin));
  return parts;
}

bool in_range(int64_t number, std::string_view type) {
  const size_t dots = type.find("..");
  const auto low = parse_number(type.substr(0, dots), UINT32_MAX);
  const auto high = dots + 2 == type.size() ? Result<uint64_t>(INT64_MAX)
                                            : parse_number(type.substr(dots + 2), UINT32_MAX);
  return number >= static_cast<int64_t>(*low) && number <= static_cast<int64_t>(*high);
}

bool is_range(std::string_view type) {
  return type.find("..") != std::string_view::npos &&
         std::isdigit(static_cast<unsigned char>(type[0]));
}

// A key is always a text, also where it stands for a number.
std::string key_differs(const std::string& key, std::string_view type, const std::string& where) {
  const auto number = parse_number(key, INT64_MAX);
  bool good = type == "str" || has_form(key, type);
  if (is_range(type)) good = number.ok() && in_range(static_cast<int64_t>(*number), type);
  if (type == "int") good = number.ok();
  return good ? "" : where + ": the key '" + key + "' is not a " + std::string(type);
}

std::string members_differ(const Value& value, std::string_view kind, const std::string& where,
                           std::vector<std::string>& known) {
  for (const std::string_view part : split(kind, ';')) {
    if (part.starts_with('+')) {
      const std::string other = members_differ(value, kind_of(part.substr(1)), where, known);
      if (!other.empty()) return other;
      continue;
    }
    const size_t equal = part.find('=');
    std::string name(part.substr(0, equal));
    const bool optional = name.ends_with('?');
    if (optional) name.pop_back();
    known.push_back(name);
    const bool given = std::any_of(value.members().begin(), value.members().end(),
                                   [&](const auto& member) { return member.first == name; });
    if (!given && optional) continue;
    if (!given) return where + "." + name + " is missing";
    const std::string inner = differs(value[name], part.substr(equal + 1), where + "." + name);
    if (!inner.empty()) return inner;
  }
  return "";
}

std::string object_differs(const Value& value, std::string_view kind, const std::string& where) {
  if (value.object() == nullptr) return where + " is not an object";
  std::vector<std::string> known;
  const std::string inner = members_differ(value, kind, where, known);
  if (!inner.empty()) return inner;
  for (const auto& [name, member] : value.members()) {
    if (std::find(known.begin(), known.end(), name) == known.end())
      return where + "." + name + " does not belong there";
  }
  return "";
}

std::string container_differs(const Value& value, std::string_view type, const std::string& where) {
  const std::string_view inside = type.substr(1, type.size() - 2);
  if (type.starts_with('[')) {
    if (value.array() == nullptr) return where + " is not a list";
    for (size_t i = 0; i < value.array()->size(); ++i) {
      const std::string inner =
          differs((*value.array())[i], inside, where + "[" + std::to_string(i) + "]");
      if (!inner.empty()) return inner;
    }
    return "";
  }
  if (value.object() == nullptr) return where + " is not an object";
  const auto parts = split(inside, ':');
  for (const auto& [key, member] : value.members()) {
    std::string inner = key_differs(key, parts[0], where);
    if (inner.empty()) inner = differs(member, parts[1], where + "." + key);
    if (!inner.empty()) return inner;
  }
  return "";
}

}  // namespace

std::string differs(const Value& value, std::string_view type, const std::string& where) {
  const auto alternatives = split(type, '|');
  if (alternatives.size() > 1) {
    std::string last;
    for (const std::string_view alternative : alternatives) {
      last = differs(value, alternative, where);
      if (last.empty()) return "";
    }
    return last;
  }
  if (type.starts_with('[') || type.starts_with('{')) return container_differs(value, type, where);
  if (const std::string_view kind = kind_of(type); !kind.empty())
    return object_differs(value, kind, where);
  bool good = false;
  if (type == "int")
    good = value.integer() != nullptr;
  else if (type == "bool")
    good = value.boolean() != nullptr;
  else if (type == "true")
    good = value.boolean_or_false();
  else if (type == "str")
    good = value.text() != nullptr;
  else if (type == "null")
    good = value.is_null();
  else if (type == "size")
    good = value.integer_or_zero() > 0 && value.integer_or_zero() % 512 == 0;
  else if (type == "-1")
    good = value.integer_or_zero() == -1;
  else if (type.starts_with('\''))
    good = value.text() != nullptr && *value.text() == type.substr(1, type.size() - 2);
  else if (is_range(type))
    good = value.integer() != nullptr && in_range(*value.integer(), type);
  else
    good = value.text() != nullptr && has_form(*value.text(), type);
  return good ? "" : where + " is not of type " + std::string(type);
}

}  // namespace sp::api::test
