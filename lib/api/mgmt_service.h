// MgmtService: one management service: a Member with the key-value store, and the Api over it. HTTP
// is the affair of the program (http_server.h). Thread rule: one reactor.
#pragma once
#include <memory>
#include <string>

#include "api/api.h"

namespace sp::api {

class MgmtService {
 public:
  // `options.self.service` names it; `token` is what requests must carry.
  MgmtService(io::Host& host, member::Options options, std::string token);
  Api& api() { return *api_; }
  const member::Member& member() const { return *member_; }
  // What requests, and the Member, wait for, in words; empty: for nothing.
  std::string waits_for() const;

 private:
  std::unique_ptr<member::Member> member_;
  // Destroyed first: then the requests that the Member's completions hold need no answer any more.
  // Set in the constructor, before the Member's first event.
  std::unique_ptr<Api> api_;
};

}  // namespace sp::api
