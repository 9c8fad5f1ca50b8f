// BeaconMember: the Member that talks to a beacon, see member.h. A state machine around one
// connection at a time.
#pragma once
#include <deque>
#include <map>
#include <optional>

#include "member/member.h"

namespace sp::member {

class BeaconMember final : public Member {
 public:
  BeaconMember(io::Host& host, Options options, Events events);
  ~BeaconMember() override;

  const map::Map& map() const override { return map_; }
  bool connected() const override { return connection_ && connection_->ready(); }
  io::Instant lease_until() const override { return lease_until_; }
  std::string waits_for() const override;
  void command(const map::Command& command, Callback<void(Result<uint64_t>)> done) override;
  void confirm(uint64_t index, io::Duration timeout, Callback<void(Status)> done) override;
  void reports(Callback<void(Result<std::vector<ServiceReport>>)> done) override;
  void update_disks(std::vector<map::Disk> disks) override;

 private:
  struct PendingCommand {
    std::vector<std::byte> command;
    Callback<void(Result<uint64_t>)> done;
    io::Instant deadline;  // of the wait for a connection
    bool sent = false;
    uint64_t index = 0;  // not 0: agreed, waits for the map to get there
  };
  struct PendingConfirm {
    uint64_t index = 0;
    io::Instant deadline;
    Callback<void(Status)> done;
  };
  struct PendingReports {
    std::vector<ServiceReport> have;
    Callback<void(Result<std::vector<ServiceReport>>)> done;
    io::Instant deadline;
    bool sent = false;
  };
  // What a callback of ours holds on to: it may destroy the Member it is called by.
  struct Anchor {
    bool alive = true;
    Events events;
  };
  struct Assembly {  // a map or a delta whose pieces are coming in
    bool full = false;
    uint64_t from_index = 0, index = 0, total = 0;
    std::vector<std::byte> bytes;
  };

  void connect_next();
  void connect_failed(const Error& why);
  void start_connection(std::unique_ptr<io::Socket> socket);
  void on_ready();
  void on_closed(const Error& why);
  void drop_connection(const char* why);
  void fail_sent(const Error& why);
  void tick();
  void expire();
  void send_register();
  Report report();
  void send_lease_request();
  void watch_fencing();
  void fencing_step();
  // These may run callbacks: afterwards nothing of *this may be touched unless the anchor is alive.
  void on_message(wire::Message message);
  void on_map_piece(const wire::Message& message, bool full);
  void on_map(Bytes bytes, uint64_t index);
  void on_delta(Bytes bytes, uint64_t from_index, uint64_t index);
  void on_lease_grant(const wire::Message& message);
  void on_refused(const wire::Message& message);
  void look_for_removal();
  void on_command_reply(const wire::Message& message);
  void on_reports_reply(const wire::Message& message);
  void settle_commands();
  void confirmed(uint64_t index);

  io::Host& host_;
  Options options_;
  std::shared_ptr<Anchor> anchor_;
  map::Map map_;
  std::optional<Assembly> assembly_;

  std::unique_ptr<io::Net::Attempt> attempt_;
  std::unique_ptr<wire::Connection> connection_;
  size_t next_beacon_ = 0;
  io::Duration backoff_;
  bool told_unreachable_ = false;  // logged once per loss
  bool told_removed_ = false;
  io::Timer connect_timer_;
  io::Timer tick_timer_;
  io::Timer fencing_timer_;
  io::Duration fencing_delay_{};
  uint64_t told_index_ = 0;        // of the newest map_changed
  io::Instant loses_answer_next_;  // see on_command_reply
  uint64_t fenced_sent_ = 0;       // fenced_index of the newest report that went out
  uint64_t settled_sent_ = 0;      // its settled_index

  io::Instant lease_until_{INT64_MIN};
  std::deque<int64_t> lease_requests_;  // times of sending, oldest first
  io::Instant heard_;
  uint64_t confirmed_index_ = 0;
  uint64_t last_request_ = 0;
  std::map<uint64_t, PendingCommand> commands_;
  std::map<uint64_t, PendingReports> reports_;
  std::vector<PendingConfirm> confirms_;
};

}  // namespace sp::member
