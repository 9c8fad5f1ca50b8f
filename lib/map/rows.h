// The row types seen generically: one description per row type of its table, key and place in the
// Map, beside its list of fields (map/fields.h).
#pragma once
#include <utility>
#include <variant>

#include "map/fields.h"

namespace sp::map {

// Rows<Row>: table number, name of the SQL table, how many leading fields are the key, and where
// the rows are.
template <class Row>
struct Rows;

template <>
struct Rows<Cluster> {
  using Key = std::monostate;
  static constexpr Table table = Table::cluster;
  static constexpr const char* name = "cluster";
  static constexpr int key_columns = 1;
  static Key key(const Cluster&) { return {}; }
};

#define SP_ROWS(ROW, KEY, TABLE, MEMBER, KEY_COLUMNS, KEY_EXPRESSION)          \
  template <>                                                                  \
  struct Rows<ROW> {                                                           \
    using Key = KEY;                                                           \
    static constexpr Table table = TABLE;                                      \
    static constexpr const char* name = #MEMBER;                               \
    static constexpr int key_columns = KEY_COLUMNS;                            \
    static Key key(const ROW& row) { return KEY_EXPRESSION; }                  \
    static std::map<Key, ROW>& in(Map& map) { return map.MEMBER; }             \
    static const std::map<Key, ROW>& in(const Map& map) { return map.MEMBER; } \
  };
using AttachmentKey = std::pair<VolumeId, ClientId>;
SP_ROWS(Node, NodeId, Table::node, nodes, 1, row.id)
SP_ROWS(Service, ServiceId, Table::service, services, 1, row.id)
SP_ROWS(Disk, DiskId, Table::disk, disks, 1, row.id)
SP_ROWS(PlacementGroup, std::string, Table::placement_group, placement_groups, 1, row.name)
SP_ROWS(Template, std::string, Table::template_, templates, 1, row.name)
SP_ROWS(AllocationGroup, GroupId, Table::group, groups, 1, row.id)
SP_ROWS(DiskSet, SetId, Table::set, sets, 2, row.id)
SP_ROWS(Volume, VolumeId, Table::volume, volumes, 1, row.id)
SP_ROWS(Attachment, AttachmentKey, Table::attachment, attachments, 2,
        AttachmentKey(row.volume, row.client))
SP_ROWS(KeyValueBucket, std::string, Table::bucket, buckets, 1, row.name)
SP_ROWS(RemovedNode, NodeId, Table::removed_node, removed_nodes, 1, row.id)
SP_ROWS(Layer, VolumeId, Table::layer, layers, 1, row.id)
SP_ROWS(Lineage, VolumeId, Table::lineage, lineages, 1, row.volume)
SP_ROWS(Cut, VolumeId, Table::cut, cuts, 1, row.id)
#undef SP_ROWS

// Calls f(std::type_identity<Row>{}) for every row type that is kept in a std::map, in the order of
// Table. Cluster is not among them.
template <class F>
void for_each_row_type(F&& f) {
  f(std::type_identity<Node>{});
  f(std::type_identity<Service>{});
  f(std::type_identity<Disk>{});
  f(std::type_identity<PlacementGroup>{});
  f(std::type_identity<Template>{});
  f(std::type_identity<AllocationGroup>{});
  f(std::type_identity<DiskSet>{});
  f(std::type_identity<Volume>{});
  f(std::type_identity<Attachment>{});
  f(std::type_identity<KeyValueBucket>{});
  f(std::type_identity<RemovedNode>{});
  f(std::type_identity<Layer>{});
  f(std::type_identity<Lineage>{});
  f(std::type_identity<Cut>{});
}

// The row as a change: how it goes over the wire and what its hash is of.
template <class Row>
Change to_change(const Row& row);  // the row as it is now
template <class Row>
Change to_removal(const typename Rows<Row>::Key& key);  // the row is gone

}  // namespace sp::map
