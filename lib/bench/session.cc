#include "bench/session.h"

#include <utility>

namespace sp::bench {

Session::Session(io::Host& host, client::StandaloneOptions standalone, const LoadOptions& load,
                 Events events)
    : host_(host), options_(load), events_(std::move(events)) {
  attempt_ = client::Standalone::attach(host_, std::move(standalone),
                                        [this](Result<std::unique_ptr<client::Standalone>> result) {
                                          if (!result.ok())
                                            return finish(std::move(result).error());
                                          attached_ = std::move(result).value();
                                          attached();
                                        });
}

void Session::attached() {
  events_.attached(attached_->member().map());
  // Without a ramp the first operation counts: what the servers did before it is asked before it.
  if (options_.ramp > io::Duration(0)) return start_load();
  ask_before([this] { stopping_ ? interrupted() : start_load(); });
}

void Session::start_load() {
  Load::Events events;
  events.counting = [this] { counting(); };
  events.counted = [this](LoadResult result) { counted(std::move(result)); };
  events.done = [this] {
    load_over_ = true;
    ended();
  };
  auto load = Load::start(host_, attached_->volume(), options_, std::move(events));
  if (load.ok()) {
    load_ = std::move(load).value();
  } else {
    outcome_ = std::move(load).error();
    detach();
  }
}

void Session::counting() {
  was_counting_ = true;
  events_.counting();
  if (options_.ramp > io::Duration(0)) ask_before([] {});
}

void Session::ask_before(std::function<void()> then) {
  client::ask_statistics(
      host_, attached_->member(), attached_->servers(),
      [this, then = std::move(then)](std::vector<client::ServerStatistics> servers) {
        result_.servers_before = std::move(servers);
        then();
      });
}

void Session::interrupted() {
  outcome_ = Error(Code::interrupted, "stopped before the ramp was over");
  detach();
}

void Session::counted(LoadResult result) {
  result_.load = std::move(result);
  events_.counted();
  client::ask_statistics(host_, attached_->member(), attached_->servers(),
                         [this](std::vector<client::ServerStatistics> servers) {
                           result_.servers_after = std::move(servers);
                           asked_ = true;
                           ended();
                         });
}

// Once nothing is in flight and the servers have answered.
void Session::ended() {
  if (!load_over_ || (was_counting_ && !asked_)) return;
  was_counting_ ? detach() : interrupted();
}

void Session::detach() {
  attached_->detach([this](const Status& detached) {
    if (outcome_.ok()) outcome_ = detached;
    finish(outcome_.ok() ? Result<SessionResult>(std::move(result_))
                         : Result<SessionResult>(outcome_.error()));
  });
}

void Session::stop() {
  if (load_) return load_->stop();
  if (attached_) {
    stopping_ = true;  // the servers are being asked
    return;
  }
  attempt_.reset();
  finish(Error(Code::interrupted, "stopped"));
}

void Session::finish(Result<SessionResult> result) {
  if (events_.done) events_.done.call_once(std::move(result));
}

}  // namespace sp::bench
