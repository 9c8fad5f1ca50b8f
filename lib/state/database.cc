#include "state/database.h"

#include <sqlite3.h>

#include "base/planted.h"
#include "map/field_codec.h"
#include "state/columns.h"

namespace sp::state {
namespace {

using namespace sp::map;

constexpr int schema_version = 2;

template <class Row>
std::vector<ColumnNames::Column> columns_of() {
  ColumnNames names;
  Row row;
  fields(names, row);
  return names.columns;
}

template <class F>
void for_each_table(F&& f) {
  f(std::type_identity<Cluster>{});
  for_each_row_type(f);
}

struct KeyBinder {
  Binder& bind;
  void operator()(ServiceId id) { bind("", id); }
  void operator()(SetId id) {
    bind("", id.group);
    bind("", id.index);
  }
  void operator()(const AttachmentKey& key) {
    bind("", key.first);
    bind("", key.second);
  }
  template <class T>
  void operator()(const T& key) {
    bind("", key);
  }
};

}  // namespace

Database::~Database() {
  for (const Statement& statement : statements_) {
    sqlite3_finalize(statement.put);
    sqlite3_finalize(statement.erase);
  }
  sqlite3_finalize(put_meta_);
  sqlite3_close(handle_);
}

Error Database::error(const std::string& what) const {
  const int code = sqlite3_errcode(handle_) & 0xff;
  // All but what the world around the file can be blamed for: damaged pages come out as many codes.
  const bool damaged = code != SQLITE_IOERR && code != SQLITE_FULL && code != SQLITE_CANTOPEN &&
                       code != SQLITE_BUSY && code != SQLITE_LOCKED && code != SQLITE_PERM &&
                       code != SQLITE_READONLY && code != SQLITE_NOMEM;
  const std::string hint = damaged ? "; it is rebuilt from the Raft snapshot and log"
                                   : "; check the file system that it is on";
  return {damaged               ? Code::damaged
          : code == SQLITE_FULL ? Code::no_space
                                : Code::io,
          "state database " + path_ + ": " + what + ": " + sqlite3_errmsg(handle_) + hint};
}

Status Database::execute(const std::string& sql) {
  if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    return error("'" + sql.substr(0, 60) + "'");
  return {};
}

Status Database::prepare(const std::string& sql, sqlite3_stmt*& statement) {
  if (sqlite3_prepare_v3(handle_, sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &statement,
                         nullptr) != SQLITE_OK)
    return error("'" + sql.substr(0, 60) + "'");
  return {};
}

Status Database::run(sqlite3_stmt* statement) {
  const int code = sqlite3_step(statement);
  Status status;
  if (code != SQLITE_DONE) status = error("writing a row");
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return status;
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path) {
  auto database = std::unique_ptr<Database>(new Database);
  database->path_ = path;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path.c_str(), &database->handle_, flags, nullptr) != SQLITE_OK)
    return database->error("opening");
  sqlite3_busy_timeout(database->handle_, 0);  // who locks it must not hold the beacon up
  // In this order: turning a new file to write-ahead mode waits for flushes otherwise.
  if (!SP_PLANTED_BUG(database_waits_for_flushes))
    SP_CHECK(database->execute("PRAGMA synchronous=OFF"));
  SP_CHECK(database->execute(SP_PLANTED_BUG(database_without_journal) ? "PRAGMA journal_mode=OFF"
                                                                      : "PRAGMA journal_mode=WAL"));
  sqlite3_stmt* count = nullptr;
  SP_CHECK(database->prepare("SELECT count(*) FROM sqlite_master", count));
  const bool read = sqlite3_step(count) == SQLITE_ROW;
  const bool fresh = read && sqlite3_column_int(count, 0) == 0;
  sqlite3_finalize(count);
  if (!read) return database->error("reading its schema");
  if (fresh) SP_CHECK(database->make_schema());
  SP_CHECK(database->check());
  SP_CHECK(database->prepare_all());
  return database;
}

// Over the same layer of SQLite that opens it, so that a simulated one works too.
void Database::remove(const std::string& path) {
  if (path == ":memory:") return;
  sqlite3_vfs* files = sqlite3_vfs_find(nullptr);
  std::string full(static_cast<size_t>(files->mxPathname) + 1, '\0');
  if (files->xFullPathname(files, path.c_str(), files->mxPathname, full.data()) != SQLITE_OK)
    return;
  full.resize(full.find('\0'));
  for (const char* suffix : {"", "-wal", "-shm", "-journal"})
    files->xDelete(files, (full + suffix).c_str(), 0);
}

Status Database::make_schema() {
  SP_CHECK(execute("BEGIN"));
  SP_CHECK(execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID"));
  SP_CHECK(execute("INSERT INTO meta VALUES ('schema_version', '" + std::to_string(schema_version) +
                   "')"));
  Status status;
  for_each_table([&]<class Row>(std::type_identity<Row>) {
    std::string sql = std::string("CREATE TABLE ") + Rows<Row>::name + " (";
    std::string keys;
    const auto columns = columns_of<Row>();
    for (size_t i = 0; i < columns.size(); ++i) {
      sql += columns[i].name + (columns[i].integer ? " INTEGER, " : " TEXT, ");
      if (i < static_cast<size_t>(Rows<Row>::key_columns))
        keys += (i > 0 ? ", " : "") + columns[i].name;
    }
    if (status.ok()) status = execute(sql + "PRIMARY KEY (" + keys + ")) WITHOUT ROWID");
  });
  SP_CHECK(std::move(status));
  SP_CHECK(prepare_all());
  SP_CHECK(write_rows({to_change(Cluster{})}, 0, row_hash(to_change(Cluster{})), false));
  for (Statement& statement : statements_) {
    sqlite3_finalize(std::exchange(statement.put, nullptr));
    sqlite3_finalize(std::exchange(statement.erase, nullptr));
  }
  sqlite3_finalize(std::exchange(put_meta_, nullptr));
  return execute("COMMIT");
}

Status Database::prepare_all() {
  SP_CHECK(prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)", put_meta_));
  Status status;
  for_each_table([&]<class Row>(std::type_identity<Row>) {
    if (!status.ok()) return;
    const auto columns = columns_of<Row>();
    std::string put = std::string("INSERT OR REPLACE INTO ") + Rows<Row>::name + " VALUES (";
    for (size_t i = 0; i < columns.size(); ++i) put += i > 0 ? ", ?" : "?";
    std::string erase = std::string("DELETE FROM ") + Rows<Row>::name;
    if constexpr (!std::is_same_v<Row, Cluster>)
      for (int i = 0; i < Rows<Row>::key_columns; ++i)
        erase += (i > 0 ? " AND " : " WHERE ") + columns[static_cast<size_t>(i)].name + " = ?";
    Statement& statement = statements_[static_cast<size_t>(Rows<Row>::table)];
    status = prepare(put + ")", statement.put);
    if (status.ok()) status = prepare(erase, statement.erase);
  });
  return status;
}

Status Database::check() {
  sqlite3_stmt* statement = nullptr;
  SP_CHECK(prepare("PRAGMA quick_check", statement));
  const bool sound =
      sqlite3_step(statement) == SQLITE_ROW &&
      as_text(as_bytes(reinterpret_cast<const char*>(sqlite3_column_text(statement, 0)))) == "ok";
  sqlite3_finalize(statement);
  const std::string where = "state database " + path_ + ": ";
  if (!sound)
    return Error(Code::damaged,
                 where + "its pages are damaged; it is rebuilt from the Raft snapshot and log");
  SP_CHECK(prepare("SELECT value FROM meta WHERE name = 'schema_version'", statement));
  const bool right =
      sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_int(statement, 0) == schema_version;
  sqlite3_finalize(statement);
  if (!right)
    return Error(Code::damaged, where +
                                    "it is of another version or not a state database; it is "
                                    "rebuilt from the Raft snapshot and log");
  return {};
}

template <class Row>
Status Database::load_rows(Map& map) {
  sqlite3_stmt* statement = nullptr;
  std::string list;
  for (const auto& column : columns_of<Row>()) list += (list.empty() ? "" : ", ") + column.name;
  SP_CHECK(prepare("SELECT " + list + " FROM " + Rows<Row>::name, statement));
  bool sound = true;
  int code = SQLITE_ROW;
  while (sound && (code = sqlite3_step(statement)) == SQLITE_ROW) {
    Row row;
    Loader loader(statement);
    fields(loader, row);
    sound = !loader.failed();
    if constexpr (std::is_same_v<Row, Cluster>)
      map.cluster = std::move(row);
    else
      Rows<Row>::in(map).insert_or_assign(Rows<Row>::key(row), std::move(row));
  }
  sqlite3_finalize(statement);
  if (!sound)
    return Error(Code::damaged, "state database " + path_ + ": a row of table " + Rows<Row>::name +
                                    " is malformed; it is rebuilt");
  if (code != SQLITE_DONE) return error(std::string("reading table ") + Rows<Row>::name);
  return {};
}

Result<Database::Loaded> Database::load() {
  Loaded loaded{};
  Status status;
  for_each_table([&]<class Row>(std::type_identity<Row>) {
    if (status.ok()) status = load_rows<Row>(loaded.map);
  });
  SP_CHECK(std::move(status));
  sqlite3_stmt* statement = nullptr;
  SP_CHECK(prepare(
      "SELECT value FROM meta WHERE name IN ('applied_index', 'content_hash') ORDER BY name",
      statement));
  bool found = true;
  for (uint64_t* value : {&loaded.map.index, &loaded.content_hash}) {
    found = found && sqlite3_step(statement) == SQLITE_ROW;
    const auto* text =
        found ? reinterpret_cast<const char*>(sqlite3_column_text(statement, 0)) : nullptr;
    found = text != nullptr && from_hex_column(text, *value);
  }
  sqlite3_finalize(statement);
  if (!found)
    return Error(Code::damaged, "state database " + path_ +
                                    ": its index or content hash is missing; it is rebuilt");
  return loaded;
}

Status Database::write_row(const Change& change) {
  const Statement& statement = statements_[static_cast<size_t>(change.table)];
  if (change.table == Table::cluster) SP_CHECK(run(statement.erase));
  Status status;
  for_each_table([&]<class Row>(std::type_identity<Row>) {
    if (Rows<Row>::table != change.table) return;
    if (change.row) {
      Binder binder(statement.put);
      const auto row = decode_value<Row>(*change.row);
      SP_ASSERT(row.has_value());
      fields(binder, *row);
      status = run(statement.put);
    } else if constexpr (!std::is_same_v<Row, Cluster>) {
      if (SP_PLANTED_BUG(database_keeps_removed_volumes) && change.table == Table::volume) return;
      Binder binder(statement.erase);
      KeyBinder{binder}(*decode_value<typename Rows<Row>::Key>(change.key));
      status = run(statement.erase);
    }
  });
  return status;
}

Status Database::write_rows(const std::vector<Change>& changes, uint64_t index,
                            uint64_t content_hash, bool replace) {
  if (replace) {
    Status status;
    for_each_table([&]<class Row>(std::type_identity<Row>) {
      if (status.ok()) status = execute(std::string("DELETE FROM ") + Rows<Row>::name);
    });
    SP_CHECK(std::move(status));
  }
  for (const Change& change : changes) SP_CHECK(write_row(change));
  if (SP_PLANTED_BUG(database_index_after_rows)) {
    SP_CHECK(execute("COMMIT"));
    SP_CHECK(execute("BEGIN"));
  }
  const auto put_meta = [this](const std::string& name, uint64_t value) {
    Binder binder(put_meta_);
    binder("", name);
    binder.hex("", value);
    return run(put_meta_);
  };
  SP_CHECK(put_meta("applied_index", index));
  return put_meta("content_hash", content_hash);
}

Status Database::write(const std::vector<Change>& changes, uint64_t index, uint64_t content_hash,
                       bool replace) {
  SP_CHECK(execute("BEGIN IMMEDIATE"));
  Status status = write_rows(changes, index, content_hash, replace);
  if (status.ok()) status = execute("COMMIT");
  // After some errors SQLite has rolled back by itself.
  if (!status.ok() && sqlite3_get_autocommit(handle_) == 0) (void)execute("ROLLBACK").ok();
  return status;
}

}  // namespace sp::state
