#include "api/expiry.h"

#include "api/calls.h"
#include "api/fields.h"

namespace sp::api {

namespace {

constexpr auto look_interval = std::chrono::seconds(1);
constexpr uint32_t deletions_in_flight_max = 8;  // a large lot must not crowd out other changes

bool is_attached(const map::Map& map, VolumeId volume) {
  const auto first = map.attachments.lower_bound({volume, 0});
  return first != map.attachments.end() && first->first.first == volume;
}

}  // namespace

Expiry::Expiry(std::shared_ptr<Core> core) : core_(std::move(core)), timer_(core_->host.reactor) {}

// Most maps have no snapshots: then there is nothing to wake up for.
void Expiry::map_changed() {
  if (timer_.armed() || core_->member.map().lineages.empty()) return;
  timer_.arm(look_interval, [this] { look(); });
}

void Expiry::look() {
  const map::Map& map = core_->member.map();
  const int64_t now_s = core_->host.clock.wall_ms() / 1000;
  bool any = false;
  for (const auto& [id, lineage] : map.lineages) {
    if (!lineage.frozen || lineage.delete_at_s == 0) continue;
    any = true;
    if (lineage.delete_at_s > now_s || lineage.cut != 0 || is_attached(map, id)) continue;
    if (core_->expiring.size() < deletions_in_flight_max && core_->active()) remove(id);
  }
  if (any) timer_.arm(look_interval, [this] { look(); });
}

// One that is refused, or whose outcome is not known, is looked at again.
void Expiry::remove(VolumeId snapshot) {
  if (!core_->expiring.insert(snapshot).second) return;
  const map::Map& map = core_->member.map();
  core_->host.log.info("snapshot is deleted: its time has come",
                       {{"snapshot", shown_name(map, map.volumes.at(snapshot))}});
  core_->member.command(
      map::DeleteVolume{snapshot},
      [core = core_, snapshot](const Result<uint64_t>&) { core->expiring.erase(snapshot); });
}

}  // namespace sp::api
