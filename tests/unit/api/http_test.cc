#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "api/client.h"
#include "api/errors.h"
#include "api/http_server.h"
#include "io/real_host.h"

using namespace sp;
using namespace sp::api;
using namespace std::chrono_literals;

namespace {

// A reactor in a thread of its own with an HttpServer on it; `answer` plays the Api.
struct Service {
  std::function<Response(const Request&)> answer = [](const Request&) {
    return Response{200, R"({"generation":1,"data":{"ok":true}})"};
  };
  bool hold = false;  // never answer
  std::atomic<int> requests = 0;
  std::atomic<uint16_t> port = 0;
  std::atomic<io::RealHost*> real = nullptr;
  std::thread thread;

  void start() {
    thread = std::thread([this] {
      auto made = io::RealHost::create();
      REQUIRE(made.ok());
      auto server = HttpServer::start(
          {"127.0.0.1", 0},
          [host = made->get()](Callback<void()> work) {
            host->post_from_other_thread(std::move(work));
          },
          [this](Request request, Callback<void(Response)> done) {
            ++requests;
            if (hold)
              held.push_back(std::move(done));
            else
              done(answer(request));
          });
      REQUIRE(server.ok());
      port = (*server)->address().port;
      real = made->get();
      (*made)->run();
      server = std::unique_ptr<HttpServer>();
      held.clear();
    });
    while (real.load() == nullptr) std::this_thread::yield();
  }
  ~Service() {
    io::RealHost* host = real.load();
    host->post_from_other_thread([host] { host->stop(); });
    thread.join();
  }
  io::Address address() const { return {"127.0.0.1", port.load()}; }
  Client client(std::chrono::milliseconds timeout = 5s) {
    return Client({{address()}, "token", timeout});
  }
  std::vector<Callback<void(Response)>> held;
};

std::string error_json(std::string_view name, std::string_view active = {}) {
  return error_body(*error_kind(name), "because", active);
}

// Sends raw bytes, reads all of the answer.
std::string raw(const io::Address& address, std::string_view bytes, bool end = true) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(address.port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) break;
    sent += static_cast<size_t>(n);
  }
  if (end) shutdown(fd, SHUT_WR);
  std::string answer;
  char chunk[4096];
  ssize_t got = 0;
  while ((got = recv(fd, chunk, sizeof chunk, 0)) > 0)
    answer.append(chunk, static_cast<size_t>(got));
  close(fd);
  return answer;
}

}  // namespace

TEST_CASE("a request comes through HTTP as it was meant") {
  Service service;
  std::mutex mutex;
  Request seen;
  service.answer = [&](const Request& request) {
    const std::lock_guard lock(mutex);
    seen = request;
    return Response{200, R"({"generation":1,"data":[1,2]})"};
  };
  service.start();
  Client client = service.client();
  const auto data = client.post("KV/Set/" + path_part("#a b/ü"), R"({"set":{}})");
  REQUIRE_MESSAGE(data.ok(), data.error().message());
  CHECK(data->elements().size() == 2);
  CHECK(seen.method == "POST");
  CHECK(seen.path == "/ctrl/1.0/KV/Set/#a b/ü");
  CHECK(seen.json == R"({"set":{}})");
  CHECK(seen.token == "token");
  // As the bindings of other integrations send it: arguments of a GET, and curl's idea of a body.
  raw(service.address(),
      "GET /ctrl/1.0/X?json=%7B%22a%22%3A1%7D HTTP/1.1\r\nAuthorization: Storpool "
      "v1:abc\r\nConnection: close\r\n\r\n");
  CHECK(seen.json == R"({"a":1})");
  CHECK(seen.token == "abc");
  const std::string large(100'000, 'x');
  raw(service.address(),
      "POST /ctrl/1.0/X HTTP/1.1\r\nContent-Type: "
      "application/x-www-form-urlencoded\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n" +
          large);
  CHECK(seen.json == large);
  CHECK(seen.token.empty());
}

TEST_CASE("a body beyond the bound is refused before it is read") {
  Service service;
  service.start();
  const std::string answer =
      raw(service.address(),
          "POST /ctrl/1.0/X HTTP/1.1\r\nContent-Length: 999999999999\r\nConnection: close\r\n\r\n{",
          false);
  CHECK(answer.find("413") != std::string::npos);
  CHECK(answer.find("requestTooLarge") != std::string::npos);
  CHECK(service.requests == 0);
  for (const char* garbage : {"\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01 tls\r\n\r\n",
                              "PUT /x HTTP/1.1\r\nConnection: close\r\n\r\n",
                              "GET /a%00b HTTP/1.1\r\nConnection: close\r\n\r\n"})
    raw(service.address(), garbage);
  CHECK(service.client().get("X").ok());
}

TEST_CASE("many requests at once are all answered") {
  Service service;
  service.start();
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 100; ++i) {
    threads.emplace_back([&] {
      Client client = service.client(60s);
      for (int n = 0; n < 5; ++n) good += client.get("X").ok();
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(good == 500);
}

TEST_CASE("a service that stops answers what is pending") {
  auto service = std::make_unique<Service>();
  service->hold = true;
  service->start();
  Result<Value> result = Error(Code::failed, "");
  std::thread asking(
      [&, client = service->client(300ms)]() mutable { result = client.post("X", "{}"); });
  while (service->requests == 0) std::this_thread::yield();
  service.reset();
  asking.join();
  // It was told to try again, and then there was nobody any more, or no time left to see that.
  REQUIRE_FALSE(result.ok());
  const Code code = result.error().code();
  CHECK((code == Code::unreachable || code == Code::transient));
}

TEST_CASE("a port that is taken is an error") {
  Service service;
  service.start();
  const auto second = HttpServer::start(
      service.address(), [](Callback<void()>) {}, [](Request, Callback<void(Response)>) {});
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().code() == Code::exists);
}

TEST_CASE("the client follows to the active service") {
  Service inactive, bystander, active;
  active.start();
  bystander.start();
  inactive.answer = [&](const Request&) {
    return Response{503, error_json(names::not_active, active.address().text())};
  };
  inactive.start();
  Client client({{{"127.0.0.1", 1}, inactive.address(), bystander.address(), active.address()},
                 "token",
                 10s});
  CHECK(client.post("X", "{}").ok());
  CHECK(inactive.requests == 1);
  CHECK(client.post("X", "{}").ok());  // goes straight to where it was answered
  CHECK(inactive.requests == 1);
  CHECK(bystander.requests == 0);
  CHECK(active.requests == 2);
}

TEST_CASE("the client repeats what is transient, and only that") {
  Service service;
  service.answer = [&](const Request&) {
    return service.requests < 3 ? Response{503, error_json(names::no_quorum)}
                                : Response{200, R"({"data":7})"};
  };
  service.start();
  CHECK(service.client().post("X", "{}")->integer_or_zero() == 7);
  CHECK(service.requests == 3);
  service.answer = [](const Request&) { return Response{404, error_json(names::does_not_exist)}; };
  CHECK(service.client().post("X", "{}").error().code() == Code::not_found);
  CHECK(service.requests == 4);
  service.answer = [](const Request&) { return Response{503, error_json(names::no_quorum)}; };
  const auto gave_up = service.client(250ms).get("X");
  CHECK(gave_up.error().code() == Code::unreachable);
  CHECK(gave_up.error().message().find("gave up after") != std::string::npos);
}

TEST_CASE("an exists after a transient answer says that it may be our own doing") {
  Service service;
  service.answer = [&](const Request&) {
    return service.requests < 2 ? Response{503, error_json(names::try_again)}
                                : Response{409, error_json(names::exists)};
  };
  service.start();
  const auto result = service.client().post("VolumeCreate", "{}");
  CHECK(result.error().code() == Code::exists);
  CHECK(result.error().message().find("earlier try") != std::string::npos);
}

TEST_CASE("nobody there, and somebody else there, are errors that say so") {
  Client nobody({{{"127.0.0.1", 1}}, "token", 200ms});
  CHECK(nobody.get("X").error().code() == Code::unreachable);
  Client none({{}, "token", 200ms});
  CHECK(none.get("X").error().code() == Code::invalid);
  Service service;
  service.answer = [](const Request&) { return Response{200, "<html>"}; };
  service.start();
  CHECK(service.client().get("X").error().message().find(
            "not the answer of a management service") != std::string::npos);
}
