#include "attach/follower.h"

#include <vector>

#include "base/client_id.h"

namespace sp::attach {

using namespace std::chrono_literals;

namespace {

constexpr auto retry_interval = 1s;

}  // namespace

struct Follower::Entry {
  Presenter::Item item;
  uint32_t generation = 0;
  uint64_t size_bytes = 0;
  std::string path;                  // empty until presented
  client::Volume* volume = nullptr;  // while the presenter holds the device
  bool busy = false;                 // an operation of the presenter is under way
  bool told = false;                 // the cluster knows that it is ready
  bool fenced = false;
  bool complained = false;  // of being in use, or of failing to appear: once
};

// Owned by the presenter; tells the entry when the volume dies with it.
class Follower::Guard : public client::BlockDevice {
 public:
  Guard(std::unique_ptr<client::Volume> volume, std::shared_ptr<Entry> entry)
      : volume_(std::move(volume)), entry_(std::move(entry)) {
    entry_->volume = volume_.get();
  }
  ~Guard() override { entry_->volume = nullptr; }
  uint64_t size_bytes() const override { return volume_->size_bytes(); }
  bool read_only() const override { return volume_->read_only(); }
  void read(uint64_t offset, MutableBytes into, Done done) override {
    volume_->read(offset, into, std::move(done));
  }
  void write(uint64_t offset, Bytes from, Done done) override {
    volume_->write(offset, from, std::move(done));
  }
  void write_zeroes(uint64_t offset, uint64_t size, Done done) override {
    volume_->write_zeroes(offset, size, std::move(done));
  }
  void discard(uint64_t offset, uint64_t size, Done done) override {
    volume_->discard(offset, size, std::move(done));
  }
  void flush(Done done) override { volume_->flush(std::move(done)); }

 private:
  std::unique_ptr<client::Volume> volume_;
  std::shared_ptr<Entry> entry_;
};

Follower::Follower(io::Host& host, member::Options options, Presenter& presenter, IdText id_text)
    : host_(host),
      presenter_(presenter),
      id_text_(id_text),
      client_(client_of(options.self.service.node, options.self.service.instance)),
      retry_(host.reactor) {
  servers_ = client::make_servers(host, options.key, options.self);
  member::Member::Events events;
  events.map_changed = [this](const std::vector<map::Change>&) { map_changed(); };
  events.make_report = [this] { return report(); };
  member_ = member::Member::start(host, std::move(options), std::move(events));
  retry_.arm(retry_interval, [this] { look_again(); });
}

Follower::~Follower() { *alive_ = false; }

size_t Follower::presented() const {
  size_t count = 0;
  for (const auto& [id, entry] : entries_) count += entry->told;
  return count;
}

void Follower::map_changed() {
  for (const auto& [id, entry] : entries_) {
    if (entry->volume != nullptr) entry->volume->map_changed();
  }
  look_at_all();
}

void Follower::look_again() {
  look_at_all();
  retry_.arm(retry_interval, [this] { look_again(); });
}

void Follower::look_at_all() {
  if (member_ == nullptr || member_->map().index == 0) return;
  std::vector<VolumeId> ids;
  for (const auto& [key, row] : member_->map().attachments) {
    if (row.client == client_) ids.push_back(row.volume);
  }
  for (const auto& [id, entry] : entries_) {
    if (member_->map().attachment(id, client_) == nullptr) ids.push_back(id);
  }
  for (const VolumeId id : ids) look(id);
  settle();
}

void Follower::look(VolumeId id) {
  const map::Map& map = member_->map();
  const map::Attachment* row = map.attachment(id, client_);
  const auto volume = map.volumes.find(id);
  auto at = entries_.find(id);
  if (at != entries_.end() && at->second->busy) return;
  const bool wanted = row != nullptr && volume != map.volumes.end() &&
                      row->state != map::AttachmentState::detaching;
  if (at == entries_.end()) {
    if (wanted) return open(*row, volume->second);
    // Nothing is presented here, so nobody can have it open.
    if (row != nullptr) tell(map::AttachmentGone{id, client_, row->generation});
    return;
  }
  Entry& entry = *at->second;
  const bool stale = row == nullptr || row->generation != entry.generation || entry.fenced ||
                     (row->rights == map::Rights::read_only) != entry.item.read_only;
  if (stale) return withdraw(entry, true);
  if (!wanted) return withdraw(entry, false);
  if (!entry.told || row->state == map::AttachmentState::requested) {
    entry.told = true;
    tell(map::AttachmentReady{id, client_, entry.generation, entry.path});
  }
  follow_changes(entry, volume->second);
}

// A new name or size of a volume that stays.
void Follower::follow_changes(Entry& entry, const map::Volume& volume) {
  const std::string name = volume.name.empty() ? entry.item.id_text : volume.name;
  if (name != entry.item.name) {
    entry.busy = true;
    presenter_.rename(entry.item, name,
                      [this, alive = alive_, id = entry.item.volume, wanted = name](Status status) {
                        if (!*alive) return;
                        Entry& renamed = *entries_.at(id);
                        renamed.busy = false;
                        if (status.ok())
                          renamed.item.name = wanted;
                        else
                          host_.log.warning(
                              "a volume could not be renamed",
                              {{"volume", renamed.item.name}, {"why", status.error().message()}});
                      });
    return;
  }
  if (volume.size_bytes != entry.size_bytes) {
    entry.busy = true;
    entry.size_bytes = volume.size_bytes;
    presenter_.resized(entry.item, [this, alive = alive_, id = entry.item.volume](Status status) {
      if (!*alive) return;
      Entry& resized = *entries_.at(id);
      resized.busy = false;
      if (!status.ok())
        host_.log.warning("a volume's new size could not be shown",
                          {{"volume", resized.item.name}, {"why", status.error().message()}});
    });
  }
}

void Follower::open(const map::Attachment& row, const map::Volume& volume) {
  const auto made = std::make_shared<Entry>();
  Entry& entry = *made;
  entry.item = {.volume = volume.id,
                .name = volume.name,
                .id_text = id_text_(member_->map().cluster.id, volume.id),
                .read_only = row.rights == map::Rights::read_only};
  if (entry.item.name.empty()) entry.item.name = entry.item.id_text;
  entry.generation = row.generation;
  entry.size_bytes = volume.size_bytes;
  entry.busy = true;
  entries_[volume.id] = made;
  auto opened = client::Volume::open(
      host_, *member_, servers_,
      {.volume = volume.id, .generation = row.generation, .read_only = entry.item.read_only});
  opened->on_fenced([this, alive = alive_, id = volume.id] {
    if (!*alive) return;
    const auto at = entries_.find(id);
    if (at == entries_.end()) return;
    at->second->fenced = true;
    // In a turn of its own: withdrawing destroys the volume that is calling.
    host_.reactor.post([this, alive, id] {
      if (*alive) look(id);
    });
  });
  presenter_.present(
      entry.item, std::make_unique<Guard>(std::move(opened), made),
      [this, alive = alive_, id = volume.id](Result<std::string> path) {
        if (!*alive) return;
        Entry& presented = *entries_.at(id);
        presented.busy = false;
        if (!path.ok()) {
          host_.log.error("a volume could not be attached; trying again",
                          {{"volume", presented.item.name}, {"why", path.error().message()}});
          entries_.erase(id);
          settle();
          return;
        }
        presented.path = *path;
        host_.log.info(
            "attached",
            {{"volume", presented.item.name}, {"at", *path}, {"generation", presented.generation}});
        look(id);
        settle();
      });
}

void Follower::withdraw(Entry& entry, bool force) {
  entry.busy = true;
  presenter_.withdraw(
      entry.item, force, [this, alive = alive_, id = entry.item.volume](Status status) {
        if (!*alive) return;
        Entry& withdrawn = *entries_.at(id);
        withdrawn.busy = false;
        if (!status.ok()) {
          if (!std::exchange(withdrawn.complained, true))
            host_.log.warning("a volume cannot be detached yet; trying again",
                              {{"volume", withdrawn.item.name}, {"why", status.error().message()}});
          return;
        }
        host_.log.info("detached", {{"volume", withdrawn.item.name}});
        entries_.erase(id);
        look(id);  // tells the cluster, or attaches anew under another generation
      });
}

void Follower::tell(const map::Command& command) {
  member_->command(command, [this, alive = alive_](Result<uint64_t> result) {
    if (!*alive || result.ok() || result.error().code() == Code::stale ||
        result.error().code() == Code::not_found)
      return;
    // The outcome is unknown: as long as the map does not show it, say it again.
    for (const auto& [id, entry] : entries_)
      entry->told = entry->told && member_->map().attachment(id, client_) != nullptr &&
                    member_->map().attachment(id, client_)->state == map::AttachmentState::ready;
  });
}

void Follower::settle() {
  if (settled_) return;
  for (const auto& [id, entry] : entries_) {
    if (entry->busy) return;
  }
  settled_ = true;
  presenter_.settled();
}

member::Report Follower::report() const {
  member::Report report;
  report.fenced_index = member_->map().index;
  for (const auto& [id, entry] : entries_) {
    if (entry->volume == nullptr) continue;
    if (const uint64_t age_ms = entry->volume->counters().oldest_request_ms; age_ms > 0)
      report.requests_waiting.emplace_back(id, age_ms);
  }
  return report;
}

}  // namespace sp::attach
