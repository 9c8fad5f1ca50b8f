// VolumeImpl: the engine behind Volume. For volume*.cc only.
//
// An operation of the front end is split into pieces (part of one object, one request). Every write
// piece has its operation number from the start; all below the oldest open one are answered and
// will never be sent again, which each write tells the servers. A write that touches a block of an
// earlier open one is held until that is answered (open_writes.h). A piece is routed by the newest
// row of its set that is known, from the map or from a refusal. It holds a copy of its data, made
// when it is first sent, over which the checksums are made, so that a caller who changes its memory
// meanwhile harms only itself.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "client/open_writes.h"
#include "client/servers.h"
#include "client/volume.h"
#include "wire/data_messages.h"

namespace sp::client {

class VolumeImpl final : public Volume, public std::enable_shared_from_this<VolumeImpl> {
 public:
  VolumeImpl(io::Host& host, member::Member& member, std::shared_ptr<Servers> servers,
             const VolumeOptions& options, ClientId client);

  uint64_t size_bytes() const override;
  bool read_only() const override { return options_.read_only; }
  void read(uint64_t offset, MutableBytes into, Done done) override;
  void write(uint64_t offset, Bytes from, Done done) override;
  void write_zeroes(uint64_t offset, uint64_t size, Done done) override;
  void discard(uint64_t offset, uint64_t size, Done done) override;
  void flush(Done done) override;
  void map_changed() override;
  void detaching() override { detaching_ = true; }
  VolumeCounters counters() const override;
  std::string waits_for() const override;
  void on_fenced(Callback<void()> fenced) override;
  void close();  // no completion runs any more

 private:
  enum class Kind : uint8_t { read, write, discard };
  enum class PieceState : uint8_t { held, waiting, resting, sent };
  struct Operation {
    Kind kind = Kind::read;
    uint64_t offset = 0;
    MutableBytes into;
    Bytes from;
    Done done;
    size_t pieces_open = 0;
    std::optional<Error> error;
  };
  struct Piece {
    std::shared_ptr<Operation> operation;
    uint64_t id = 0;
    ObjectId object;
    uint16_t first_block = 0, block_count = 0;
    size_t at = 0;        // bytes into the operation
    uint64_t number = 0;  // of a write
    Buffer data;
    std::vector<uint64_t> crcs;
    bool checksum_failed = false;
    PieceState state = PieceState::waiting;
    uint32_t attempts = 0;
    bool crowded = false;  // it rests because it was not the oldest one of its set
    std::string refusal;   // why it rests: the last answer, or why there was none
    io::Instant due;       // while resting
    io::Instant since;
    OpenWrites::Range range() const { return {object.index, first_block, block_count}; }
  };
  struct Route {
    SetId set;
    uint32_t epoch = 0;
    const map::Service* server = nullptr;
  };

  void start(Kind kind, uint64_t offset, uint64_t size, MutableBytes into, Bytes from, Done done);
  std::optional<Error> refusal(Kind kind, uint64_t offset, uint64_t size) const;
  void enqueue(Piece& piece);
  void start_waiting();
  void leave_queue(const Piece& piece);
  bool route(const Piece& piece, Route& route) const;
  void send(Piece& piece);
  uint64_t oldest_open_of(const Piece& piece, SetId set) const;
  wire::Message make_request(Piece& piece, const Route& route);
  void rest(Piece& piece, bool soon, std::string why);
  bool let_oldest_go(Piece& piece);
  void hurry_oldest(uint32_t object);
  // What becomes of a request, as a debug line.
  void trace(const Piece& piece, std::string_view event, std::string_view text);
  void wake();
  void arm();
  void replied(uint64_t id, Result<wire::Message> message);
  void outcome(Piece& piece, wire::DataStatus status, const std::optional<map::DiskSet>& current,
               const std::string& text);
  bool is_beyond_end(const Piece& piece) const;
  bool take_read(Piece& piece, const wire::ReadReply& reply, const Buffer& data);
  void finish(Piece& piece, std::optional<Error> error);
  void check_attachment();
  void fence(const std::string& why);
  std::string wait_text(const Piece& piece) const;

  io::Host& host_;
  member::Member& member_;
  std::shared_ptr<Servers> servers_;
  VolumeOptions options_;
  ClientId client_;
  bool closed_ = false, fenced_ = false;
  std::string fenced_why_;
  mutable uint64_t size_seen_ = 0;
  Callback<void()> on_fenced_;
  std::map<uint64_t, Piece> pieces_;  // by id: in order of arrival
  std::deque<uint64_t> waiting_;      // not sent yet, and free to go
  OpenWrites open_writes_;
  size_t started_ = 0;    // resting or sent
  bool crowded_ = false;  // some piece may be
  uint64_t last_id_ = 0;
  uint64_t next_number_;
  uint64_t oldest_open_;
  std::deque<bool> answered_;  // of numbers from oldest_open_ on
  mutable std::map<SetId, map::DiskSet>
      newer_rows_;  // learnt from refusals, until the map has them
  io::Timer timer_;
  bool detaching_ = false;
  VolumeCounters counters_;
};

}  // namespace sp::client
