// Attachments, whose generations fence clients, and the key-value store.
#include <algorithm>

#include "base/client_id.h"
#include "base/planted.h"
#include "state/apply.h"
#include "state/layers.h"

namespace sp::state {
namespace {

using namespace sp::map;
using Key = AttachmentKey;

constexpr size_t bucket_key_bytes_max = 1023;

bool contains(const std::vector<ClientId>& clients, ClientId client) {
  return std::find(clients.begin(), clients.end(), client) != clients.end();
}

std::string who(const Draft& draft, VolumeId volume) {
  const Volume* row = draft.find<Volume>(volume);
  return row == nullptr ? "volume ~" + std::to_string(volume) : "volume '" + row->name + "'";
}

std::vector<Attachment> attachments_of(const Draft& draft, VolumeId volume) {
  std::vector<Attachment> rows;
  const auto& all = draft.map().attachments;
  for (auto at = all.lower_bound({volume, 0}); at != all.end() && at->first.first == volume; ++at)
    rows.push_back(at->second);
  return rows;
}

uint32_t next_generation(Draft& draft) { return ++draft.edit_cluster().generation_last; }

Result<uint16_t> free_position(const Draft& draft, ClientId client) {
  std::vector<bool> used(limits::attachments_per_client_max);
  for (const auto& [key, row] : draft.map().attachments)
    if (key.second == client) used[row.position] = true;
  const auto found = std::find(used.begin(), used.end(), false);
  if (found == used.end())
    return Error(Code::no_space, "client " + std::to_string(client) +
                                     " has 1024 volumes attached, which is the most; detach some");
  return static_cast<uint16_t>(found - used.begin());
}

Status check_reassignment(const Draft& draft, const Reassignment& change) {
  if (draft.find<Volume>(change.volume) == nullptr)
    return Error(Code::not_found, who(draft, change.volume) + " does not exist");
  if (is_snapshot(draft.map(), change.volume)) {
    if (!change.read_write.empty())
      return Error(Code::refused,
                   who(draft, change.volume) +
                       " is a snapshot; attach it read-only, or make a volume of it");
    if (!change.read_only.empty())
      SP_CHECK(check_not_in_cut(draft, who(draft, change.volume), change.volume));
  }
  std::set<ClientId> named;
  for (const auto* list : {&change.read_write, &change.read_only, &change.detach})
    for (const ClientId client : *list)
      if (!named.insert(client).second)
        return Error(Code::invalid, who(draft, change.volume) + ": client " +
                                        std::to_string(client) + " is named twice; name it once");
  for (const auto* list : {&change.read_write, &change.read_only})
    for (const ClientId client : *list)
      if (draft.find<Node>(service_of_client(client).node) == nullptr)
        return Error(Code::not_found, who(draft, change.volume) + ": client " +
                                          std::to_string(client) +
                                          " is not on a node of this cluster");
  return {};
}

// Another client that has it read-write and keeps it.
Status check_exclusive(const Draft& draft, const Reassignment& change) {
  if (change.read_write.empty()) return {};
  for (const Attachment& row : attachments_of(draft, change.volume)) {
    const bool named =
        contains(change.read_write, row.client) || contains(change.read_only, row.client);
    if (row.rights != Rights::read_write || named || change.detach_all ||
        contains(change.detach, row.client))
      continue;
    const std::string client = "client " + std::to_string(row.client);
    if (row.state == AttachmentState::detaching)
      return Error(Code::transient, who(draft, change.volume) + " is still being detached from " +
                                        client + "; wait, or use force");
    return Error(Code::refused, who(draft, change.volume) + " is attached read-write at " + client +
                                    "; detach it there, or use force");
  }
  return {};
}

void detach(Draft& draft, const Reassignment& change, bool force) {
  for (const Attachment& row : attachments_of(draft, change.volume)) {
    const bool attached_anew =
        contains(change.read_write, row.client) || contains(change.read_only, row.client);
    if (attached_anew || !(change.detach_all || contains(change.detach, row.client))) continue;
    if (force && !SP_PLANTED_BUG(state_forced_detach_waits))
      draft.erase<Attachment>(Key(change.volume, row.client));
    else
      draft.edit<Attachment>(Key(change.volume, row.client)).state = AttachmentState::detaching;
  }
}

Status attach(Draft& draft, VolumeId volume, ClientId client, Rights rights, bool force) {
  const Key key(volume, client);
  const Attachment* known = draft.find<Attachment>(key);
  const bool same =
      known != nullptr && known->rights == rights && known->state != AttachmentState::detaching;
  if (same && !force) return {};
  uint16_t position = known != nullptr ? known->position : 0;
  if (known == nullptr) {
    SP_TRY(position, free_position(draft, client));
  }
  Attachment& row = draft.edit<Attachment>(key);
  row.volume = volume;
  row.client = client;
  row.rights = rights;
  row.state = AttachmentState::requested;
  row.position = position;
  row.device.clear();
  row.generation = next_generation(draft);
  return {};
}

// A forced attach leaves no right as it was: other writers lose theirs, readers get a new
// generation.
void fence(Draft& draft, const Reassignment& change) {
  for (const Attachment& row : attachments_of(draft, change.volume)) {
    if (contains(change.read_write, row.client) || contains(change.read_only, row.client)) continue;
    const Key key(change.volume, row.client);
    if (row.rights == Rights::read_write)
      draft.erase<Attachment>(key);
    else
      draft.edit<Attachment>(key).generation = next_generation(draft);
  }
}

Status reassign(Draft& draft, const Reassignment& change, bool force) {
  SP_CHECK(check_reassignment(draft, change));
  drop_abandoned(draft, change.volume);
  if (!force) SP_CHECK(check_exclusive(draft, change));
  detach(draft, change, force);
  if (force && (!change.read_write.empty() || !change.read_only.empty())) fence(draft, change);
  for (const ClientId client : change.read_write)
    SP_CHECK(attach(draft, change.volume, client, Rights::read_write, force));
  for (const ClientId client : change.read_only)
    SP_CHECK(attach(draft, change.volume, client, Rights::read_only, force));
  return {};
}

Status check_generation(const Draft& draft, VolumeId volume, ClientId client, uint32_t generation) {
  const Attachment* row = draft.find<Attachment>(Key(volume, client));
  const std::string text = who(draft, volume) + " at client " + std::to_string(client);
  if (row == nullptr) return Error(Code::not_found, text + " is not attached");
  if (row->generation != generation)
    return Error(Code::stale, text + ": generation " + std::to_string(generation) +
                                  " was replaced by " + std::to_string(row->generation));
  return {};
}

}  // namespace

void drop_abandoned(Draft& draft, VolumeId volume) {
  for (const Attachment& row : attachments_of(draft, volume)) {
    const ServiceId id = service_of_client(row.client);
    const Service* service = draft.find<Service>(id);
    if (id.instance == 1 || (service != nullptr && service->up)) continue;
    draft.erase<Attachment>(Key(volume, row.client));
  }
}

Status apply_one(Draft& draft, const Reassign& command) {
  for (const Reassignment& change : command.volumes)
    SP_CHECK(reassign(draft, change, command.force));
  return {};
}

Status apply_one(Draft& draft, const AttachmentReady& command) {
  SP_CHECK(check_generation(draft, command.volume, command.client, command.generation));
  Attachment& row = draft.edit<Attachment>(Key(command.volume, command.client));
  if (row.state == AttachmentState::detaching)
    return Error(Code::stale, who(draft, command.volume) + " is being detached from client " +
                                  std::to_string(command.client));
  row.state = AttachmentState::ready;
  row.device = command.device;
  return {};
}

Status apply_one(Draft& draft, const AttachmentGone& command) {
  SP_CHECK(check_generation(draft, command.volume, command.client, command.generation));
  draft.erase<Attachment>(Key(command.volume, command.client));
  return {};
}

Status apply_one(Draft& draft, const CreateBucket& command) {
  SP_CHECK(check_name("bucket", command.name, NameStyle::dotted));
  if (draft.find<KeyValueBucket>(command.name) != nullptr)
    return Error(Code::exists, "bucket '" + command.name + "' exists already");
  draft.edit<KeyValueBucket>(command.name).name = command.name;
  return {};
}

Status apply_one(Draft& draft, const DeleteBucket& command) {
  if (draft.find<KeyValueBucket>(command.name) == nullptr)
    return Error(Code::not_found, "bucket '" + command.name + "' does not exist");
  draft.erase<KeyValueBucket>(command.name);
  return {};
}

Status apply_one(Draft& draft, const SetBucket& command) {
  const std::string text = "bucket '" + command.name + "'";
  if (draft.find<KeyValueBucket>(command.name) == nullptr)
    return Error(Code::not_found, text + " does not exist; create it first");
  KeyValueBucket& row = draft.edit<KeyValueBucket>(command.name);
  if (command.run_if_version_is && *command.run_if_version_is != row.version &&
      !SP_PLANTED_BUG(state_bucket_version_not_compared))
    return Error(Code::stale, text + " is at version " + std::to_string(row.version) + ", not " +
                                  std::to_string(*command.run_if_version_is) + "; read it again");
  for (const auto& [key, value] : command.set) {
    if (key.empty() || key.size() > bucket_key_bytes_max)
      return Error(Code::invalid, text + ": keys are 1 to 1023 bytes long");
    if (value.size() > limits::kv_value_bytes_max)
      return Error(Code::invalid, text + ": the value of '" + key + "' is larger than 1 MiB");
    if (value.empty())
      row.pairs.erase(key);
    else
      row.pairs[key] = value;
  }
  if (row.pairs.size() > limits::kv_keys_per_bucket_max)
    return Error(Code::no_space, text + " would have more than 65536 keys; delete some");
  ++row.version;
  return {};
}

}  // namespace sp::state
