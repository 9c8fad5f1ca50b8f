#include "api/http_server.h"

// As Debian's library was built: its classes have other sizes without these.
#define CPPHTTPLIB_OPENSSL_SUPPORT
#define CPPHTTPLIB_ZLIB_SUPPORT
#define CPPHTTPLIB_BROTLI_SUPPORT
#include <fmt/format.h>
#include <httplib.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "api/errors.h"
#include "base/limits.h"

namespace sp::api {

namespace {

using namespace std::chrono_literals;

constexpr size_t connections_waiting_max = 16;
constexpr int connections_in_backlog = 1024;
// Longer than any request takes by itself: a wait, and the confirmation in front of it.
constexpr auto answer_timeout = limits::api_wait_max + 2 * limits::api_confirm_timeout;

// A pool whose queue is bounded: when it is full, the thread that accepts waits, and new
// connections stay with the kernel.
class BoundedPool : public httplib::TaskQueue {
 public:
  BoundedPool() {
    for (uint32_t i = 0; i < limits::api_http_threads; ++i)
      threads_.emplace_back([this] { work(); });
  }
  void enqueue(std::function<void()> task) override {
    std::unique_lock lock(mutex_);
    space_.wait(lock, [&] { return tasks_.size() < connections_waiting_max; });
    tasks_.push_back(std::move(task));
    ready_.notify_one();
  }
  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    ready_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

 private:
  void work() {
    while (true) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        ready_.wait(lock, [&] { return stopping_ || !tasks_.empty(); });
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
        space_.notify_one();
      }
      task();
    }
  }
  std::mutex mutex_;
  std::condition_variable ready_, space_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  bool stopping_ = false;
};

// One request, between a thread of HTTP and the reactor.
struct Exchange {
  std::mutex mutex;
  std::condition_variable answered;
  std::optional<Response> response;
};

// "Storpool v1:TOKEN"; empty when it is something else.
std::string token_of(const std::string& header) {
  constexpr std::string_view scheme = "storpool v1:";
  if (header.size() < scheme.size()) return "";
  for (size_t i = 0; i < scheme.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(header[i])) != scheme[i]) return "";
  }
  return header.substr(scheme.size());
}

Response refusal(std::string_view name, const std::string& description) {
  const ErrorKind& kind = *error_kind(name);
  return {kind.http_status, error_body(kind, description)};
}

// The library listens with room for 5 connections that wait to be accepted: clients beyond that
// lose seconds to TCP's repetitions. Calling listen(2) again only changes the room.
class RoomyServer : public httplib::Server {
 public:
  void make_room() { ::listen(svr_sock_, connections_in_backlog); }
};

class LibraryServer : public HttpServer {
 public:
  LibraryServer(Post post, Handle handle)
      : post_(std::move(post)), handle_(std::make_shared<Handle>(std::move(handle))) {}
  ~LibraryServer() override {
    stopping_ = true;
    handle_.reset();
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  Status listen(const io::Address& address) {
    server_.new_task_queue = [] { return new BoundedPool; };
    server_.set_payload_max_length(limits::api_json_bytes_max);
    server_.set_read_timeout(10s);
    server_.set_write_timeout(30s);
    server_.set_keep_alive_timeout(1);
    server_.set_tcp_nodelay(true);
    // Without the library's SO_REUSEPORT, by which two services could share a port unknowingly.
    server_.set_socket_options([](int socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    // Before the body: the library would read all of it before it refuses.
    server_.set_pre_routing_handler(
        [](const httplib::Request& request, httplib::Response& response) {
          if (request.get_header_value<uint64_t>("Content-Length") <= limits::api_json_bytes_max)
            return httplib::Server::HandlerResponse::Unhandled;
          put(refusal(names::too_large,
                      fmt::format("a body has at most {} bytes", limits::api_json_bytes_max)),
              response);
          response.set_header("Connection", "close");
          return httplib::Server::HandlerResponse::Handled;
        });
    server_.Get(".*", [this](const httplib::Request& request, httplib::Response& response) {
      serve(request, request.get_param_value("json"), response);
    });
    server_.Post(".*", [this](const httplib::Request& request, httplib::Response& response,
                              const httplib::ContentReader& read) {
      std::string body;
      bool fits = true;
      const bool complete = read([&](const char* data, size_t size) {
        fits = fits && body.size() + size <= limits::api_json_bytes_max;
        if (fits) body.append(data, size);
        return fits;
      });
      if (!fits || response.status == 413)
        return put(refusal(names::too_large,
                           fmt::format("a body has at most {} bytes", limits::api_json_bytes_max)),
                   response);
      if (!complete)
        return put(refusal(names::invalid_param, "the body could not be read"), response);
      serve(request, std::move(body), response);
    });
    server_.set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (!response.body.empty()) return;
      const bool large = response.status == 413 || response.status == 414;
      const int status = response.status;
      put(refusal(large           ? names::too_large
                  : status == 404 ? names::no_such_call
                                  : names::invalid_param,
                  fmt::format("HTTP status {}", status)),
          response);
      response.status = status;
    });
    if (address.port == 0) {
      const int port = server_.bind_to_any_port(address.host);
      if (port < 0) return Error(Code::exists, fmt::format("cannot listen on {}", address.text()));
      address_ = {address.host, static_cast<uint16_t>(port)};
    } else {
      if (!server_.bind_to_port(address.host, address.port))
        return Error(Code::exists, fmt::format("cannot listen on {}: is it in use, or not an "
                                               "address of this host? Ports below 1024 need root",
                                               address.text()));
      address_ = address;
    }
    server_.make_room();
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();  // stop() before that would be lost
    return {};
  }
  io::Address address() const override { return address_; }

 private:
  static void put(const Response& answer, httplib::Response& response) {
    response.status = answer.status;
    response.set_content(answer.body, "application/json");
  }

  void serve(const httplib::Request& request, std::string json, httplib::Response& response) {
    struct Posted {
      std::weak_ptr<Handle> handle;
      Request request;
      std::shared_ptr<Exchange> exchange;
    };
    const auto exchange = std::make_shared<Exchange>();
    auto posted = std::make_unique<Posted>();
    posted->handle = weak_handle_;
    posted->request = {request.method, request.path, std::move(json),
                       token_of(request.get_header_value("Authorization"))};
    posted->exchange = exchange;
    if (!stopping_) {
      post_([posted = std::move(posted)] {
        const auto handle = posted->handle.lock();
        if (handle == nullptr) return;
        (*handle)(std::move(posted->request), [exchange = posted->exchange](Response answer) {
          const std::lock_guard lock(exchange->mutex);
          exchange->response = std::move(answer);
          exchange->answered.notify_one();
        });
      });
    }
    const auto deadline = std::chrono::steady_clock::now() + answer_timeout;
    std::unique_lock lock(exchange->mutex);
    while (!exchange->response && !stopping_ && std::chrono::steady_clock::now() < deadline)
      exchange->answered.wait_for(lock, 100ms);
    put(exchange->response.value_or(
            refusal(names::try_again, "this management service is stopping")),
        response);
  }

  Post post_;
  std::shared_ptr<Handle> handle_;
  std::weak_ptr<Handle> weak_handle_ =
      handle_;  // for other threads: handle_ itself belongs to the reactor's
  std::atomic<bool> stopping_ = false;
  RoomyServer server_;
  std::thread thread_;
  io::Address address_;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(const io::Address& address, Post post,
                                                      Handle handle) {
  auto server = std::make_unique<LibraryServer>(std::move(post), std::move(handle));
  SP_CHECK(server->listen(address));
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace sp::api
