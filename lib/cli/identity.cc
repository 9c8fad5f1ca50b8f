#include "cli/identity.h"

namespace sp::cli {

Result<member::Options> member_options(io::Host& host, const Config& config, const NodeConfig& node,
                                       ServiceKind kind, uint8_t instance,
                                       const io::Address& address) {
  member::Options options;
  SP_TRY(options.key.bytes, load_key(config));
  const ServiceId id{kind, node.id, instance};
  options.self = {.cluster = config.cluster_id, .service = id, .start_id = host.random.number()};
  options.beacons = {{node.address, node.beacon_port}};  // no other one lets it register
  options.registration = {.id = id,
                          .up = true,
                          .start_id = options.self.start_id,
                          .address = address.host.empty() ? "" : address.text(),
                          .version = SP_VERSION,
                          .started_ms = host.clock.wall_ms()};
  return options;
}

}  // namespace sp::cli
