// Fuzz target of the HTTP in front of the control API: the input is what a client sends over a
// connection before it stops sending. The server has to answer or to hang up; what it answers is
// HTTP with JSON, and what it hands on keeps to the limit of a body.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "api/http_server.h"
#include "api/value.h"
#include "base/limits.h"

namespace {

using namespace sp;

void require(bool condition) {
  if (!condition) std::abort();
}

// Answered on the thread of HTTP: there is no reactor, and nothing here needs one.
const api::HttpServer& server() {
  static const std::unique_ptr<api::HttpServer> made = [] {
    auto started = api::HttpServer::start(
        {"127.0.0.1", 0}, [](Callback<void()> work) { work(); },
        [](const api::Request& request, Callback<void(api::Response)> done) {
          require(request.json.size() <= limits::api_json_bytes_max);
          (void)api::parse_json(request.json);
          done(api::Response{200, R"({"data":{"ok":true}})"});
        });
    require(started.ok());
    return std::move(started).value();
  }();
  return *made;
}

// All that comes until the server hangs up.
std::string converse(const std::string& sent) {
  const int connection = ::socket(AF_INET, SOCK_STREAM, 0);
  require(connection >= 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server().address().port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // Without the wait of a closed port: the other end may be closed by then.
  const linger at_once{1, 0};
  ::setsockopt(connection, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  require(::connect(connection, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  (void)::send(connection, sent.data(), sent.size(), MSG_NOSIGNAL);
  ::shutdown(connection, SHUT_WR);
  std::string received;
  char part[4096];
  for (ssize_t got = 0; (got = ::recv(connection, part, sizeof part, 0)) > 0;)
    received.append(part, static_cast<size_t>(got));
  ::close(connection);
  return received;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string answer = converse({reinterpret_cast<const char*>(data), size});
  if (answer.empty()) return 0;
  require(answer.starts_with("HTTP/1."));
  // Of several requests the first answer is looked at; HEAD has no body, 100 comes before one.
  const size_t body = answer.find("\r\n\r\n");
  if (body == std::string::npos || answer.substr(8, 4) == " 100") return 0;
  const size_t length_at = answer.find("Content-Length: ");
  if (length_at > body) return 0;
  const size_t length = std::strtoul(answer.c_str() + length_at + 16, nullptr, 10);
  const std::string json = answer.substr(body + 4, length);
  require(json.empty() || json.size() < length || api::parse_json(json).ok());
  return 0;
}
