// Operations: which client writes the primary of one set knows, so that a retry is answered and not
// applied again.
//
// Per attachment (client, generation): the version of every operation that the client may still
// retry, and the client's oldest open operation, below which nothing is retried any more: such a
// request is a leftover of an earlier connection and must not be applied.
//
// The bound of this memory: the process of a primary forgets nothing that may be retried; another
// process knows what the stores of its copies keep, the newest operations of the set (up to
// limits::set_undecided_max, fewer on small logs), of copies that were there then. A retry that
// nobody remembers is applied a second time. Of a client that alone writes the volume that is no
// harm: it has no other write to those blocks on its way (client/open_writes.h). Where several
// write one volume on purpose, another's write may have come in between. Plain values.
#pragma once
#include <map>
#include <optional>

#include "base/ids.h"
#include "base/limits.h"
#include "wire/data_messages.h"

namespace sp::serve {

class Operations {
 public:
  // The client process that speaks: a newer one begins to count anew.
  void heard(const wire::AttachmentId& attachment, uint64_t start_id, uint64_t oldest_open);
  bool obsolete(const wire::AttachmentId& attachment, uint64_t operation) const;
  std::optional<Version> find(const wire::AttachmentId& attachment, uint64_t operation) const;
  bool full(const wire::AttachmentId& attachment, size_t count_max) const;
  void add(const wire::AttachmentId& attachment, uint64_t operation, Version version);
  // Takes over what an earlier leadership of this process knew, as far as it was decided.
  void inherit(const Operations& earlier, Version decided_to);
  // Keeps only attachments for which `valid` says so.
  template <class F>
  void keep_if(F valid) {
    for (auto it = table_.begin(); it != table_.end();)
      it = valid(it->first) ? std::next(it) : table_.erase(it);
  }

 private:
  using Key = std::pair<ClientId, uint32_t>;
  struct Attachment {
    uint64_t start_id = 0;
    uint64_t oldest_open = 0;
    std::map<uint64_t, Version> operations;
  };
  static Key key(const wire::AttachmentId& id) { return {id.client, id.generation}; }
  std::map<Key, Attachment> table_;
};

}  // namespace sp::serve
