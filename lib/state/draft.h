// Draft: the map while one command is being applied. Rows are changed in place; the row as it was
// is kept, so that a refused command leaves nothing behind and an accepted one yields exactly the
// rows that differ, with the change of the content hash. Invariant: every change of the map goes
// through `edit` or `erase`.
#pragma once
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "map/field_codec.h"
#include "map/rows.h"

namespace sp::state {

class Draft {
 public:
  using VolumeNames = std::map<std::string, VolumeId, std::less<>>;

  Draft(map::Map& map, const VolumeNames& names) : map_(map), names_(names) {}

  const map::Map& map() const { return map_; }
  // The volume of this name before the command, or 0. (Map::find_volume looks through all of them.)
  VolumeId volume_named(std::string_view name) const {
    const auto found = names_.find(name);
    return found == names_.end() ? 0 : found->second;
  }

  template <class Row>
  const Row* find(const typename map::Rows<Row>::Key& key) const {
    const auto& rows = map::Rows<Row>::in(std::as_const(map_));
    const auto found = rows.find(key);
    return found == rows.end() ? nullptr : &found->second;
  }
  // The row to change; a new one when there is none (the caller sets its key fields).
  template <class Row>
  Row& edit(const typename map::Rows<Row>::Key& key) {
    remember<Row>(key);
    return map::Rows<Row>::in(map_)[key];
  }
  template <class Row>
  void erase(const typename map::Rows<Row>::Key& key) {
    remember<Row>(key);
    map::Rows<Row>::in(map_).erase(key);
  }
  map::Cluster& edit_cluster() {
    if (!cluster_) cluster_ = map_.cluster;
    return map_.cluster;
  }

  void roll_back() {
    if (cluster_) map_.cluster = *cluster_;
    map::for_each_row_type([&]<class Row>(std::type_identity<Row>) {
      for (auto& [key, row] : before<Row>()) {
        if (row)
          map::Rows<Row>::in(map_)[key] = std::move(*row);
        else
          map::Rows<Row>::in(map_).erase(key);
      }
    });
  }

  // The rows that differ, in the order of table and key; hash_change is what the content hash grows
  // by (wrapping).
  std::vector<map::Change> changes(uint64_t& hash_change) const {
    std::vector<map::Change> out;
    hash_change = 0;
    const auto add = [&](const map::Change& old, map::Change now) {
      if (old.row == now.row) return;
      hash_change += map::row_hash(now) - map::row_hash(old);
      out.push_back(std::move(now));
    };
    if (cluster_) add(map::to_change(*cluster_), map::to_change(map_.cluster));
    map::for_each_row_type([&]<class Row>(std::type_identity<Row>) {
      for (const auto& [key, row] : before<Row>()) {
        const Row* now = find<Row>(key);
        add(row ? map::to_change(*row) : map::to_removal<Row>(key),
            now ? map::to_change(*now) : map::to_removal<Row>(key));
      }
    });
    return out;
  }

 private:
  template <class Row>
  using Before = std::map<typename map::Rows<Row>::Key, std::optional<Row>>;
  // A struct per row type: several have the same key type.
  template <class Row>
  struct Slot {
    Before<Row> rows;
  };

  template <class Row>
  Before<Row>& before() {
    return std::get<Slot<Row>>(before_).rows;
  }
  template <class Row>
  const Before<Row>& before() const {
    return std::get<Slot<Row>>(before_).rows;
  }
  template <class Row>
  void remember(const typename map::Rows<Row>::Key& key) {
    auto& rows = before<Row>();
    if (rows.contains(key)) return;
    const Row* row = find<Row>(key);
    rows.emplace(key, row ? std::optional<Row>(*row) : std::nullopt);
  }

  map::Map& map_;
  const VolumeNames& names_;
  std::optional<map::Cluster> cluster_;
  std::tuple<Slot<map::Node>, Slot<map::Service>, Slot<map::Disk>, Slot<map::PlacementGroup>,
             Slot<map::Template>, Slot<map::AllocationGroup>, Slot<map::DiskSet>, Slot<map::Volume>,
             Slot<map::Attachment>, Slot<map::KeyValueBucket>, Slot<map::RemovedNode>,
             Slot<map::Layer>, Slot<map::Lineage>, Slot<map::Cut>>
      before_;
};

}  // namespace sp::state
