// ServerImpl: the parts of a Server put together. For the server*.cc files only.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "serve/admission.h"
#include "serve/context.h"
#include "serve/links.h"
#include "serve/primary.h"
#include "serve/server.h"

namespace sp::serve {

class ServerImpl final : public Server {
 public:
  ServerImpl(io::Host& host, ServerOptions options, member::Member& member);
  ~ServerImpl() override;
  Status listen();
  void open_disks();

  void map_changed(const std::vector<map::Change>& changes) override;
  member::Report make_report() override;
  io::Address address() const override { return links_.address(); }
  bool all_opened() const override { return opening_ == 0; }
  std::vector<DiskId> disks() const override;
  const Counters& counters() const override { return context_.counters; }
  store::Store* store(DiskId disk) override;
  void each_served(const std::function<void(SetId)>& visit) const override;
  std::string open_work() const override;
  void digest(DiskId disk, SetId set, Callback<void(wire::DigestReply)> done) override;
  void save_indexes(Callback<void(Status)> done) override;

 private:
  // server_disks.cc
  void opened(const std::string& path, Result<OpenedDisk> disk);
  void register_disks();
  void check_disks();
  bool failure_known(const LocalDisk& disk) const;  // the map says so
  void tell_failure(LocalDisk& disk);
  void sweep();  // removes what the map does not want here any more
  void sweep_sets(LocalDisk& disk);
  void sweep_volumes(LocalDisk& disk);
  // server_sets.cc
  void update_peers();
  void update_set(SetId set);
  void fence();
  uint64_t settled_index();
  // server_dispatch.cc
  void handle(const Links::Peer& from, wire::Message message);
  void handle_client(const Links::Peer& from, wire::Message message);
  void serve_client(ClientRequest request);
  void answer_digest(const Links::Peer& from, const wire::Message& message);
  void answer_statistics(const Links::Peer& from, uint64_t request);
  void handle_copy(const Links::Peer& from, wire::Message message);
  void refuse_other_disk(uint64_t link, uint64_t request, const LocalDisk& disk);
  void refuse(const ClientRequest& request);
  void prepare(uint64_t link, const wire::Message& message);
  void link_closed(uint64_t link);
  template <class T>
  void answer(uint64_t link, uint64_t request, wire::MessageType type, const T& body,
              Buffer data = {});
  void tick();
  void bound_discards(LocalDisk& disk);
  static void report_lost(const LocalDisk& disk, member::Report& report);

  io::Host& host_;
  ServerOptions options_;
  Admission admission_;  // outlives all requests
  // Outlived by nothing that stores call back into: pools and primaries go after the disks.
  std::map<SetId, SetMemory> memory_;
  Context context_;
  Links links_;
  std::map<SetId, std::shared_ptr<Primary>> primaries_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
  uint32_t opening_ = 0;
  bool registered_ = false;
  uint64_t fenced_index_ = 0, settled_index_ = 0;
  std::map<std::pair<VolumeId, ClientId>, std::pair<uint32_t, bool>>
      attachments_;               // as last seen: generation, and whether losing it fences
  uint32_t generation_seen_ = 0;  // newest attachment generation given out, by the last map
  uint32_t ticks_ = 0;
  std::set<std::pair<DiskId, VolumeId>> removing_volumes_;
  std::set<std::pair<DiskId, SetId>> removing_sets_;
  io::Timer tick_timer_;
};

}  // namespace sp::serve
