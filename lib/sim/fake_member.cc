#include "sim/fake_member.h"

#include "base/limits.h"

namespace sp::sim {

FakeMember::FakeMember(FakeControl& control, std::shared_ptr<FakeControl::Session> session,
                       Events events)
    : control_(control),
      session_(std::move(session)),
      events_(std::move(events)),
      timer_(session_->host.reactor) {
  timer_.arm(io::Duration(0), [this] { tick(); });
}

FakeMember::~FakeMember() { session_->member = nullptr; }

void FakeMember::tick() {
  timer_.arm(limits::heartbeat_interval, [this] { tick(); });
  const member::Report report = events_.make_report ? events_.make_report() : member::Report();
  control_.lease_request(session_, session_->host.clock.now(), report);
  check_confirms();
}

void FakeMember::check_confirms() {
  const io::Instant now = session_->host.clock.now();
  auto open = std::move(confirms_);
  confirms_.clear();
  for (auto& confirm : open) {
    if (map_.index >= confirm->index && control_.in_force(confirm->index))
      confirm->done.call_once(Status());
    else if (now >= confirm->until)
      confirm->done.call_once(Error(Code::timed_out, "not every server has confirmed"));
    else
      confirms_.push_back(std::move(confirm));
  }
}

void FakeMember::take(FakeControl::Session::Update& update) {
  if (update.answer) return update.answer();
  if (update.whole) {
    map_ = *update.whole;
  } else {
    if (update.index <= map_.index) return;
    for (const auto& change : update.changes) {
      const bool good = map::apply(map_, change);
      SP_ASSERT(good);
    }
  }
  map_.index = update.index;
  if (events_.map_changed) events_.map_changed(update.changes);
}

void FakeMember::granted(io::Instant sent) {
  lease_until_ = std::max(lease_until_, sent + limits::lease_length);
}

void FakeMember::command(const map::Command& command, Callback<void(Result<uint64_t>)> done) {
  control_.command(session_, command, std::move(done));
}

void FakeMember::confirm(uint64_t index, io::Duration timeout, Callback<void(Status)> done) {
  auto confirm = std::make_unique<Confirm>();
  confirm->index = index;
  confirm->until = session_->host.clock.now() + timeout;
  confirm->done = std::move(done);
  confirms_.push_back(std::move(confirm));
}

void FakeMember::reports(Callback<void(Result<std::vector<member::ServiceReport>>)> done) {
  auto box =
      std::make_unique<Callback<void(Result<std::vector<member::ServiceReport>>)>>(std::move(done));
  session_->host.reactor.post(
      [box = std::move(box)] { box->call_once(std::vector<member::ServiceReport>()); });
}

void FakeMember::update_disks(std::vector<map::Disk> disks) {
  session_->disks = std::move(disks);
  session_->registered = false;
}

}  // namespace sp::sim
