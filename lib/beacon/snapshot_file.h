// SnapshotFile: the newest snapshots of this node's own applied state, so that the agreement log
// may be compacted although the state's database is never flushed. Two places take turns: the newer
// good one of this log counts, and is not touched by the next write. Each is a head page and the
// bytes; the head is written when the bytes are durable:
//
//   0 "SPSN" u32 version 2   8 log id u64   16 index u64   24 size u64   32 crc64 of the bytes
//   40 crc64 of the 40 bytes before
//
// What was written beside another log (before this one was made anew, or in another cluster) is as
// good as none: its indexes mean nothing here.
// Any error of the disk ends its use; the log is then not compacted any more, and the beacon stops.
// Thread rule: one reactor.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "base/buffer.h"
#include "io/disk.h"

namespace sp::beacon {

class SnapshotFile {
 public:
  struct Found {
    uint64_t index = 0;
    std::vector<std::byte> bytes;
  };
  static uint64_t disk_bytes(uint64_t capacity_bytes) { return 2 * (4096 + capacity_bytes); }

  // capacity_bytes: of one snapshot, a multiple of 4096.
  SnapshotFile(std::unique_ptr<io::Disk> disk, uint64_t capacity_bytes, uint64_t log_id);
  ~SnapshotFile();

  // One call at a time of these two. A completion must not destroy the SnapshotFile; destroying it
  // elsewhere drops the completion. The newest good snapshot, durable now, if there is one. First
  // of all.
  void load(Callback<void(Result<std::optional<Found>>)> done);
  // Code::no_space when it is larger than the capacity.
  void write(uint64_t index, std::vector<std::byte> bytes, Callback<void(Status)> done);

 private:
  struct Loading;
  struct Writing;
  uint64_t place_offset(uint32_t place) const { return place * (4096 + capacity_bytes_); }
  void load_head(uint32_t place);
  void load_next();
  void load_piece();
  void loaded(Result<std::optional<Found>> found);
  void write_piece();
  void write_head();
  void written(Status status);

  std::unique_ptr<io::Disk> disk_;
  uint64_t capacity_bytes_;
  uint64_t log_id_;
  uint32_t next_place_ = 0;
  std::unique_ptr<Loading> loading_;
  std::unique_ptr<Writing> writing_;
};

}  // namespace sp::beacon
