// Recovery: from a formatted device to a running StoreImpl.
//
//   superblock -> all log pages -> the last whole round -> what the log says of slots and table
//   pages -> table pages -> the log's records -> start
//
// Where the log names a saved index, that takes the place of the table pages, and the records are
// replayed from there on (recovery_saved.cc). Whatever is wrong with it: the table tells all.
//
// Only the last round can be torn by a crash; it is then void as a whole. A page of a later round,
// even a broken one, proves that it was not. Anything else that is not as it was written is damage,
// and said. One Recovery opens one disk; it keeps itself alive until it has called `opened`.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "store/entry_batch.h"
#include "store/needs.h"
#include "store/saved_index.h"
#include "store/store_impl.h"

namespace sp::store {

class Recovery : public std::enable_shared_from_this<Recovery> {
 public:
  using OpenedImpl = Callback<void(Result<std::unique_ptr<StoreImpl>>)>;
  Recovery(io::Host& host, std::unique_ptr<io::Disk> disk, const Options& options,
           OpenedImpl opened);
  void run();

 private:
  struct PageInfo {
    uint64_t lsn = 0;  // 0: no valid page at this position of the ring
    uint64_t round_first = 0;
    uint64_t tail_lsn = 0;
    uint32_t session = 0;
    uint32_t previous_session = 0;
    uint32_t round_pages = 0;
  };
  struct HomeExpected {
    uint64_t sequence = 0;  // 0: never written home
    uint64_t dirty_since = 0;
    uint64_t lsn = 0;
  };
  using Next = void (Recovery::*)();

  void fail(Error error);
  // Reads [offset, offset + size) in chunks, in order; `chunk(offset, bytes)` may fail; then calls
  // next.
  void read_range(uint64_t offset, uint64_t size, std::function<Status(uint64_t, Bytes)> chunk,
                  Next next);
  void read_chunk();
  // Visits all records of the pages from `first` to `last` in order of lsn.
  void read_records(uint64_t first, uint64_t last,
                    std::function<Status(const Record&, uint64_t lsn)> visit, Next next);
  void read_records_wrapped();
  Status visit_page(Bytes page, uint64_t lsn) const;
  Result<Bytes> payload_of(Bytes page, uint64_t lsn) const;
  Error unknown_record(uint64_t lsn) const;

  void scan_log();
  void choose_round();
  bool round_whole(const PageInfo& round) const;
  bool proven_by_broken_page(const PageInfo& round) const;
  void verify_round();
  void verify_data();
  void verify_data_step(Status status);
  void verify_unreadable(Status read);
  void accept_round();
  void round_is_void();
  Status check_chain() const;
  void survey_log();
  void look_for_lost_log();
  void load_tables();
  bool is_to_be_read(uint32_t page) const;
  void load_table_group();
  Status load_page(uint32_t page, Bytes even_home, Bytes odd_home);
  Status load_entries(uint32_t page, const TableHome& home);
  Status index_entries();
  void resolve_doubles();
  void take_note_of(const IndexBody& index, uint64_t lsn);
  void load_saved_index();
  Status load_saved_chunk(uint64_t offset, Bytes chunk);
  Status load_saved(const SavedRecord& saved);
  void saved_index_loaded();
  Status finish_saved();
  bool is_in_the_future(const Slots& needed) const;
  bool needs_are_of_now(const Slots& needed) const;
  void begin_anew(const std::string& why);
  void replay();
  void replay_step();
  void finish();
  void start();

  const PageInfo& at(uint64_t lsn) const { return pages_[lsn % pages_.size()]; }
  uint64_t page_offset(uint64_t lsn) const;

  io::Host& host_;
  std::unique_ptr<io::Disk> disk_;
  Options options_;
  OpenedImpl opened_;
  disk::Superblock superblock_;
  std::unique_ptr<StoreImpl> store_;
  io::Disk* device_ = nullptr;
  Bounds bounds_;

  std::vector<PageInfo> pages_;
  struct BrokenPage {
    uint64_t lsn, stable_lsn;
    uint32_t session;
  };
  std::vector<BrokenPage> broken_;  // broken, but they say where they belong
  bool foreign_ = false;            // pages of another disk are there
  PageInfo last_;                   // the accepted round; lsn 0: the log is empty
  uint64_t void_lsn_ = 0;           // of the round that was torn; 0: none was
  struct Expected {
    uint32_t slot;
    uint64_t crc;
  };
  std::vector<Expected> expected_;
  size_t expected_at_ = 0;
  bool unreadable_ = false;    // what is read now could not be read once
  std::vector<bool> claimed_;  // slots of which the log's window tells the owner
  std::vector<HomeExpected> homes_;
  uint64_t tail_ = 1;
  uint32_t table_at_ = 0;
  uint32_t table_reads_ = 0;
  Buffer even_homes_;
  Buffer odd_homes_;

  // The saved index, while that is the way.
  struct Saved {
    explicit Saved(const IndexBody& index) : body(index) {}
    IndexBody body;
    uint64_t at = 0;  // lsn of the records of the log that follow in it
    uint64_t objects = 0;
    bool ended = false;
    std::vector<SavedEntry> uncommitted;
    std::vector<std::pair<uint64_t, std::vector<std::byte>>> writes;  // undecided: lsn, body
  };
  std::optional<Saved> saved_;
  uint64_t saved_lsn_ = 0;
  uint32_t saved_home_ = 1;
  uint64_t homes_told_ = 0;  // homes that were announced before this lsn are on the device

  EntryBatch entries_;                     // of the tables, not yet in the index
  std::vector<EntryBatch::Item> doubles_;  // those of blocks that another page has, too

  // The part of the log that is replayed, and how far that is.
  struct Replay {
    uint64_t lsn = 0;  // of `pages`, then of those behind
    Bytes pages;
    std::optional<RecordCursor> cursor;  // of the first of `pages`
    std::optional<Record> record;        // not replayed yet
    PagePins pins;                       // of the table pages that it needs
    Slots needed;                        // why
  };
  Replay replay_;

  Buffer chunk_;
  uint64_t range_at_ = 0;
  uint64_t range_end_ = 0;
  std::function<Status(uint64_t, Bytes)> range_chunk_;
  Next range_next_ = nullptr;
  std::function<Status(const Record&, uint64_t)> visit_;
  uint64_t records_first_ = 0;
  uint64_t records_last_ = 0;
  Next records_next_ = nullptr;
};

}  // namespace sp::store
