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
