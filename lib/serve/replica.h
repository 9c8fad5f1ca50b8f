// Replica: the copy's side of one disk set on one disk. It obeys the primary of the newest epoch it
// has promised, and nobody older.
//
// Invariants: the epoch is durable before begin_epoch is answered; from the moment begin_epoch
// arrives no request of an older epoch has an effect any more, and those in flight have ended
// before the answer is made. `decide` is never given to the store beyond a prepare that is still in
// flight. Thread rule: one reactor. Answers may come inside the call when a request is refused. A
// Replica lives as long as its store.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/callback.h"
#include "base/planted.h"
#include "serve/pool.h"
#include "store/store.h"
#include "wire/data_messages.h"

namespace sp::serve {

class Replica {
 public:
  Replica(io::Host& host, store::Store& store, DiskId disk, SetId set);

  void begin_epoch(const wire::BeginEpoch& request, Callback<void(wire::BeginEpochReply)> done);
  // `verified`: the caller has compared content and checksums itself.
  void prepare(const wire::Prepare& request, const Buffer& data, bool verified,
               Callback<void(const wire::PrepareReply&)> done);
  void decided(const wire::Decided& request);
  void fetch_undecided(const wire::FetchUndecided& request,
                       Callback<void(wire::FetchUndecidedReply, Buffer)> done);
  void recover_object(const wire::RecoverObject& request, const Buffer& data,
                      Callback<void(wire::RecoverObjectReply)> done);
  // The order-independent hash of what is decided here.
  void digest(Callback<void(wire::DigestReply)> done);
  // By the row of this revision (UINT64_MAX: the set is gone for good) the disk is no member:
  // everything of the set goes, unless a primary with a newer row has spoken meanwhile.
  void remove(uint64_t revision, Callback<void(Status)> done);

  DiskId disk() const { return disk_; }
  SetId set() const { return set_; }
  uint32_t epoch() const { return promised_; }
  // Of the newest row by which a primary has called this disk a member, in the life of this
  // process; 0: none has. A disk may leave a set within one epoch, and join it again.
  uint64_t revision() const { return revision_; }
  store::Store& store() { return store_; }
  // What is at work here, for people; empty when nothing is.
  std::string open_work() const;
  // So that discards do not fill the disk while a copy is away that has missed them: they are
  // forgotten, and the copy is cleared when it returns. `forgotten` is called at that moment, and
  // not at all when there is nothing to forget, or it cannot be done now.
  void forget_discards(Callback<void()> forgotten);
  // For the primary on this disk: decided up to here.
  void note_decided(Version up_to);

 private:
  struct PrepareCall {
    wire::PrepareReply reply;
    Callback<void(const wire::PrepareReply&)> done;
  };
  struct Begin {
    wire::BeginEpoch request;
    Callback<void(wire::BeginEpochReply)> done;
  };
  enum class Change : uint8_t { none, begin, remove };
  bool is_current(uint32_t epoch) const {
    return change_ == Change::none && epoch != 0 &&
           (epoch == promised_ || SP_PLANTED_BUG(serve_obeys_any_epoch));
  }
  std::string refusal(uint32_t epoch) const;
  void ended();
  void next_change();
  void begin_now();
  void begin_put(Version complete_to);
  void begin_answer(Status status);
  void remove_now();
  void apply_decided();
  void forget_discards_to(Version passed, Callback<void()> forgotten);
  void digest_step(std::shared_ptr<struct DigestWork> work);

  io::Host& host_;
  store::Store& store_;
  DiskId disk_;
  SetId set_;
  uint32_t promised_ = 0;
  uint64_t revision_ = 0;
  Change change_ = Change::none;  // at work: nothing else is taken
  bool change_started_ = false;
  std::deque<Begin> begins_;  // front: the one at work
  std::deque<std::pair<uint64_t, Callback<void(Status)>>> removals_;
  bool recovers_ = false;           // has been sent objects, and not all, in this epoch
  std::vector<Version> in_flight_;  // prepares given to the store, ascending
  uint32_t working_ = 0;            // prepares and recoveries given to the store
  Version decided_wanted_;
  Pool<PrepareCall> calls_;
};

}  // namespace sp::serve
