#include "io/net.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include "base/units.h"

namespace sp::io {

namespace {

bool is_ip(int family, const std::string& text) {
  unsigned char bytes[16];
  return inet_pton(family, text.c_str(), bytes) == 1;
}

}  // namespace

std::string Address::text() const {
  if (host.starts_with('/')) return host;
  if (host.find(':') != std::string::npos) return fmt::format("[{}]:{}", host, port);
  return fmt::format("{}:{}", host, port);
}

Result<Address> Address::parse(std::string_view text) {
  if (text.starts_with('/')) return Address{std::string(text), 0};
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return Error(Code::invalid,
                 fmt::format("'{}' is no address: write IP:PORT, [IPV6]:PORT or /SOCKET", text));
  }
  Address address;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  address.host = bracketed ? host.substr(1, host.size() - 2) : host;
  if (!is_ip(bracketed ? AF_INET6 : AF_INET, address.host)) {
    return Error(Code::invalid,
                 fmt::format("'{}' in '{}' is no IP address: write 10.0.0.1:PORT or [fd00::1]:PORT",
                             host, text));
  }
  auto port = parse_number(text.substr(colon + 1), 65535);
  if (!port.ok()) {
    return Error(Code::invalid,
                 fmt::format("the port in '{}' must be a number from 0 to 65535", text));
  }
  address.port = static_cast<uint16_t>(*port);
  return address;
}

}  // namespace sp::io
