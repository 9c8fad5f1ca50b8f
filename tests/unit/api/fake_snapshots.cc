// What a FakeMember does with commands about snapshots: enough of their rules that the map looks as
// a real one does.
#include "fake_member.h"

namespace sp::api::test {

VolumeId FakeMember::named(const std::string& name) const {
  for (const auto& [id, volume] : row.volumes) {
    if (volume.name == name) return id;
  }
  return 0;
}

Status FakeMember::open_cut(const map::OpenCut& command) {
  for (const auto& item : command.items) {
    if (named(item.name) != 0)
      return Error(Code::exists, "snapshot '" + item.name + "' exists already");
  }
  map::Cut cut;
  for (const auto& item : command.items) {
    const VolumeId id = ++row.cluster.volume_last;
    if (cut.id == 0) cut.id = id;
    cut.volumes.push_back(item.volume);
    cut.snapshots.push_back(id);
    map::Volume snapshot = row.volumes.at(item.volume);
    snapshot.id = id;
    snapshot.name = item.name;
    snapshot.created_ms = command.created_ms;
    snapshot.tags = item.tags;
    row.volumes[id] = snapshot;
    map::Lineage& of = row.lineages[item.volume];
    of.volume = item.volume;
    if (of.layer == 0) of.layer = item.volume;
    of.cut = cut.id;
    row.lineages[id] = {id, of.layer, true, item.volume, cut.id, item.delete_at_s};
  }
  row.cuts[cut.id] = cut;
  if (cuts == Cuts::left_open) return {};
  later(
      [this, close = map::CloseCut{cut.id, cuts == Cuts::taken}] {
        close_cut(close);
        ++row.index;
        if (changed) changed();
      },
      false);
  return {};
}

void FakeMember::close_cut(const map::CloseCut& command) {
  const map::Cut cut = row.cuts.at(command.cut);
  row.cuts.erase(command.cut);
  for (size_t i = 0; i < cut.volumes.size(); ++i) {
    map::Lineage& of = row.lineages.at(cut.volumes[i]);
    of.cut = 0;
    if (!command.taken) {
      row.volumes.erase(cut.snapshots[i]);
      row.lineages.erase(cut.snapshots[i]);
      continue;
    }
    row.lineages.at(cut.snapshots[i]).cut = 0;
    const VolumeId layer = ++row.cluster.volume_last;
    row.layers[layer] = {.id = layer, .parent = of.layer, .writer = cut.volumes[i]};
    of.layer = layer;
  }
}

Status FakeMember::apply_of_snapshots(const map::Command& command) {
  if (const auto* open = std::get_if<map::OpenCut>(&command)) return open_cut(*open);
  if (const auto* close = std::get_if<map::CloseCut>(&command)) {
    close_cut(*close);
  } else if (const auto* clone = std::get_if<map::CloneVolume>(&command)) {
    map::Volume volume = row.volumes.at(clone->snapshot);
    volume.id = ++row.cluster.volume_last;
    volume.name = clone->name;
    if (clone->size_bytes != 0) volume.size_bytes = clone->size_bytes;
    volume.created_ms = clone->created_ms;
    volume.tags = clone->tags;
    row.volumes[volume.id] = volume;
    row.layers[volume.id] = {
        .id = volume.id, .parent = row.lineages.at(clone->snapshot).layer, .writer = volume.id};
    row.lineages[volume.id] = {volume.id, volume.id, false, clone->snapshot};
  } else if (const auto* revert = std::get_if<map::RevertVolume>(&command)) {
    row.volumes.at(revert->volume).size_bytes = row.volumes.at(revert->snapshot).size_bytes;
  } else if (const auto* update = std::get_if<map::UpdateSnapshot>(&command)) {
    row.lineages.at(update->snapshot).delete_at_s = update->delete_at_s;
  }
  return {};
}

}  // namespace sp::api::test
