// The codec of maps and changes. A map is: a version byte, its index, the cluster row, then for
// each table a count and its rows in the order of their keys. A table that came with a feature
// level is only there from that level on, so that nobody older meets it.
#include "base/assert.h"
#include "base/checksum.h"
#include "map/command.h"
#include "map/field_codec.h"

namespace sp::map {
namespace {

constexpr uint8_t map_format = 1;

template <class Row>
constexpr uint32_t row_count_max() {
  if constexpr (std::is_same_v<Row, Node> || std::is_same_v<Row, RemovedNode>)
    return limits::nodes_max + 1;
  else if constexpr (std::is_same_v<Row, Service>)
    return limits::services_max;
  else if constexpr (std::is_same_v<Row, Disk>)
    return limits::disks_max;
  else if constexpr (std::is_same_v<Row, AllocationGroup>)
    return limits::allocation_groups_max;
  else
    return uint32_t{1} << 27;  // volumes, sets, attachments and names are bounded by the state;
                               // here by the bytes given
}

template <class Row>
bool has_table(const Map& map) {
  const bool third =
      std::is_same_v<Row, Layer> || std::is_same_v<Row, Lineage> || std::is_same_v<Row, Cut>;
  const uint32_t since = third ? 3 : std::is_same_v<Row, RemovedNode> ? 2 : 1;
  return map.cluster.feature_level >= since;
}

template <class Row>
bool decode_rows(Reader& in, std::map<typename Rows<Row>::Key, Row>& rows) {
  const uint32_t count = in.count(row_count_max<Row>());
  if (count > in.rest().size()) return false;
  Decoder decoder(in);
  for (uint32_t i = 0; i < count; ++i) {
    Row row;
    decoder.get(row);
    if (decoder.failed()) return false;
    const auto key = Rows<Row>::key(row);
    if (!rows.empty() && !(rows.rbegin()->first < key)) return false;
    rows.emplace_hint(rows.end(), key, std::move(row));
  }
  return !in.failed();
}

template <class Row>
bool apply_row(Map& map, const Change& change) {
  const auto key = decode_value<typename Rows<Row>::Key>(change.key);
  if (!key) return false;
  auto& rows = Rows<Row>::in(map);
  if (!change.row) {
    rows.erase(*key);
    return true;
  }
  auto row = decode_value<Row>(*change.row);
  if (!row || Rows<Row>::key(*row) != *key) return false;
  rows.insert_or_assign(*key, std::move(*row));
  return true;
}

}  // namespace

std::vector<std::byte> encode(const Map& map, bool with_buckets) {
  Writer out;
  Encoder encoder(out);
  out.number(map_format).number(map.index);
  encoder.put(map.cluster);
  for_each_row_type([&]<class Row>(std::type_identity<Row>) {
    if (!has_table<Row>(map)) return;
    const auto& rows = Rows<Row>::in(map);
    const bool left_out = std::is_same_v<Row, KeyValueBucket> && !with_buckets;
    out.number(static_cast<uint32_t>(left_out ? 0 : rows.size()));
    if (left_out) return;
    for (const auto& [key, row] : rows) encoder.put(row);
  });
  return std::move(out).take();
}

std::optional<Map> decode_map(Bytes bytes) {
  Reader in(bytes);
  if (in.number<uint8_t>() != map_format) return std::nullopt;
  Map map;
  map.index = in.number<uint64_t>();
  Decoder decoder(in);
  decoder.get(map.cluster);
  bool sound = !decoder.failed();
  for_each_row_type([&]<class Row>(std::type_identity<Row>) {
    sound = sound && (!has_table<Row>(map) || decode_rows<Row>(in, Rows<Row>::in(map)));
  });
  if (!sound || !in.finished()) return std::nullopt;
  return map;
}

uint32_t feature_level_of(Bytes map) {
  Reader in(map);
  if (in.number<uint8_t>() != map_format) return 0;
  (void)in.number<uint64_t>();
  Decoder decoder(in);
  Cluster cluster;
  decoder.get(cluster);
  return decoder.failed() ? 0 : cluster.feature_level;
}

void encode(Writer& writer, const Change& change) {
  writer.number(change.table).text(as_text(change.key));
  writer.number(uint8_t{change.row.has_value()});
  if (change.row) writer.text(as_text(*change.row));
}

std::optional<Change> decode_change(Reader& reader) {
  const auto take = [&reader]() -> std::vector<std::byte> {
    const Bytes bytes =
        reader.raw(reader.number<uint32_t>());  // bounded by what is left in the reader
    return {bytes.begin(), bytes.end()};
  };
  Change change;
  const auto table = reader.number<uint8_t>();
  change.table = static_cast<Table>(table);
  change.key = take();
  const auto has_row = reader.number<uint8_t>();
  if (has_row == 1) change.row = take();
  const bool known =
      table >= static_cast<uint8_t>(Table::cluster) && table <= static_cast<uint8_t>(Table::cut);
  if (reader.failed() || !known || has_row > 1) return std::nullopt;
  return change;
}

bool apply(Map& map, const Change& change) {
  if (change.table == Table::cluster) {
    if (!change.key.empty() || !change.row) return false;
    auto row = decode_value<Cluster>(*change.row);
    if (!row) return false;
    map.cluster = std::move(*row);
    return true;
  }
  bool applied = false;
  for_each_row_type([&]<class Row>(std::type_identity<Row>) {
    if (Rows<Row>::table == change.table) applied = apply_row<Row>(map, change);
  });
  return applied;
}

std::vector<Change> rows(const Map& map) {
  std::vector<Change> changes{to_change(map.cluster)};
  for_each_row_type([&]<class Row>(std::type_identity<Row>) {
    for (const auto& [key, row] : Rows<Row>::in(map)) changes.push_back(to_change(row));
  });
  return changes;
}

// A removed row has no content. The mix after the checksum, which is linear, keeps sums of related
// rows apart.
uint64_t row_hash(const Change& change) {
  if (!change.row) return 0;
  const auto key_size = static_cast<uint32_t>(change.key.size());
  uint64_t crc = crc64(struct_bytes(change.table));
  crc = crc64(struct_bytes(key_size), crc);
  crc = crc64(change.key, crc);
  return mix64(crc64(*change.row, crc));
}

}  // namespace sp::map
