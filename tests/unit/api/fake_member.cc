#include "fake_member.h"

#include "base/assert.h"

namespace sp::api::test {

using namespace std::chrono_literals;

void FakeMember::later(std::function<void()> work, bool hold) {
  if (hold)
    held_.push_back(std::move(work));
  else
    host_.reactor.post([work = std::move(work)] { work(); });
}

void FakeMember::release() {
  SP_ASSERT(!held_.empty());
  auto work = std::move(held_.front());
  held_.pop_front();
  work();
}

void FakeMember::command(const map::Command& command, Callback<void(Result<uint64_t>)> done) {
  commands.push_back(command);
  auto shared = std::make_shared<Callback<void(Result<uint64_t>)>>(std::move(done));
  later(
      [this, command, shared] {
        Status status = refuse_next ? Status(*refuse_next) : apply(command);
        refuse_next.reset();
        ++row.index;
        if (changed) changed();
        if (status.ok())
          shared->call_once(row.index);
        else
          shared->call_once(status.error());
      },
      hold_commands);
}

void FakeMember::confirm(uint64_t index, io::Duration, Callback<void(Status)> done) {
  confirmed.push_back(index);
  auto shared = std::make_shared<Callback<void(Status)>>(std::move(done));
  later([this, shared] { shared->call_once(confirm_result); }, hold_confirms);
}

void FakeMember::reports(Callback<void(Result<std::vector<member::ServiceReport>>)> done) {
  auto shared =
      std::make_shared<Callback<void(Result<std::vector<member::ServiceReport>>)>>(std::move(done));
  later(
      [this, shared] {
        if (is_connected)
          shared->call_once(report_list);
        else
          shared->call_once(Error(Code::unreachable, "no leader"));
      },
      false);
}

Status FakeMember::apply(const map::Command& command) {
  if (const auto* create = std::get_if<map::CreateVolume>(&command)) {
    for (const auto& [id, volume] : row.volumes) {
      if (!create->name.empty() && volume.name == create->name)
        return Error(Code::exists, "volume '" + create->name + "' exists");
    }
    map::Volume volume;
    volume.id = volume.root = ++row.cluster.volume_last;
    volume.name = create->name;
    volume.size_bytes = create->size_bytes;
    volume.template_name = create->template_name;
    volume.group = row.templates.at(create->template_name).group;
    volume.created_ms = create->created_ms;
    volume.limits = create->limits;
    volume.tags = create->tags;
    row.volumes[volume.id] = volume;
  } else if (const auto* update = std::get_if<map::UpdateVolume>(&command)) {
    map::Volume& volume = row.volumes.at(update->volume);
    if (update->size_bytes && *update->size_bytes < volume.size_bytes && !update->shrink_ok)
      return Error(Code::refused, "the volume would shrink");
    if (update->rename) volume.name = *update->rename;
    if (update->size_bytes) volume.size_bytes = *update->size_bytes;
    if (update->limits) volume.limits = *update->limits;
    for (const auto& [key, value] : update->tags) volume.tags[key] = value;
  } else if (const auto* remove = std::get_if<map::DeleteVolume>(&command)) {
    for (const auto& [key, attachment] : row.attachments) {
      if (key.first == remove->volume) return Error(Code::refused, "the volume is attached");
    }
    row.volumes.erase(remove->volume);
    row.lineages.erase(remove->volume);
  } else if (const auto* reassign = std::get_if<map::Reassign>(&command)) {
    for (const auto& item : reassign->volumes) {
      std::vector<ClientId> gone = item.detach;
      for (const auto& [key, attachment] : row.attachments) {
        if (item.detach_all && key.first == item.volume) gone.push_back(key.second);
      }
      for (const ClientId client : gone) {
        const auto at = row.attachments.find({item.volume, client});
        if (at == row.attachments.end()) continue;
        if (reassign->force)
          row.attachments.erase(at);
        else
          at->second.state = map::AttachmentState::detaching;
      }
      for (const ClientId client : item.read_write)
        row.attachments[{item.volume, client}] = {item.volume, client};
      for (const ClientId client : item.read_only)
        row.attachments[{item.volume, client}] = {item.volume, client, map::Rights::read_only};
    }
  } else if (const auto* put = std::get_if<map::PutTemplate>(&command)) {
    if (!put->name_before.empty()) row.templates.erase(put->name_before);
    row.templates[put->row.name] = put->row;
  } else if (const auto* change = std::get_if<map::ChangeTemplate>(&command)) {
    const auto known = row.templates.find(change->read.name);
    if (known == row.templates.end() || known->second != change->read)
      return Error(Code::stale, "the template is another");
    row.templates.erase(known);
    row.templates[change->row.name] = change->row;
  } else if (const auto* gone = std::get_if<map::DeleteTemplate>(&command)) {
    row.templates.erase(gone->name);
  } else if (const auto* group = std::get_if<map::UpdatePlacementGroup>(&command)) {
    auto& target = row.placement_groups[group->name];
    target.name = group->name;
    target.disks.insert(group->add.begin(), group->add.end());
    for (const DiskId disk : group->remove) target.disks.erase(disk);
  } else if (const auto* bucket = std::get_if<map::CreateBucket>(&command)) {
    if (!row.buckets.try_emplace(bucket->name, map::KeyValueBucket{bucket->name}).second)
      return Error(Code::exists, "the bucket exists");
  } else if (const auto* set = std::get_if<map::SetBucket>(&command)) {
    auto& target = row.buckets.at(set->name);
    if (set->run_if_version_is && *set->run_if_version_is != target.version)
      return Error(Code::stale, "the version is another");
    ++target.version;
    for (const auto& [key, value] : set->set) {
      if (value.empty())
        target.pairs.erase(key);
      else
        target.pairs[key] = value;
    }
  } else {
    return apply_of_snapshots(command);
  }
  return {};
}

map::Map sample_map() {
  map::Map map;
  map.index = 100;
  map.cluster = {.id = 0xdeadbeef12345678,
                 .name = "demo",
                 .volume_last = 2,
                 .active_mgmt = ServiceId{ServiceKind::mgmt, 1, 1}};
  for (NodeId node = 1; node <= 3; ++node) {
    map.nodes[node] = {.id = node,
                       .name = "node" + std::to_string(node),
                       .fault_set = node == 3 ? "rack-b" : "rack-a",
                       .up = true};
    for (const auto kind : {ServiceKind::server, ServiceKind::mgmt, ServiceKind::client}) {
      const ServiceId id{kind, node, 1};
      map.services[id] = {.id = id,
                          .up = true,
                          .start_id = 7,
                          .address = "10.0.0." + std::to_string(node) + ":81",
                          .version = "0.1.0",
                          .started_ms = 1'700'000'000'000};
    }
    for (DiskId disk = node * 100; disk < node * 100 + 2; ++disk) {
      map.disks[disk] = {.id = disk,
                         .server = {ServiceKind::server, node, 1},
                         .up = true,
                         .uuid = disk,
                         .capacity_bytes = 1ull << 40,
                         .device = "/dev/nvme0n1",
                         .model = "M",
                         .serial = "S",
                         .description = "slot 1"};
    }
  }
  map.placement_groups["ssd"] = {"ssd", {100, 101, 200, 201, 300, 301}};
  map.templates["t3"] = {.name = "t3", .place_all = "ssd", .group = 1};
  map.groups[1] = {.id = 1, .template_name = "t3", .set_count = 4};
  for (uint16_t i = 0; i < 4; ++i) {
    const std::vector<DiskId> disks{static_cast<DiskId>(100 + i % 2),
                                    static_cast<DiskId>(200 + i / 2), 300};
    map.sets[{1, i}] = {.id = {1, i},
                        .activated = true,
                        .acting = disks,
                        .recovering = {},
                        .base = disks,
                        .target = disks};
  }
  map.volumes[1] = {.id = 1,
                    .name = "alpha",
                    .size_bytes = 1ull << 30,
                    .template_name = "t3",
                    .group = 1,
                    .root = 1,
                    .created_ms = 1'700'000'000'000,
                    .tags = {{"vm", "7"}}};
  map.volumes[2] = {.id = 2,
                    .name = "beta",
                    .size_bytes = 4096,
                    .template_name = "t3",
                    .group = 1,
                    .root = 2,
                    .limits = {.iops = 500}};
  map.attachments[{1, 2}] = {.volume = 1,
                             .client = 2,
                             .state = map::AttachmentState::ready,
                             .generation = 5,
                             .position = 3,
                             .device = "/dev/storpool/alpha"};
  map.buckets["conf"] = {"conf", 4, {{"a", "1"}, {"path/to", "2"}}};
  return map;
}

Bench::Bench() : host(world.add_host("mgmt", "10.0.0.1")), member(host.host()) {
  member.row = sample_map();
  api = Api::make(host.host(), member, {{ServiceKind::mgmt, 1, 1}, "secret-token", 7});
  member.changed = [this] { api->map_changed(); };
}

std::shared_ptr<std::optional<Response>> Bench::start(const std::string& method,
                                                      const std::string& path,
                                                      const std::string& json) {
  auto answer = std::make_shared<std::optional<Response>>();
  api->handle({method, "/ctrl/1.0/" + path, json, "secret-token"},
              [answer](Response response) { *answer = std::move(response); });
  return answer;
}

}  // namespace sp::api::test
