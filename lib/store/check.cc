#include "store/check.h"

#include <algorithm>
#include <map>

#include "base/units.h"
#include "store/look_up.h"
#include "store/needs.h"
#include "store/recovery.h"

namespace sp::store {

namespace {

constexpr uint64_t chunk_bytes = 1 << 20;

class Checker : public std::enable_shared_from_this<Checker> {
 public:
  Checker(io::Host& host, std::unique_ptr<io::Disk> disk, CheckOptions options,
          Callback<void(Result<Report>)> done)
      : host_(host),
        disk_(std::move(disk)),
        options_(std::move(options)),
        done_(std::move(done)),
        chunk_(Buffer::zeroed(chunk_bytes)) {}

  void run() {
    disk::read_superblock_copies(
        *disk_, [self = shared_from_this()](Result<disk::SuperblockCopies> copies) {
          if (!copies.ok())
            self->finish(std::move(copies).error());
          else
            self->superblocks(*copies);
        });
  }

 private:
  void superblocks(const disk::SuperblockCopies& copies) {
    Result<disk::Superblock> chosen = disk::choose_superblock(copies, disk_->size_bytes());
    if (!chosen.ok()) {
      finish(std::move(chosen).error());
      return;
    }
    report_.superblock = *chosen;
    if (!copies.first.ok())
      report_.add(Severity::warning, "first superblock, device offset 0",
                  copies.first.error().message(), "the other copy is used; replace the disk soon");
    if (!copies.last.ok())
      report_.add(
          Severity::warning,
          "last superblock, device offset " + std::to_string(chosen->layout.device_bytes - 4096),
          copies.last.error().message(),
          "the other copy is used; if the device was enlarged this is expected");
    Options options;
    options.verify_only = true;
    options.table_bytes_max = options_.table_bytes_max;
    auto opened = [self = shared_from_this()](Result<std::unique_ptr<StoreImpl>> store) {
      if (store.ok()) {
        self->store_ = std::move(store).value();
        if (self->options_.opened) self->options_.opened(*self->store_);
        self->tables();
        return;
      }
      if (store.error().code() == Code::io) {
        self->finish(std::move(store).error());
        return;
      }
      self->report_.add(Severity::damage, "log and tables", store.error().message(),
                        "wipe the disk with sp-disk-init and let it recover from the other copies");
      self->finish(Status{});
    };
    std::make_shared<Recovery>(host_, std::move(disk_), options, std::move(opened))->run();
  }

  // The home of each page that is not the newest: its loss harms nobody today.
  void tables() {
    State& state = store_->state();
    report_.objects = state.object_count();
    report_.blocks_undecided = state.blocks_undecided();
    report_.log_tail = store_->log_position().tail_lsn;
    report_.log_next = store_->log_position().next_lsn;
    report_.stats = store_->stats();
    if (const uint64_t lsn = store_->log_position().void_lsn; lsn != 0)
      report_.add(Severity::note, "log page " + std::to_string(lsn),
                  "the last round is not whole and does not count: a crash tore it",
                  "nothing after a crash or loss of power; if there was none, the device has lost "
                  "an acknowledged write: wipe the disk and let it recover from the other copies");
    for (uint32_t page = 0; page < state.table().page_count(); page++)
      if (state.table().state(page).sequence > 0) report_.table_pages_used++;
    older_home(0);
  }

  void older_home(uint32_t from) {
    const SlotTable& table = store_->state().table();
    uint32_t page = from;
    while (page < table.page_count() && table.state(page).sequence < 2) page++;
    if (page == table.page_count()) {
      collect_blocks();
      return;
    }
    const uint64_t older = table.state(page).sequence - 1;
    const uint64_t offset = table_home_offset(report_.superblock.layout, page, older);
    store_->disk().read(
        offset, chunk_.mutable_bytes().first(page_bytes),
        [self = shared_from_this(), page, offset](Status status) {
          const auto home = open_table_home(self->chunk_.bytes().first(page_bytes),
                                            self->report_.superblock, page);
          const std::string place = "older home of table page " + std::to_string(page) +
                                    ", device offset " + std::to_string(offset);
          if (!status.ok())
            self->report_.add(Severity::warning, place, status.error().message(),
                              "the newer home is whole; replace the disk soon");
          else if (!home.ok())
            self->report_.add(Severity::note, place,
                              home.error().message() + ": torn by a crash, or damaged",
                              "nothing: it will be overwritten");
          self->older_home(page + 1);
        });
  }

  struct Block {
    uint32_t slot;
    bool undecided;
  };

  void collect_blocks() {
    const State& state = store_->state();
    uint64_t owned = 0;
    for (uint32_t slot = 0; slot < state.table().slot_count(); slot++)
      if (state.table().owned(slot)) owned++;
    if (owned != state.blocks_decided() + state.blocks_undecided())
      report_.add(Severity::damage, "slot table",
                  std::to_string(owned) +
                      " slots have owners, but objects and undecided writes hold " +
                      std::to_string(state.blocks_decided() + state.blocks_undecided()),
                  "wipe the disk with sp-disk-init and let it recover from the other copies");
    blocks_all_ = options_.read_data ? owned : 0;
    if (options_.read_data) return next_page(&Checker::collect_page, &Checker::digest);
    digest();
  }

  // Has page after page of the slot table in memory, and calls `page` for it, which goes on by
  // calling this; `end` behind the last one.
  void next_page(void (Checker::*page)(), void (Checker::*end)()) {
    SlotTable& table = store_->state().table();
    pins_.release();
    table.pages().trim();
    if (page_ == table.page_count()) {
      page_ = 0;
      return (this->*end)();
    }
    const uint32_t number = page_++;
    store_->loader().load(store_->disk(), {&number, 1},
                          [self = shared_from_this(), page](Result<PagePins> loaded) {
                            if (!loaded.ok()) return self->finish(std::move(loaded).error());
                            self->pins_ = std::move(loaded).value();
                            (self.get()->*page)();
                          });
  }

  // Calls visit(slot, descriptor, whether it is decided) for all owned slots of the page at hand.
  template <class Visit>
  void for_each_owned(const Visit& visit) {
    State& state = store_->state();
    const uint32_t first = (page_ - 1) * disk::slots_per_table_page;
    const uint32_t end = std::min(first + disk::slots_per_table_page, state.table().slot_count());
    for (uint32_t slot = first; slot < end; slot++) {
      if (!state.table().owned(slot)) continue;
      const Descriptor& owner = state.table().descriptor(slot);
      const Object* object = state.find(owner.object_id());
      visit(slot, owner, object != nullptr && object->slot(owner.block()) == slot);
    }
  }

  void collect_page() {
    blocks_.clear();
    at_ = alone_until_ = 0;
    for_each_owned([this](uint32_t slot, const Descriptor&, bool decided) {
      blocks_.push_back({slot, !decided});
    });
    next_blocks();
  }

  void next_blocks() {
    if (options_.progress)
      options_.progress((blocks_before_ + at_) * page_bytes, blocks_all_ * page_bytes);
    if (at_ == blocks_.size()) {
      blocks_before_ += blocks_.size();
      return next_page(&Checker::collect_page, &Checker::digest);
    }
    size_t count = 1;
    while (at_ >= alone_until_ && at_ + count < blocks_.size() &&
           count < chunk_bytes / page_bytes &&
           blocks_[at_ + count].slot == blocks_[at_].slot + count)
      count++;
    const uint64_t offset = store_->state().table().slot_offset(blocks_[at_].slot);
    store_->disk().read(offset, chunk_.mutable_bytes().first(count * page_bytes),
                        [self = shared_from_this(), count](Status status) {
                          if (!status.ok() && count > 1) {
                            // Which of them cannot be read is found out one by one.
                            self->alone_until_ = self->at_ + count;
                            return self->next_blocks();
                          }
                          for (size_t i = 0; i < count; i++)
                            self->verify(self->at_ + i,
                                         self->chunk_.bytes().subspan(i * page_bytes, page_bytes),
                                         status);
                          self->at_ += count;
                          self->next_blocks();
                        });
  }

  void verify(size_t index, Bytes content, const Status& status) {
    const uint32_t slot = blocks_[index].slot;
    const Descriptor& owner = store_->state().table().descriptor(slot);
    report_.blocks_verified++;
    if (status.ok() && crc64(content) == owner.crc) return;
    report_.blocks_damaged++;
    report_.add(Severity::damage,
                std::string(blocks_[index].undecided ? "undecided " : "") + "block " +
                    std::to_string(owner.block()) + " of object " + std::to_string(owner.object) +
                    " of volume " + std::to_string(owner.volume) + ", device offset " +
                    std::to_string(store_->state().table().slot_offset(slot)),
                !status.ok()   ? status.error().message()
                : owner.lost() ? "no copy had its content when this one was made"
                               : "the content does not match its checksum",
                owner.lost() ? "write the block anew, or bring back a disk that may still hold it"
                             : "the cluster repairs it from another copy when it is read");
  }

  void digest() {
    if (!options_.digests) return finish(Status{});
    State& state = store_->state();
    for (auto& [id, set] : state.sets()) {
      if (!set.undecided.empty()) state.decide(id, set.undecided.back().record.version);
      digests_[id] = {id, set.record && set.record->recovering, 0, 0};
    }
    next_page(&Checker::digest_page, &Checker::digested);
  }

  void digest_page() {
    for_each_owned([this](uint32_t, const Descriptor& owner, bool decided) {
      if (!decided) return;
      SetDigest& digest = digests_[SetId::from_packed(owner.set)];
      ++digest.blocks;
      digest.hash += digest_share(owner.object_id(),
                                  {owner.block(), Version::from_packed(owner.version), owner.crc});
    });
    next_page(&Checker::digest_page, &Checker::digested);
  }

  void digested() {
    for (const auto& [id, digest] : digests_)
      if (const SetState* set = store_->state().find_set(id); set != nullptr && set->record)
        report_.digests.push_back(digest);
    finish(Status{});
  }

  void finish(Status status) {
    // From a turn of its own: the disk may be in the middle of a completion.
    host_.reactor.post(
        [self = shared_from_this(), failed = std::make_unique<Status>(std::move(status))] {
          self->pins_.release();
          self->store_.reset();
          self->disk_.reset();
          if (failed->ok())
            self->done_.call_once(std::move(self->report_));
          else
            self->done_.call_once(std::move(*failed).error());
        });
  }

  io::Host& host_;
  std::unique_ptr<io::Disk> disk_;
  CheckOptions options_;
  Callback<void(Result<Report>)> done_;
  Buffer chunk_;
  Report report_;
  std::unique_ptr<StoreImpl> store_;
  uint32_t page_ = 0;  // the next one of the slot table
  PagePins pins_;
  std::vector<Block> blocks_;  // of the page at hand
  size_t at_ = 0, alone_until_ = 0;
  uint64_t blocks_before_ = 0, blocks_all_ = 0;
  std::map<SetId, SetDigest> digests_;
};

}  // namespace

Severity Report::worst() const {
  Severity worst = Severity::note;
  for (const Finding& finding : findings) worst = std::max(worst, finding.severity);
  return blocks_damaged > 0 ? Severity::damage : worst;
}

void Report::add(Severity severity, std::string place, std::string explanation,
                 std::string advice) {
  if (findings.size() >= findings_max) {
    findings_omitted++;
    return;
  }
  findings.push_back({severity, std::move(place), std::move(explanation), std::move(advice)});
}

void check(io::Host& host, std::unique_ptr<io::Disk> disk, const CheckOptions& options,
           Callback<void(Result<Report>)> done) {
  std::make_shared<Checker>(host, std::move(disk), options, std::move(done))->run();
}

std::optional<Location> locate(const Store& store, ObjectId id, uint16_t block) {
  const auto& impl = static_cast<const StoreImpl&>(store);
  const State& state = impl.state();
  const Object* object = state.find(id);
  if (object == nullptr || block >= limits::blocks_per_object || object->slot(block) == no_slot)
    return std::nullopt;
  const uint32_t slot = object->slot(block);
  const auto owner = look_up(impl, slot);
  if (!owner) return std::nullopt;
  return Location{state.table().slot_offset(slot), Version::from_packed(owner->version), owner->crc,
                  impl.is_proven(slot), owner->lost()};
}

Result<BlockName> parse_block_name(std::string_view text) {
  const auto malformed = [&] {
    return Error(Code::invalid,
                 "'" + std::string(text) + "' is not VOLUME:OBJECT:BLOCK, three numbers");
  };
  const size_t first = text.find(':');
  const size_t second = first == text.npos ? text.npos : text.find(':', first + 1);
  if (second == text.npos) return malformed();
  const auto volume = parse_number(text.substr(0, first), UINT32_MAX);
  const auto object = parse_number(text.substr(first + 1, second - first - 1), UINT32_MAX);
  const auto block = parse_number(text.substr(second + 1), limits::blocks_per_object - 1);
  if (!volume.ok() || !object.ok() || !block.ok()) return malformed();
  return BlockName{{static_cast<VolumeId>(*volume), static_cast<uint32_t>(*object)},
                   static_cast<uint16_t>(*block)};
}

void locate(io::Host& host, std::unique_ptr<io::Disk> disk, BlockName block,
            Callback<void(Result<Location>)> done) {
  struct Call {
    BlockName block;
    std::unique_ptr<Store> store;
    Callback<void(Result<Location>)> done;
    Result<Location> outcome = Error(Code::not_found, "");
  };
  auto call = std::make_shared<Call>(Call{block, nullptr, std::move(done)});
  Options options;
  options.verify_only = true;
  Store::open(host, std::move(disk), options, [&host, call](Result<std::unique_ptr<Store>> opened) {
    if (!opened.ok()) {
      call->done.call_once(std::move(opened).error());
      return;
    }
    call->store = std::move(opened).value();
    auto& impl = static_cast<StoreImpl&>(*call->store);
    Slots slots;
    need_block(impl.state(), call->block.object, call->block.block, slots);
    impl.loader().load(impl.disk(), pages_of(slots), [&host, call](Result<PagePins> loaded) {
      call->outcome = Error(Code::not_found, "the block holds no data on this disk");
      if (!loaded.ok())
        call->outcome = std::move(loaded).error();
      else if (const auto found = locate(*call->store, call->block.object, call->block.block))
        call->outcome = *found;
      // From a turn of its own: the disk may be in the middle of a completion.
      host.reactor.post([call] {
        call->store.reset();
        call->done.call_once(std::move(call->outcome));
      });
    });
  });
}

}  // namespace sp::store
