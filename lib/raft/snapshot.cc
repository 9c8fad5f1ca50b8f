// Snapshots: for a follower that needs entries which the log no longer has. Opaque bytes of the
// caller go out chunk by chunk; the receiver says from where it wants to go on, so an interrupted
// transfer resumes, also from another leader that sends the same bytes.
#include <algorithm>

#include "base/planted.h"
#include "base/probe.h"
#include "raft/raft.h"

namespace sp::raft {

void Raft::handle(SupplySnapshot&& event) {
  const bool usable = event.bytes != nullptr &&
                      event.bytes->size() <= limits::raft_snapshot_bytes_max &&
                      event.index >= log_.mark().index && event.index <= applied_;
  if (role_ != Role::leader || snapshot_ || !usable) return;
  // The configuration of that index: a newer one in the log may never be committed.
  const bool newest = SP_PLANTED_BUG(raft_snapshot_with_newest_config);
  Mark mark{event.index, log_.term_at(event.index),
            newest ? log_.config() : log_.config_at(event.index)};
  snapshot_checksum_ = crc64(*event.bytes);
  snapshot_ = Snapshot{std::move(mark), std::move(event.bytes)};
  for (auto& [node, p] : progress_)
    if (p.state == Progress::State::snapshot) send_snapshot(node, p);
}

void Raft::send_snapshot(NodeId node, Progress& p) {
  if (p.state != Progress::State::snapshot) {
    p.to_probe(p.next);
    p.state = Progress::State::snapshot;
    p.snapshot_offset = 0;
    p.chunk_sent = false;
  }
  if (!snapshot_) {
    out_.snapshot_wanted |= snapshot_asked_round_ != round_;
    snapshot_asked_round_ = round_;
    return;
  }
  const std::vector<std::byte>& bytes = *snapshot_->bytes;
  if (p.snapshot_offset > bytes.size()) p.snapshot_offset = 0;
  const size_t size =
      std::min<size_t>(options_.snapshot_chunk_bytes, bytes.size() - p.snapshot_offset);
  const auto from = bytes.begin() + static_cast<ptrdiff_t>(p.snapshot_offset);
  Message m{.type = MessageType::snapshot_chunk,
            .term = hard_.term,
            .index = snapshot_->mark.index,
            .log_term = snapshot_->mark.term,
            .offset = p.snapshot_offset,
            .total = bytes.size(),
            .checksum = snapshot_checksum_,
            .config = snapshot_->mark.config,
            .data = {from, from + static_cast<ptrdiff_t>(size)}};
  p.chunk_sent = true;
  p.sent_round = round_;
  send(std::move(m), node, After::nothing);
}

void Raft::on_snapshot_chunk(Message&& m) {
  if (role_ == Role::leader || (leader_ != 0 && leader_ != m.from)) return;
  hear_leader(m);
  Message answer{.type = MessageType::snapshot_answer,
                 .to_log = m.from_log,
                 .term = hard_.term,
                 .index = m.index};
  if (m.index > commit_ && log_.matches(m.index, m.log_term))
    commit_to(m.index);  // nothing to install: it has the entries
  if (m.index > commit_) {
    const bool same = incoming_ && incoming_->mark.index == m.index &&
                      incoming_->mark.term == m.log_term && incoming_->total == m.total &&
                      incoming_->checksum == m.checksum;
    if (!same) incoming_ = Incoming{{m.index, m.log_term, m.config}, m.total, m.checksum, {}};
    std::vector<std::byte>& data = incoming_->data;
    answer.refused = m.offset != data.size() || data.size() + m.data.size() > m.total;
    if (!answer.refused) data.insert(data.end(), m.data.begin(), m.data.end());
    answer.offset = data.size();
    if (data.size() == m.total) {
      if (crc64(data) == m.checksum) {
        install(m);
      } else {
        incoming_.reset();
        answer.refused = true;
        answer.offset = 0;
      }
    }
  }
  answer.commit = commit_;
  send(std::move(answer), m.from, After::everything);
}

// From here on the log starts at the snapshot. Entries that were being written belong to the log
// that is gone.
void Raft::install(const Message& m) {
  SP_ASSERT(incoming_.has_value());
  SP_ASSERT_OP(m.index, >, commit_);
  SP_PROBE(raft_snapshot_installed);
  Mark mark = std::move(incoming_->mark);
  auto bytes = std::make_shared<const std::vector<std::byte>>(std::move(incoming_->data));
  incoming_.reset();
  for (Pending& pending : pending_) pending.last = 0;
  durable_ = std::min(durable_, commit_);
  commit_ = handed_out_ = m.index;
  log_.reset(mark);
  batch().install = Snapshot{std::move(mark), std::move(bytes)};
  pending_.back().last = m.index;
  pending_.back().installed = m.index;
}

void Raft::on_snapshot_answer(const Message& m) {
  Progress* p = progress_of(m);
  if (p == nullptr) return;
  watch_abstainer(m, *p);
  if (p->state != Progress::State::snapshot) return;
  if (m.commit >= m.index) {
    if (m.index > log_.last_index()) return;
    p->match = std::max(p->match, m.index);
    p->to_probe(p->match + 1);
    p->state = Progress::State::replicate;
    update_commit();
    if (role_ != Role::leader) return;
    send_more(m.from, *p);
    return drop_snapshot_if_unused();
  }
  if (!snapshot_ || m.index != snapshot_->mark.index) return;
  const bool moved = m.refused ? m.offset != p->snapshot_offset : m.offset > p->snapshot_offset;
  if (!moved) return;  // a doubled answer must not double the chunks
  p->snapshot_offset = m.offset;
  send_snapshot(m.from, *p);
}

// A follower that fell silent gives up its claim on the snapshot, so that the log can be compacted
// again.
void Raft::drop_snapshot_if_unused() {
  bool used = false;
  for (auto& [node, p] : progress_) {
    if (p.state != Progress::State::snapshot) continue;
    if (now_ns_ - p.heard_ns <= options_.election_timeout_max_ns) {
      used = true;
    } else {
      p.to_probe(log_.last_index() + 1);
      p.probe_sent = true;
    }
  }
  if (!used) snapshot_.reset();
}

}  // namespace sp::raft
