#include "beacon/snapshot_file.h"

#include <algorithm>
#include <cstring>

#include "base/checksum.h"
#include "base/limits.h"

namespace sp::beacon {

namespace {

constexpr uint32_t head_magic = 0x4e535053;  // "SPSN"
constexpr uint64_t page_bytes = 4096;
constexpr uint64_t piece_bytes = 1u << 20;

struct Head {
  uint32_t magic = head_magic;
  uint32_t version = 1;
  uint64_t index = 0;
  uint64_t size = 0;
  uint64_t bytes_crc = 0;
  uint64_t crc = 0;  // of the fields before
};
static_assert(sizeof(Head) == 40 && offsetof(Head, crc) == 32);

uint64_t head_crc(const Head& head) { return crc64(struct_bytes(head).first(offsetof(Head, crc))); }
uint64_t padded(uint64_t size) { return (size + page_bytes - 1) / page_bytes * page_bytes; }

}  // namespace

struct SnapshotFile::Opening {
  std::unique_ptr<SnapshotFile> file;
  Callback<void(Result<std::unique_ptr<Opened>>)> done;
  Buffer page = Buffer::allocate(page_bytes);
  Buffer piece;
  std::optional<Head> heads[2];
  std::vector<uint32_t> order;  // places still to try, the best one last
  std::vector<std::byte> bytes;

  static void read_head(std::shared_ptr<Opening> self, uint32_t place) {
    auto& opening = *self;
    if (place == 2) return choose(std::move(self));
    opening.file->disk_->read(opening.file->place_offset(place), opening.page.mutable_bytes(), [self, place](Status status) {
      if (!status.ok()) return fail(self, std::move(status).error());
      const auto head = load<Head>(self->page.bytes().first(sizeof(Head)));
      const bool good = head.magic == head_magic && head.version == 1 && head.crc == head_crc(head) && head.size <= self->file->capacity_bytes_;
      if (good) self->heads[place] = head;
      read_head(self, place + 1);
    });
  }
  static void choose(std::shared_ptr<Opening> self) {
    for (uint32_t place = 0; place < 2; ++place) {
      if (self->heads[place]) self->order.push_back(place);
    }
    std::sort(self->order.begin(), self->order.end(),
              [&](uint32_t a, uint32_t b) { return self->heads[a]->index < self->heads[b]->index; });
    try_next(std::move(self));
  }
  static void try_next(std::shared_ptr<Opening> self) {
    self->bytes.clear();
    if (self->order.empty()) return finish(std::move(self), std::nullopt);
    read_piece(std::move(self));
  }
  static void read_piece(std::shared_ptr<Opening> self) {
    auto& opening = *self;
    const uint32_t place = opening.order.back();
    const Head& head = *opening.heads[place];
    const uint64_t left = head.size - opening.bytes.size();
    if (left == 0) {
      if (crc64(opening.bytes) == head.bytes_crc) return finish(std::move(self), place);
      opening.order.pop_back();
      return try_next(std::move(self));
    }
    opening.piece = Buffer::allocate(std::min(padded(left), piece_bytes));
    const uint64_t offset = opening.file->place_offset(place) + page_bytes + opening.bytes.size();
    opening.file->disk_->read(offset, opening.piece.mutable_bytes(), [self, left](Status status) {
      if (!status.ok()) return fail(self, std::move(status).error());
      const Bytes got = self->piece.bytes().first(std::min<uint64_t>(left, self->piece.size()));
      self->bytes.insert(self->bytes.end(), got.begin(), got.end());
      read_piece(self);
    });
  }
  static void finish(std::shared_ptr<Opening> self, std::optional<uint32_t> place) {
    auto opened = std::make_unique<Opened>();
    if (place) {
      opened->newest = Found{self->heads[*place]->index, std::move(self->bytes)};
      self->file->next_place_ = 1 - *place;
    }
    opened->file = std::move(self->file);
    self->done.call_once(std::move(opened));
  }
  static void fail(std::shared_ptr<Opening> self, Error error) { self->done.call_once(std::move(error).with("reading the state's snapshot file")); }
};

void SnapshotFile::open(std::unique_ptr<io::Disk> disk, uint64_t capacity_bytes, Callback<void(Result<std::unique_ptr<Opened>>)> done) {
  SP_ASSERT_OP(capacity_bytes % page_bytes, ==, 0u);
  auto opening = std::make_shared<Opening>();
  opening->file.reset(new SnapshotFile(std::move(disk), capacity_bytes));
  opening->done = std::move(done);
  Opening::read_head(std::move(opening), 0);
}

struct SnapshotFile::Writing {
  uint64_t index = 0;
  std::vector<std::byte> bytes;
  uint64_t offset = 0;
  Buffer piece;
  Callback<void(Status)> done;
};

void SnapshotFile::write(uint64_t index, std::vector<std::byte> bytes, Callback<void(Status)> done) {
  SP_ASSERT(!busy_);
  busy_ = true;
  auto writing = std::make_shared<Writing>();
  writing->index = index;
  writing->bytes = std::move(bytes);
  writing->done = std::move(done);
  write_piece(std::move(writing));
}

void SnapshotFile::write_piece(std::shared_ptr<Writing> writing) {
  const auto next = [this, writing](Status status) {
    if (status.ok()) return write_piece(writing);
    busy_ = false;
    writing->done.call_once(std::move(status));
  };
  if (writing->bytes.size() > capacity_bytes_) {
    // Through a flush, so that the completion comes later than the call.
    return disk_->flush([this, writing](Status) {
      busy_ = false;
      writing->done.call_once(Error(Code::no_space, "the state is larger than its snapshot file allows"));
    });
  }
  const uint64_t left = writing->bytes.size() - writing->offset;
  if (left == 0) {
    return disk_->flush([this, writing](Status status) {
      if (status.ok()) return write_head(writing);
      busy_ = false;
      writing->done.call_once(std::move(status));
    });
  }
  const uint64_t size = std::min(left, piece_bytes);
  writing->piece = Buffer::zeroed(padded(size));
  std::memcpy(writing->piece.data(), writing->bytes.data() + writing->offset, size);
  const uint64_t at = place_offset(next_place_) + page_bytes + writing->offset;
  writing->offset += size;
  disk_->write(at, writing->piece.bytes(), next);
}

void SnapshotFile::write_head(std::shared_ptr<Writing> writing) {
  Head head;
  head.index = writing->index;
  head.size = writing->bytes.size();
  head.bytes_crc = crc64(writing->bytes);
  head.crc = head_crc(head);
  writing->piece = Buffer::zeroed(page_bytes);
  std::memcpy(writing->piece.data(), &head, sizeof head);
  disk_->write(place_offset(next_place_), writing->piece.bytes(), [this, writing](Status status) {
    if (!status.ok()) {
      busy_ = false;
      return writing->done.call_once(std::move(status));
    }
    disk_->flush([this, writing](Status flushed) {
      busy_ = false;
      if (flushed.ok()) next_place_ = 1 - next_place_;
      writing->done.call_once(std::move(flushed));
    });
  });
}

}  // namespace sp::beacon
