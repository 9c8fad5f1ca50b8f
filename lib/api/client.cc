#include "api/client.h"

// As Debian's library was built: its classes have other sizes without these.
#define CPPHTTPLIB_OPENSSL_SUPPORT
#define CPPHTTPLIB_ZLIB_SUPPORT
#define CPPHTTPLIB_BROTLI_SUPPORT
#include <fmt/format.h>
#include <httplib.h>

#include <algorithm>
#include <thread>

#include "api/api.h"
#include "api/errors.h"

namespace sp::api {

using namespace std::chrono_literals;

namespace {

constexpr auto pause_first = 100ms, pause_max = 2000ms;

using Clock = std::chrono::steady_clock;

std::chrono::milliseconds left_until(Clock::time_point deadline) {
  return std::max(std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()),
                  0ms);
}

}  // namespace

struct Client::Attempt {
  enum class Kind { answered, not_sent, lost, transient };
  Kind kind = Kind::answered;
  Result<Value> result = Error(Code::unreachable, "");
  std::string active;  // where the active service listens, if the answer said so
};

std::string path_part(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       std::string_view("-_.~:").find(c) != std::string_view::npos;
    if (plain)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

Client::Attempt Client::attempt(const std::string& method, const std::string& call,
                                const std::string& json, std::chrono::milliseconds left) {
  const io::Address& address = options_.addresses[next_];
  httplib::Client http(address.host, address.port);
  http.set_connection_timeout(std::min<std::chrono::milliseconds>(left, 2000ms));
  http.set_read_timeout(left);
  http.set_write_timeout(left);
  http.set_tcp_nodelay(true);
  http.set_url_encode(false);  // path_part has done it, and knows more characters
  const httplib::Headers headers = {{"Authorization", "Storpool v1:" + options_.token}};
  const std::string path = std::string(path_prefix) + call;
  const httplib::Result answer = method == "GET"
                                     ? http.Get(path, headers)
                                     : http.Post(path, headers, json, "application/json");
  Attempt attempt;
  if (!answer) {
    const bool sent = answer.error() != httplib::Error::Connection &&
                      answer.error() != httplib::Error::ConnectionTimeout;
    attempt.kind = sent ? Attempt::Kind::lost : Attempt::Kind::not_sent;
    attempt.result = Error(
        Code::unreachable,
        fmt::format("{}: {}", address.text(), sent ? "the answer was lost" : "cannot connect"));
    return attempt;
  }
  auto body = parse_json(answer->body, limits::api_answer_bytes_max);
  const Value* error =
      body.ok() && body->object() != nullptr && (*body)["error"].object() != nullptr
          ? &(*body)["error"]
          : nullptr;
  if (!body.ok() || (error == nullptr && answer->status != 200)) {
    attempt.result =
        Error(Code::failed,
              fmt::format("{}: this is not the answer of a management service (HTTP status {})",
                          address.text(), answer->status));
    return attempt;
  }
  if (error == nullptr) {
    attempt.result = (*body)["data"];
    return attempt;
  }
  const ErrorKind* kind = error_kind((*error)["name"].text_or_empty());
  attempt.result =
      Error(kind != nullptr ? kind->code : Code::failed, (*error)["descr"].text_or_empty());
  attempt.active = (*error)["active"].text_or_empty();
  if ((*error)["transient"].boolean_or_false()) attempt.kind = Attempt::Kind::transient;
  return attempt;
}

Result<Value> Client::run(const std::string& method, const std::string& call,
                          const std::string& json) {
  if (options_.addresses.empty())
    return Error(
        Code::invalid,
        "no node of the configuration has mgmt = true: there is no management service to ask");
  const auto deadline = Clock::now() + options_.timeout;
  std::chrono::milliseconds pause = pause_first;
  bool perhaps_made = false;
  size_t tried_in_row = 0, followed_in_row = 0;
  while (true) {
    Attempt attempt = this->attempt(method, call, json,
                                    std::max<std::chrono::milliseconds>(left_until(deadline), 1ms));
    if (attempt.kind == Attempt::Kind::answered) {
      if (!attempt.result.ok() && perhaps_made && attempt.result.error().code() == Code::exists)
        return Error(Code::exists, attempt.result.error().message() +
                                       " (perhaps made by an earlier try of this same command)");
      return std::move(attempt.result);
    }
    if (attempt.kind == Attempt::Kind::lost && method != "GET")
      return Error(Code::transient,
                   attempt.result.error().message() +
                       ": the change may have been made; look before you repeat it");
    perhaps_made =
        perhaps_made || (attempt.kind == Attempt::Kind::transient && attempt.active.empty());

    const auto active = io::Address::parse(attempt.active);
    const auto at = active.ok()
                        ? std::find(options_.addresses.begin(), options_.addresses.end(), *active)
                        : options_.addresses.end();
    if (at != options_.addresses.end() &&
        static_cast<size_t>(at - options_.addresses.begin()) != next_ &&
        ++followed_in_row <= options_.addresses.size()) {
      next_ = static_cast<size_t>(at - options_.addresses.begin());
      continue;
    }
    next_ = (next_ + 1) % options_.addresses.size();
    if (++tried_in_row < options_.addresses.size() && left_until(deadline) > 0ms) continue;
    if (left_until(deadline) <= pause) {
      Error error = std::move(attempt.result).error();
      return std::move(error).with(fmt::format("gave up after {} ms", options_.timeout.count()));
    }
    std::this_thread::sleep_for(pause);
    pause = std::min<std::chrono::milliseconds>(pause * 2, pause_max);
    tried_in_row = followed_in_row = 0;
  }
}

Result<Value> Client::get(const std::string& call) { return run("GET", call, ""); }
Result<Value> Client::post(const std::string& call, const std::string& json) {
  return run("POST", call, json);
}

}  // namespace sp::api
