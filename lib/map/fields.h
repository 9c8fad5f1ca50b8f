// The fields of every row type and command part, as one list each: the codec, the content hash and
// the SQLite columns are made from it. A field list is part of the format: fields are only
// appended, together with a new feature level.
//
// A visitor is called as v("column", field) for each field and v.hex("column", field) for random
// 64-bit numbers, which people read in hexadecimal.
#pragma once
#include <concepts>
#include <type_traits>

#include "map/map.h"

namespace sp::map {

template <class R, class Row>
concept SameRow = std::same_as<std::remove_const_t<R>, Row>;

template <class V, SameRow<Limits> R>
void fields(V& v, R& row) {
  v("iops", row.iops);
  v("bytes_per_second", row.bytes_per_second);
}

template <class V, SameRow<Cluster> R>
void fields(V& v, R& row) {
  v.hex("id", row.id);
  v("name", row.name);
  v("feature_level", row.feature_level);
  v("incarnation", row.incarnation);
  v("volume_last", row.volume_last);
  v("group_last", row.group_last);
  v("generation_last", row.generation_last);
  v("active_mgmt", row.active_mgmt);
}

template <class V, SameRow<Node> R>
void fields(V& v, R& row) {
  v("id", row.id);
  v("name", row.name);
  v("fault_set", row.fault_set);
  v("voting", row.voting);
  v("up", row.up);
  v("address", row.address);
}

template <class V, SameRow<Service> R>
void fields(V& v, R& row) {
  v("id", row.id);
  v("up", row.up);
  v.hex("start_id", row.start_id);
  v("address", row.address);
  v("version", row.version);
  v("started_ms", row.started_ms);
}

template <class V, SameRow<Disk> R>
void fields(V& v, R& row) {
  v("id", row.id);
  v("server", row.server);
  v("up", row.up);
  v("failure", row.failure);
  v.hex("uuid", row.uuid);
  v("capacity_bytes", row.capacity_bytes);
  v("device", row.device);
  v("model", row.model);
  v("serial", row.serial);
  v("description", row.description);
  v("solid_state", row.solid_state);
}

template <class V, SameRow<PlacementGroup> R>
void fields(V& v, R& row) {
  v("name", row.name);
  v("disks", row.disks);
}

template <class V, SameRow<Template> R>
void fields(V& v, R& row) {
  v("name", row.name);
  v("copies", row.copies);
  v("min_copies", row.min_copies);
  v("place_all", row.place_all);
  v("place_tail", row.place_tail);
  v("place_head", row.place_head);
  v("size_bytes", row.size_bytes);
  fields(v, row.limits);
  v("allocation_group", row.group);
}

template <class V, SameRow<AllocationGroup> R>
void fields(V& v, R& row) {
  v("id", row.id);
  v("template_name", row.template_name);
  v("set_count", row.set_count);
  v("copies", row.copies);
  v("min_copies", row.min_copies);
  v("warning", row.warning);
}

template <class V, SameRow<DiskSet> R>
void fields(V& v, R& row) {
  v("allocation_group", row.id.group);
  v("set_index", row.id.index);
  v("epoch", row.epoch);
  v("revision", row.revision);
  v("activated", row.activated);
  v("acting", row.acting);
  v("recovering", row.recovering);
  v("base", row.base);
  v("target", row.target);
}

template <class V, SameRow<Volume> R>
void fields(V& v, R& row) {
  v("id", row.id);
  v("name", row.name);
  v("size_bytes", row.size_bytes);
  v("template_name", row.template_name);
  v("allocation_group", row.group);
  v("root", row.root);
  v("created_ms", row.created_ms);
  fields(v, row.limits);
  v("tags", row.tags);
}

template <class V, SameRow<Attachment> R>
void fields(V& v, R& row) {
  v("volume", row.volume);
  v("client", row.client);
  v("rights", row.rights);
  v("state", row.state);
  v("generation", row.generation);
  v("position", row.position);
  v("device", row.device);
}

template <class V, SameRow<KeyValueBucket> R>
void fields(V& v, R& row) {
  v("name", row.name);
  v("version", row.version);
  v("pairs", row.pairs);
}

}  // namespace sp::map
