// Session: a volume attached for one Load, and detached after it, with what the servers say of
// themselves before and after. Thread rule: the host's reactor; callbacks run in a turn of it.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "bench/load.h"
#include "client/standalone.h"
#include "client/statistics.h"

namespace sp::bench {

struct SessionResult {
  LoadResult load;
  std::vector<client::ServerStatistics> servers_before, servers_after;
};

class Session {
 public:
  struct Events {
    Callback<void(const map::Map&)> attached;
    Callback<void()> counting, counted;  // as of Load: what is sampled then belongs to the result
    Callback<void(Result<SessionResult>)> done;  // detached; or why not
  };
  Session(io::Host& host, client::StandaloneOptions standalone, const LoadOptions& load,
          Events events);
  // Ends it in order; Code::interrupted when nothing was counted yet.
  void stop();
  // What was counted up to now; null before the load has begun.
  const LoadResult* now() const { return load_ ? &load_->now() : nullptr; }

 private:
  void attached();
  void start_load();
  void ask_before(std::function<void()> then);
  void interrupted();
  void counting();
  void counted(LoadResult result);
  void ended();
  void detach();
  void finish(Result<SessionResult> result);

  io::Host& host_;
  const LoadOptions options_;
  Events events_;
  std::unique_ptr<client::Standalone::Attempt> attempt_;
  std::unique_ptr<client::Standalone> attached_;
  std::unique_ptr<Load> load_;
  SessionResult result_;
  Status outcome_;
  bool was_counting_ = false, load_over_ = false, asked_ = false, stopping_ = false;
};

}  // namespace sp::bench
