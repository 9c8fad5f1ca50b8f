// Server: one server service. It holds disks, leads the disk sets whose first acting disk is one of
// them, keeps the copies that others lead, and answers clients.
//
// A disk whose store fails is given up and reported; the others go on. A disk that cannot be opened
// is logged and left out. The Member is the owner's: it has to be made with no disks (they are
// registered here as they open), outlive the Server, and have its events passed on: map_changed and
// make_report. Thread rule: one reactor. Destroying a Server ends it like a crash: everything
// acknowledged is durable.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/counted_disk.h"
#include "io/host.h"
#include "member/member.h"
#include "serve/tuning.h"
#include "store/store.h"
#include "wire/connection.h"
#include "wire/data_messages.h"

namespace sp::serve {

struct Counters;

struct OpenedDisk {
  DiskId id = 0;
  ClusterId cluster = 0;
  uint64_t uuid = 0;
  std::unique_ptr<store::Store> store;
  std::shared_ptr<io::DiskCounts> counts;  // of its device since it was opened; null: not counted
};
using OpenDisk = std::function<void(io::Host&, const std::string& path,
                                    std::function<void(Result<OpenedDisk>)> done)>;

// The disk at `path` as it was formatted: superblock, then store.
void open_formatted_disk(io::Host& host, const std::string& path, const store::Options& store,
                         std::function<void(Result<OpenedDisk>)> done);

struct ServerOptions {
  wire::ClusterKey key;
  wire::Identity self;
  io::Address listen;
  std::vector<std::string> disk_paths;
  store::Options store;  // of every disk
  OpenDisk open_disk;    // none: open_formatted_disk with them
  Tuning tuning;
};

class Server {
 public:
  virtual ~Server() = default;

  // Listens at once; disks follow. Fails when the address cannot be listened on.
  static Result<std::unique_ptr<Server>> start(io::Host& host, ServerOptions options,
                                               member::Member& member);

  virtual void map_changed(const std::vector<map::Change>& changes) = 0;
  virtual member::Report make_report() = 0;

  virtual io::Address address() const = 0;
  virtual bool all_opened() const = 0;            // every disk path was opened, or given up
  virtual std::vector<DiskId> disks() const = 0;  // that serve
  virtual const Counters& counters() const = 0;
  virtual store::Store* store(DiskId disk) = 0;  // for checks; nullptr when not held
  // The sets that this server would serve as their primary at this moment.
  virtual void each_served(const std::function<void(SetId)>& visit) const = 0;
  // What has not ended: requests, records, calls of stores; empty when nothing is open. For checks
  // that nothing is forgotten.
  virtual std::string open_work() const = 0;
  // The hash of all that one disk holds of one set, to compare copies at rest.
  virtual void digest(DiskId disk, SetId set, Callback<void(wire::DigestReply)> done) = 0;
  // For an orderly end: the next opening of the disks is quick.
  virtual void save_indexes(Callback<void(Status)> done) = 0;
};

}  // namespace sp::serve
