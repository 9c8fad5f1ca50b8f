// RemovedNode: a node that was taken out of the cluster on purpose. It stays out, whatever the
// sp.toml of others says, until it is added again. A row type like those in map/map.h, from feature
// level 2 on.
#pragma once
#include <concepts>
#include <string>
#include <type_traits>

#include "base/ids.h"

namespace sp::map {

struct RemovedNode {
  NodeId id = 0;
  std::string name;
  std::string address;  // of its beacon: to tell it
};

template <class V, class R>
requires std::same_as<std::remove_const_t<R>, RemovedNode>
void fields(V& v, R& row) {
  v("id", row.id);
  v("name", row.name);
  v("address", row.address);
}

}  // namespace sp::map
