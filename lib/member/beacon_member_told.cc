// What a service is told about itself: that it may not take part, and why.
#include "member/beacon_member.h"

namespace sp::member {

void BeaconMember::on_refused(const wire::Message& message) {
  const auto body = wire::decode<wire::RegisterRefused>(message.body);
  if (!body) return drop_connection("malformed message");
  host_.log.error("the beacon does not take this service", {{"why", body->text}});
}

// Its beacon ends soon, if it has not yet.
void BeaconMember::look_for_removal() {
  const bool removed = map_.removed_nodes.count(options_.self.service.node) != 0;
  if (removed && !told_removed_)
    host_.log.error("this node was removed from the cluster",
                    {{"node", options_.self.service.node},
                     {"what to do",
                      "stop and disable its services, or bring it back with "
                      "'sp-node add'"}});
  told_removed_ = removed;
}

}  // namespace sp::member
