#include "sim/database_load.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <set>

#include "base/assert.h"
#include "sim/database_format.h"

namespace sp::sim {

using namespace database;

namespace {
constexpr uint32_t room_of_transaction = 3 * page_blocks_max + 2;  // blocks of the log, at most
constexpr uint64_t row_cells = 1u << 16;
}  // namespace

struct DatabaseLoad::State : std::enable_shared_from_this<DatabaseLoad::State> {
  State(io::Host& host_, client::BlockDevice& device, Ledger& ledger_, uint64_t& last_stamp,
        const LoadOptions& options_)
      : host(host_),
        ledger(ledger_),
        options(options_),
        blocks(host_.log, device, last_stamp, options_.blocks),
        layout(blocks.size_blocks(), options_.blocks.volume) {
    for (uint32_t i = 0; i <= options.depth; ++i)
      timers.push_back(std::make_unique<io::Timer>(host.reactor));
  }

  struct Change {
    uint32_t page, row;
    uint64_t value;
  };
  struct Transaction {
    size_t lane = 0;
    std::vector<Change> changes;
  };

  io::Host& host;
  Ledger& ledger;
  LoadOptions options;
  SealedBlocks blocks;
  Layout layout;
  std::vector<std::unique_ptr<io::Timer>> timers;  // of the lanes; the last one's: write-back
  bool stopping = false, started = false, recovered = false;
  bool looks = false, looked = false;  // for the last time

  Control control;
  std::vector<Page> pages;   // with all that was appended to the log
  std::vector<Page> stored;  // as written last
  std::set<uint32_t> dirty, imaged;
  uint32_t page_operations = 0;
  bool checkpointing = false;

  std::deque<Transaction> waiting;
  std::vector<std::pair<uint64_t, size_t>> appended;  // and not acknowledged: number, lane
  uint64_t newest = 0;
  uint64_t end = 0, durable = 0;  // positions of the log
  std::vector<std::byte> tail;    // of the block that `end` is in

  uint64_t below(uint64_t bound) { return host.random.below(bound); }
  void fail(uint64_t block, const std::string& why) { blocks.fail(block, why); }
  // What a session that is over reads may have been answered before the later one wrote.
  void misread(uint64_t block, const std::string& why) {
    if (!ledger.is_over(options.session)) fail(block, why);
  }
  template <class F>
  auto then(F work) {
    return [weak = weak_from_this(), work](const auto&... given) {
      if (const auto self = weak.lock()) (self.get()->*work)(given...);
    };
  }

  // Recovery

  void recover() { blocks.read(Layout::control, 1, then(&State::control_read)); }

  void control_read(const SealedRead& read) {
    if (read.stamp(Layout::control) == 0 && ledger.formatted())
      return misread(Layout::control, "the control block is gone, which was flushed");
    std::memcpy(&control, read.payload(Layout::control).data(), sizeof control);
    if (read.stamp(Layout::control) == 0) control = {control_magic, 0, 0, 0};
    if (control.magic != control_magic) return misread(Layout::control, "is not a control block");
    if (recovered || control.run == 0) return read_all();
    // Written as it is: what an ended process of this client may still have on its way to it is
    // ordered before, and cannot come when pages are being changed.
    blocks.write(Layout::control, Buffer::copy_of(read.data.bytes()), then(&State::read_all));
  }

  void read_all() {
    struct Found {
      SealedRead log;
      std::vector<SealedRead> pages;
    };
    const auto found = std::make_shared<Found>();
    found->pages.resize(page_count);
    const auto all = SealedBlocks::after(page_count + 1, [weak = weak_from_this(), found] {
      if (const auto self = weak.lock()) self->all_read(found->log, found->pages);
    });
    blocks.read(Layout::log, log_blocks, [found, all](const SealedRead& log) {
      found->log = log;
      all();
    });
    for (uint32_t i = 0; i < page_count; ++i) {
      blocks.read(layout.pages[i], layout.page_blocks, [found, all, i](const SealedRead& page) {
        found->pages[i] = page;
        all();
      });
    }
  }

  void all_read(const SealedRead& log, const std::vector<SealedRead>& read) {
    const Recovered found = database::recover(layout, control, log, read);
    if (!found.wrong.empty()) return misread(found.block, found.wrong);
    if (const auto wrong = ledger.recovered(found.newest); !wrong.empty())
      return misread(Layout::log_block(found.end / log_bytes), wrong);
    if (!compare(found)) return;
    if (recovered) {
      looked = true;
      return;
    }
    pages = found.pages;
    newest = found.newest;
    end = durable = (found.end / log_bytes + 1) * log_bytes;
    for (uint32_t i = 0; i < page_count; ++i) {
      if (pages[i].changed) dirty.insert(i);
    }
    stored = pages;
    control.run = options.session;
    checkpoint(then(&State::begin));
  }

  bool compare(const Recovered& found) {
    const Ledger::Cells cells = ledger.cells(found.newest);
    for (uint32_t page = 0; page < page_count; ++page) {
      for (uint32_t row = 0; row < layout.rows(); ++row) {
        const auto cell = cells.find(page * row_cells + row);
        const uint64_t expected = cell != cells.end() ? cell->second : 0;
        if (found.pages[page].rows[row] == expected) continue;
        misread(layout.pages[page] + row / rows_per_block,
                "row " + std::to_string(row) + " of page " + std::to_string(page) + " is " +
                    std::to_string(found.pages[page].rows[row]) + ", and was " +
                    std::to_string(expected) + " after transaction " +
                    std::to_string(found.newest));
        return false;
      }
    }
    return true;
  }

  void begin() {
    if (const auto wrong = ledger.settle(options.session, newest); !wrong.empty())
      return fail(Layout::control, wrong);
    ledger.format();
    recovered = true;
    for (size_t lane = 0; lane < timers.size(); ++lane) pause(lane);
    go_on();
  }

  // Lanes: pauses, and what comes behind them

  void pause(size_t lane) {
    if (stopping) return;
    const double drawn = static_cast<double>((host.random.number() >> 11) + 1) * 0x1.0p-53;
    const double wait = -std::log(drawn) * static_cast<double>(options.think_mean.count());
    timers[lane]->arm(io::Duration(static_cast<int64_t>(wait)), [this, lane] { act(lane); });
  }

  void act(size_t lane) {
    if (lane == options.depth) {
      write_back();
      return pause(lane);
    }
    if (below(4) == 0) return look(lane);
    Transaction transaction;
    transaction.lane = lane;
    const auto first_page = static_cast<uint32_t>(below(page_count));
    const uint64_t count = 1 + below(changes_max);
    for (uint64_t i = 0; i < count; ++i) {
      const auto page = static_cast<uint32_t>((first_page + below(3)) % page_count);
      const auto row = static_cast<uint32_t>(below(layout.rows()));
      transaction.changes.push_back({page, row, host.random.number() | 1});
    }
    waiting.push_back(std::move(transaction));
    go_on();
  }

  // A page is read as it was written last.
  void look(size_t lane) {
    const auto page = static_cast<uint32_t>(below(page_count));
    if (checkpointing || page_operations > 0) return pause(lane);
    ++page_operations;
    blocks.read(layout.pages[page], layout.page_blocks,
                [weak = weak_from_this(), page, lane](const SealedRead& read) {
                  if (const auto self = weak.lock()) self->looked_at(page, lane, read);
                });
  }

  void looked_at(uint32_t page, size_t lane, const SealedRead& read) {
    --page_operations;
    const Buffer expected = page_content(layout, page, stored[page]);
    for (uint32_t i = 0; i < layout.page_blocks; ++i) {
      const Bytes found = read.payload(read.first + i);
      const bool never = read.stamps[i] == 0 && stored[page].position == 0;
      const bool same =
          std::equal(found.begin(), found.end(), expected.data() + size_t{i} * limits::block_bytes);
      if (!same && !never)
        return misread(read.first + i,
                       "page " + std::to_string(page) + " is not as it was written");
    }
    pause(lane);
    go_on();
  }

  // The log

  uint64_t log_room() const {
    return log_blocks - 1 - (end / log_bytes - control.redo / log_bytes);
  }

  void go_on() {
    if (!appended.empty() || blocks.over()) return;
    const uint64_t used = log_blocks - 1 - log_room();
    const bool full = used > log_blocks / 2;
    if (!checkpointing && page_operations == 0 && recovered &&
        (full || (!dirty.empty() && !stopping && below(40) == 0)))
      checkpoint(then(&State::go_on));
    if (!waiting.empty() && log_room() > room_of_transaction) return append_waiting();
    if (stopping && waiting.empty() && page_operations == 0 && !checkpointing && !looks) {
      looks = true;
      recover();
    }
  }
  void append_waiting() {
    const uint64_t first = end / log_bytes;
    std::vector<std::byte> bytes = tail;
    while (!waiting.empty() && log_room() > room_of_transaction) {
      append(waiting.front(), bytes, first);
      waiting.pop_front();
    }
    write_log(first, bytes);
  }

  template <class T>
  static void add(std::vector<std::byte>& bytes, const T* values, size_t count) {
    const auto* const from = reinterpret_cast<const std::byte*>(values);
    bytes.insert(bytes.end(), from, from + count * sizeof(T));
  }

  void append(const Transaction& transaction, std::vector<std::byte>& bytes, uint64_t first) {
    ++newest;
    Ledger::Cells cells;
    std::set<uint32_t> changed;
    for (const Change& change : transaction.changes) {
      Page& page = pages[change.page];
      if (imaged.insert(change.page).second) {
        const Record image{RecordKind::image, change.page, 0, 0, 0, newest};
        add(bytes, &image, 1);
        add(bytes, page.rows.data(), page.rows.size());
      }
      const Record record{RecordKind::change, change.page, change.row, 0, change.value, newest};
      add(bytes, &record, 1);
      page.rows[change.row] = change.value;
      changed.insert(change.page);
      cells[change.page * row_cells + change.row] = change.value;
    }
    const Record commit{RecordKind::commit, 0, 0, 0, 0, newest};
    add(bytes, &commit, 1);
    end = first * log_bytes + bytes.size();
    for (const uint32_t page : changed) {
      pages[page].position = end;
      dirty.insert(page);
    }
    ledger.issued(options.session, newest, std::move(cells));
    appended.emplace_back(newest, transaction.lane);
  }

  // In one write, or in one for each block.
  void write_log(uint64_t first, const std::vector<std::byte>& bytes) {
    const uint64_t count = std::max<uint64_t>(1, (bytes.size() + log_bytes - 1) / log_bytes);
    const uint64_t at_once = below(2) == 0 ? 1 : log_blocks;
    std::vector<std::pair<uint64_t, Buffer>> writes;
    for (uint64_t i = 0; i < count;) {
      const uint64_t to_border = log_blocks - (first + i) % log_blocks;
      const uint64_t length = std::min({count - i, at_once, to_border});
      const Buffer data = Buffer::zeroed(length * limits::block_bytes);
      for (uint64_t j = 0; j < length; ++j) {
        const size_t from = (i + j) * log_bytes;
        const auto used = static_cast<uint32_t>(std::min<size_t>(log_bytes, bytes.size() - from));
        const LogHead head{log_magic, control.run, first + i + j, used, 0};
        std::byte* const at = data.data() + j * limits::block_bytes;
        std::memcpy(at, &head, sizeof head);
        std::memcpy(at + sizeof head, bytes.data() + from, used);
      }
      writes.emplace_back(Layout::log_block(first + i), data);
      i += length;
    }
    const size_t whole = bytes.size() / log_bytes * log_bytes;
    tail.assign(bytes.begin() + static_cast<std::ptrdiff_t>(whole), bytes.end());
    const auto written = SealedBlocks::after(writes.size(), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->blocks.flush(self->then(&State::log_durable));
    });
    for (const auto& [block, data] : writes) blocks.write(block, data, written);
  }

  void log_durable() {
    durable = end;
    for (const auto& [number, lane] : std::exchange(appended, {})) {
      if (const auto wrong = ledger.acknowledged(options.session, number); !wrong.empty())
        return fail(Layout::log_block(end / log_bytes), wrong);
      pause(lane);
    }
    go_on();
  }

  // Pages

  void write_back() {
    if (checkpointing || page_operations > 0 || dirty.empty() || blocks.over()) return;
    auto chosen = dirty.lower_bound(static_cast<uint32_t>(below(page_count)));
    if (chosen == dirty.end()) chosen = dirty.begin();
    if (pages[*chosen].position > durable) return;  // the log first
    ++page_operations;
    const uint32_t page = *chosen;
    dirty.erase(chosen);
    write_page(page, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      --self->page_operations;
      self->go_on();
    });
  }

  void write_page(uint32_t page, SealedBlocks::Next next) {
    stored[page] = pages[page];
    blocks.write(layout.pages[page], page_content(layout, page, pages[page]), std::move(next));
  }

  // The log is durable up to its end, and no page is being written.
  void checkpoint(SealedBlocks::Next next) {
    checkpointing = true;
    const Control made{control_magic, control.run, end, newest};
    imaged.clear();
    const auto written = [weak = weak_from_this(), made, next = std::move(next)] {
      if (const auto self = weak.lock())
        self->blocks.flush([weak, made, next] {
          if (const auto self = weak.lock()) self->write_control(made, next);
        });
    };
    if (dirty.empty()) return written();
    const auto one_written = SealedBlocks::after(dirty.size(), written);
    for (const uint32_t page : std::exchange(dirty, {})) write_page(page, one_written);
  }

  void write_control(const Control& made, const SealedBlocks::Next& next) {
    const Buffer data = Buffer::zeroed(limits::block_bytes);
    std::memcpy(data.data(), &made, sizeof made);
    blocks.write(Layout::control, data, [weak = weak_from_this(), made, next] {
      const auto self = weak.lock();
      if (!self) return;
      self->blocks.flush([weak, made, next] {
        const auto self = weak.lock();
        if (!self) return;
        self->control = made;
        self->checkpointing = false;
        next();
      });
    });
  }
};

DatabaseLoad::DatabaseLoad(io::Host& host, client::BlockDevice& device, Ledger& ledger,
                           uint64_t& last_stamp, const LoadOptions& options)
    : state_(std::make_shared<State>(host, device, ledger, last_stamp, options)) {
  SP_ASSERT_OP(state_->blocks.size_blocks(), >=, blocks_least);
}

DatabaseLoad::~DatabaseLoad() = default;

void DatabaseLoad::start() {
  state_->started = true;
  state_->recover();
}

// What was begun is ended, and then there is a last look.
void DatabaseLoad::stop() {
  State& state = *state_;
  state.stopping = true;
  for (auto& timer : state.timers) timer->cancel();
  if (state.recovered) state.go_on();
}

bool DatabaseLoad::idle() const {
  const State& state = *state_;
  return state.blocks.idle() && (!state.started || state.looked || state.blocks.over());
}
uint64_t DatabaseLoad::completed() const { return state_->blocks.completed(); }
const std::string& DatabaseLoad::failure() const { return state_->blocks.failure(); }

}  // namespace sp::sim
