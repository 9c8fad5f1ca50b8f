#include "serve/context.h"

#include "base/planted.h"

namespace sp::serve {

bool Context::holds(DiskId id) const {
  const auto service = map().services.find(self.service);
  if (service == map().services.end() || !service->second.up ||
      service->second.start_id != self.start_id)
    return false;
  const auto row = map().disks.find(id);
  if (row == map().disks.end() || !row->second.up || row->second.server != self.service)
    return false;
  const auto ours = disks.find(id);
  return ours != disks.end() &&
         (ours->second->uuid == row->second.uuid || SP_PLANTED_BUG(serve_believes_disk_by_id));
}

Place Context::place(DiskId id) {
  Place place;
  place.disk = id;
  const auto row = map().disks.find(id);
  if (row == map().disks.end()) return place;
  place.server = row->second.server;
  place.uuid = row->second.uuid;
  if (place.server != self.service) return place;
  if (LocalDisk* const ours = disk(id);
      ours != nullptr && (ours->uuid == place.uuid || SP_PLANTED_BUG(serve_believes_disk_by_id)))
    place.local = ours;
  return place;
}

void Context::ask_space(DiskId id) {
  const Place to = place(id);
  if (to.local != nullptr || to.server.node == 0 || !peers.ready(to.server)) return;
  if (!space.may_ask(id, now())) return;
  peers.request(to.server, wire::MessageType::ask_space, encode(wire::AskSpace{id}), {},
                [this, id](const Result<wire::Message>& message) {
                  if (!message.ok()) return;
                  const auto reply = wire::decode<wire::AskSpaceReply>(message->body);
                  if (reply && reply->ok) space.told(id, reply->blocks_free, now());
                });
}

}  // namespace sp::serve
