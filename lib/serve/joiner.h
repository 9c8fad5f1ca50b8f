// Joiner: brings one recovering copy of a set up to date, under the set's primary.
//
// Steps: the copy promises the epoch and says what it is complete to; from then on it gets every
// live write; every object changed after that point is sent, blocks newer than that point with
// their content, all present blocks by name; then decisions count its acknowledgements, and once it
// has acknowledged all that was decided before, it is told that it is complete and its promotion is
// asked for. Any failure before that last request drops the copy and begins again after a pause.
// After it the copy is counted until the row changes, since it may have been agreed. A copy that is
// still in base is complete: it is asked for its promise only. Owned by Primary; callbacks find it
// through the primary and a round number.
#pragma once
#include <memory>
#include <vector>

#include "serve/primary.h"

namespace sp::serve {

class Joiner {
 public:
  Joiner(Primary& primary, DiskId disk);
  ~Joiner();

  DiskId disk() const { return disk_; }
  bool promotion_open() const { return step_ == Step::promoting; }
  void
  row_changed();  // a request for promotion that is open has failed: it was good for one revision
  void tick();
  void progress();  // acknowledgements may have come
  void discards_forgotten();
  void fail(const std::string& why);
  void stop();
  void add_task(member::TaskReport& task) const;

 private:
  enum class Step : uint8_t {
    resting,
    beginning,
    sending,
    draining,
    finishing,
    promoting,
    stopped
  };
  struct Chunk;
  static Joiner* find(const std::weak_ptr<Primary>& primary, DiskId disk, uint32_t round,
                      std::shared_ptr<Primary>& keep);

  void next_round();
  void begin();
  void ask_begin(bool clear);
  bool has_lost(const wire::BeginEpochReply& reply) const;
  void tell_lost();
  void began(Result<wire::BeginEpochReply> reply, bool cleared);
  void take_lost(uint32_t first_slot);
  void send_more();
  void start_object(ObjectId object);
  void read_chunk(std::shared_ptr<Chunk> chunk);
  void read_run(std::shared_ptr<Chunk> chunk);
  void send_object(std::shared_ptr<Chunk> chunk);
  void send_chunk(std::shared_ptr<Chunk> chunk);
  void send_chunk_as(std::shared_ptr<Chunk> chunk, const store::ObjectState& now);
  void chunk_applied(std::shared_ptr<Chunk> chunk, Result<wire::RecoverObjectReply> reply);
  void drain();
  void finish();
  bool told_old_row() const;
  bool source_failed();
  bool stands_still() const;
  void promote();
  void start_promotion();
  void promoted(Status status);
  void leave();

  Primary& primary_;
  DiskId disk_;
  Step step_ = Step::resting;
  uint32_t round_ = 0;
  bool cleared_ = false;      // the copy had nothing when it began
  bool holds_place_ = false;  // one of the server's recoveries in flight
  bool command_open_ = false;
  io::Instant next_;
  io::Duration pause_{};
  io::Instant moved_;  // last answer or acknowledgement of the copy
  Version acked_seen_;
  Version after_;
  std::vector<ObjectId> objects_;  // still to be sent, a batch at a time
  size_t object_next_ = 0;
  ObjectId cursor_;
  bool scanned_ = false;  // no batch is left
  uint32_t objects_in_flight_ = 0;
  uint64_t objects_all_ = 0, objects_done_ = 0, bytes_moved_ = 0;
  Version drain_to_;
  uint64_t promote_revision_ = 0;
};

}  // namespace sp::serve
