#include "sim/agreement_check.h"

#include "base/limits.h"

namespace sp::sim {

namespace {

std::string node_text(NodeId node) { return "node " + std::to_string(node); }

// A clock that runs slow makes a lease longer than it says; by less than this share.
io::Duration least_left(int64_t lease_left_ns) {
  return io::Duration(
      static_cast<int64_t>(static_cast<double>(lease_left_ns) * (1 - limits::clock_drift_max)));
}

}  // namespace

std::string AgreementCheck::look(NodeId node, const beacon::Beacon& beacon, io::Instant now) {
  const beacon::View view = beacon.view();
  const auto [known, added] = state_hashes_.emplace(view.applied_index, view.content_hash);
  if (!added && known->second != view.content_hash)
    return "state hash: the agreed state of " + node_text(node) +
           " differs from another's at index " + std::to_string(view.applied_index);
  if (view.leader == node) {
    Reign& reign = reigns_[view.term];
    if (reign.node != 0 && reign.node != node)
      return "one leader: " + node_text(reign.node) + " and " + node_text(node) + " lead in term " +
             std::to_string(view.term);
    const bool first = reign.node == 0;
    reign.node = node;
    if (first && !entries_.empty()) {
      const auto [index, term] = *entries_.rbegin();
      const uint64_t has = beacon.term_at(index);
      if (term < view.term && has != term && (has != 0 || view.last_index < index))
        return "committed: " + node_text(node) + " leads in term " + std::to_string(view.term) +
               " without entry " + std::to_string(index) + " of term " + std::to_string(term);
    }
  }
  if (auto wrong = committed(node, beacon, view); !wrong.empty()) return wrong;
  return leases(node, view, now);
}

std::string AgreementCheck::committed(NodeId node, const beacon::Beacon& beacon,
                                      const beacon::View& view) {
  if (view.commit_index == 0 || view.commit_term == 0) return "";
  const auto differs = [&](uint64_t index, uint64_t term, uint64_t other) {
    return "committed: " + node_text(node) + " has committed entry " + std::to_string(index) +
           " of term " + std::to_string(term) + ", and another node one of term " +
           std::to_string(other);
  };
  const auto [known, added] = entries_.emplace(view.commit_index, view.commit_term);
  if (!added && known->second != view.commit_term)
    return differs(view.commit_index, view.commit_term, known->second);
  // The one before that somebody committed: this node has passed it.
  if (known == entries_.begin()) return "";
  const auto before = std::prev(known);
  const uint64_t has = beacon.term_at(before->first);
  return has == 0 || has == before->second ? "" : differs(before->first, has, before->second);
}

std::string AgreementCheck::leases(NodeId node, const beacon::View& view, io::Instant now) {
  if (!view.leads) return "";
  for (const auto& [term, reign] : reigns_) {
    if (term < view.term && reign.leases_end > now)
      return "leader lease: " + node_text(node) + " is in charge in term " +
             std::to_string(view.term) + " while leases of " + node_text(reign.node) + " of term " +
             std::to_string(term) + " may be alive";
  }
  Reign& reign = reigns_[view.term];
  if (view.lease_left_ns > 0)
    reign.leases_end = std::max(reign.leases_end, now + least_left(view.lease_left_ns));
  return "";
}

}  // namespace sp::sim
