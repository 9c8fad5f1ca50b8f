#include "sim/journal_load.h"

#include <array>
#include <cmath>
#include <cstring>
#include <set>

#include "base/checksum.h"
#include "sim/journal_format.h"

namespace sp::sim {

using namespace journal;

// One thing after the other: mounting, then transactions with pauses, then a last look.
struct JournalLoad::State : std::enable_shared_from_this<JournalLoad::State> {
  State(io::Host& host_, client::BlockDevice& device, Ledger& ledger_, uint64_t& last_stamp,
        const LoadOptions& options_)
      : host(host_),
        ledger(ledger_),
        options(options_),
        blocks(host_.log, device, last_stamp, options_.blocks),
        layout(blocks.size_blocks()),
        timer(host_.reactor) {}

  io::Host& host;
  Ledger& ledger;
  LoadOptions options;
  SealedBlocks blocks;
  Layout layout;
  io::Timer timer;
  bool stopping = false, resting = true, mounted = false;

  std::array<Inode, inode_count> inodes{};
  std::set<uint32_t> free;   // of the data area
  std::set<uint32_t> dirty;  // inodes that are not in their place yet
  uint64_t newest = 0, chain = 0;
  uint32_t tail = 0, head = 0;  // of the journal

  // The transaction that is being made.
  struct Run {  // of data blocks to be written
    Inode* inode;
    uint32_t first, count;
  };
  struct Change {
    Descriptor descriptor;
    Inode inodes[changed_max];
    std::vector<Run> runs;
    std::vector<uint32_t> freed;
    uint32_t position = 0;
  };
  Change change;

  uint64_t below(uint64_t bound) { return host.random.below(bound); }

  // Continuations that do not outlive what they continue.
  template <class F>
  auto then(F work) {
    return [weak = weak_from_this(), work](const auto&... given) {
      if (const auto self = weak.lock()) (self.get()->*work)(given...);
    };
  }

  void fail(uint64_t block, const std::string& why) { blocks.fail(block, why); }
  // What a session that is over reads may have been answered before the later one wrote.
  void misread(uint64_t block, const std::string& why) {
    if (!ledger.is_over(options.session)) fail(block, why);
  }

  // Mounting

  void mount() {
    resting = false;
    blocks.read(Layout::superblock, 1, then(&State::superblock_read));
  }

  void superblock_read(const SealedRead& read) {
    if (read.stamp(Layout::superblock) == 0) {
      if (ledger.formatted())
        return misread(Layout::superblock, "the superblock is gone, which was flushed");
      return format();
    }
    const auto superblock = take<Superblock>(read, Layout::superblock, superblock_magic);
    if (superblock.magic == 0) return misread(Layout::superblock, "is not a superblock");
    tail = superblock.tail;
    blocks.read(Layout::journal, journal_blocks,
                [weak = weak_from_this(), superblock](const SealedRead& journal) {
                  if (const auto self = weak.lock()) self->journal_read(superblock, journal);
                });
  }

  void format() { write_superblock(0, then(&State::formatted)); }
  void formatted() {
    ledger.format();
    mount();
  }

  void journal_read(const Superblock& superblock, const SealedRead& journal) {
    const Scan found = scan(superblock, journal);
    if (!found.wrong.empty()) return misread(found.block, found.wrong);
    if (const auto wrong = ledger.recovered(found.newest); !wrong.empty())
      return misread(Layout::journal_block(found.end), wrong);
    newest = found.newest;
    chain = found.chain;
    head = found.end;
    blocks.read(layout.inodes, inode_count,
                [weak = weak_from_this(), replayed = found.inodes](const SealedRead& read) {
                  if (const auto self = weak.lock()) self->inodes_read(replayed, read);
                });
  }

  void inodes_read(const std::map<uint32_t, Inode>& replayed, const SealedRead& read) {
    const Ledger::Cells cells = ledger.cells(newest);
    dirty.clear();
    for (uint32_t i = 0; i < inode_count; ++i) {
      const auto logged = replayed.find(i);
      inodes[i] = logged != replayed.end() ? logged->second
                                           : take<Inode>(read, layout.inodes + i, inode_magic);
      if (logged != replayed.end()) dirty.insert(i);
      const auto cell = cells.find(i);
      if (value_of(inodes[i]) != (cell != cells.end() ? cell->second : 0))
        return misread(layout.inodes + i, "inode " + std::to_string(i) + " is as transaction " +
                                              std::to_string(inodes[i].transaction) +
                                              " left it, not as it was after " +
                                              std::to_string(newest));
    }
    blocks.read(layout.data, data_blocks, then(&State::data_read));
  }

  void data_read(const SealedRead& read) {
    free.clear();
    for (uint32_t i = 0; i < data_blocks; ++i) free.insert(i);
    for (const Inode& inode : inodes) {
      for (uint32_t i = 0; i < inode.count; ++i) {
        if (!is_right(inode, inode.extents[i], read)) return;
        free.erase(inode.extents[i].block);
      }
    }
    if (!mounted) return replay();
    resting = true;
  }

  bool is_right(const Inode& inode, const Extent& extent, const SealedRead& read) {
    const uint64_t block = layout.data + extent.block;
    if (read.stamp(block) == extent.stamp) return true;
    misread(block, "holds " +
                       (read.stamp(block) == 0 ? std::string("zeros")
                                               : "stamp " + std::to_string(read.stamp(block))) +
                       ", not stamp " + std::to_string(extent.stamp) + ", to which inode " +
                       std::to_string(inode.number) + " of transaction " +
                       std::to_string(inode.transaction) + " points");
    return false;
  }

  // What this mount writes to the journal continues no leftover of an earlier one.
  void replay() {
    chain = mix64(chain ^ options.session);
    put_in_place(then(&State::settled));
  }

  void settled() {
    mounted = true;
    if (const auto wrong = ledger.settle(options.session, newest); !wrong.empty())
      return fail(Layout::superblock, wrong);
    rest();
  }

  // Inodes to their places, and the superblock lets go of the journal.
  void put_in_place(SealedBlocks::Next next) {
    const auto flushed = [weak = weak_from_this(), next = std::move(next)] {
      if (const auto self = weak.lock()) self->write_superblock(self->newest, next);
    };
    if (dirty.empty()) return flushed();
    const auto written = blocks.after(dirty.size(), [weak = weak_from_this(), flushed] {
      if (const auto self = weak.lock()) self->blocks.flush(flushed);
    });
    for (const uint32_t i : dirty) {
      const Buffer data = Buffer::zeroed(limits::block_bytes);
      put(inodes[i], data, 0);
      blocks.write(layout.inodes + i, data, written);
    }
    dirty.clear();
  }

  void write_superblock(uint64_t transaction, SealedBlocks::Next next) {
    const Buffer data = Buffer::zeroed(limits::block_bytes);
    put(Superblock{superblock_magic, chain, transaction + 1, head, 0}, data, 0);
    blocks.write(Layout::superblock, data, [weak = weak_from_this(), next = std::move(next)] {
      const auto self = weak.lock();
      if (!self) return;
      self->tail = self->head;
      self->blocks.flush(next);
    });
  }

  // Transactions

  void rest() {
    if (stopping) return mount();  // a last look
    resting = true;
    const double drawn = static_cast<double>((host.random.number() >> 11) + 1) * 0x1.0p-53;
    const double wait = -std::log(drawn) * static_cast<double>(options.think_mean.count());
    timer.arm(io::Duration(static_cast<int64_t>(wait)), [this] { act(); });
  }

  void act() {
    resting = false;
    const uint32_t used = (head + journal_blocks - tail) % journal_blocks;
    if (used + changed_max + 3 > journal_blocks || below(12) == 0)
      return put_in_place(then(&State::rest));
    if (below(3) == 0) return look();
    begin();
  }

  // One file is read.
  void look() {
    const auto i = static_cast<uint32_t>(below(inode_count));
    const Inode& inode = inodes[i];
    if (inode.count == 0) return rest();
    const Extent extent = inode.extents[below(inode.count)];
    blocks.read(layout.data + extent.block, 1,
                [weak = weak_from_this(), i, extent](const SealedRead& read) {
                  const auto self = weak.lock();
                  if (self && self->is_right(self->inodes[i], extent, read)) self->rest();
                });
  }

  void begin() {
    change = {};
    change.position = head;
    Descriptor& d = change.descriptor;
    d = {descriptor_magic, newest + 1, chain, 0, {}};
    std::set<uint32_t> chosen;
    const uint64_t count = 1 + below(changed_max);
    while (chosen.size() < count) chosen.insert(static_cast<uint32_t>(below(inode_count)));
    for (const uint32_t i : chosen) {
      d.inodes[d.count] = i;
      Inode& inode = change.inodes[d.count++];
      inode = inodes[i];
      inode.magic = inode_magic, inode.number = i, inode.transaction = d.transaction;
    }
    // Two files change names, in one; or each is written or cut.
    if (d.count == 2 && below(2) == 0) {
      std::swap(change.inodes[0].count, change.inodes[1].count);
      std::swap(change.inodes[0].extents, change.inodes[1].extents);
    } else {
      for (uint32_t i = 0; i < d.count; ++i) write_file(change.inodes[i]);
    }
    write_journal();
  }

  // New content to free blocks in a row, at the end of the file or instead of what was there.
  void write_file(Inode& inode) {
    const uint32_t wanted = 1 + static_cast<uint32_t>(below(4));
    if (below(3) == 0 || inode.count + wanted > extents_max) {
      for (uint32_t i = 0; i < inode.count; ++i) change.freed.push_back(inode.extents[i].block);
      inode.count = 0;
      std::memset(static_cast<void*>(inode.extents), 0, sizeof inode.extents);
    }
    if (free.empty() || below(8) == 0) return;
    auto at = free.lower_bound(static_cast<uint32_t>(below(data_blocks)));
    if (at == free.end()) at = free.begin();
    const uint32_t first = *at;
    uint32_t count = 0;
    while (count < wanted && at != free.end() && *at == first + count) {
      at = free.erase(at);
      ++count;
    }
    change.runs.push_back({&inode, first, count});
  }

  // Data and journal are on their way at once; the flush is behind both.
  void write_journal() {
    const uint32_t length = change.descriptor.count + 1;
    const uint32_t to_border = journal_blocks - change.position;
    const bool wraps = to_border < length;
    const auto written =
        blocks.after(change.runs.size() + (wraps ? 2 : 1), [weak = weak_from_this()] {
          if (const auto self = weak.lock()) self->blocks.flush(self->then(&State::commit));
        });
    for (const Run& run : change.runs) {
      const Buffer data = Buffer::allocate(size_t{run.count} * limits::block_bytes);
      std::memset(data.data(), static_cast<int>(change.descriptor.transaction), data.size());
      const uint64_t stamp = blocks.write(layout.data + run.first, data, written);
      for (uint32_t i = 0; i < run.count; ++i)
        run.inode->extents[run.inode->count++] = {run.first + i, 0, stamp + i};
    }
    const auto part = [&](uint32_t from, uint32_t to) {  // of descriptor and inodes
      const Buffer data = Buffer::zeroed(size_t{to - from} * limits::block_bytes);
      for (uint32_t i = from; i < to; ++i) {
        if (i == 0)
          put(change.descriptor, data, 0);
        else
          put(change.inodes[i - 1], data, i - from);
      }
      blocks.write(Layout::journal_block(change.position + from), data, written);
    };
    part(0, wraps ? to_border : length);
    if (wraps) part(to_border, length);
  }

  void commit() {
    const Descriptor& d = change.descriptor;
    Ledger::Cells cells;
    for (uint32_t i = 0; i < d.count; ++i) cells[d.inodes[i]] = value_of(change.inodes[i]);
    ledger.issued(options.session, d.transaction, std::move(cells));
    const Commit record{commit_magic, d.transaction, chain, chain_of(chain, d, change.inodes)};
    const Buffer data = Buffer::zeroed(limits::block_bytes);
    put(record, data, 0);
    chain = record.chain;
    blocks.write(Layout::journal_block(change.position + 1 + d.count), data,
                 [weak = weak_from_this()] {
                   if (const auto self = weak.lock())
                     self->blocks.flush(self->then(&State::committed));
                 });
  }

  void committed() {
    const Descriptor& d = change.descriptor;
    if (const auto wrong = ledger.acknowledged(options.session, d.transaction); !wrong.empty())
      return fail(Layout::journal_block(change.position), wrong);
    newest = d.transaction;
    head = (change.position + d.count + 2) % journal_blocks;
    for (uint32_t i = 0; i < d.count; ++i) {
      inodes[d.inodes[i]] = change.inodes[i];
      dirty.insert(d.inodes[i]);
    }
    give_back(std::move(change.freed));
    rest();
  }

  // Mostly by a discard, behind which they are used anew.
  void give_back(std::vector<uint32_t> freed) {
    for (const uint32_t block : freed) {
      const auto put_back = [weak = weak_from_this(), block] {
        if (const auto self = weak.lock()) self->free.insert(block);
      };
      if (below(4) == 0)
        put_back();
      else
        blocks.discard(layout.data + block, 1, put_back);
    }
  }
};

JournalLoad::JournalLoad(io::Host& host, client::BlockDevice& device, Ledger& ledger,
                         uint64_t& last_stamp, const LoadOptions& options)
    : state_(std::make_shared<State>(host, device, ledger, last_stamp, options)) {
  SP_ASSERT_OP(state_->blocks.size_blocks(), >=, blocks_least);
}

JournalLoad::~JournalLoad() = default;

void JournalLoad::start() { state_->mount(); }

void JournalLoad::stop() {
  State& state = *state_;
  state.stopping = true;
  if (!state.resting || !state.mounted) return;
  state.timer.cancel();
  state.mount();
}

bool JournalLoad::idle() const {
  return state_->blocks.idle() && (state_->resting || state_->blocks.over());
}
uint64_t JournalLoad::completed() const { return state_->blocks.completed(); }
const std::string& JournalLoad::failure() const { return state_->blocks.failure(); }

}  // namespace sp::sim
