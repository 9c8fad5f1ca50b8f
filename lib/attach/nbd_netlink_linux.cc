#include "attach/nbd_netlink_linux.h"

#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

#include "attach/nbd_protocol.h"
#include "base/limits.h"
#include "base/units.h"

namespace sp::attach::nbd_netlink {

namespace {

constexpr uint16_t identity_attribute =
    10;  // NBD_ATTR_BACKEND_IDENTIFIER; not in every build host's header
constexpr size_t message_bytes_max = 8192;

// A generic netlink request under construction.
class Message {
 public:
  Message(uint16_t family, uint8_t command, uint8_t version) {
    nlmsghdr header{};
    header.nlmsg_type = family;
    header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    genlmsghdr general{};
    general.cmd = command;
    general.version = version;
    writer_.insert(writer_.end(), struct_bytes(header).begin(), struct_bytes(header).end());
    const auto bytes = struct_bytes(general);
    writer_.insert(writer_.end(), bytes.begin(), bytes.end());
  }
  void attribute(uint16_t type, Bytes data) {
    const nlattr header{static_cast<uint16_t>(NLA_HDRLEN + data.size()), type};
    const auto bytes = struct_bytes(header);
    writer_.insert(writer_.end(), bytes.begin(), bytes.end());
    writer_.insert(writer_.end(), data.begin(), data.end());
    writer_.resize(NLMSG_ALIGN(writer_.size()));
  }
  template <class T>
  void number(uint16_t type, T value) {
    attribute(type, struct_bytes(value));
  }
  void text(uint16_t type, const std::string& value) {
    attribute(type, std::as_bytes(std::span(value.c_str(), value.size() + 1)));
  }
  // NBD_ATTR_SOCKETS { NBD_SOCK_ITEM { NBD_SOCK_FD } }
  void socket(const Fd& fd) {
    struct {
      nlattr item, fd;
      uint32_t number;
    } nested{{sizeof nested, NBD_SOCK_ITEM | NLA_F_NESTED},
             {NLA_HDRLEN + 4, NBD_SOCK_FD},
             static_cast<uint32_t>(fd.number())};
    attribute(NBD_ATTR_SOCKETS | NLA_F_NESTED, struct_bytes(nested));
  }
  Bytes finish() {
    const auto size = static_cast<uint32_t>(writer_.size());
    std::memcpy(writer_.data(), &size, sizeof size);
    return writer_;
  }

 private:
  std::vector<std::byte> writer_;
};

// Attribute `wanted` of a generic netlink answer.
std::optional<Bytes> find_attribute(Bytes answer, uint16_t wanted) {
  Bytes rest = answer.subspan(NLMSG_HDRLEN + GENL_HDRLEN);
  while (rest.size() >= NLA_HDRLEN) {
    const auto header = load<nlattr>(rest);
    if (header.nla_len < NLA_HDRLEN || header.nla_len > rest.size()) break;
    if ((header.nla_type & NLA_TYPE_MASK) == wanted)
      return rest.subspan(NLA_HDRLEN, header.nla_len - NLA_HDRLEN);
    rest = rest.subspan(std::min<size_t>(NLA_ALIGN(header.nla_len), rest.size()));
  }
  return std::nullopt;
}

// Sends and waits for the acknowledgement; `answer` is the message that came before it, if any.
Status exchange(Message& message, std::vector<std::byte>& answer, std::string_view what) {
  const Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
  if (!socket) return system_error("open netlink", errno);
  const Bytes request = message.finish();
  if (::send(socket.number(), request.data(), request.size(), 0) < 0)
    return system_error(what, errno);
  std::byte buffer[message_bytes_max];
  while (true) {
    const ssize_t count = ::recv(socket.number(), buffer, sizeof buffer, 0);
    if (count < 0) return system_error(what, errno);
    Bytes rest(buffer, static_cast<size_t>(count));
    while (rest.size() >= NLMSG_HDRLEN) {
      const auto header = load<nlmsghdr>(rest);
      if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > rest.size())
        return Error(Code::failed, std::string(what) + ": a malformed netlink message");
      if (header.nlmsg_type == NLMSG_ERROR) {
        const auto error = load<nlmsgerr>(rest.subspan(NLMSG_HDRLEN));
        return error.error == 0 ? ok_status() : Status(system_error(what, -error.error));
      }
      if (header.nlmsg_len >= NLMSG_HDRLEN + GENL_HDRLEN) {
        const Bytes whole = rest.first(header.nlmsg_len);
        answer.assign(whole.begin(), whole.end());
      }
      rest = rest.subspan(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), rest.size()));
    }
  }
}

Result<uint16_t> family() {
  Message message(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
  message.text(CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME);
  std::vector<std::byte> answer;
  SP_CHECK(exchange(message, answer, "find the kernel's NBD"));
  const auto id = find_attribute(answer, CTRL_ATTR_FAMILY_ID);
  if (!id || id->size() < 2) return Error(Code::not_found, "the kernel has no NBD netlink family");
  return load<uint16_t>(*id);
}

void describe(Message& message, const Device& device) {
  message.number(NBD_ATTR_SIZE_BYTES, device.size_bytes);
  message.number(NBD_ATTR_BLOCK_SIZE_BYTES, uint64_t{limits::block_bytes});
  message.number(NBD_ATTR_SERVER_FLAGS, uint64_t{device.export_flags});
  message.number(NBD_ATTR_TIMEOUT, uint64_t{device.timeout_seconds});
  message.number(NBD_ATTR_DEAD_CONN_TIMEOUT, uint64_t{device.dead_seconds});
  message.text(identity_attribute, device.identity);
}

Status reconfigure(uint32_t number, const Device& device, const Fd* socket, std::string_view what) {
  SP_TRY(const uint16_t id, family());
  Message message(id, NBD_CMD_RECONFIGURE, NBD_GENL_VERSION);
  message.number(NBD_ATTR_INDEX, number);
  describe(message, device);
  if (socket != nullptr) message.socket(*socket);
  std::vector<std::byte> answer;
  return exchange(message, answer, what);
}

Status receive_all(const Fd& socket, MutableBytes into) {
  for (size_t done = 0; done < into.size();) {
    const ssize_t count = ::recv(socket.number(), into.data() + done, into.size() - done, 0);
    if (count <= 0) return Error(Code::closed, "the NBD server ended the conversation");
    done += static_cast<size_t>(count);
  }
  return ok_status();
}
Status send_all(const Fd& socket, Bytes bytes) {
  if (::send(socket.number(), bytes.data(), bytes.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(bytes.size()))
    return system_error("send to the NBD server", errno);
  return ok_status();
}

}  // namespace

bool available() { return family().ok(); }

Result<Fd> negotiate(const std::string& socket_path, const std::string& export_name,
                     Device& device) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path)
    return Error(Code::invalid, "a path too long for a unix socket: " + socket_path);
  socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return system_error("make a unix socket", errno);
  if (::connect(socket.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return system_error("connect to " + socket_path, errno);
  std::byte greeting[18];
  SP_CHECK(receive_all(socket, greeting));
  nbd::BigWriter out;
  out.number(uint32_t{nbd::flag_fixed_newstyle | nbd::flag_no_zeroes});
  out.number(nbd::option_magic).number(static_cast<uint32_t>(nbd::Option::export_name));
  out.number(static_cast<uint32_t>(export_name.size())).raw(as_bytes(export_name));
  SP_CHECK(send_all(socket, out.view()));
  std::byte chosen[10];
  SP_CHECK(receive_all(socket, chosen));
  nbd::BigReader reader(chosen);
  device.size_bytes = reader.number<uint64_t>();
  device.export_flags = reader.number<uint16_t>();
  return socket;
}

Result<uint32_t> connect(const Device& device, const Fd& socket) {
  SP_TRY(const uint16_t id, family());
  Message message(id, NBD_CMD_CONNECT, NBD_GENL_VERSION);
  describe(message, device);
  message.socket(socket);
  std::vector<std::byte> answer;
  SP_CHECK(exchange(message, answer, "make an NBD device"));
  if (answer.empty()) return Error(Code::failed, "the kernel did not say which NBD device it made");
  const auto number = find_attribute(answer, NBD_ATTR_INDEX);
  if (!number || number->size() < 4)
    return Error(Code::failed, "the kernel did not say which NBD device it made");
  return load<uint32_t>(*number);
}

Status reconnect(uint32_t number, const Device& device, const Fd& socket) {
  return reconfigure(number, device, &socket,
                     "connect /dev/nbd" + std::to_string(number) + " again");
}

Status resize(uint32_t number, const Device& device) {
  return reconfigure(number, device, nullptr, "resize /dev/nbd" + std::to_string(number));
}

Status disconnect(uint32_t number) {
  SP_TRY(const uint16_t id, family());
  Message message(id, NBD_CMD_DISCONNECT, NBD_GENL_VERSION);
  message.number(NBD_ATTR_INDEX, number);
  std::vector<std::byte> answer;
  return exchange(message, answer, "take down /dev/nbd" + std::to_string(number));
}

std::vector<Known> known_devices() {
  std::vector<Known> known;
  for (const std::string& name : list_folder("/sys/block")) {
    if (!name.starts_with("nbd")) continue;
    const auto number = parse_number(name.substr(3), UINT32_MAX);
    auto identity = read_small_file("/sys/block/" + name + "/backend");
    if (number.ok() && identity.ok())
      known.push_back({static_cast<uint32_t>(*number), std::move(*identity)});
  }
  return known;
}

}  // namespace sp::attach::nbd_netlink
