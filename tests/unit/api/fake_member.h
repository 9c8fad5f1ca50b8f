// FakeMember: a Member without a cluster. Commands are applied to its map by simple rules of this
// test's own, in a later turn; confirmations and reports are what the test says.
#pragma once
#include <deque>
#include <functional>
#include <optional>

#include "api/api.h"
#include "api/value.h"
#include "io/sim_world.h"
#include "member/member.h"

namespace sp::api::test {

class FakeMember : public member::Member {
 public:
  explicit FakeMember(io::Host& host) : host_(host) {}

  const map::Map& map() const override { return row; }
  bool connected() const override { return is_connected; }
  io::Instant lease_until() const override {
    return has_lease ? io::Instant::never() : io::Instant();
  }
  void command(const map::Command& command, Callback<void(Result<uint64_t>)> done) override;
  void confirm(uint64_t index, io::Duration timeout, Callback<void(Status)> done) override;
  void reports(Callback<void(Result<std::vector<member::ServiceReport>>)> done) override;
  void update_disks(std::vector<map::Disk>) override {}

  // What is named so; 0: nothing.
  VolumeId named(const std::string& name) const;
  // Lets one held command, or confirmation, go on.
  void release();

  map::Map row;
  bool is_connected = true, has_lease = true;
  bool hold_commands = false, hold_confirms = false;
  // What the leading beacon makes of a cut, in a later turn.
  enum class Cuts { taken, given_up, left_open } cuts = Cuts::taken;
  std::optional<Error> refuse_next;  // what the next command answers
  Status confirm_result;
  std::vector<member::ServiceReport> report_list;
  std::vector<map::Command> commands;  // all that were proposed
  std::vector<uint64_t> confirmed;     // what confirm() was asked for
  std::function<void()> changed;       // as Events::map_changed

 private:
  Status apply(const map::Command& command);
  Status apply_of_snapshots(const map::Command& command);
  Status open_cut(const map::OpenCut& command);
  void close_cut(const map::CloseCut& command);
  void later(std::function<void()> work, bool hold);
  io::Host& host_;
  std::deque<std::function<void()>> held_;
};

// A cluster of three nodes with a server and two disks each, placement group "ssd", template "t3"
// (3 copies, 4 sets), volumes as asked for. Management of node 1 is active.
map::Map sample_map();

// One Api over a FakeMember, driven to its answers.
struct Bench {
  Bench();
  ~Bench() { api.reset(); }
  Response call(const std::string& method, const std::string& path, const std::string& json = "",
                const std::string& token = "secret-token");
  Value data(const std::string& method, const std::string& path,
             const std::string& json = "");  // of a success
  std::string error(const std::string& method, const std::string& path,
                    const std::string& json = "");  // its name
  // Starts a call and does not wait for its answer.
  std::shared_ptr<std::optional<Response>> start(const std::string& method, const std::string& path,
                                                 const std::string& json = "");
  void settle() { world.run_for(std::chrono::milliseconds(10)); }

  io::SimWorld world{1};
  io::SimHost& host;
  FakeMember member;
  std::unique_ptr<Api> api;
};

}  // namespace sp::api::test
