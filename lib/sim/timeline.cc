#include "sim/timeline.h"

#include <charconv>
#include <map>

#include "base/limits.h"

namespace sp::sim {

namespace {

constexpr size_t lines_kept = 5000;

std::optional<uint64_t> number_of(std::string_view text) {
  uint64_t value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view digits_at(std::string_view text) {
  size_t length = 0;
  while (length < text.size() && text[length] >= '0' && text[length] <= '9') ++length;
  return text.substr(0, length);
}

// The fields of a log line that are numbers.
std::map<std::string_view, uint64_t> fields_of(std::string_view line) {
  std::map<std::string_view, uint64_t> fields;
  for (size_t at = line.find('='); at != std::string_view::npos; at = line.find('=', at + 1)) {
    const size_t space = line.rfind(' ', at);
    const size_t end = line.find(' ', at);
    const auto value =
        number_of(line.substr(at + 1, end == std::string_view::npos ? end : end - at - 1));
    if (space != std::string_view::npos && value)
      fields.emplace(line.substr(space + 1, at - space - 1), *value);
  }
  return fields;
}

// Without what every line would say. A layer of the volume other than the first is said.
std::string shortened(std::string_view line, VolumeId watched) {
  const std::string own = "volume=" + std::to_string(watched);
  std::string out;
  size_t words = 0;
  for (size_t at = 0; at < line.size();) {
    size_t end = line.find(' ', at);
    if (end == std::string_view::npos) end = line.size();
    const std::string_view word = line.substr(at, end - at);
    const bool address = !word.empty() && ++words == 2;
    const bool known = word == own || word.starts_with("object=") || word.starts_with("group=") ||
                       word.starts_with("set=") || word == "disk=0" || word == "client=0" ||
                       word == "stamps=\"\"";
    if (!address && !known) {
      if (at > 0) out += ' ';
      out += word;
    }
    at = end + 1;
  }
  return out;
}

std::string disks_text(const char* name, const std::vector<DiskId>& disks) {
  if (disks.empty()) return "";
  std::string text = std::string(", ") + name;
  for (const DiskId disk : disks) text += " " + std::to_string(disk);
  return text;
}

}  // namespace

std::optional<BlockKey> block_of(std::string_view failure) {
  for (size_t at = failure.find("volume "); at != std::string_view::npos;
       at = failure.find("volume ", at + 1)) {
    const std::string_view volume = digits_at(failure.substr(at + 7));
    const std::string_view rest = failure.substr(at + 7 + volume.size());
    if (!rest.starts_with(" block ")) continue;
    const auto v = number_of(volume), block = number_of(digits_at(rest.substr(7)));
    if (v && block) return BlockKey{static_cast<VolumeId>(*v), *block};
  }
  return std::nullopt;
}

Result<BlockKey> parse_block(std::string_view text) {
  const size_t colon = text.find(':');
  const auto volume = number_of(text.substr(0, colon));
  const auto block =
      colon == std::string_view::npos ? std::nullopt : number_of(text.substr(colon + 1));
  if (!volume || !block || *volume > UINT32_MAX)
    return Error(Code::invalid, "--watch: '" + std::string(text) +
                                    "' is not a volume and a block of it, such as 2:17");
  return BlockKey{static_cast<VolumeId>(*volume), *block};
}

Timeline::Kind Timeline::kind_of(std::string_view line) const {
  const auto fields = fields_of(line);
  const auto field = [&fields](std::string_view name) -> std::optional<uint64_t> {
    const auto found = fields.find(name);
    return found == fields.end() ? std::nullopt : std::optional(found->second);
  };
  const auto around = [](bool concerns) { return concerns ? Kind::around : Kind::none; };
  if (const auto volume = field("volume")) {
    const auto id = static_cast<VolumeId>(*volume);
    const bool holes = (id & map::hole_bit) != 0;
    if (id != block_.volume && !layers_.contains(map::layer_of_holes(id))) return Kind::none;
    const auto object = field("object"), first = field("first"), count = field("count");
    if (object && *object != block_.block / limits::blocks_per_object) return Kind::none;
    if (holes) return Kind::change;
    if (!first || !count) return Kind::around;
    const uint64_t at = object ? block_.block % limits::blocks_per_object : block_.block;
    if (at < *first || at >= *first + *count) return Kind::none;
    return line.find(": read ") != std::string_view::npos ? Kind::read : Kind::change;
  }
  if (const auto set = field("set")) {
    const auto group = field("group");
    return around(set_ && *set == set_->index && (!group || *group == set_->group));
  }
  if (const auto disk = field("disk")) return around(disks_.contains(static_cast<DiskId>(*disk)));
  if (line.find("not connected") != std::string_view::npos) return Kind::none;
  if (const auto node = field("node")) return around(nodes_.contains(static_cast<NodeId>(*node)));
  return Kind::none;
}

void Timeline::take(std::string_view line) {
  if (const Kind kind = kind_of(line); kind != Kind::none)
    add(shortened(line, block_.volume), kind);
}

void Timeline::see(const map::Map& map, std::string_view time) {
  const auto volume = map.volumes.find(block_.volume);
  if (volume == map.volumes.end()) return;
  for (const VolumeId layer : map::chain_of(map, map::layer_of(map, block_.volume)))
    layers_.insert(layer);
  set_ = map::set_of(map, volume->second,
                     static_cast<uint32_t>(block_.block / limits::blocks_per_object));
  const auto found = map.sets.find(*set_);
  if (found == map.sets.end()) return;
  const map::DiskSet& row = found->second;
  if (row.revision < revision_) return;
  revision_ = row.revision;
  for (const auto* list : {&row.acting, &row.recovering, &row.target, &row.base}) {
    for (const DiskId disk : *list) {
      disks_.insert(disk);
      if (const map::Service* const server = map.server_of(disk)) nodes_.insert(server->id.node);
    }
  }
  const std::string text =
      "set " + std::to_string(set_->index) + " is in epoch " + std::to_string(row.epoch) +
      (row.activated ? ", activated" : ", not activated") + disks_text("acting disks", row.acting) +
      disks_text("recovering", row.recovering) + disks_text("base", row.base);
  if (text == row_) return;
  row_ = text;
  add(std::string(time) + " agreed: " + text, Kind::around);
}

void Timeline::add(std::string text, Kind kind) {
  ++count_;
  lines_.push_back({std::move(text), kind});
  if (lines_.size() > lines_kept) lines_.pop_front();
}

std::string Timeline::text() const {
  std::deque<const Line*> chosen;
  const bool many = lines_.size() > lines_max;
  size_t reads = 0, around = 0;
  for (auto line = lines_.rbegin(); line != lines_.rend() && chosen.size() < lines_max; ++line) {
    if (line->kind == Kind::read && ++reads > reads_max && many) continue;
    if (line->kind == Kind::around && ++around > around_max && many) continue;
    chosen.push_front(&*line);
  }
  std::string text = "  timeline of volume " + std::to_string(block_.volume) + " block " +
                     std::to_string(block_.block) + " (object " +
                     std::to_string(block_.block / limits::blocks_per_object) + ", block " +
                     std::to_string(block_.block % limits::blocks_per_object) + " of it" +
                     (set_ ? ", set " + std::to_string(set_->index) : "") + "), the last " +
                     std::to_string(chosen.size()) + " of " + std::to_string(count_) + " events:\n";
  for (const Line* line : chosen) text += "  | " + line->text + '\n';
  return text;
}

}  // namespace sp::sim
