// SqliteVfs: a small file system on one io::Disk, which SQLite uses for whatever is opened without
// naming another one while it lives. For tests that crash what SQLite writes at every I/O.
//
// A page of the disk for each file tells its name, its size, and whether there is one; the content
// lies in an area that the file was given when it was created. So each of these is a write of its
// own to the disk, and may be lost or be there without the others, as on file systems that write
// back data and metadata in any order: content without the size that covers it, a size without the
// content (zeros), a file that was created or deleted, and is not. Pages of the directory are
// written whole or not at all, as file systems see to that by a journal (`is_directory`). A file
// that was deleted keeps its content until a crash says what became of the deletion: one that is
// created under its name lies elsewhere. Writes go to the disk at once and stay in its cache; only
// xSync flushes, and then everything, also what other files wrote.
//
// SQLite calls and waits, so `run_until` lets the disk's world go on inside of each call: through
// io::Disk and not into the medium, so that the simulator's disk and that of the crash tests can
// both lie below. Once an operation does not complete the power is out: that call and all later
// ones fail, and nothing reaches the disk any more.
//
// Shared memory of write-ahead mode is ordinary memory and gone with the last connection: SQLite
// makes it anew from the log when nobody else has the file open. One connection at a time, no
// locks, no files without a name. Thread rule: one thread.
#pragma once
#include <functional>
#include <memory>

#include "io/disk.h"

namespace sp::test {

class SqliteVfs {
 public:
  // Lets time pass until `done` says so, or nothing moves any more: false.
  using RunUntil = std::function<bool(const std::function<bool()>& done)>;

  // The disk is at least `disk_bytes` and empty, or was used by one of these before. It outlives
  // this, and this outlives every file.
  SqliteVfs(io::Disk& disk, RunUntil run_until);
  ~SqliteVfs();
  SqliteVfs(const SqliteVfs&) = delete;
  SqliteVfs& operator=(const SqliteVfs&) = delete;

  uint64_t syncs() const;
  uint64_t size_bytes(const std::string& name) const;  // 0: there is no such file
  // What SQLite draws from now on (salts of its log): different from the last time, and the same in
  // each run of a test that begins with this.
  static void seed(uint64_t seed);

  static constexpr uint64_t page_bytes = 4096, file_bytes_max = 6u << 20;
  static constexpr uint32_t names_max = 4, areas = 40;
  static constexpr uint64_t areas_offset = names_max * page_bytes;
  static constexpr uint64_t disk_bytes = areas_offset + areas * file_bytes_max;
  static constexpr bool is_directory(uint64_t offset) { return offset < areas_offset; }
  // Pages of the directory and areas, counted through: writes of one place belong together.
  static constexpr uint64_t places = names_max + areas;
  static constexpr uint64_t place_of(uint64_t offset) {
    return is_directory(offset) ? offset / page_bytes
                                : names_max + (offset - areas_offset) / file_bytes_max;
  }

  class Files;  // known to SQLite

 private:
  std::unique_ptr<Files> files_;
};

}  // namespace sp::test
