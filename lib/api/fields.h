// Fields: the members of a request's JSON object, read by name with their bounds. Faults are
// collected; finish() reports all of them, and members that nobody asked for. Also the forms of
// names and of global ids (sp-api(7)).
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/value.h"
#include "map/map.h"

namespace sp::api {

enum class NameKind { volume, snapshot, template_, placement_group, bucket, tag };
// Empty when `name` is well formed, else why not.
std::string check_name(NameKind kind, std::string_view name);

class Fields {
 public:
  explicit Fields(const Value& object);

  std::optional<std::string> text(std::string_view key);
  std::optional<std::string> name(std::string_view key, NameKind kind);
  std::optional<uint64_t> number(std::string_view key, uint64_t min, uint64_t max);
  std::optional<bool> boolean(std::string_view key);
  std::optional<uint64_t> size(std::string_view key);   // bytes: whole blocks, bounded
  std::optional<uint64_t> limit(std::string_view key);  // a positive number; "-": 0, unlimited
  std::optional<std::vector<uint16_t>> ids(std::string_view key, uint64_t max);
  std::map<std::string, std::string> tags(std::string_view key);
  const Value* find(std::string_view key);  // marks it as known
  bool has(std::string_view key);           // given, and not null
  void require(std::string_view key);       // a fault unless it is given
  void fault(std::string text) { faults_.push_back(std::move(text)); }
  // Known to the API, and of no effect here when it has any of the values that the other calls give
  // as "nothing".
  void ignore(std::string_view key) { find(key); }
  Status finish();

 private:
  void wrong(std::string_view key, std::string_view expected);
  const Value& object_;
  std::set<std::string, std::less<>> known_;
  std::vector<std::string> faults_;
};

// "~location.cluster.serial": location is the cluster's id and serial the volume's, both in base 32
// (digits, then a to v), cluster is "b".
std::string location_id(ClusterId cluster);                 // "location.b"
std::string global_id(ClusterId cluster, VolumeId volume);  // without '~'
// Finds a volume by its name or "~GLOBALID". Code::not_found (also for a snapshot: the text says
// that it is one), Code::invalid.
Result<const map::Volume*> find_volume(const map::Map& map, std::string_view name);
// The same for a snapshot; Code::transient while it is being taken.
Result<const map::Volume*> find_snapshot(const map::Map& map, std::string_view name);
// The name that clients use: its name, or "~GLOBALID" when it has none.
std::string shown_name(const map::Map& map, const map::Volume& volume);

}  // namespace sp::api
