// Making and opening a RaftLog. Opening reads identity, votes and headers, follows the chain of
// frames from where the newest header says, and compares how far it leads with how far acknowledged
// frames reached. It ends by making durable what it found, and behind that a header with the next
// opening number, and with the mark "abstain" if anything acknowledged is gone.
#include <algorithm>

#include <fmt/core.h>

#include "base/checksum.h"
#include "base/planted.h"
#include "base/probe.h"
#include "beacon/raft_log.h"

namespace sp::beacon {

namespace {

// Writes several pages, then flushes once.
struct PageWriter : std::enable_shared_from_this<PageWriter> {
  io::Disk* disk = nullptr;
  std::vector<std::pair<uint64_t, Buffer>> pages;
  RaftLog::Done done;
  size_t open = 0;
  std::optional<Error> error;

  static void run(io::Disk& disk, std::vector<std::pair<uint64_t, Buffer>> pages,
                  RaftLog::Done done) {
    auto self = std::make_shared<PageWriter>();
    self->disk = &disk;
    self->pages = std::move(pages);
    self->done = std::move(done);
    self->open = self->pages.size();
    for (auto& [page, buffer] : self->pages)
      disk.write(page * raft_page_bytes, buffer.bytes(),
                 [self](Status status) { self->written(std::move(status)); });
  }
  void written(Status status) {
    if (!status.ok() && !error) error = std::move(status).error();
    if (--open != 0) return;
    if (error) return done.call_once(Status(*error));
    disk->flush(
        [self = shared_from_this()](Status flushed) { self->done.call_once(std::move(flushed)); });
  }
};

}  // namespace

void RaftLog::format(io::Disk& disk, const RaftLogIdentity& identity, const raft::Mark& base,
                     Done done) {
  SP_ASSERT(identity.log_id != 0 && identity.node != 0);
  SP_ASSERT_OP(identity.frames_bytes, >=, 2 * uint64_t{raft_frame_bytes_max});
  std::vector<std::pair<uint64_t, Buffer>> pages;
  if (disk.size_bytes() < identity.disk_bytes()) {
    // Through a flush, so that the completion comes later than the call.
    return disk.flush([needed = identity.disk_bytes(), has = disk.size_bytes(),
                       done = std::make_shared<Done>(std::move(done))](Status) {
      done->call_once(Status(Error(
          Code::no_space, fmt::format("the agreement log needs {} bytes, its file or device has {}",
                                      needed, has))));
    });
  }
  RaftHeader header;
  header.sequence = 1;
  header.base = base;
  header.last_index = base.index;
  header.vote = {1, {base.term, 0}};
  for (uint64_t i = 0; i < raft_header_count; ++i) {
    header.sequence = i + 1;
    pages.emplace_back(raft_header_page + header.sequence % raft_header_count,
                       encode_header(header, identity.log_id));
  }
  for (uint64_t i = 0; i < 2; ++i)
    pages.emplace_back(raft_vote_page + i, encode_vote(header.vote, identity.log_id));
  // A frame that lies here from an earlier life names another log id; one of this log cannot be.
  pages.emplace_back(raft_frames_page, Buffer::zeroed(raft_page_bytes));
  // The identity comes last: without it there is no log here.
  auto later = std::make_shared<Done>(std::move(done));
  io::Disk* target = &disk;
  const auto identity_copy = std::make_shared<RaftLogIdentity>(identity);
  PageWriter::run(disk, std::move(pages), [target, identity_copy, later](Status status) {
    if (!status.ok()) return later->call_once(std::move(status));
    std::vector<std::pair<uint64_t, Buffer>> last;
    for (uint64_t i = 0; i < 2; ++i) last.emplace_back(i, encode_identity(*identity_copy));
    PageWriter::run(*target, std::move(last),
                    [later](Status flushed) { later->call_once(std::move(flushed)); });
  });
}

// Owned by whoever opens: the disk ends first, and with it every completion.
struct RaftLog::Opening {
  ClusterId cluster = 0;
  Callback<void(Result<std::unique_ptr<Opened>>)> done;

  Buffer pages;  // everything before the frames
  RaftLogIdentity identity;
  RaftHeader header;
  RaftVote vote;
  uint32_t vote_slot = 0;
  std::deque<Frame> frames;
  std::vector<raft::LogEntry> entries;
  uint64_t position = 0;
  uint64_t hash = 0;
  uint64_t opening = 0;
  bool acknowledged_reached = false;  // the chain leads through the last acknowledged frame
  Buffer frame;
  Buffer snapshot_bytes;
  uint64_t snapshot_read = 0;
  std::shared_ptr<std::vector<std::byte>> snapshot;
  std::optional<Error> snapshot_error;
  std::unique_ptr<Opened> result;
  std::unique_ptr<io::Disk> disk;  // last: its completions use the others

  void fail(Error error) { done.call_once(std::move(error).with("agreement log")); }

  void start() {
    constexpr uint64_t bytes = raft_frames_page * raft_page_bytes;
    if (disk->size_bytes() < bytes) {
      return disk->flush([this](Status) {
        fail(Error(
            Code::damaged,
            "the file is too small to be one; make a new log and add this node to the group anew"));
      });
    }
    pages = Buffer::zeroed(bytes);
    disk->read(0, pages.mutable_bytes(), [this](Status status) {
      if (!status.ok()) return fail(std::move(status).error());
      read_pages();
    });
  }

  Bytes page(uint64_t index) const {
    return pages.bytes().subspan(index * raft_page_bytes, raft_page_bytes);
  }

  void read_pages() {
    auto found = decode_identity(page(0));
    if (!found) found = decode_identity(page(1));
    if (!found)
      return fail(Error(Code::damaged,
                        "neither copy of its identity can be read; make a new log and add this "
                        "node to the group anew"));
    identity = *found;
    if (cluster != 0 && identity.cluster != cluster)
      return fail(Error(Code::refused, fmt::format("it belongs to cluster {:016x}, not to {:016x}",
                                                   identity.cluster, cluster)));
    if (disk->size_bytes() < identity.disk_bytes())
      return fail(Error(
          Code::damaged,
          fmt::format(
              "the file has {} bytes of {}; make a new log and add this node to the group anew",
              disk->size_bytes(), identity.disk_bytes())));
    bool any = false;
    for (uint64_t i = 0; i < raft_header_count; ++i) {
      auto candidate = decode_header(page(raft_header_page + i), identity.log_id);
      if (!candidate || (any && candidate->sequence <= header.sequence)) continue;
      header = std::move(*candidate);
      any = true;
    }
    if (!any)
      return fail(
          Error(Code::damaged,
                "no header can be read; make a new log and add this node to the group anew"));
    vote = header.vote;
    uint64_t newest = 0;
    for (uint32_t i = 0; i < 2; ++i) {
      const auto found = decode_vote(page(raft_vote_page + i), identity.log_id);
      believe(found);
      if (!found || found->sequence < newest) continue;
      newest = found->sequence;
      vote_slot = i;
    }
    position = header.start;
    hash = header.start_hash;
    acknowledged_reached = position == header.end && hash == header.end_hash;
    next_frame();
  }

  void believe(const std::optional<RaftVote>& found) {
    if (found && found->sequence > vote.sequence) vote = *found;
  }

  uint64_t offset() const { return identity.frames_offset() + position % identity.frames_bytes; }

  void next_frame() {
    if (position - header.start >= identity.frames_bytes) return chain_ended();
    frame = Buffer::zeroed(raft_page_bytes);
    disk->read(offset(), frame.mutable_bytes(), [this](Status status) {
      if (!status.ok()) return fail(std::move(status).error());
      const uint32_t size = frame_size(frame.bytes(), identity.log_id, position);
      const uint64_t room = identity.frames_bytes - position % identity.frames_bytes;
      if (size == 0 || size > room) return chain_ended();
      if (size == raft_page_bytes) return take_frame();
      frame = Buffer::zeroed(size);
      disk->read(offset(), frame.mutable_bytes(), [this](Status again) {
        if (!again.ok()) return fail(std::move(again).error());
        take_frame();
      });
    });
  }

  raft::Index last_index() const { return header.base.index + entries.size(); }

  raft::Term last_term() const { return entries.empty() ? header.base.term : entries.back().term; }

  // What the agreement relies on: no gap, terms that never fall, configurations that can be read.
  Status check_next(const raft::LogEntry& entry) const {
    if (entry.index != last_index() + 1)
      return Error(Code::damaged, fmt::format("entry {} follows {}", entry.index, last_index()));
    if (entry.term < last_term())
      return Error(Code::damaged, fmt::format("entry {} of term {} follows term {}", entry.index,
                                              entry.term, last_term()));
    if (entry.kind == raft::EntryKind::configuration && !raft::Config::decode_all(entry.data).ok())
      return Error(Code::damaged,
                   fmt::format("the configuration in entry {} cannot be read", entry.index));
    return {};
  }

  void take_frame() {
    auto decoded = decode_frame(frame.bytes());
    const bool follows =
        decoded && (decoded->frame.before == hash || SP_PLANTED_BUG(raft_log_chain_unchecked));
    if (!follows || decoded->frame.position != position || decoded->frame.opening < opening) {
      if (acknowledged_reached) SP_PROBE(raft_log_torn_tail_dropped);
      return chain_ended();
    }
    RaftFrame& f = decoded->frame;
    opening = f.opening;
    believe(f.vote);
    if (f.truncate_from > header.base.index && f.truncate_from <= last_index()) {
      entries.resize(f.truncate_from - header.base.index - 1);
      for (Frame& earlier : frames) earlier.last = std::min(earlier.last, f.truncate_from - 1);
    }
    frames.push_back({position, hash, f.entries.empty() ? 0 : f.entries.back().index});
    for (raft::LogEntry& entry : f.entries) {
      if (entry.index <= header.base.index) continue;
      // Only a program's error writes such a frame, and its checksum is right: nothing after it can
      // be believed either.
      if (Status possible = check_next(entry); !possible.ok())
        return fail(std::move(possible).error());
      entries.push_back(std::move(entry));
    }
    hash = decoded->hash;
    const uint64_t room = identity.frames_bytes - position % identity.frames_bytes;
    position += f.skip ? room : frame.size();
    if (position == header.end && hash == header.end_hash) acknowledged_reached = true;
    next_frame();
  }

  void chain_ended() {
    if (header.snapshot_index == 0 || header.snapshot_size > identity.snapshot_bytes)
      return finish();
    snapshot = std::make_shared<std::vector<std::byte>>(header.snapshot_size);
    read_snapshot();
  }

  void read_snapshot() {
    if (snapshot_read >= snapshot->size()) {
      if (crc64(*snapshot) != header.snapshot_checksum) {
        snapshot.reset();
        snapshot_error =
            Error(Code::damaged,
                  fmt::format("agreement log: the snapshot received at entry {} is damaged",
                              header.snapshot_index));
      }
      return finish();
    }
    const size_t size = std::min<size_t>(snapshot->size() - snapshot_read, raft_frame_bytes_max);
    snapshot_bytes =
        Buffer::zeroed((size + raft_page_bytes - 1) / raft_page_bytes * raft_page_bytes);
    const uint64_t from = identity.snapshot_offset(header.snapshot_region) + snapshot_read;
    disk->read(from, snapshot_bytes.mutable_bytes(), [this, size](Status status) {
      if (!status.ok()) return fail(std::move(status).error());
      std::memcpy(snapshot->data() + snapshot_read, snapshot_bytes.data(), size);
      snapshot_read += size;
      read_snapshot();
    });
  }

  void finish() {
    // A frame carries the vote in force when it was written, so no entry here is of a later term
    // unless a program's error made it so.
    if (last_term() > vote.state.term)
      return fail(Error(Code::damaged, fmt::format("its newest vote is of term {}, its last entry "
                                                   "of term {}",
                                                   vote.state.term, last_term())));
    result = std::make_unique<Opened>();
    result->identity = identity;
    const bool lost = !acknowledged_reached && !SP_PLANTED_BUG(raft_log_cut_at_damage);
    if (lost) {
      SP_PROBE(raft_log_lost_entries);
      result->lost_from = last_index() + 1;
      result->lost_to = std::max(header.last_index, result->lost_from);
    }
    result->restored.hard_state = vote.state;
    result->restored.base = header.base;
    result->restored.applied = header.base.index;
    result->restored.abstain = header.abstain || lost;
    if (snapshot) result->snapshot = raft::Snapshot{header.base, std::move(snapshot)};
    result->snapshot_error = std::move(snapshot_error);

    header.opening = std::max(header.opening, opening) + 1;
    header.vote = vote;
    header.abstain = result->restored.abstain;
    header.end = position;
    header.end_hash = hash;
    header.last_index = last_index();
    result->restored.entries = std::move(entries);
    std::vector<std::pair<uint64_t, Buffer>> out;
    for (int copy = 0; copy < 2; ++copy) {
      ++header.sequence;
      out.emplace_back(raft_header_page + header.sequence % raft_header_count,
                       encode_header(header, identity.log_id));
    }
    // First what was read, which may be in the disk's cache only: a header that outlived a frame
    // it names would turn an end that was never acknowledged into a loss.
    disk->flush([this, pages = std::move(out)](Status status) mutable {
      if (!status.ok()) return fail(std::move(status).error());
      write_headers(std::move(pages));
    });
  }

  void write_headers(std::vector<std::pair<uint64_t, Buffer>> pages) {
    PageWriter::run(*disk, std::move(pages), [this](Status status) {
      if (!status.ok()) return fail(std::move(status).error());
      result->log.reset(
          new RaftLog(std::move(disk), identity, header, std::move(frames), vote_slot));
      done.call_once(std::move(result));
    });
  }
};

std::shared_ptr<void> RaftLog::open(std::unique_ptr<io::Disk> disk, ClusterId cluster,
                                    Callback<void(Result<std::unique_ptr<Opened>>)> done) {
  auto opening = std::make_shared<Opening>();
  opening->disk = std::move(disk);
  opening->cluster = cluster;
  opening->done = std::move(done);
  opening->start();
  return opening;
}

}  // namespace sp::beacon
