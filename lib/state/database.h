// Database: the tables of a map in one SQLite file: one table per row type with readable columns,
// and `meta` with schema version, applied index and content hash. Written in one transaction per
// command; not fsynced, in write-ahead mode so that an admin can read while it is written. Errors
// of SQLite are values.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "map/map.h"

struct sqlite3;
struct sqlite3_stmt;

namespace sp::state {

class Database {
 public:
  // Opens, or makes an empty one. Code::damaged: it does not pass SQLite's own check, or another
  // version made it.
  static Result<std::unique_ptr<Database>> open(const std::string& path);
  static void remove(const std::string& path);
  ~Database();

  struct Loaded {
    map::Map map;           // with its index
    uint64_t content_hash;  // as stored; the caller compares it with the rows
  };
  Result<Loaded> load();
  // Writes changed rows, index and hash together or not at all. `replace`: all tables are emptied
  // first.
  Status write(const std::vector<map::Change>& changes, uint64_t index, uint64_t content_hash,
               bool replace);

 private:
  struct Statement {
    sqlite3_stmt* put = nullptr;
    sqlite3_stmt* erase = nullptr;
  };
  Database() = default;
  Status execute(const std::string& sql);
  Status prepare(const std::string& sql, sqlite3_stmt*& statement);
  Status run(sqlite3_stmt* statement);
  Status check();
  Status make_schema();
  Status prepare_all();
  Status write_rows(const std::vector<map::Change>& changes, uint64_t index, uint64_t content_hash,
                    bool replace);
  Status write_row(const map::Change& change);
  template <class Row>
  Status load_rows(map::Map& map);
  Error error(const std::string& what) const;

  std::string path_;
  sqlite3* handle_ = nullptr;
  Statement statements_[16];  // by Table
  sqlite3_stmt* put_meta_ = nullptr;
};

}  // namespace sp::state
