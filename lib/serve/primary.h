// Primary: the leadership of one disk set in one epoch, on the server that holds acting[0]. Made
// when the map gives the epoch to us, stopped when it moves on; never reused.
//
// Phases: collecting (every acting copy promises the epoch and says what it holds), equalizing
// (undecided records become durable on all of them), asking (SetActivated), active. Invariants
// while active:
//  - A write is decided when durable on every counted copy: all of acting, and a joining copy from
//  before its promotion was asked for. Decisions are in order of version.
//  - Nothing is decided while the row forbids it (map::may_decide). Blocks with undecided records
//  are not read then, nor with records of earlier epochs.
//  - Nothing is answered to a reader unless lease and epoch were ours after the data had been read.
//  - While a command is open that may put this disk out of acting (promotion of another, eviction
//  of ourselves), reads are held.
//  - Nothing is answered either once the copy on this very disk has promised a newer epoch to
//  another primary. (A primary that does not stay a copy has no promise to
//    give: the beacons activate its successor only when it has confirmed the map or its lease is
//    over.)
// Every request given to admit() is answered once, in the end with stale_epoch, unless its link
// closes. Thread rule: one reactor.
#pragma once
#include <deque>
#include <memory>
#include <set>
#include <string>

#include "map/set_rules.h"
#include "serve/client_request.h"
#include "serve/context.h"
#include "serve/layers.h"
#include "serve/operations.h"
#include "serve/ordered_write.h"
#include "serve/records.h"

namespace sp::serve {

class Joiner;
class Sweeper;

// What one leadership leaves to the next of the same process.
struct SetMemory {
  Operations operations;
  std::set<VolumeId> fenced;  // lost by force while the set could not decide
  bool knows_fences = false;  // all of them since the set had last decided everything
};

class Primary : public std::enable_shared_from_this<Primary> {
 public:
  Primary(Context& context, LocalDisk& disk, const map::DiskSet& row, uint32_t min_copies,
          SetMemory earlier);
  ~Primary();

  void start();
  void update_row(const map::DiskSet& row, uint32_t min_copies);  // same epoch
  // A client has lost the volume by force. While the set may not decide, a copy that is away may
  // bring back a write of that client: the volume is not read till then.
  void fence(VolumeId volume);
  void fence_unknown();        // of volumes that nobody can name
  void attachments_changed();  // fences: from the return on no write of an invalid attachment is
                               // taken or will be seen to appear
  void layers_changed() { retry_parked(); }
  bool is_settled(VolumeId volume) const;  // no write of it is undecided here, newer ones are held
  void admit(ClientRequest request);
  void link_closed(uint64_t link);
  void peer_ready(ServiceId server);
  void tick();
  SetMemory stop();  // the epoch is over; answers everybody
  // Its disk remembers no discards any more: copies that need those begin anew.
  void discards_forgotten();

  uint32_t epoch() const { return row_.epoch; }
  SetId set() const { return row_.id; }
  DiskId disk() const { return disk_.id; }
  bool may_serve() const { return phase_ == Phase::active && leads() && !holds_reads(); }
  uint64_t requests_waiting() const { return parked_.size(); }
  std::string waits_for() const;  // empty when nothing does
  std::string open_work() const;  // requests and records that have not ended; empty: none
  void add_tasks(std::map<DiskId, member::TaskReport>& tasks) const;

 private:
  friend class Joiner;
  friend class Sweeper;
  using Write = OrderedWrite;
  enum class Phase : uint8_t { collecting, equalizing, asking, active, stopped };
  enum class Begin : uint8_t { idle, asked, agreed, unknown };
  struct Copy {
    DiskId disk = 0;       // 0: a free place
    bool counted = false;  // decisions need it
    uint32_t round = 0;    // tells late answers of an earlier user of this place
    Version sent_to;       // everything newer has still to be sent
    Version acked_to;      // newest acknowledged
    Version told;          // decided_to as it knows it
    Begin begin = Begin::idle;
    uint32_t begin_round = 0;
    io::Instant begin_since, begin_next;
    bool create = false;
    wire::BeginEpochReply reply;
    io::Instant evict_next;
    std::string trouble;
  };
  struct ReadCall;

  // primary.cc
  uint32_t bit(const Copy& copy) const { return 1u << (&copy - copies_.data()); }
  uint32_t counted() const;
  bool may_decide() const;
  // Undecided records of earlier epochs: they may have been decided and read then.
  bool inherits() const {
    return !undecided_.empty() && undecided_.front()->prepare.record.version.epoch() < epoch();
  }
  bool leads() const;
  bool holds_reads() const { return open_commands_ > 0; }
  Copy* add_copy(DiskId disk, bool counted);
  void remove_copy(Copy& copy);
  Copy* find_copy(DiskId disk);
  void become_active();
  // `lost`: it lacks what it acknowledged, and is complete no more.
  void evict(Copy& copy, const std::string& why, bool lost = false);
  void evicted(DiskId disk, bool self, Status status);
  void retry_evict_self();
  bool definite(const Status& status) const;
  bool attachment_valid(VolumeId volume, const wire::AttachmentId& attachment) const;
  std::string overdue() const;  // primary_waits.cc
  // primary_activation.cc
  void drive();
  void ask_begin(Copy& copy);
  void begin_replied(size_t index, uint32_t round, Result<wire::BeginEpochReply> reply);
  void collected();
  bool settle_unknown();
  bool settle_forgetful();
  void merge_records();
  void ask_activation();
  // primary_write.cc
  void admit_write(ClientRequest request);
  Space::Room room_for(uint32_t blocks, DiskId& disk);
  void order(ClientRequest request, VolumeId layer);
  Write& new_write(bool discard, ObjectId object, uint16_t first, uint16_t count);
  void send_ordered(const Write& write);
  bool holes_known(const Stand& stand, uint32_t index);
  void order_holes(ObjectId top, const store::BlockSet& uncovered);
  void layer_decided(const Write& write);
  void pump(Copy& copy);
  bool load(Write& write);
  void holder_failed(Write& write, Copy& holder, const std::string& why);
  void send(Copy& copy, Write& write);
  void prepared(size_t index, uint32_t round, Version version,
                const Result<wire::PrepareReply>& reply);
  bool is_everywhere(const Write& write, uint32_t needed) const;
  void advance();
  void answer(Write& write);
  Write* find_write(Version version);
  void tell_decided();
  void tell_decided(Copy& copy);
  void check_overdue();
  void pass_tombstones();
  // primary_read.cc
  void admit_read(ClientRequest request);
  bool may_read(const wire::ReadRequest& request, const Stand& stand) const;
  bool writes_open_below(const Stand& stand, const wire::ReadRequest& request) const;
  void start_read(std::unique_ptr<ReadCall> call, bool compare);
  bool writes_open_to(ObjectId object, uint32_t first, uint32_t count) const;
  void read_done(ReadCall* call, Result<std::vector<store::BlockRead>> read);
  // primary_requests.cc
  bool refuse_bad(ClientRequest& request);
  void park(ClientRequest request);
  void retry_parked();
  void expire_parked();
  void reply(const ClientRequest& request, wire::DataStatus status, std::string text);
  void reply_write(uint64_t link, uint64_t request, wire::DataStatus status, std::string text);

  Context& context_;
  LocalDisk& disk_;
  Replica& replica_;
  map::DiskSet row_;
  uint32_t min_copies_;
  Phase phase_ = Phase::collecting;
  bool superseded_ = false;       // a copy knows a newer epoch
  std::vector<Copy> copies_;      // never moves: copies_max_ places from the start
  std::deque<Write*> undecided_;  // ascending by version
  Pool<Write> writes_;
  Version decided_to_;
  uint64_t sequence_ = 0;
  Operations operations_;
  std::set<VolumeId> fenced_volumes_;
  bool knows_fences_;                // see SetMemory
  uint32_t generation_decided_ = 0;  // newest attachment of which a write is known to be decided
  bool fenced_records_ = false;      // there are undecided writes of an attachment that is gone
  std::deque<ClientRequest> parked_;
  bool retrying_ = false, retry_again_ = false, activation_asked_ = false;
  uint32_t open_commands_ = 0;  // that may put this disk out of acting
  io::Instant activation_next_, evict_self_next_, tombstones_next_;
  bool evicting_self_ = false, evict_self_open_ = false, self_lost_ = false;
  io::Timer decided_timer_;
  Version tombstones_told_;
  std::shared_ptr<Layers> layers_;
  std::unique_ptr<Sweeper> sweeper_;  // never null
  std::vector<std::unique_ptr<Joiner>> joiners_;
  uint32_t joiner_round_last_ = 0;  // given to any of them
};

}  // namespace sp::serve
