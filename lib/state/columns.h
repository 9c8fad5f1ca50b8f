// Values as SQLite columns, for people to read: truth and numbers as integers, random numbers in
// hexadecimal, services as "server.3.1", lists of disks as "1,7,9", tags and pairs as JSON objects.
// Three visitors of field lists (map/rows.h): names of columns, binding, loading.
#pragma once
#include <sqlite3.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "map/rows.h"

namespace sp::state {

std::string to_column(ServiceId id);
std::string to_column(map::Rights rights);
std::string to_column(map::AttachmentState state);
std::string to_column(const std::vector<DiskId>& disks);
std::string to_column(const std::vector<VolumeId>& volumes);
std::string to_column(const std::map<std::string, std::string>& pairs);
std::string hex_column(uint64_t value);
// False when the text is not what to_column makes.
bool from_column(std::string_view text, ServiceId& id);
bool from_column(std::string_view text, map::Rights& rights);
bool from_column(std::string_view text, map::AttachmentState& state);
bool from_column(std::string_view text, std::vector<DiskId>& disks);
bool from_column(std::string_view text, std::vector<VolumeId>& volumes);
bool from_column(std::string_view text, std::map<std::string, std::string>& pairs);
bool from_hex_column(std::string_view text, uint64_t& value);

class ColumnNames {
 public:
  struct Column {
    std::string name;
    bool integer;
  };
  std::vector<Column> columns;

  template <class T>
  void operator()(const char* name, const T&) {
    columns.push_back({name, std::is_integral_v<T>});
  }
  void hex(const char* name, uint64_t) { columns.push_back({name, false}); }
};

// Binds one after the other, from the first parameter on.
class Binder {
 public:
  explicit Binder(sqlite3_stmt* statement) : statement_(statement) {}

  template <class T>
  void operator()(const char*, const T& value) {
    if constexpr (std::is_integral_v<T>)
      sqlite3_bind_int64(statement_, ++at_, static_cast<sqlite3_int64>(value));
    else if constexpr (std::is_same_v<T, std::string>)
      text(value);
    else if constexpr (std::is_same_v<T, std::set<DiskId>>)
      text(to_column(std::vector<DiskId>(value.begin(), value.end())));
    else if constexpr (std::is_same_v<T, std::optional<ServiceId>>)
      value ? text(to_column(*value)) : null();
    else
      text(to_column(value));
  }
  void hex(const char*, uint64_t value) { text(hex_column(value)); }

 private:
  void text(const std::string& value) {
    sqlite3_bind_text64(statement_, ++at_, value.data(), value.size(), SQLITE_TRANSIENT,
                        SQLITE_UTF8);
  }
  void null() { sqlite3_bind_null(statement_, ++at_); }

  sqlite3_stmt* statement_;
  int at_ = 0;
};

class Loader {
 public:
  explicit Loader(sqlite3_stmt* statement) : statement_(statement) {}
  bool failed() const { return failed_; }

  template <class T>
  void operator()(const char*, T& value) {
    if constexpr (std::is_integral_v<T>) {
      if (sqlite3_column_type(statement_, at_) != SQLITE_INTEGER) failed_ = true;
      const sqlite3_int64 stored = sqlite3_column_int64(statement_, at_++);
      value = static_cast<T>(stored);
      if (static_cast<sqlite3_int64>(value) != stored) failed_ = true;
    } else if constexpr (std::is_same_v<T, std::string>) {
      value = text();
    } else if constexpr (std::is_same_v<T, std::set<DiskId>>) {
      std::vector<DiskId> list;
      if (!from_column(text(), list)) failed_ = true;
      value = {list.begin(), list.end()};
    } else if constexpr (std::is_same_v<T, std::optional<ServiceId>>) {
      value.reset();
      if (sqlite3_column_type(statement_, at_) == SQLITE_NULL)
        ++at_;
      else if (!from_column(text(), value.emplace()))
        failed_ = true;
    } else {
      if (!from_column(text(), value)) failed_ = true;
    }
  }
  void hex(const char*, uint64_t& value) {
    if (!from_hex_column(text(), value)) failed_ = true;
  }

 private:
  std::string_view text() {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, at_));
    const auto size = static_cast<size_t>(sqlite3_column_bytes(statement_, at_++));
    if (bytes == nullptr) failed_ = true;
    return bytes == nullptr ? std::string_view() : std::string_view(bytes, size);
  }

  sqlite3_stmt* statement_;
  int at_ = 0;
  bool failed_ = false;
};

}  // namespace sp::state
