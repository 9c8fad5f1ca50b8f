// Calls: the table of what the control API can do. A call is one function here or in a calls_*.cc,
// and one row of the table in calls.cc.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "api/api.h"
#include "api/errors.h"
#include "api/value.h"
#include "map/command.h"

namespace sp::api {

class Context;
using ContextPtr = std::shared_ptr<Context>;

// What all requests of one Api share. Contexts hold it, so that a completion of the Member that
// comes after the Api is gone finds `closed`.
struct Core {
  Core(io::Host& host_in, member::Member& member_in, ApiOptions options_in)
      : host(host_in), member(member_in), options(std::move(options_in)) {}
  struct Wait {
    ContextPtr context;
    std::function<bool()> over;  // looks at the map
    std::unique_ptr<io::Timer> deadline;
  };
  io::Host& host;
  member::Member& member;
  ApiOptions options;
  bool closed = false;
  uint32_t in_flight = 0;
  std::deque<Wait> waits;
  std::deque<std::function<void()>> changes;  // [0] runs; see Context::in_turn
  std::set<VolumeId> expiring;                // snapshots whose deletion Expiry has proposed

  bool active() const;    // this service is the active one, under a lease
  bool in_place() const;  // it is the active one as far as its map goes
  void look_at_waits();
};

// One request on its way. Exactly one of reply, reply_ok, fail ends it.
class Context : public std::enable_shared_from_this<Context> {
 public:
  Context(std::shared_ptr<Core> core, Request request, Callback<void(Response)> done);
  ~Context();

  const map::Map& map() const { return core_->member.map(); }
  member::Member& member() { return core_->member; }
  io::Host& host() { return core_->host; }
  const ServiceId& self() const { return core_->options.self; }
  const Value& json() const { return json_; }
  const std::string& argument(size_t i) const { return arguments_.at(i); }
  bool active() const { return core_->active(); }
  bool in_place() const { return core_->in_place(); }
  bool expires(VolumeId snapshot) const { return core_->expiring.count(snapshot) != 0; }

  void reply(std::string data);  // success; `data` is JSON
  void reply_ok();               // {"ok":true,"generation":N}
  void fail(const Error& error) { fail(error_kind(error.code()), error.message()); }
  void fail(std::string_view name, std::string_view description);
  void fail(const ErrorKind& kind, std::string_view description, std::string_view active = {});
  void fail_command(const Error& error);

  // Runs `work` when earlier changes given to in_turn are agreed or refused (their command() has
  // completed).
  void in_turn(std::function<void()> work);
  // Proposes; on success runs `then` with the index, else fails the request. Ends the turn.
  void command(const map::Command& command, std::function<void(uint64_t)> then);
  // command, confirm, reply_ok.
  void command_and_confirm(const map::Command& command);
  void confirm(uint64_t index, std::function<void()> then);
  bool waits_full() const { return core_->waits.size() >= limits::api_waits_max; }
  // Runs `then(true)` once `over()` holds for the map, `then(false)` after `timeout`.
  void wait(std::function<bool()> over, io::Duration timeout, std::function<void(bool)> then);

 private:
  friend struct Core;
  friend class CallRunner;
  void end_turn();
  void respond(int status, std::string body);
  std::shared_ptr<Core> core_;
  Request request_;
  Callback<void(Response)> done_;
  Value json_;
  std::vector<std::string> arguments_;  // what {names} of the call's path stood for
  std::function<void(bool)> after_wait_;
  bool in_turn_ = false;
  bool from_anyone_ = false;  // see Call::without_quorum
};

struct Call {
  std::string_view method;
  std::string_view path;  // after the prefix; "{x}" takes one part, "{x...}" the rest
  void (*run)(const ContextPtr&);
  bool without_quorum = false;  // answered by any management service, whatever its map's age
};
std::span<const Call> calls();

// Takes a request from its path to the function that answers it.
class CallRunner {
 public:
  static void run(const std::shared_ptr<Core>& core, Request request,
                  Callback<void(Response)> done);
};

// calls_cluster.cc
void services_list(const ContextPtr& context);
void network_peers_list(const ContextPtr& context);
void tasks_list(const ContextPtr& context);
void fault_sets_list(const ContextPtr& context);
void status_summary(const ContextPtr& context);
// calls_nodes.cc
void nodes_list(const ContextPtr& context);
void node_add(const ContextPtr& context);
void node_remove(const ContextPtr& context);
void node_set_voting(const ContextPtr& context);
void feature_level_raise(const ContextPtr& context);
// calls_disks.cc
void disks_list(const ContextPtr& context);
void server_disks_list(const ContextPtr& context);
void disk_describe(const ContextPtr& context);
void disk_set_description(const ContextPtr& context);
void disk_forget(const ContextPtr& context);
void placement_groups_list(const ContextPtr& context);
void placement_group_describe(const ContextPtr& context);
void placement_group_update(const ContextPtr& context);
void placement_group_delete(const ContextPtr& context);
// calls_templates.cc
void templates_list(const ContextPtr& context);
void templates_status(const ContextPtr& context);
void template_describe(const ContextPtr& context);
void template_create(const ContextPtr& context);
void template_update(const ContextPtr& context);
void template_delete(const ContextPtr& context);
// calls_volumes.cc
void volumes_list(const ContextPtr& context);
void volume_list_one(const ContextPtr& context);
void volume_describe(const ContextPtr& context);
void volume_get_info(const ContextPtr& context);
void volumes_get_status(const ContextPtr& context);
void volumes_get_status_quick(const ContextPtr& context);
void snapshots_list(const ContextPtr& context);
void snapshot_list_one(const ContextPtr& context);
void snapshot_describe(const ContextPtr& context);
void snapshot_get_info(const ContextPtr& context);
void volume_list_snapshots(const ContextPtr& context);
// calls_volume_changes.cc
void volume_create(const ContextPtr& context);
void volume_update(const ContextPtr& context);
void volume_delete(const ContextPtr& context);
// calls_snapshots.cc
void volume_snapshot(const ContextPtr& context);
void volumes_group_snapshot(const ContextPtr& context);
void snapshot_update(const ContextPtr& context);
void snapshot_delete(const ContextPtr& context);
void volume_revert(const ContextPtr& context);
// calls_attachments.cc
void attachments_list(const ContextPtr& context);
void attachments_detailed(const ContextPtr& context);
void volumes_reassign(const ContextPtr& context);
void volumes_reassign_wait(const ContextPtr& context);
// calls_buckets.cc
void buckets_list(const ContextPtr& context);
void bucket_list(const ContextPtr& context);
void bucket_get(const ContextPtr& context);
void bucket_create(const ContextPtr& context);
void bucket_delete(const ContextPtr& context);
void bucket_set(const ContextPtr& context);

}  // namespace sp::api
