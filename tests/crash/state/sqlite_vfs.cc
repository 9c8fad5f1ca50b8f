#include "crash/state/sqlite_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "io/random.h"

namespace sp::test {

namespace {

constexpr uint64_t page_bytes = SqliteVfs::page_bytes;
constexpr uint64_t piece_bytes = 16 * page_bytes;  // of one write to the disk
constexpr size_t shared_bytes = 32 << 10;          // a region of shared memory

struct DirectoryPage {  // zeros: nothing was ever called that
  char name[64];
  uint64_t size_bytes;
  uint32_t area;
  uint32_t exists;
};
static_assert(sizeof(DirectoryPage) == 80);

io::SeededRandom& draws() {
  static io::SeededRandom random(1);
  return random;
}

}  // namespace

class SqliteVfs::Files {
 public:
  struct File {  // SQLite makes room for it
    sqlite3_file base;
    Files* files;
    uint32_t number;
  };

  Files(io::Disk& disk, RunUntil run_until);
  ~Files() { SP_ASSERT(open_files_ == 0); }

  int open(const char* name, int flags, File& file);
  int close(File& file);
  int remove(const char* name, bool sync);
  int exists(const char* name, int* found) const;
  int read(uint32_t number, uint64_t offset, MutableBytes into);
  int write(uint32_t number, uint64_t offset, Bytes from);
  int truncate(uint32_t number, uint64_t size_bytes);
  int sync();
  uint64_t size(uint32_t number) const { return entries_[number].size_bytes; }
  uint64_t size_bytes(const char* name) const {
    const int number = find(name);
    return number < 0 ? 0 : entries_[static_cast<uint32_t>(number)].size_bytes;
  }
  void volatile** shared(uint32_t number, size_t region, bool extend);
  void drop_shared(uint32_t number) { shared_[number].clear(); }
  int result(int good, int bad) const { return dead_ ? bad : good; }

  sqlite3_vfs vfs{};
  sqlite3_vfs* before = nullptr;
  uint64_t syncs = 0;

 private:
  struct Shared {
    std::unique_ptr<std::array<std::byte, shared_bytes>> memory;
    void volatile* address = nullptr;
  };
  // Issues an operation, waits for its end, and gives it as a code of SQLite.
  template <class Issue>
  int run(int failed, Issue&& issue);
  int read_disk(uint64_t offset, MutableBytes into, int failed);
  int put_entry(uint32_t number, const DirectoryPage& entry, int failed);
  int set_size(uint32_t number, uint64_t size_bytes, int failed);
  int find(const char* name) const;  // -1: nothing was ever called that
  uint64_t place(uint32_t number, uint64_t offset) const {
    return areas_offset + entries_[number].area * file_bytes_max + offset;
  }

  io::Disk& disk_;
  RunUntil run_until_;
  bool dead_ = false;
  std::array<DirectoryPage, names_max> entries_{};
  std::array<uint32_t, names_max> openings_{};
  std::array<std::vector<Shared>, names_max> shared_;
  uint32_t open_files_ = 0;
  uint32_t next_area_ = 0;
  Buffer page_ = Buffer::allocate(page_bytes), piece_ = Buffer::allocate(piece_bytes);
};

template <class Issue>
int SqliteVfs::Files::run(int failed, Issue&& issue) {
  if (dead_) return failed;
  std::optional<Status> status;
  issue([&status](Status s) { status = std::move(s); });
  dead_ = !run_until_([&status] { return status.has_value(); });
  if (dead_) return failed;
  if (!status->ok() && status->error().code() == Code::no_space) return SQLITE_FULL;
  return status->ok() ? SQLITE_OK : failed;
}

SqliteVfs::Files::Files(io::Disk& disk, RunUntil run_until)
    : disk_(disk), run_until_(std::move(run_until)) {
  SP_ASSERT_OP(disk.size_bytes(), >=, disk_bytes);
  for (uint32_t number = 0; number < names_max; ++number) {
    if (read_disk(number * page_bytes, page_.mutable_bytes(), SQLITE_IOERR) != SQLITE_OK) return;
    entries_[number] = load<DirectoryPage>(page_.bytes().first(sizeof(DirectoryPage)));
    if (entries_[number].name[0] != '\0')
      next_area_ = std::max(next_area_, entries_[number].area + 1);
  }
}

int SqliteVfs::Files::read_disk(uint64_t offset, MutableBytes into, int failed) {
  return run(failed, [&](io::DiskDone done) { disk_.read(offset, into, std::move(done)); });
}

int SqliteVfs::Files::put_entry(uint32_t number, const DirectoryPage& entry, int failed) {
  std::memset(page_.data(), 0, page_bytes);
  std::memcpy(page_.data(), &entry, sizeof entry);
  entries_[number] = entry;
  return run(failed, [&](io::DiskDone done) {
    disk_.write(number * page_bytes, page_.bytes(), std::move(done));
  });
}

int SqliteVfs::Files::find(const char* name) const {
  for (uint32_t number = 0; number < names_max; ++number)
    if (std::strcmp(entries_[number].name, name) == 0) return static_cast<int>(number);
  return -1;
}

int SqliteVfs::Files::open(const char* name, int flags, File& file) {
  SP_ASSERT(name != nullptr && std::strlen(name) < sizeof(DirectoryPage::name));
  int number = find(name);
  if (dead_) return SQLITE_CANTOPEN;
  if (number < 0 || entries_[static_cast<uint32_t>(number)].exists == 0) {
    if ((flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
    if (number < 0) number = find("");
    SP_ASSERT(number >= 0);
    DirectoryPage entry{};
    std::strncpy(entry.name, name, sizeof entry.name - 1);
    entry.exists = 1;
    entry.area = next_area_++;
    SP_ASSERT_OP(entry.area, <, areas);
    const int code = put_entry(static_cast<uint32_t>(number), entry, SQLITE_CANTOPEN);
    if (code != SQLITE_OK) return code;
  }
  file.files = this;
  file.number = static_cast<uint32_t>(number);
  SP_ASSERT_OP(openings_[file.number], ==, 0u);
  ++openings_[file.number];
  ++open_files_;
  return SQLITE_OK;
}

int SqliteVfs::Files::close(File& file) {
  --openings_[file.number];
  --open_files_;
  return SQLITE_OK;
}

int SqliteVfs::Files::remove(const char* name, bool sync_too) {
  const int found = find(name);
  if (dead_) return SQLITE_IOERR_DELETE;
  if (found < 0 || entries_[static_cast<uint32_t>(found)].exists == 0)
    return SQLITE_IOERR_DELETE_NOENT;
  const auto number = static_cast<uint32_t>(found);
  SP_ASSERT_OP(openings_[number], ==, 0u);
  DirectoryPage entry = entries_[number];
  entry.exists = 0;
  entry.size_bytes = 0;
  const int code = put_entry(number, entry, SQLITE_IOERR_DELETE);
  return code == SQLITE_OK && sync_too ? sync() : code;
}

int SqliteVfs::Files::exists(const char* name, int* found) const {
  const int number = find(name);
  // As on a real file system SQLite takes an empty file for none.
  *found = number >= 0 && entries_[static_cast<uint32_t>(number)].exists != 0 &&
           entries_[static_cast<uint32_t>(number)].size_bytes > 0;
  return result(SQLITE_OK, SQLITE_IOERR_ACCESS);
}

int SqliteVfs::Files::read(uint32_t number, uint64_t offset, MutableBytes into) {
  const uint64_t size_bytes = entries_[number].size_bytes;
  const uint64_t end = std::min(size_bytes, offset + into.size());
  while (offset < end) {
    const uint64_t within = offset % page_bytes;
    const uint64_t part = std::min({end - offset, page_bytes - within, into.size()});
    const int code =
        read_disk(place(number, offset - within), page_.mutable_bytes(), SQLITE_IOERR_READ);
    if (code != SQLITE_OK) return code;
    std::memcpy(into.data(), page_.data() + within, part);
    into = into.subspan(part);
    offset += part;
  }
  if (into.empty()) return result(SQLITE_OK, SQLITE_IOERR_READ);
  std::memset(into.data(), 0, into.size());
  return result(SQLITE_IOERR_SHORT_READ, SQLITE_IOERR_READ);
}

int SqliteVfs::Files::write(uint32_t number, uint64_t offset, Bytes from) {
  const uint64_t old_size = entries_[number].size_bytes, end = offset + from.size();
  SP_ASSERT_OP(end, <=, file_bytes_max);
  // What lies on the disk behind the end of a file is none of it: a hole is zeros.
  uint64_t at = std::min(offset, old_size) / page_bytes * page_bytes;
  for (; at < end; at += piece_bytes) {
    const uint64_t wanted = (end - at + page_bytes - 1) / page_bytes * page_bytes;
    const MutableBytes piece = piece_.mutable_bytes().first(std::min(piece_bytes, wanted));
    std::memset(piece.data(), 0, piece.size());
    for (uint64_t page = at; page < at + piece.size(); page += page_bytes) {
      const bool covered = offset <= page && page + page_bytes <= end;
      if (page >= old_size || covered) continue;
      const int code = read_disk(place(number, page), page_.mutable_bytes(), SQLITE_IOERR_WRITE);
      if (code != SQLITE_OK) return code;
      std::memcpy(piece.data() + (page - at), page_.data(), std::min(page_bytes, old_size - page));
    }
    const uint64_t begin = std::max(at, offset), stop = std::min(at + piece.size(), end);
    if (begin < stop)
      std::memcpy(piece.data() + (begin - at), from.data() + (begin - offset), stop - begin);
    const int code = run(SQLITE_IOERR_WRITE, [&](io::DiskDone done) {
      disk_.write(place(number, at), piece, std::move(done));
    });
    if (code != SQLITE_OK) return code;
  }
  return end > old_size ? set_size(number, end, SQLITE_IOERR_WRITE) : SQLITE_OK;
}

int SqliteVfs::Files::set_size(uint32_t number, uint64_t size_bytes, int failed) {
  DirectoryPage entry = entries_[number];
  if (entry.size_bytes == size_bytes) return result(SQLITE_OK, failed);
  entry.size_bytes = size_bytes;
  return put_entry(number, entry, failed);
}

// A file that grows shows zeros there, not what lay on the disk: as for a write behind its end.
int SqliteVfs::Files::truncate(uint32_t number, uint64_t size_bytes) {
  const std::byte zero{0};
  if (size_bytes > entries_[number].size_bytes)
    return write(number, size_bytes - 1, Bytes(&zero, 1));
  return set_size(number, size_bytes, SQLITE_IOERR_TRUNCATE);
}

int SqliteVfs::Files::sync() {
  ++syncs;
  return run(SQLITE_IOERR_FSYNC, [&](io::DiskDone done) { disk_.flush(std::move(done)); });
}

void volatile** SqliteVfs::Files::shared(uint32_t number, size_t region, bool extend) {
  std::vector<Shared>& regions = shared_[number];
  if (region >= regions.size() && !extend) return nullptr;
  while (region >= regions.size()) {
    Shared& made = regions.emplace_back();
    made.memory = std::make_unique<std::array<std::byte, shared_bytes>>();
    made.memory->fill(std::byte{0});
    made.address = made.memory->data();
  }
  return &regions[region].address;
}

namespace {

using Files = SqliteVfs::Files;

Files::File& file_of(sqlite3_file* file) { return *reinterpret_cast<Files::File*>(file); }
Files& files_of(sqlite3_vfs* vfs) { return *static_cast<Files*>(vfs->pAppData); }

// The functions that SQLite calls, in the order of its declaration.
const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = [](sqlite3_file* file) { return file_of(file).files->close(file_of(file)); },
    .xRead =
        [](sqlite3_file* file, void* into, int size, sqlite3_int64 offset) {
          return file_of(file).files->read(
              file_of(file).number, static_cast<uint64_t>(offset),
              {static_cast<std::byte*>(into), static_cast<size_t>(size)});
        },
    .xWrite =
        [](sqlite3_file* file, const void* from, int size, sqlite3_int64 offset) {
          return file_of(file).files->write(
              file_of(file).number, static_cast<uint64_t>(offset),
              {static_cast<const std::byte*>(from), static_cast<size_t>(size)});
        },
    .xTruncate =
        [](sqlite3_file* file, sqlite3_int64 size) {
          return file_of(file).files->truncate(file_of(file).number, static_cast<uint64_t>(size));
        },
    .xSync = [](sqlite3_file* file, int) { return file_of(file).files->sync(); },
    .xFileSize =
        [](sqlite3_file* file, sqlite3_int64* size) {
          *size = static_cast<sqlite3_int64>(file_of(file).files->size(file_of(file).number));
          return file_of(file).files->result(SQLITE_OK, SQLITE_IOERR_FSTAT);
        },
    .xLock = [](sqlite3_file*, int) { return SQLITE_OK; },
    .xUnlock = [](sqlite3_file*, int) { return SQLITE_OK; },
    .xCheckReservedLock =
        [](sqlite3_file*, int* reserved) {
          *reserved = 0;
          return SQLITE_OK;
        },
    .xFileControl = [](sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; },
    .xSectorSize = [](sqlite3_file*) { return 4096; },  // as SQLite's own
    .xDeviceCharacteristics = [](sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; },
    .xShmMap =
        [](sqlite3_file* file, int region, int size, int extend, void volatile** address) {
          SP_ASSERT_OP(static_cast<size_t>(size), ==, shared_bytes);
          void volatile** found = file_of(file).files->shared(
              file_of(file).number, static_cast<size_t>(region), extend != 0);
          *address = found == nullptr ? nullptr : *found;
          return SQLITE_OK;
        },
    .xShmLock = [](sqlite3_file*, int, int, int) { return SQLITE_OK; },
    .xShmBarrier = [](sqlite3_file*) {},
    .xShmUnmap =
        [](sqlite3_file* file, int) {
          file_of(file).files->drop_shared(file_of(file).number);
          return SQLITE_OK;
        },
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

sqlite3_vfs vfs_over(Files& files) {
  sqlite3_vfs vfs{};
  vfs.iVersion = 2;
  vfs.szOsFile = sizeof(Files::File);
  vfs.mxPathname = sizeof(DirectoryPage::name) - 1;
  vfs.zName = "sp_io_disk";
  vfs.pAppData = &files;
  vfs.xOpen = [](sqlite3_vfs* self, const char* name, sqlite3_file* file, int flags,
                 int* flags_out) {
    file->pMethods = nullptr;
    const int code = files_of(self).open(name, flags, file_of(file));
    if (code == SQLITE_OK) file->pMethods = &methods;
    if (flags_out != nullptr) *flags_out = flags;
    return code;
  };
  vfs.xDelete = [](sqlite3_vfs* self, const char* name, int sync) {
    return files_of(self).remove(name, sync != 0);
  };
  vfs.xAccess = [](sqlite3_vfs* self, const char* name, int, int* found) {
    return files_of(self).exists(name, found);
  };
  vfs.xFullPathname = [](sqlite3_vfs*, const char* name, int size, char* full) {
    sqlite3_snprintf(size, full, "%s", name);
    return SQLITE_OK;
  };
  vfs.xRandomness = [](sqlite3_vfs*, int size, char* into) {
    draws().fill({reinterpret_cast<std::byte*>(into), static_cast<size_t>(size)});
    return size;
  };
  vfs.xSleep = [](sqlite3_vfs*, int microseconds) { return microseconds; };
  vfs.xCurrentTimeInt64 = [](sqlite3_vfs*, sqlite3_int64* now) {
    *now = 212'000'000'000'000;
    return SQLITE_OK;
  };
  vfs.xGetLastError = [](sqlite3_vfs*, int, char*) { return 0; };
  return vfs;
}

}  // namespace

SqliteVfs::SqliteVfs(io::Disk& disk, RunUntil run_until)
    : files_(std::make_unique<Files>(disk, std::move(run_until))) {
  files_->before = sqlite3_vfs_find(nullptr);
  files_->vfs = vfs_over(*files_);
  SP_ASSERT_OP(sqlite3_vfs_register(&files_->vfs, 1), ==, SQLITE_OK);
}

SqliteVfs::~SqliteVfs() {
  sqlite3_vfs_unregister(&files_->vfs);
  sqlite3_vfs_register(files_->before, 1);
}

uint64_t SqliteVfs::syncs() const { return files_->syncs; }

uint64_t SqliteVfs::size_bytes(const std::string& name) const {
  return files_->size_bytes(name.c_str());
}

// SQLite asks its default VFS once and draws on from there; asked for nothing it forgets that.
void SqliteVfs::seed(uint64_t seed) {
  draws() = io::SeededRandom(seed);
  sqlite3_randomness(0, nullptr);
}

}  // namespace sp::test
