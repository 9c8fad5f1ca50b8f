#include "api/take_snapshots.h"

#include <fmt/format.h>

#include <algorithm>

namespace sp::api {

namespace {

// The leading beacon closes a cut much earlier (limits::cut_open_max), unless it is replaced
// meanwhile.
constexpr auto taking_max = std::chrono::seconds(10);
static_assert(taking_max > 2 * limits::cut_open_max);

// The snapshots of a cut that is open, or was closed since; those that are gone again are missing.
std::vector<VolumeId> snapshots_of(const map::Map& map, const map::OpenCut& open) {
  std::vector<VolumeId> ids;
  for (const auto& item : open.items) {
    const auto at = std::find_if(map.volumes.rbegin(), map.volumes.rend(), [&](const auto& row) {
      return row.second.name == item.name && row.second.created_ms == open.created_ms &&
             map::is_snapshot(map, row.first);
    });
    if (at != map.volumes.rend()) ids.push_back(at->first);
  }
  return ids;
}

bool all_there(const map::Map& map, const std::vector<VolumeId>& ids) {
  return std::all_of(ids.begin(), ids.end(),
                     [&](VolumeId id) { return map.lineages.count(id) != 0; });
}

bool closed(const map::Map& map, const std::vector<VolumeId>& ids) {
  return std::none_of(ids.begin(), ids.end(),
                      [&](VolumeId id) { return map::in_open_cut(map, id); });
}

void fail_not_taken(Context& context) {
  context.fail(names::try_again,
               "the snapshot was not taken: a disk set of the volume cannot write just now "
               "('sp-status' says which); nothing has changed; try again");
}

void fail_unknown(Context& context) {
  context.fail(names::timeout,
               fmt::format("whether the snapshot was taken is not known after {} s: SnapshotsList "
                           "('sp-snap list') shows it as soon as it was",
                           taking_max.count()));
}

}  // namespace

void take_snapshots(Context& context, const map::OpenCut& open,
                    std::function<void(Context&, const std::vector<VolumeId>&)> then) {
  // Before anything is agreed: afterwards there would be no way to tell what became of it.
  if (context.waits_full())
    return context.fail(names::busy,
                        fmt::format("{} requests wait already: try again", limits::api_waits_max));
  const auto self = context.shared_from_this();
  context.command(open, [self, open, then = std::move(then)](uint64_t) {
    const auto ids = std::make_shared<const std::vector<VolumeId>>(snapshots_of(self->map(), open));
    if (ids->size() != open.items.size()) return fail_not_taken(*self);
    // The Context outlives the wait, so the map that both look at is there.
    Context* raw = self.get();
    self->wait([raw, ids] { return closed(raw->map(), *ids); }, taking_max,
               [raw, ids, then](bool over) {
                 if (!over) return fail_unknown(*raw);
                 if (!all_there(raw->map(), *ids)) return fail_not_taken(*raw);
                 then(*raw, *ids);
               });
  });
}

}  // namespace sp::api
