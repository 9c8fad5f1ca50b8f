#include "beacon/snapshot_file.h"

#include <algorithm>
#include <cstring>

#include "base/checksum.h"
#include "base/limits.h"
#include "base/planted.h"

namespace sp::beacon {

namespace {

constexpr uint32_t head_magic = 0x4e535053;  // "SPSN"
constexpr uint32_t head_version = 2;
constexpr uint64_t page_bytes = 4096;
constexpr uint64_t piece_bytes = 1u << 20;

struct Head {
  uint32_t magic = head_magic;
  uint32_t version = head_version;
  uint64_t log_id = 0;
  uint64_t index = 0;
  uint64_t size = 0;
  uint64_t bytes_crc = 0;
  uint64_t crc = 0;  // of the fields before
};
static_assert(sizeof(Head) == 48 && offsetof(Head, crc) == 40);

uint64_t head_crc(const Head& head) { return crc64(struct_bytes(head).first(offsetof(Head, crc))); }
uint64_t padded(uint64_t size) { return (size + page_bytes - 1) / page_bytes * page_bytes; }

}  // namespace

struct SnapshotFile::Loading {
  Callback<void(Result<std::optional<Found>>)> done;
  Buffer page = Buffer::allocate(page_bytes);
  Buffer piece;
  std::optional<Head> heads[2];
  std::vector<uint32_t> order;  // places still to try, the best one last
  std::vector<std::byte> bytes;
};

struct SnapshotFile::Writing {
  uint64_t index = 0;
  std::vector<std::byte> bytes;
  uint64_t offset = 0;
  Buffer piece;
  Callback<void(Status)> done;
};

SnapshotFile::SnapshotFile(std::unique_ptr<io::Disk> disk, uint64_t capacity_bytes, uint64_t log_id)
    : disk_(std::move(disk)), capacity_bytes_(capacity_bytes), log_id_(log_id) {
  SP_ASSERT_OP(capacity_bytes % page_bytes, ==, 0u);
}

SnapshotFile::~SnapshotFile() { disk_.reset(); }  // before the memory that its operations use

void SnapshotFile::load(Callback<void(Result<std::optional<Found>>)> done) {
  SP_ASSERT(!loading_ && !writing_);
  loading_ = std::make_unique<Loading>();
  loading_->done = std::move(done);
  // What the last process wrote may be in the disk's cache only. What is found has to outlive the
  // other place, which the next snapshot overwrites.
  disk_->flush([this](Status status) {
    if (!status.ok()) return loaded(std::move(status).error());
    load_head(0);
  });
}

void SnapshotFile::load_head(uint32_t place) {
  if (place == 2) {
    for (uint32_t found = 0; found < 2; ++found) {
      if (loading_->heads[found]) loading_->order.push_back(found);
    }
    std::sort(loading_->order.begin(), loading_->order.end(), [this](uint32_t a, uint32_t b) {
      return loading_->heads[a]->index < loading_->heads[b]->index;
    });
    return load_next();
  }
  disk_->read(place_offset(place), loading_->page.mutable_bytes(), [this, place](Status status) {
    if (!status.ok()) return loaded(std::move(status).error());
    const auto head = sp::load<Head>(loading_->page.bytes().first(sizeof(Head)));
    const bool good = head.magic == head_magic && head.version == head_version &&
                      head.crc == head_crc(head) && head.log_id == log_id_ &&
                      head.size <= capacity_bytes_;
    if (good) loading_->heads[place] = head;
    load_head(place + 1);
  });
}

void SnapshotFile::load_next() {
  loading_->bytes.clear();
  if (loading_->order.empty()) return loaded(std::optional<Found>());
  load_piece();
}

void SnapshotFile::load_piece() {
  const uint32_t place = loading_->order.back();
  const Head& head = *loading_->heads[place];
  const uint64_t left = head.size - loading_->bytes.size();
  if (left == 0) {
    if (crc64(loading_->bytes) == head.bytes_crc) {
      next_place_ = SP_PLANTED_BUG(snapshot_overwrites_newest) ? place : 1 - place;
      return loaded(std::optional<Found>(Found{head.index, std::move(loading_->bytes)}));
    }
    loading_->order.pop_back();
    return load_next();
  }
  loading_->piece = Buffer::allocate(std::min(padded(left), piece_bytes));
  const uint64_t offset = place_offset(place) + page_bytes + loading_->bytes.size();
  disk_->read(offset, loading_->piece.mutable_bytes(), [this, left](Status status) {
    if (!status.ok()) return loaded(std::move(status).error());
    const Bytes got =
        loading_->piece.bytes().first(std::min<uint64_t>(left, loading_->piece.size()));
    loading_->bytes.insert(loading_->bytes.end(), got.begin(), got.end());
    load_piece();
  });
}

void SnapshotFile::loaded(Result<std::optional<Found>> found) {
  const auto loading = std::move(loading_);
  if (found.ok())
    loading->done(std::move(found));
  else
    loading->done(std::move(found).error().with("reading the state's snapshot file"));
}

void SnapshotFile::write(uint64_t index, std::vector<std::byte> bytes,
                         Callback<void(Status)> done) {
  SP_ASSERT(!loading_ && !writing_);
  writing_ = std::make_unique<Writing>();
  writing_->index = index;
  writing_->bytes = std::move(bytes);
  writing_->done = std::move(done);
  if (writing_->bytes.size() <= capacity_bytes_) return write_piece();
  // Through a flush, so that the completion comes later than the call.
  disk_->flush([this](Status) {
    written(Error(Code::no_space, "the state is larger than its snapshot file allows"));
  });
}

void SnapshotFile::write_piece() {
  const uint64_t left = writing_->bytes.size() - writing_->offset;
  if (left == 0) {
    return disk_->flush([this](Status status) {
      if (!status.ok()) return written(std::move(status));
      write_head();
    });
  }
  const uint64_t size = std::min(left, piece_bytes);
  writing_->piece = Buffer::zeroed(padded(size));
  std::memcpy(writing_->piece.data(), writing_->bytes.data() + writing_->offset, size);
  const uint64_t at = place_offset(next_place_) + page_bytes + writing_->offset;
  writing_->offset += size;
  disk_->write(at, writing_->piece.bytes(), [this](Status status) {
    if (!status.ok()) return written(std::move(status));
    write_piece();
  });
}

void SnapshotFile::write_head() {
  Head head;
  head.log_id = log_id_;
  head.index = writing_->index;
  head.size = writing_->bytes.size();
  head.bytes_crc = crc64(writing_->bytes);
  head.crc = head_crc(head);
  writing_->piece = Buffer::zeroed(page_bytes);
  std::memcpy(writing_->piece.data(), &head, sizeof head);
  disk_->write(place_offset(next_place_), writing_->piece.bytes(), [this](Status status) {
    if (!status.ok()) return written(std::move(status));
    disk_->flush([this](Status flushed) {
      if (flushed.ok()) next_place_ = 1 - next_place_;
      written(std::move(flushed));
    });
  });
}

void SnapshotFile::written(Status status) {
  const auto writing = std::move(writing_);
  writing->done(std::move(status));
}

}  // namespace sp::beacon
