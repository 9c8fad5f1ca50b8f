// The file system under SQLite in crash tests is as treacherous as it says, and no more than that.
#include "crash/state/sqlite_vfs.h"

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <cstring>
#include <string>

#include "crash/state/file_fates.h"

using namespace sp;
using namespace sp::test;

namespace {

struct Machine {
  explicit Machine(PagedMedium& medium)
      : disk(reactor, medium),
        vfs(disk, [this](const std::function<bool()>& done) { return reactor.run_until(done); }) {}
  FakeReactor reactor;
  PagedDisk disk;
  SqliteVfs vfs;
};

struct Connection {
  explicit Connection(const char* settings) {
    opened = sqlite3_open("test.db", &handle) == SQLITE_OK && execute(settings);
  }
  ~Connection() { sqlite3_close(handle); }
  bool execute(const char* sql) {
    return sqlite3_exec(handle, sql, nullptr, nullptr, nullptr) == SQLITE_OK;
  }
  // -1: an error, or several values.
  int only_value() {
    int value = -1;
    sqlite3_stmt* statement = nullptr;
    sqlite3_prepare_v2(handle, "SELECT min(x), max(x) FROM t", -1, &statement, nullptr);
    if (sqlite3_step(statement) == SQLITE_ROW &&
        sqlite3_column_int(statement, 0) == sqlite3_column_int(statement, 1))
      value = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return value;
  }
  sqlite3* handle = nullptr;
  bool opened = false;
};

// A file by the calls that SQLite makes.
struct RawFile {
  explicit RawFile(const char* name) {
    sqlite3_vfs* vfs = sqlite3_vfs_find(nullptr);
    memory.resize(static_cast<size_t>(vfs->szOsFile));
    file = reinterpret_cast<sqlite3_file*>(memory.data());
    REQUIRE(vfs->xOpen(vfs, name, file, SQLITE_OPEN_CREATE | SQLITE_OPEN_READWRITE, nullptr) ==
            SQLITE_OK);
  }
  ~RawFile() { file->pMethods->xClose(file); }
  int write(size_t offset, size_t size, char with) {
    return file->pMethods->xWrite(file, std::string(size, with).data(), static_cast<int>(size),
                                  static_cast<sqlite3_int64>(offset));
  }
  int truncate(size_t size) {
    return file->pMethods->xTruncate(file, static_cast<sqlite3_int64>(size));
  }
  // What is there, zeros as '0'.
  std::string content() {
    sqlite3_int64 size = 0;
    REQUIRE(file->pMethods->xFileSize(file, &size) == SQLITE_OK);
    std::string read(static_cast<size_t>(size), 'x');
    REQUIRE(file->pMethods->xRead(file, read.data(), static_cast<int>(size), 0) == SQLITE_OK);
    for (char& c : read) c = c == '\0' ? '0' : c;
    return read;
  }
  std::vector<std::max_align_t> memory;
  sqlite3_file* file;
};

int remove_file(const char* name) {
  sqlite3_vfs* vfs = sqlite3_vfs_find(nullptr);
  return vfs->xDelete(vfs, name, 0);
}

// Of all unflushed writes those of the directory, or the others, are lost.
PagedMedium after_loss_of(const PagedMedium& at_crash, bool directory) {
  PagedMedium medium = at_crash;
  medium.unflushed.clear();
  for (const auto& write : at_crash.unflushed)
    if (SqliteVfs::is_directory(write.offset) != directory)
      medium.apply(write, 0, write.bytes.size());
  return medium;
}

}  // namespace

TEST_CASE("what a file was not given reads as zeros, and what was cut off does not come back") {
  PagedMedium medium(SqliteVfs::disk_bytes);
  Machine machine(medium);
  RawFile file("a");
  CHECK(file.write(0, 10'000, 'a') == SQLITE_OK);
  CHECK(file.truncate(5'000) == SQLITE_OK);
  CHECK(file.write(100'000, 10, 'b') == SQLITE_OK);
  CHECK(file.write(4'990, 5, 'c') == SQLITE_OK);
  CHECK(file.content() == std::string(4'990, 'a') + "ccccc" + "aaaaa" + std::string(95'000, '0') +
                              std::string(10, 'b'));
  char byte = 'x';
  CHECK(file.file->pMethods->xRead(file.file, &byte, 1, 100'010) == SQLITE_IOERR_SHORT_READ);
  CHECK(byte == '\0');
}

TEST_CASE("what was cut off does not come back when a file is made longer") {
  PagedMedium medium(SqliteVfs::disk_bytes);
  Machine machine(medium);
  RawFile file("a");
  CHECK(file.write(0, 20'000, 'a') == SQLITE_OK);
  CHECK(file.truncate(5'000) == SQLITE_OK);
  CHECK(file.truncate(12'000) == SQLITE_OK);
  CHECK(file.content() == std::string(5'000, 'a') + std::string(7'000, '0'));
}

TEST_CASE("content and directory of files are lost one without the other") {
  PagedMedium medium(SqliteVfs::disk_bytes);
  {
    Machine machine(medium);
    RawFile file("a");
    CHECK(file.write(0, 3, 'a') == SQLITE_OK);
    CHECK(file.file->pMethods->xSync(file.file, SQLITE_SYNC_FULL) == SQLITE_OK);
    CHECK(file.write(3, 2, 'b') == SQLITE_OK);
  }
  for (const bool directory : {false, true}) {
    PagedMedium left = after_loss_of(medium, directory);
    Machine machine(left);
    CHECK(RawFile("a").content() == (directory ? "aaa" : "aaa00"));
  }
  medium.settle();
  {
    Machine machine(medium);
    CHECK(remove_file("a") == SQLITE_OK);
    CHECK(remove_file("a") == SQLITE_IOERR_DELETE_NOENT);
    RawFile file("a");
    CHECK(file.content().empty());
    CHECK(file.write(0, 4, 'n') == SQLITE_OK);
  }
  for (const bool directory : {false, true}) {
    PagedMedium left = after_loss_of(medium, directory);
    Machine machine(left);
    CHECK(RawFile("a").content() == (directory ? "aaabb" : "0000"));
  }
}

TEST_CASE("once the power is out nothing works and nothing reaches the disk") {
  PagedMedium medium(SqliteVfs::disk_bytes);
  Machine machine(medium);
  RawFile file("a");
  CHECK(file.write(0, 3, 'a') == SQLITE_OK);
  medium.stop_at = medium.operations;
  CHECK(file.write(0, 3, 'b') == SQLITE_IOERR_WRITE);
  CHECK(medium.unflushed.size() == 4);  // in flight
  char byte = 'x';
  CHECK(file.write(0, 3, 'c') == SQLITE_IOERR_WRITE);
  CHECK(file.truncate(0) == SQLITE_IOERR_TRUNCATE);
  CHECK(file.file->pMethods->xRead(file.file, &byte, 1, 0) == SQLITE_IOERR_READ);
  CHECK(file.file->pMethods->xSync(file.file, SQLITE_SYNC_FULL) == SQLITE_IOERR_FSYNC);
  CHECK(remove_file("b") == SQLITE_IOERR_DELETE);
  CHECK(medium.unflushed.size() == 4);
}

// SQLite as it is by default commits by deleting its journal, and says that it has before the
// deletion is durable; EXTRA waits for that. So the first must be seen to lose what it committed.
TEST_CASE("a rollback journal keeps each change whole, and its deletion is lost or kept") {
  for (const bool extra : {false, true}) {
    const char* settings = extra ? "PRAGMA synchronous=EXTRA" : "PRAGMA synchronous=FULL";
    PagedMedium begin(SqliteVfs::disk_bytes);
    SqliteVfs::seed(7);
    {
      Machine machine(begin);
      Connection connection(settings);
      REQUIRE(connection.execute("CREATE TABLE t (x INTEGER, filler TEXT)"));
      for (int i = 0; i < 8; ++i)
        REQUIRE(connection.execute("INSERT INTO t VALUES (1, hex(zeroblob(900)))"));
    }
    begin.settle();
    io::SeededRandom random(1);
    int before = 0, after = 0, committed_and_gone = 0;
    for (uint64_t stop = 0;; ++stop) {
      CAPTURE(stop);
      PagedMedium medium = begin;
      bool committed = false;
      {
        Machine machine(medium);
        medium.stop_at = medium.operations + stop;
        Connection connection(settings);
        committed = connection.execute("UPDATE t SET x = 2");
      }
      FileFates ways(medium.unflushed.size(), 64, random);
      for (size_t way = 0; way < ways.count(); ++way) {
        CAPTURE(way);
        PagedMedium left = ways.medium_after(medium, way);
        Machine machine(left);
        Connection connection(settings);
        REQUIRE(connection.opened);
        const int value = connection.only_value();
        CHECK((value == 1 || value == 2));
        ++(value == 1 ? before : after);
        if (committed && value == 1) ++committed_and_gone;
      }
      if (!medium.stopped()) break;
    }
    CHECK(before > 100);
    CHECK(after > 0);
    CHECK((committed_and_gone > 0) == !extra);
  }
}
