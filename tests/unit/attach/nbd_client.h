// A client that speaks NBD byte by byte over simulated sockets, so that tests can also speak it
// wrongly.
#pragma once
#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "attach/nbd_protocol.h"
#include "attach/nbd_server.h"
#include "client/memory_device.h"
#include "io/sim_world.h"

namespace sp::attach::test {

using namespace std::chrono_literals;

class NbdClient {
 public:
  NbdClient(io::SimWorld& world, io::Host& host, const io::Address& address) : world_(world) {
    bool over = false;
    auto attempt = host.net.connect(address, 1s, [&](Result<std::unique_ptr<io::Socket>> socket) {
      REQUIRE(socket.ok());
      socket_ = std::move(socket).value();
      over = true;
    });
    REQUIRE(world.run_until([&] { return over; }, 5s));
    receive();
  }

  void send(Bytes bytes) {
    if (!socket_) return;
    sent_.emplace_back(bytes.begin(), bytes.end());
    bool done = false;
    const Bytes part = sent_.back();
    socket_->send(std::span(&part, 1), [&](const Status&) { done = true; });
    world_.run_until([&] { return done || closed_; }, 10s);
    REQUIRE((done || closed_));
  }
  // Sends without waiting for the other side to take it; `all_taken()` tells.
  void send_unwaited(Bytes bytes) {
    sent_.emplace_back(bytes.begin(), bytes.end());
    const Bytes part = sent_.back();
    taken_ = false;
    socket_->send(std::span(&part, 1), [this](const Status& status) { taken_ = status.ok(); });
  }
  bool all_taken() const { return taken_; }
  void stop_receiving() { stopped_ = true; }
  void resume_receiving() {
    stopped_ = false;
    if (!receiving_) receive();
  }
  // The next `count` bytes.
  std::vector<std::byte> take(size_t count) {
    REQUIRE(world_.run_until([&] { return input_.size() >= count || closed_; }, 60s));
    REQUIRE(input_.size() >= count);
    std::vector<std::byte> out(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(count));
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(count));
    return out;
  }
  template <class T>
  T number() {
    return nbd::BigReader(take(sizeof(T))).number<T>();
  }
  bool wait_closed() {
    return world_.run_until([&] { return closed_; }, 60s);
  }
  bool closed() const { return closed_; }
  size_t waiting() const { return input_.size(); }

  void greet(uint32_t flags = nbd::flag_fixed_newstyle | nbd::flag_no_zeroes) {
    CHECK(number<uint64_t>() == nbd::greeting_magic);
    CHECK(number<uint64_t>() == nbd::option_magic);
    CHECK(number<uint16_t>() == (nbd::flag_fixed_newstyle | nbd::flag_no_zeroes));
    nbd::BigWriter out;
    out.number(flags);
    send(out.view());
  }
  void option(nbd::Option option, Bytes data = {}) {
    nbd::BigWriter out;
    out.number(nbd::option_magic)
        .number(static_cast<uint32_t>(option))
        .number(static_cast<uint32_t>(data.size()))
        .raw(data);
    send(out.view());
  }
  struct OptionAnswer {
    nbd::Option option;
    nbd::OptionReply type;
    std::vector<std::byte> data;
  };
  OptionAnswer answer() {
    REQUIRE(number<uint64_t>() == nbd::option_reply_magic);
    OptionAnswer out{};
    out.option = static_cast<nbd::Option>(number<uint32_t>());
    out.type = static_cast<nbd::OptionReply>(number<uint32_t>());
    out.data = take(number<uint32_t>());
    return out;
  }
  static std::vector<std::byte> info_query(std::string_view name,
                                           std::vector<uint16_t> wanted = {}) {
    nbd::BigWriter out;
    out.number(static_cast<uint32_t>(name.size()))
        .raw(as_bytes(name))
        .number(static_cast<uint16_t>(wanted.size()));
    for (const uint16_t info : wanted) out.number(info);
    return std::move(out).take();
  }
  static std::vector<std::byte> meta_query(std::string_view name,
                                           const std::vector<std::string>& queries) {
    nbd::BigWriter out;
    out.number(static_cast<uint32_t>(name.size()))
        .raw(as_bytes(name))
        .number(static_cast<uint32_t>(queries.size()));
    for (const auto& query : queries)
      out.number(static_cast<uint32_t>(query.size())).raw(as_bytes(query));
    return std::move(out).take();
  }
  // The whole handshake; the export's flags.
  uint16_t go(std::string_view name, bool structured = false) {
    greet();
    if (structured) {
      option(nbd::Option::structured_reply);
      CHECK(answer().type == nbd::OptionReply::ack);
      option(nbd::Option::set_meta_context, meta_query(name, {"base:allocation"}));
      CHECK(answer().type == nbd::OptionReply::meta_context);
      CHECK(answer().type == nbd::OptionReply::ack);
    }
    option(nbd::Option::go, info_query(name));
    uint16_t flags = 0;
    while (true) {
      const auto reply = answer();
      if (reply.type == nbd::OptionReply::ack) return flags;
      REQUIRE(reply.type == nbd::OptionReply::info);
      nbd::BigReader reader(reply.data);
      if (reader.number<uint16_t>() != 0) continue;
      size_bytes = reader.number<uint64_t>();
      flags = reader.number<uint16_t>();
    }
  }
  static std::vector<std::byte> request_bytes(nbd::Command command, uint64_t offset,
                                              uint32_t length, uint16_t flags = 0,
                                              uint64_t cookie = 77, Bytes payload = {}) {
    nbd::BigWriter out;
    out.number(nbd::request_magic)
        .number(flags)
        .number(static_cast<uint16_t>(command))
        .number(cookie);
    out.number(offset).number(length).raw(payload);
    return std::move(out).take();
  }
  void request(nbd::Command command, uint64_t offset, uint32_t length, uint16_t flags = 0,
               uint64_t cookie = 77, Bytes payload = {}) {
    send(request_bytes(command, offset, length, flags, cookie, payload));
  }
  // The error of a simple reply.
  uint32_t simple(uint64_t cookie = 77) {
    REQUIRE(number<uint32_t>() == nbd::simple_reply_magic);
    const auto error = number<uint32_t>();
    CHECK(number<uint64_t>() == cookie);
    return error;
  }
  struct Chunk {
    bool done;
    nbd::Chunk type;
    uint64_t cookie;
    std::vector<std::byte> data;
  };
  Chunk chunk() {
    REQUIRE(number<uint32_t>() == nbd::structured_reply_magic);
    Chunk out{};
    out.done = (number<uint16_t>() & nbd::chunk_flag_done) != 0;
    out.type = static_cast<nbd::Chunk>(number<uint16_t>());
    out.cookie = number<uint64_t>();
    out.data = take(number<uint32_t>());
    return out;
  }
  void hang_up() { socket_.reset(); }

  uint64_t size_bytes = 0;

 private:
  void receive() {
    receiving_ = true;
    socket_->receive(buffer_, [this](Result<size_t> count) {
      receiving_ = false;
      if (!count.ok() || *count == 0) {
        closed_ = true;
        return;
      }
      input_.insert(input_.end(), buffer_.begin(),
                    buffer_.begin() + static_cast<std::ptrdiff_t>(*count));
      if (!stopped_) receive();
    });
  }

  io::SimWorld& world_;
  std::unique_ptr<io::Socket> socket_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(256 << 10);
  std::vector<std::byte> input_;
  std::vector<std::vector<std::byte>> sent_;
  bool taken_ = true;
  bool closed_ = false, stopped_ = false, receiving_ = false;
};

// A server with one export "vol" over a device in memory.
struct NbdStage {
  explicit NbdStage(uint64_t seed = 1, uint64_t size = 64 << 20)
      : world(seed, quiet(log)),
        host(world.add_host("server", "10.0.0.1")),
        client_host(world.add_host("client", "10.0.0.2")),
        server(std::make_unique<NbdServer>(host.host())),
        device(std::make_unique<client::MemoryDevice>(host.host(), size)) {
    REQUIRE(server->listen({"10.0.0.1", 10809}).ok());
    REQUIRE(server->add_export({"vol", "a volume", false, device.get()}).ok());
  }
  ~NbdStage() { device.reset(); }
  static io::SimOptions quiet(std::vector<std::string>& lines) {
    io::SimOptions options;
    options.log_sink = [&lines](LogLevel, std::string_view line) { lines.emplace_back(line); };
    return options;
  }
  std::unique_ptr<NbdClient> connect() {
    return std::make_unique<NbdClient>(world, client_host.host(), io::Address{"10.0.0.1", 10809});
  }
  bool logged(std::string_view text) const {
    for (const auto& line : log)
      if (line.find(text) != std::string::npos) return true;
    return false;
  }

  std::vector<std::string> log;
  io::SimWorld world;
  io::SimHost& host;
  io::SimHost& client_host;
  std::unique_ptr<NbdServer> server;
  std::unique_ptr<client::MemoryDevice> device;
};

}  // namespace sp::attach::test
