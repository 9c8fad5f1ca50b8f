#include "client/standalone.h"

#include <fmt/format.h>

#include <utility>

#include "base/client_id.h"

namespace sp::client {

namespace {

// One object from the first connection to the end, so that Member and Volume never move: the
// attempt hands itself over when it has succeeded.
class Session {
 public:
  Session(io::Host& host, StandaloneOptions options)
      : host_(host),
        options_(std::move(options)),
        deadline_(host.reactor),
        turn_(host.reactor),
        again_(host.reactor) {}

  void start(Callback<void(Status)> attached) {
    attached_ = std::move(attached);
    const auto instance =
        options_.instance != 0
            ? options_.instance
            : static_cast<uint8_t>(2 + host_.random.below(client_instance_max - 1));
    member::Options member;
    member.key = options_.key;
    member.self.cluster = options_.cluster;
    member.self.service = {ServiceKind::client, options_.node, instance};
    member.self.versions = options_.versions;
    member.self.start_id = host_.random.number() | 1;
    member.beacons = options_.beacons;
    member.registration.id = member.self.service;
    member.registration.start_id = member.self.start_id;
    member.registration.version = SP_VERSION;
    member.registration.started_ms = host_.clock.wall_ms();
    client_ = client_of(options_.node, instance);
    servers_ = make_servers(host_, options_.key, member.self, options_.tuning);
    member::Member::Events events;
    events.map_changed = [this](const std::vector<map::Change>&) { map_changed(); };
    events.make_report = [this] { return make_report(); };
    deadline_.arm(options_.timeout, [this] {
      finish(Error(Code::timed_out,
                   fmt::format("attach volume '{}': {}", options_.volume, waiting_for())));
    });
    member_ = member::Member::start(host_, std::move(member), std::move(events));
  }

  Volume& volume() { return *volume_; }
  uint32_t generation() const { return generation_; }
  member::Member& member() { return *member_; }
  Servers& servers() { return *servers_; }

  void detach(Callback<void(Status)> done) {
    detached_ = std::move(done);
    volume_->detaching();
    map::AttachmentGone gone{volume_id_, client_, generation_};
    member_->command(gone, [this](Result<uint64_t> result) {
      detached_.call_once(result.ok() ? Status() : Status(std::move(result).error()));
    });
  }
  void on_fenced(Callback<void()> fenced) { volume_->on_fenced(std::move(fenced)); }

  std::string waits_for() const {
    const std::string more = member_ == nullptr ? "" : member_->waits_for();
    return waiting_for() + (more.empty() ? "" : " (" + more + ")");
  }

 private:
  std::string waiting_for() const {
    if (member_ == nullptr || member_->map().index == 0) return "no beacon of the cluster answers";
    if (!asked_) return "this client is not registered: the cluster has no quorum";
    return "the servers have not confirmed the attachment";
  }

  void map_changed() {
    if (volume_ != nullptr) volume_->map_changed();
    if (asked_ || finished_ || member_->map().index == 0) return;
    const map::Map& map = member_->map();
    const auto self = map.services.find(service_of_client(client_));
    if (self == map.services.end() || !self->second.up)
      return;  // asked for: comes with a later change
    const map::Volume* row = map.find_volume(options_.volume);
    if (row == nullptr) {
      finish(Error(Code::not_found,
                   fmt::format("no volume '{}': see sp-volume list", options_.volume)));
      return;
    }
    asked_ = true;
    volume_id_ = row->id;
    map::Reassignment wish;
    wish.volume = row->id;
    (options_.rights == map::Rights::read_write ? wish.read_write : wish.read_only)
        .push_back(client_);
    map::Reassign command;
    command.volumes.push_back(wish);
    command.force = options_.force;
    member_->command(command, [this](Result<uint64_t> index) {
      if (is_transient(index))
        return again_.arm(limits::command_retry, [this] {
          asked_ = false;
          map_changed();
        });
      if (!index.ok()) {
        finish(std::move(index).error().with(fmt::format("attach volume '{}'", options_.volume)));
        return;
      }
      member_->confirm(*index, options_.timeout,
                       [this](Status confirmed) { open(std::move(confirmed)); });
    });
  }

  void open(Status confirmed) {
    if (finished_) return;
    const map::Attachment* row = member_->map().attachment(volume_id_, client_);
    if (!confirmed.ok() || row == nullptr) {
      finish(confirmed.ok()
                 ? Error(Code::closed,
                         fmt::format("volume '{}' was detached while attaching", options_.volume))
                 : std::move(confirmed).error());
      return;
    }
    generation_ = row->generation;
    volume_ = Volume::open(host_, *member_, servers_,
                           {volume_id_, generation_, options_.rights == map::Rights::read_only});
    tell_ready();
  }

  void tell_ready() {
    map::AttachmentReady ready{volume_id_, client_, generation_, options_.device};
    member_->command(ready, [this](Result<uint64_t> index) {
      if (is_transient(index)) return again_.arm(limits::command_retry, [this] { tell_ready(); });
      finish(index.ok() ? Status() : Status(std::move(index).error()));
    });
  }

  // Refused for now, and asked again until the time for attaching is over.
  bool is_transient(const Result<uint64_t>& index) const {
    return !finished_ && !index.ok() && index.error().code() == Code::transient;
  }

  member::Report make_report() {
    member::Report report;
    report.fenced_index = member_ == nullptr ? 0 : member_->map().index;
    if (volume_ != nullptr && volume_->counters().in_flight > 0)
      report.requests_waiting.emplace_back(volume_id_, volume_->counters().oldest_request_ms);
    return report;
  }

  void finish(Status status) {
    if (finished_) return;
    finished_ = true;
    deadline_.cancel();
    again_.cancel();
    outcome_ = std::move(status);
    turn_.arm(io::Duration(0),
              [this] { attached_.call_once(std::move(outcome_)); });  // the callback may destroy us
  }

  io::Host& host_;
  StandaloneOptions options_;
  io::Timer deadline_, turn_, again_;
  std::shared_ptr<Servers> servers_;
  std::unique_ptr<member::Member> member_;
  std::unique_ptr<Volume> volume_;
  Callback<void(Status)> attached_, detached_;
  Status outcome_;
  ClientId client_ = 0;
  VolumeId volume_id_ = 0;
  uint32_t generation_ = 0;
  bool asked_ = false;
  bool finished_ = false;
};

class Attached final : public Standalone {
 public:
  explicit Attached(std::unique_ptr<Session> session) : session_(std::move(session)) {}
  uint32_t generation() const override { return session_->generation(); }
  Volume& volume() override { return session_->volume(); }
  member::Member& member() override { return session_->member(); }
  Servers& servers() override { return session_->servers(); }
  void detach(Callback<void(Status)> done) override { session_->detach(std::move(done)); }
  void on_fenced(Callback<void()> fenced) override { session_->on_fenced(std::move(fenced)); }

 private:
  std::unique_ptr<Session> session_;
};

class Attaching final : public Standalone::Attempt {
 public:
  Attaching(io::Host& host, StandaloneOptions options, Standalone::Ready ready)
      : session_(std::make_unique<Session>(host, std::move(options))), ready_(std::move(ready)) {
    session_->start([this](Status status) {
      if (status.ok()) {
        std::unique_ptr<Standalone> attached = std::make_unique<Attached>(std::move(session_));
        ready_.call_once(std::move(attached));
      } else {
        ready_.call_once(std::move(status).error());
      }
    });
  }
  std::string waits_for() const override {
    return session_ == nullptr ? "" : session_->waits_for();
  }

 private:
  std::unique_ptr<Session> session_;
  Standalone::Ready ready_;
};

}  // namespace

std::unique_ptr<Standalone::Attempt> Standalone::attach(io::Host& host, StandaloneOptions options,
                                                        Ready ready) {
  return std::make_unique<Attaching>(host, std::move(options), std::move(ready));
}

}  // namespace sp::client
