#include <algorithm>
#include <cstring>

#include "base/checksum.h"
#include "base/client_id.h"
#include "base/planted.h"
#include "base/probe.h"
#include "client/volume_impl.h"

namespace sp::client {

namespace {

// From so many numbers behind the oldest open one on, each set is told of its own oldest.
constexpr size_t numbers_open_many = 4096;

// What the owner holds. The engine itself is shared with the completions that are on their way,
// which find it closed.
class VolumeHandle final : public Volume {
 public:
  explicit VolumeHandle(std::shared_ptr<VolumeImpl> engine) : engine_(std::move(engine)) {}
  ~VolumeHandle() override { engine_->close(); }
  uint64_t size_bytes() const override { return engine_->size_bytes(); }
  bool read_only() const override { return engine_->read_only(); }
  void read(uint64_t offset, MutableBytes into, Done done) override {
    engine_->read(offset, into, std::move(done));
  }
  void write(uint64_t offset, Bytes from, Done done) override {
    engine_->write(offset, from, std::move(done));
  }
  void write_zeroes(uint64_t offset, uint64_t size, Done done) override {
    engine_->write_zeroes(offset, size, std::move(done));
  }
  void discard(uint64_t offset, uint64_t size, Done done) override {
    engine_->discard(offset, size, std::move(done));
  }
  void flush(Done done) override { engine_->flush(std::move(done)); }
  void map_changed() override { engine_->map_changed(); }
  void detaching() override { engine_->detaching(); }
  VolumeCounters counters() const override { return engine_->counters(); }
  std::string waits_for() const override { return engine_->waits_for(); }
  void on_fenced(Callback<void()> fenced) override { engine_->on_fenced(std::move(fenced)); }

 private:
  std::shared_ptr<VolumeImpl> engine_;
};

}  // namespace

std::unique_ptr<Volume> Volume::open(io::Host& host, member::Member& member,
                                     std::shared_ptr<Servers> servers,
                                     const VolumeOptions& options) {
  const ServiceId self = servers->self().service;
  const ClientId client = client_of(self.node, self.instance);
  return std::make_unique<VolumeHandle>(
      std::make_shared<VolumeImpl>(host, member, std::move(servers), options, client));
}

VolumeImpl::VolumeImpl(io::Host& host, member::Member& member, std::shared_ptr<Servers> servers,
                       const VolumeOptions& options, ClientId client)
    : host_(host),
      member_(member),
      servers_(std::move(servers)),
      options_(options),
      client_(client),
      timer_(host.reactor) {
  // A process that was started anew under the same attachment must not use the numbers of its
  // predecessor: they start at the time of day.
  constexpr int numbers_per_ms_bits = 20;
  next_number_ = (static_cast<uint64_t>(host_.clock.wall_ms()) << numbers_per_ms_bits) + 1;
  oldest_open_ = next_number_;
}

uint64_t VolumeImpl::size_bytes() const {
  const auto row = member_.map().volumes.find(options_.volume);
  if (row != member_.map().volumes.end())
    size_seen_ = row->second.size_bytes / limits::block_bytes * limits::block_bytes;
  return size_seen_;
}

void VolumeImpl::read(uint64_t offset, MutableBytes into, Done done) {
  ++counters_.reads;
  start(Kind::read, offset, into.size(), into, {}, std::move(done));
}
void VolumeImpl::write(uint64_t offset, Bytes from, Done done) {
  ++counters_.writes;
  start(Kind::write, offset, from.size(), {}, from, std::move(done));
}
void VolumeImpl::write_zeroes(uint64_t offset, uint64_t size, Done done) {
  discard(offset, size, std::move(done));
}
void VolumeImpl::discard(uint64_t offset, uint64_t size, Done done) {
  ++counters_.writes;
  start(Kind::discard, offset, size, {}, {}, std::move(done));
}
// What was answered is durable.
void VolumeImpl::flush(Done done) {
  auto box = std::make_unique<Done>(std::move(done));
  host_.reactor.post([self = shared_from_this(), box = std::move(box)] {
    if (self->closed_) return;
    if (self->fenced_) return box->call_once(Error(Code::closed, self->fenced_why_));
    box->call_once(Status());
  });
}

void VolumeImpl::close() {
  closed_ = true;
  pieces_.clear();
  waiting_.clear();
  timer_.cancel();
}

std::optional<Error> VolumeImpl::refusal(Kind kind, uint64_t offset, uint64_t size) const {
  if (fenced_) return Error(Code::closed, fenced_why_);
  if (offset % limits::block_bytes != 0 || size % limits::block_bytes != 0)
    return Error(Code::invalid, "offset and size must be multiples of 4096");
  if (kind != Kind::read && options_.read_only)
    return Error(Code::refused, "the volume is attached read-only");
  if (offset + size < offset || offset + size > size_bytes())
    return Error(Code::invalid, "the range ends beyond the end of the volume");
  return std::nullopt;
}

void VolumeImpl::start(Kind kind, uint64_t offset, uint64_t size, MutableBytes into, Bytes from,
                       Done done) {
  auto operation = std::make_shared<Operation>();
  operation->kind = kind;
  operation->offset = offset;
  operation->into = into;
  operation->from = from;
  operation->done = std::move(done);
  operation->error = refusal(kind, offset, size);
  if (operation->error || size == 0) {
    host_.reactor.post([self = shared_from_this(), operation] {
      if (self->closed_) return;
      if (operation->error)
        operation->done.call_once(std::move(*operation->error));
      else
        operation->done.call_once(Status());
    });
    return;
  }
  uint64_t piece_max = kind == Kind::discard ? limits::object_bytes : limits::io_bytes_max;
  if (const uint32_t draw = SP_BUGGIFY(client_pieces_small, host_))
    piece_max = (1 + draw % 8) * uint64_t{limits::block_bytes};
  for (uint64_t at = 0; at < size;) {
    const uint64_t position = offset + at;
    const uint64_t in_object = position % limits::object_bytes;
    const uint64_t length = std::min({size - at, limits::object_bytes - in_object, piece_max});
    Piece piece;
    piece.operation = operation;
    piece.id = ++last_id_;
    piece.object = {options_.volume, static_cast<uint32_t>(position / limits::object_bytes)};
    piece.first_block = static_cast<uint16_t>(in_object / limits::block_bytes);
    piece.block_count = static_cast<uint16_t>(length / limits::block_bytes);
    piece.at = at;
    piece.since = host_.clock.now();
    ++operation->pieces_open;
    enqueue(pieces_.emplace(piece.id, std::move(piece)).first->second);
    at += length;
  }
  start_waiting();
}

void VolumeImpl::enqueue(Piece& piece) {
  bool free = true;
  if (piece.operation->kind != Kind::read) {
    piece.number = next_number_++;
    answered_.push_back(false);
    free = open_writes_.add(piece.id, piece.range());
  }
  piece.state = free ? PieceState::waiting : PieceState::held;
  if (free) waiting_.push_back(piece.id);
  if (!free) SP_PROBE(client_write_waits_for_another);
}

void VolumeImpl::start_waiting() {
  while (!waiting_.empty() && started_ < servers_->tuning().pieces_started_max) {
    Piece& piece = pieces_.at(waiting_.front());
    waiting_.pop_front();
    ++started_;
    send(piece);
  }
}

// sending

// Below this number nothing of the set is sent again. That of all sets is as good, and nearer at
// hand; but a set that does not answer must not make the others remember all that follows.
uint64_t VolumeImpl::oldest_open_of(const Piece& piece, SetId set) const {
  if (piece.attempts == 0 && answered_.size() < numbers_open_many) return oldest_open_;
  const map::Map& map = member_.map();
  const auto volume = map.volumes.find(options_.volume);
  for (const auto& [id, other] : pieces_) {
    if (other.number >= piece.number) break;
    if (other.number != 0 && map::set_of(map, volume->second, other.object.index) == set)
      return other.number;
  }
  return piece.number;
}

bool VolumeImpl::route(const Piece& piece, Route& route) const {
  const map::Map& map = member_.map();
  const auto volume = map.volumes.find(options_.volume);
  if (volume == map.volumes.end()) return false;
  route.set = map::set_of(map, volume->second, piece.object.index);
  const auto agreed = map.sets.find(route.set);
  const map::DiskSet* row = agreed == map.sets.end() ? nullptr : &agreed->second;
  if (SP_PLANTED_BUG(client_keeps_first_row) && row != nullptr)
    row = &newer_rows_.emplace(route.set, *row).first->second;
  else if (const auto newer = newer_rows_.find(route.set); newer != newer_rows_.end()) {
    if (row == nullptr || newer->second.revision > row->revision)
      row = &newer->second;
    else
      newer_rows_.erase(newer);
  }
  if (row == nullptr || row->acting.empty()) return false;
  route.epoch = row->epoch;
  route.server = map.server_of(row->acting.front());
  return route.server != nullptr && route.server->up && !route.server->address.empty();
}

void VolumeImpl::send(Piece& piece) {
  Route to;
  if (!route(piece, to)) return rest(piece, false, "no server leads the set");
  piece.state = PieceState::sent;
  piece.crowded = false;
  if (host_.log.enabled(LogLevel::debug))
    trace(piece, piece.attempts == 0 ? "sent" : "sent again",
          "set " + std::to_string(to.set.index) + " epoch " + std::to_string(to.epoch) +
              " server " + std::to_string(to.server->id.node));
  servers_->request(*to.server, make_request(piece, to),
                    [weak = weak_from_this(), id = piece.id](Result<wire::Message> message) {
                      const auto self = weak.lock();
                      if (self && !self->closed_) self->replied(id, std::move(message));
                    });
}

wire::Message VolumeImpl::make_request(Piece& piece, const Route& route) {
  wire::Message message;
  const Operation& operation = *piece.operation;
  if (operation.kind == Kind::read) {
    wire::ReadRequest body;
    body.set = route.set;
    body.epoch = route.epoch;
    body.object = piece.object;
    body.first_block = piece.first_block;
    body.block_count = piece.block_count;
    body.attachment = {client_, options_.generation};
    body.checksum_failed = piece.checksum_failed;
    message.type = wire::MessageType::read;
    message.body = encode(body);
    return message;
  }
  if (operation.kind == Kind::write && !piece.data) {
    const size_t size = size_t{piece.block_count} * limits::block_bytes;
    piece.data = Buffer::copy_of(operation.from.subspan(piece.at, size));
    for (size_t i = 0; i < piece.block_count; ++i)
      piece.crcs.push_back(
          crc64(piece.data.bytes().subspan(i * limits::block_bytes, limits::block_bytes)));
  }
  wire::WriteRequest body;
  body.set = route.set;
  body.epoch = route.epoch;
  body.object = piece.object;
  body.first_block = piece.first_block;
  body.block_count = piece.block_count;
  body.attachment = {client_, options_.generation};
  body.operation = piece.number;
  if (SP_PLANTED_BUG(client_numbers_retries_anew)) body.operation += uint64_t{piece.attempts} << 32;
  body.oldest_open_operation = oldest_open_of(piece, route.set);
  body.discard = operation.kind == Kind::discard;
  body.crcs = piece.crcs;
  message.type = wire::MessageType::write;
  message.body = encode(body);
  message.data = piece.data;
  return message;
}

void VolumeImpl::trace(const Piece& piece, std::string_view event, std::string_view text) {
  if (!host_.log.enabled(LogLevel::debug)) return;
  const Kind kind = piece.operation->kind;
  const std::string_view name =
      kind == Kind::read ? "read" : (kind == Kind::write ? "write" : "discard");
  host_.log.debug(std::string(name) + " " + std::string(event),
                  {{"volume", piece.object.volume},
                   {"object", piece.object.index},
                   {"first", piece.first_block},
                   {"count", piece.block_count},
                   {"operation", piece.number != 0 ? piece.number : piece.id},
                   {"text", text}});
}

// Tries again later: `soon` when the answer says where or why, else with a growing pause.
void VolumeImpl::rest(Piece& piece, bool soon, std::string why) {
  piece.refusal = std::move(why);
  trace(piece, "not answered", piece.refusal);
  ++counters_.retries;
  ++piece.attempts;
  const uint32_t doublings = std::min<uint32_t>(soon ? 0 : piece.attempts, 8);
  const io::Duration pause = std::min<io::Duration>(limits::retry_backoff_min * (1 << doublings),
                                                    limits::retry_backoff_max);
  piece.state = PieceState::resting;
  piece.due = host_.clock.now() + pause / 2 +
              io::Duration(host_.random.below(static_cast<uint64_t>(pause.count() / 2 + 1)));
  arm();
}

// A server that remembers as many operations as it may takes the oldest one of the set: that one
// gets the place of this one, where it waits for one. False: it does not.
bool VolumeImpl::let_oldest_go(Piece& piece) {
  const map::Map& map = member_.map();
  const auto volume = map.volumes.find(options_.volume);
  if (piece.number == 0 || volume == map.volumes.end()) return false;
  const SetId set = map::set_of(map, volume->second, piece.object.index);
  for (auto& [id, other] : pieces_) {
    if (other.number == 0 || map::set_of(map, volume->second, other.object.index) != set) continue;
    if (other.state != PieceState::waiting) return false;
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), id));
    waiting_.push_front(id);
    ++piece.attempts;
    --started_;
    piece.state = PieceState::waiting;
    waiting_.push_back(piece.id);
    start_waiting();
    return true;
  }
  return false;
}

// One write of the set was answered: the one that is the oldest now is taken, also by a server that
// has refused it because it remembers too many.
void VolumeImpl::hurry_oldest(uint32_t object) {
  if (!crowded_) return;
  const map::Map& map = member_.map();
  const auto volume = map.volumes.find(options_.volume);
  if (volume == map.volumes.end()) return;
  const SetId set = map::set_of(map, volume->second, object);
  for (auto& [id, piece] : pieces_) {
    if (piece.number == 0 || map::set_of(map, volume->second, piece.object.index) != set) continue;
    if (piece.crowded && piece.state == PieceState::resting) {
      piece.due = host_.clock.now();
      arm();
    }
    return;
  }
}

void VolumeImpl::arm() {
  io::Instant first = io::Instant::never();
  for (const auto& [id, piece] : pieces_) {
    if (piece.state == PieceState::resting) first = std::min(first, piece.due);
  }
  if (first == io::Instant::never()) return timer_.cancel();
  timer_.arm(std::max<io::Duration>(first - host_.clock.now(), io::Duration(0)),
             [this] { wake(); });
}

void VolumeImpl::wake() {
  const auto keep = shared_from_this();
  const io::Instant now = host_.clock.now();
  for (auto& [id, piece] : pieces_) {
    if (piece.state != PieceState::resting || piece.due > now) continue;
    if (waiting_.empty()) {
      send(piece);
      continue;
    }
    // Those that wait get its place: one of them may be what it is refused for.
    --started_;
    piece.state = PieceState::waiting;
    waiting_.push_back(id);
  }
  start_waiting();
  arm();
}

void VolumeImpl::map_changed() {
  servers_->map_changed(member_.map());
  check_attachment();
  if (closed_ || fenced_) return;
  const io::Instant now = host_.clock.now();
  bool any = false;
  for (auto& [id, piece] : pieces_) {
    if (piece.state == PieceState::resting) piece.due = now, any = true;
  }
  if (any) arm();
}

}  // namespace sp::client
