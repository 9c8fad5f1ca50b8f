#include "cli/identity.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/client_id.h"

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

Result<uint8_t> claim_client_instance(const Config& config, NodeId node) {
  for (uint8_t instance = 2; instance <= client_instance_max; ++instance) {
    // A name without a file: bound to by one process at a time, free when that ends.
    const std::string name = fmt::format("sp-client-{:x}-{}-{}", config.cluster_id, node, instance);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    const int claim = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (claim < 0) return Error(Code::io, fmt::format("unix socket: {}", std::strerror(errno)));
    // Kept open: the claim lasts as long as the process.
    if (::bind(claim, reinterpret_cast<const sockaddr*>(&address), size) == 0) return instance;
    ::close(claim);
  }
  return Error(Code::refused,
               fmt::format("all {} clients of this host are in use: end one, or attach by sp-block",
                           client_instance_max - 1));
}

}  // namespace sp::cli
