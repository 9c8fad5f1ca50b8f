#include "serve/operations.h"

#include "base/client_id.h"
#include "base/planted.h"

namespace sp::serve {

void Operations::heard(const wire::AttachmentId& attachment, uint64_t start_id,
                       uint64_t oldest_open) {
  Attachment& a = table_[key(attachment)];
  if (a.start_id != start_id) {
    a.start_id = start_id;
    a.oldest_open = 0;
  }
  if (oldest_open <= a.oldest_open) return;
  a.oldest_open = oldest_open;
  a.operations.erase(a.operations.begin(), a.operations.lower_bound(oldest_open));
}

bool Operations::obsolete(const wire::AttachmentId& attachment, uint64_t operation) const {
  if (SP_PLANTED_BUG(serve_applies_retries_again)) return false;
  const auto found = table_.find(key(attachment));
  return found != table_.end() && operation < found->second.oldest_open;
}

std::optional<Version> Operations::find(const wire::AttachmentId& attachment,
                                        uint64_t operation) const {
  if (SP_PLANTED_BUG(serve_applies_retries_again)) return std::nullopt;
  const auto found = table_.find(key(attachment));
  if (found == table_.end()) return std::nullopt;
  const auto entry = found->second.operations.find(operation);
  if (entry == found->second.operations.end()) return std::nullopt;
  return entry->second;
}

bool Operations::full(const wire::AttachmentId& attachment, size_t count_max) const {
  const auto found = table_.find(key(attachment));
  return found != table_.end() && found->second.operations.size() >= count_max;
}

void Operations::add(const wire::AttachmentId& attachment, uint64_t operation, Version version) {
  if (attachment.client == 0 || attachment.client == servers_client) return;
  auto& operations = table_[key(attachment)].operations;
  operations.insert_or_assign(operations.end(), operation, version);  // mostly the newest
}

void Operations::inherit(const Operations& earlier, Version decided_to) {
  for (const auto& [id, attachment] : earlier.table_) {
    Attachment& mine = table_[id];
    mine.start_id = attachment.start_id;
    mine.oldest_open = attachment.oldest_open;
    for (const auto& [operation, version] : attachment.operations) {
      if (version <= decided_to)
        mine.operations.emplace_hint(mine.operations.end(), operation, version);
    }
  }
}

}  // namespace sp::serve
