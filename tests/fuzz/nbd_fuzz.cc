// Fuzz target of the NBD server: the input is what a client sends. Bit 0 of the first byte: the
// handshake is done first, so that the input begins with requests; bit 1: with structured replies;
// the other bits say in what portions the bytes arrive. The server has to answer, refuse or hang
// up, and to be free of operations when the client is gone.
#include <cstdlib>

#include "attach/nbd_protocol.h"
#include "attach/nbd_server.h"
#include "client/memory_device.h"
#include "io/sim_world.h"

namespace {

using namespace sp;
using namespace sp::attach;
using namespace std::chrono_literals;

void option(nbd::BigWriter& out, nbd::Option option, Bytes data) {
  out.number(nbd::option_magic)
      .number(static_cast<uint32_t>(option))
      .number(static_cast<uint32_t>(data.size()))
      .raw(data);
}

std::vector<std::byte> greeting(bool structured) {
  nbd::BigWriter out;
  out.number(uint32_t{nbd::flag_fixed_newstyle | nbd::flag_no_zeroes});
  if (structured) {
    option(out, nbd::Option::structured_reply, {});
    nbd::BigWriter query;
    const std::string_view context = "base:allocation";
    query.number(uint32_t{3}).raw(as_bytes(std::string_view("vol"))).number(uint32_t{1});
    query.number(static_cast<uint32_t>(context.size())).raw(as_bytes(context));
    option(out, nbd::Option::set_meta_context, query.view());
  }
  nbd::BigWriter name;
  name.number(uint32_t{3}).raw(as_bytes(std::string_view("vol"))).number(uint16_t{0});
  option(out, nbd::Option::go, name.view());
  return std::move(out).take();
}

struct Client {
  std::unique_ptr<io::Socket> socket;
  std::vector<std::byte> out, in = std::vector<std::byte>(64 << 10);
  size_t sent = 0, portion = 1;
  bool sending = false, closed = false;

  void send() {
    if (sending || closed || sent == out.size()) return;
    sending = true;
    const Bytes part = Bytes(out).subspan(sent, std::min(portion, out.size() - sent));
    sent += part.size();
    socket->send(std::span(&part, 1), [this](const Status& status) {
      sending = false;
      closed = closed || !status.ok();
      send();
    });
  }
  void receive() {
    socket->receive(in, [this](const Result<size_t>& count) {
      closed = closed || !count.ok() || *count == 0;
      if (!closed) receive();
    });
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > (64 << 10)) return 0;
  io::SimWorld world(1);
  io::SimHost& server_host = world.add_host("server", "10.0.0.1");
  io::SimHost& client_host = world.add_host("client", "10.0.0.2");
  auto device = std::make_unique<client::MemoryDevice>(server_host.host(), 1 << 20);
  NbdServer server(server_host.host());
  if (!server.listen({"10.0.0.1", 10809}).ok()) std::abort();
  if (!server.add_export({"vol", "a volume", false, device.get()}).ok()) std::abort();

  Client client;
  client.portion = size_t{1} << (data[0] >> 2 & 15);
  if ((data[0] & 1) != 0) client.out = greeting((data[0] & 2) != 0);
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  client.out.insert(client.out.end(), bytes + 1, bytes + size);
  auto attempt = client_host.host().net.connect({"10.0.0.1", 10809}, 1s,
                                                [&](Result<std::unique_ptr<io::Socket>> socket) {
                                                  if (!socket.ok()) std::abort();
                                                  client.socket = std::move(socket).value();
                                                });
  world.run_until([&] { return client.socket != nullptr; }, 2s);
  if (!client.socket) std::abort();
  client.receive();
  client.send();
  world.run_until([&] { return client.closed || client.sent == client.out.size(); }, 5s);
  world.run_for(100ms);
  client.socket.reset();
  const auto idle = [&] {
    const auto counts = server.counts("vol");
    return counts.connections == 0 && counts.operations == 0;
  };
  if (!world.run_until(idle, 120s)) std::abort();
  device.reset();
  server.drop_export("vol");
  return 0;
}
