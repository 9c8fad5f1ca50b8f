#include "api/fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"

namespace sp::api {

namespace {

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

constexpr char digits32[] = "0123456789abcdefghijklmnopqrstuv";

std::string base32(uint64_t value) {
  std::string out;
  do out.insert(out.begin(), digits32[value & 31]);
  while ((value >>= 5) != 0);
  return out;
}

// False when malformed or larger than 64 bits.
bool from_base32(std::string_view text, uint64_t& value) {
  value = 0;
  if (text.empty() || text.size() > 13 || (text.size() > 1 && text.front() == '0')) return false;
  for (const char c : text) {
    const size_t digit = std::string_view(digits32).find(c);
    if (digit == std::string_view::npos || value >> 59 != 0) return false;
    value = value << 5 | digit;
  }
  return true;
}

struct NameRule {
  std::string_view what, extra, reserved;  // extra characters besides letters and digits
  size_t bytes_max;
  char in_front = 0;  // may be the first character, though it is not one of the others
};

const NameRule& rule_of(NameKind kind) {
  static constexpr NameRule volume{"volume name", "_-.:", "list status", 200, '#'},
      snapshot{"snapshot name", "_-.:@", "list status", 200, '*'},
      template_{"template name", "_-", "list", 200},
      placement{"placement group name", "_-", "list", 128},
      bucket{"bucket name", "_-.:", "", 1023, '#'}, tag{"tag name", "_-.:", "", 200};
  switch (kind) {
    case NameKind::volume: return volume;
    case NameKind::snapshot: return snapshot;
    case NameKind::template_: return template_;
    case NameKind::placement_group: return placement;
    case NameKind::bucket: return bucket;
    case NameKind::tag: return tag;
  }
  SP_UNREACHABLE();
}

}  // namespace

std::string check_name(NameKind kind, std::string_view name) {
  const NameRule& rule = rule_of(kind);
  std::string_view rest = name;
  if (rule.in_front != 0 && rest.starts_with(rule.in_front)) rest.remove_prefix(1);
  const bool good = !rest.empty() &&
                    name.size() <= std::min<size_t>(rule.bytes_max, limits::name_bytes_max) &&
                    std::all_of(rest.begin(), rest.end(), [&](char c) {
                      return is_alnum(c) || rule.extra.find(c) != std::string_view::npos;
                    });
  if (!good)
    return fmt::format("'{}' is not a {}: letters, digits and {} only, at most {} bytes",
                       name.substr(0, 64), rule.what, rule.extra,
                       std::min<size_t>(rule.bytes_max, limits::name_bytes_max));
  const bool status_too = kind == NameKind::volume || kind == NameKind::snapshot;
  if (name == "list" || (name == "status" && status_too)) {
    if (rule.reserved.find(name) != std::string_view::npos)
      return fmt::format("'{}' is reserved and cannot be a {}", name, rule.what);
  }
  return "";
}

Fields::Fields(const Value& object) : object_(object) {
  if (object.object() == nullptr && !object.is_null()) fault("the request must be a JSON object");
}

const Value* Fields::find(std::string_view key) {
  known_.emplace(key);
  const Value& value = object_[key];
  return value.is_null() ? nullptr : &value;
}

bool Fields::has(std::string_view key) { return find(key) != nullptr; }

void Fields::wrong(std::string_view key, std::string_view expected) {
  fault(fmt::format("{} must be {}", key, expected));
}

void Fields::require(std::string_view key) {
  if (!has(key)) fault(fmt::format("{} is missing", key));
}

std::optional<std::string> Fields::text(std::string_view key) {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->text() != nullptr) return *value->text();
  wrong(key, "a text");
  return std::nullopt;
}

std::optional<std::string> Fields::name(std::string_view key, NameKind kind) {
  auto value = text(key);
  if (!value) return std::nullopt;
  if (const std::string why = check_name(kind, *value); !why.empty()) {
    fault(fmt::format("{}: {}", key, why));
    return std::nullopt;
  }
  return value;
}

std::optional<uint64_t> Fields::number(std::string_view key, uint64_t min, uint64_t max) {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  const int64_t* number = value->integer();
  if (number != nullptr && *number >= 0 && static_cast<uint64_t>(*number) >= min &&
      static_cast<uint64_t>(*number) <= max)
    return *number;
  wrong(key, fmt::format("a whole number, {} to {}", min, max));
  return std::nullopt;
}

std::optional<bool> Fields::boolean(std::string_view key) {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->boolean() != nullptr) return *value->boolean();
  wrong(key, "true or false");
  return std::nullopt;
}

std::optional<uint64_t> Fields::size(std::string_view key) {
  const auto value = number(key, 1, limits::volume_bytes_max);
  if (value && *value % limits::block_bytes != 0) {
    wrong(key, fmt::format("a multiple of {} bytes", limits::block_bytes));
    return std::nullopt;
  }
  return value;
}

std::optional<uint64_t> Fields::limit(std::string_view key) {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->text() != nullptr && *value->text() == "-") return 0;
  if (value->integer() != nullptr && *value->integer() >= 1) return *value->integer();
  wrong(key, "a positive number, or \"-\" for unlimited");
  return std::nullopt;
}

std::optional<std::vector<uint16_t>> Fields::ids(std::string_view key, uint64_t max) {
  const Value* value = find(key);
  if (value == nullptr) return std::nullopt;
  std::vector<uint16_t> ids;
  bool good = value->array() != nullptr && value->array()->size() <= limits::disks_max;
  for (const Value& element : value->elements()) {
    const int64_t* id = element.integer();
    good = good && id != nullptr && *id >= 1 && static_cast<uint64_t>(*id) <= max;
    if (good) ids.push_back(static_cast<uint16_t>(*id));
  }
  if (!good) {
    wrong(key, fmt::format("a list of numbers, 1 to {}", max));
    return std::nullopt;
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

std::map<std::string, std::string> Fields::tags(std::string_view key) {
  std::map<std::string, std::string> tags;
  const Value* value = find(key);
  if (value == nullptr) return tags;
  if (value->object() == nullptr) wrong(key, "an object of texts");
  for (const auto& [name, content] : value->members()) {
    const std::string why = check_name(NameKind::tag, name);
    const std::string* text = content.text();
    const bool good =
        text != nullptr && text->size() <= limits::name_bytes_max &&
        std::all_of(text->begin(), text->end(), [](char c) {
          return is_alnum(c) || std::string_view("_-.:").find(c) != std::string_view::npos;
        });
    if (!why.empty())
      fault(fmt::format("{}: {}", key, why));
    else if (!good)
      fault(fmt::format("{}.{} must be a text of letters, digits and _-.: of at most {} bytes", key,
                        name, limits::name_bytes_max));
    else
      tags.emplace(name, *text);
  }
  return tags;
}

Status Fields::finish() {
  for (const auto& [name, value] : object_.members()) {
    if (known_.find(name) == known_.end())
      fault(fmt::format("{} is not a member of this request", name.substr(0, 64)));
  }
  if (faults_.empty()) return {};
  std::string message;
  for (size_t i = 0; i < faults_.size() && i < 20; ++i)
    message += (i == 0 ? "" : "; ") + faults_[i];
  return Error(Code::invalid, std::move(message));
}

std::string location_id(ClusterId cluster) { return base32(cluster) + ".b"; }
std::string global_id(ClusterId cluster, VolumeId volume) {
  return location_id(cluster) + "." + base32(volume);
}

namespace {

// Volumes and snapshots share their names and ids.
Result<const map::Volume*> find_row(const map::Map& map, std::string_view name, NameKind kind) {
  const std::string_view what = kind == NameKind::snapshot ? "snapshot" : "volume";
  const auto missing = [&] {
    return Error(Code::not_found, fmt::format("{} '{}' does not exist", what, name.substr(0, 200)));
  };
  if (name.starts_with('~')) {
    const std::string prefix = "~" + location_id(map.cluster.id) + ".";
    uint64_t id = 0;
    if (!name.starts_with(prefix))
      return Error(Code::not_found,
                   fmt::format("'{}' is not a {} of this cluster: its ids begin with {}",
                               name.substr(0, 200), what, prefix));
    if (!from_base32(name.substr(prefix.size()), id) || id > UINT32_MAX) return missing();
    const auto at = map.volumes.find(static_cast<VolumeId>(id));
    if (at == map.volumes.end()) return missing();
    return &at->second;
  }
  for (const auto& [id, volume] : map.volumes) {
    if (volume.name == name && !name.empty()) return &volume;
  }
  if (const std::string why = check_name(kind, name); !why.empty())
    return Error(Code::invalid, why);
  return missing();
}

}  // namespace

Result<const map::Volume*> find_volume(const map::Map& map, std::string_view name) {
  SP_TRY(const map::Volume* row, find_row(map, name, NameKind::volume));
  if (!map::is_snapshot(map, row->id)) return row;
  return Error(Code::not_found,
               fmt::format("volume '{0}' does not exist: '{0}' is a snapshot, which never changes; "
                           "attach it read-only, make a volume of it, or see sp-snap(8)",
                           name));
}

Result<const map::Volume*> find_snapshot(const map::Map& map, std::string_view name) {
  SP_TRY(const map::Volume* row, find_row(map, name, NameKind::snapshot));
  if (!map::is_snapshot(map, row->id))
    return Error(Code::not_found,
                 fmt::format("snapshot '{0}' does not exist: '{0}' is a volume; take a snapshot of "
                             "it first, or see sp-volume(8)",
                             name));
  if (map::in_open_cut(map, row->id))
    return Error(Code::transient,
                 fmt::format("snapshot '{}' is still being taken: try again", name));
  return row;
}

std::string shown_name(const map::Map& map, const map::Volume& volume) {
  return volume.name.empty() ? "~" + global_id(map.cluster.id, volume.id) : volume.name;
}

}  // namespace sp::api
