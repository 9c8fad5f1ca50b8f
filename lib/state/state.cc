#include "state/state.h"

#include <map>
#include <utility>

#include "base/checksum.h"
#include "base/planted.h"
#include "map/field_codec.h"
#include "map/rows.h"
#include "state/apply.h"
#include "state/database.h"
#include "state/draft.h"

namespace sp::state {
namespace {

uint64_t hash_of(const map::Map& map) {
  uint64_t sum = 0;
  for (const map::Change& row : map::rows(map)) sum += map::row_hash(row);
  return sum;
}

class SqliteState final : public State {
 public:
  SqliteState(std::unique_ptr<Database> database, map::Map map, uint64_t content_hash)
      : database_(std::move(database)), map_(std::move(map)), content_hash_(content_hash) {
    name_volumes();
  }

  Applied apply(uint64_t index, const map::Command& command) override {
    SP_ASSERT_OP(index, >, map_.index);
    Applied applied;
    Draft draft(map_, volume_names_);
    applied.status = state::apply(draft, command);
    if (applied.status.ok()) {
      uint64_t hash_change = 0;
      applied.changes = draft.changes(hash_change);
      content_hash_ += hash_change;
    } else {
      if (!SP_PLANTED_BUG(state_keeps_refused_changes)) draft.roll_back();
    }
    map_.index = index;
    follow_names(applied.changes);
    keep(applied.changes);
    return applied;
  }

  uint64_t applied_index() const override { return map_.index; }
  uint64_t content_hash() const override { return content_hash_; }
  const map::Map& map() const override { return map_; }
  const std::optional<Error>& database_error() const override { return database_error_; }

  std::vector<std::byte> snapshot() const override {
    std::vector<std::byte> bytes = map::encode(map_, true);
    const uint64_t crc = crc64(bytes);
    const Bytes trailer = struct_bytes(crc);
    bytes.insert(bytes.end(), trailer.begin(), trailer.end());
    return bytes;
  }

  Status restore(Bytes snapshot) override {
    const Error damaged(Code::damaged,
                        "state snapshot of " + std::to_string(snapshot.size()) +
                            " bytes is malformed; fetch it again from another voter");
    if (snapshot.size() < sizeof(uint64_t)) return damaged;
    const Bytes body = snapshot.first(snapshot.size() - sizeof(uint64_t));
    if (load<uint64_t>(snapshot.last(sizeof(uint64_t))) != crc64(body)) return damaged;
    auto map = map::decode_map(body);
    if (!map) return damaged;
    const uint64_t content_hash = hash_of(*map);
    map_ = std::move(*map);
    content_hash_ = content_hash;
    unwritten_.clear();
    all_unwritten_ = true;
    keep_all();
    if (!SP_PLANTED_BUG(state_names_not_restored)) name_volumes();
    return {};
  }

 private:
  // A database that cannot be written (a full file system, say) does not stop the agreed state,
  // which is in memory: it stays as it was, whole and older, and gets what it missed with a later
  // command.
  void keep(const std::vector<map::Change>& changes) {
    if (database_ == nullptr) return;
    if (all_unwritten_) return keep_all();
    if (unwritten_.empty() && noted(database_->write(changes, map_.index, content_hash_, false)))
      return;
    for (const map::Change& change : changes) unwritten_[{change.table, change.key}] = change;
    std::vector<map::Change> all;
    for (const auto& [key, change] : unwritten_) all.push_back(change);
    if (noted(database_->write(all, map_.index, content_hash_, false))) unwritten_.clear();
  }

  // All rows are many: not tried with each command.
  void keep_all() {
    constexpr uint32_t tried_one_of = 64;
    if (database_ == nullptr || kept_all_tries_++ % tried_one_of != 0) return;
    if (!noted(database_->write(map::rows(map_), map_.index, content_hash_, true))) return;
    all_unwritten_ = false;
    kept_all_tries_ = 0;
  }

  bool noted(const Status& status) {
    if (status.ok())
      database_error_.reset();
    else
      database_error_ = status.error();
    return status.ok();
  }

  void name_volumes() {
    volume_names_.clear();
    for (const auto& [id, volume] : map_.volumes) name_volume(id, volume.name);
  }
  void name_volume(VolumeId id, const std::string& name) {
    volume_names_[name] = id;
    name_of_[id] = name;
  }
  void follow_names(const std::vector<map::Change>& changes) {
    for (const map::Change& change : changes) {
      if (change.table != map::Table::volume) continue;
      const VolumeId id = *map::decode_value<VolumeId>(change.key);
      if (const auto old = name_of_.find(id); old != name_of_.end()) {
        volume_names_.erase(old->second);
        name_of_.erase(old);
      }
      if (change.row) name_volume(id, map_.volumes.at(id).name);
    }
  }

  std::unique_ptr<Database> database_;  // or none
  map::Map map_;
  uint64_t content_hash_;
  Draft::VolumeNames volume_names_;
  std::map<VolumeId, std::string> name_of_;
  std::map<std::pair<map::Table, std::vector<std::byte>>, map::Change> unwritten_;
  bool all_unwritten_ = false;  // a snapshot replaced the state, and the database has none of it
  uint32_t kept_all_tries_ = 0;
  std::optional<Error> database_error_;
};

}  // namespace

Result<std::unique_ptr<State>> State::open(const std::string& path) {
  if (path.empty())
    return std::unique_ptr<State>(new SqliteState(nullptr, map::Map(), hash_of(map::Map())));
  SP_TRY(std::unique_ptr<Database> database, Database::open(path));
  SP_TRY(Database::Loaded loaded, database->load());
  const uint64_t content_hash = hash_of(loaded.map);
  if (content_hash != loaded.content_hash && !SP_PLANTED_BUG(state_believes_mixed_rows))
    return Error(Code::damaged, "state database " + path +
                                    ": its rows are not those of its content hash; it is rebuilt "
                                    "from the Raft snapshot and log");
  return std::unique_ptr<State>(
      new SqliteState(std::move(database), std::move(loaded.map), content_hash));
}

Result<std::unique_ptr<State>> State::create_empty(const std::string& path) {
  if (!path.empty()) Database::remove(path);
  return open(path);
}

}  // namespace sp::state
