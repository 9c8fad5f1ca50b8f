// Api: the control API (sp-api(7)) over a Member, without HTTP: requests in, responses out.
// http_server.h puts HTTP around it, the simulator drives it as it is.
//
// Only the active management service answers (map.cluster.active_mgmt, while its lease lasts);
// another one answers `notActive` with the address of the active one. One that is not active any
// more when the answer is there does not give it (`tryAgain`): its successor need not know of the
// change yet. A change is answered with success when it is agreed and, where it concerns the data
// path (attachments, sizes, deletion), in force on every live server; a snapshot when its cut was
// closed as taken (take_snapshots.h). Changes that read before they write (templates, sizes) are
// taken one after the other. Requests beyond limits::api_requests_in_flight_max, and waits beyond
// limits::api_waits_max, are answered `tooManyRequests`. Snapshots whose time has come are deleted
// without a request (expiry.h). Thread rule: one reactor. `done` never runs inside handle().
// Destroying the Api drops what is pending, without an answer.
#pragma once
#include <memory>
#include <string>

#include "base/callback.h"
#include "base/ids.h"
#include "io/host.h"
#include "member/member.h"

namespace sp::api {

struct Request {
  std::string method;  // GET or POST
  std::string path;    // decoded, from the first '/': "/ctrl/1.0/VolumesList"
  std::string json;    // the body of a POST, the `json` argument of a GET; may be empty
  std::string token;   // of the header "Authorization: Storpool v1:TOKEN"
};

struct Response {
  int status = 200;  // of HTTP
  std::string body;  // JSON
};

struct ApiOptions {
  ServiceId self;
  std::string token;      // what requests must carry
  uint64_t start_id = 0;  // of this process: an older map that shows its predecessor is too old
};

class Api {
 public:
  virtual ~Api() = default;
  // `member` outlives the Api.
  static std::unique_ptr<Api> make(io::Host& host, member::Member& member, ApiOptions options);

  virtual void handle(Request request, Callback<void(Response)> done) = 0;
  virtual void map_changed() = 0;  // to be called after each change of the Member's map
  // Requests that have no answer yet, in words; empty: none.
  virtual std::string open_work() const = 0;
};

inline constexpr std::string_view path_prefix = "/ctrl/1.0/";

}  // namespace sp::api
