#include "serve/context.h"

namespace sp::serve {

bool Context::holds(DiskId id) const {
  const auto service = map().services.find(self.service);
  if (service == map().services.end() || !service->second.up ||
      service->second.start_id != self.start_id)
    return false;
  const auto disk = map().disks.find(id);
  return disk != map().disks.end() && disk->second.up && disk->second.server == self.service;
}

Place Context::place(DiskId id) {
  Place place;
  place.disk = id;
  place.local = disk(id);
  if (place.local != nullptr) {
    place.server = self.service;
  } else if (const auto row = map().disks.find(id); row != map().disks.end()) {
    place.server = row->second.server;
  }
  return place;
}

}  // namespace sp::serve
