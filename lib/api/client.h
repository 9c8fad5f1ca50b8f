// Client: the commands' way to the control API. It tries the management services one after the
// other, follows a refusal to the active one, and repeats what is refused as transient with growing
// pauses, until the timeout. Blocking; one thread; no reactor.
//
// Errors carry the Code of the answer's name (errors.h): a command's exit code follows from it.
// Code::unreachable: nobody answered in time. A change whose answer was lost is not repeated:
// Code::transient, and the message says that it may have been made.
#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "api/value.h"
#include "io/net.h"

namespace sp::api {

struct ClientOptions {
  std::vector<io::Address> addresses;  // of the management services
  std::string token;
  std::chrono::milliseconds timeout{60'000};  // for one call, repetitions included
};

class Client {
 public:
  explicit Client(ClientOptions options) : options_(std::move(options)) {}

  // `call`: name and arguments, each argument passed through path_part(). The answer's "data".
  Result<Value> get(const std::string& call);
  Result<Value> post(const std::string& call, const std::string& json);
  const ClientOptions& options() const { return options_; }

 private:
  struct Attempt;
  Result<Value> run(const std::string& method, const std::string& call, const std::string& json);
  Attempt attempt(const std::string& method, const std::string& call, const std::string& json,
                  std::chrono::milliseconds left);
  ClientOptions options_;
  size_t next_ = 0;  // the address to try first: it answered last
};

std::string path_part(std::string_view text);  // with %XX for what a path cannot hold

}  // namespace sp::api
