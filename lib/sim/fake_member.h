// FakeMember: a service's end of FakeControl. For fake_*.cc.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "io/reactor.h"
#include "sim/fake_control.h"

namespace sp::sim {

class FakeMember;

struct FakeControl::Session : std::enable_shared_from_this<FakeControl::Session> {
  struct Update {
    uint64_t index = 0;
    std::vector<map::Change> changes;
    std::shared_ptr<map::Map> whole;  // instead of changes
    std::function<void()> answer;     // of a command, in order with the changes
  };
  Session(io::Host& host_, const wire::Identity& self_) : host(host_), self(self_) {}

  io::Host& host;
  wire::Identity self;
  map::Service registration;
  std::vector<map::Disk> disks;
  FakeMember* member = nullptr;
  bool registered = false;
  bool delivering = false;
  std::deque<Update> updates;
  io::Instant last_heard;  // world time at which the last lease request arrived
  io::Instant last_grant;  // and the last one that was granted
  uint64_t fenced_index = 0, settled_index = 0;
  uint64_t lease_floor = 0;  // a server has to have put the map up to here in force before a lease
};

class FakeMember final : public member::Member {
 public:
  FakeMember(FakeControl& control, std::shared_ptr<FakeControl::Session> session, Events events);
  ~FakeMember() override;

  const map::Map& map() const override { return map_; }
  bool connected() const override { return true; }
  io::Instant lease_until() const override { return lease_until_; }
  void command(const map::Command& command, Callback<void(Result<uint64_t>)> done) override;
  void confirm(uint64_t index, io::Duration timeout, Callback<void(Status)> done) override;
  void reports(Callback<void(Result<std::vector<member::ServiceReport>>)> done) override;
  void update_disks(std::vector<map::Disk> disks) override;

  // From FakeControl, on the member's own reactor.
  void take(FakeControl::Session::Update& update);
  void granted(io::Instant sent);

 private:
  struct Confirm {
    uint64_t index = 0;
    io::Instant until;
    Callback<void(Status)> done;
  };
  void tick();
  void check_confirms();

  FakeControl& control_;
  std::shared_ptr<FakeControl::Session> session_;
  Events events_;
  map::Map map_;
  io::Instant lease_until_{INT64_MIN};
  std::vector<std::unique_ptr<Confirm>> confirms_;
  io::Timer timer_;
};

}  // namespace sp::sim
