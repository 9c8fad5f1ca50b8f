// HttpServer: HTTP around an Api. Its own threads speak HTTP and hand requests over to the reactor;
// nothing else of this process is touched by them.
//
// Bounds: limits::api_http_threads connections are served at a time, the rest wait in the kernel's
// queue; a body has at most limits::api_json_bytes_max bytes; a silent connection is closed after a
// second between requests, and after 10 s within one. Thread rule: start and destroy on the
// reactor's thread. Destroying it answers what is pending with `tryAgain`, and waits for its
// threads, at most some seconds.
#pragma once
#include <functional>
#include <memory>

#include "api/api.h"
#include "io/net.h"

namespace sp::api {

class HttpServer {
 public:
  // Runs work on the reactor's thread; called from other threads
  // (io::RealHost::post_from_other_thread).
  using Post = std::function<void(Callback<void()>)>;
  using Handle = std::function<void(Request, Callback<void(Response)>)>;

  // Code::exists when the address is in use. Port 0: any free port, see address().
  static Result<std::unique_ptr<HttpServer>> start(const io::Address& address, Post post,
                                                   Handle handle);
  virtual ~HttpServer() = default;
  virtual io::Address address() const = 0;
};

}  // namespace sp::api
