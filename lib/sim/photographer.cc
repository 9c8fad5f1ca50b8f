#include "sim/photographer.h"

#include <algorithm>
#include <functional>
#include <set>

#include "base/checksum.h"
#include "base/limits.h"
#include "io/random.h"
#include "sim/sealed_blocks.h"

namespace sp::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr auto look_again = milliseconds(20), try_again = milliseconds(200);
constexpr auto unknown_kept = seconds(5);  // a command of unknown outcome may still be applied
constexpr uint8_t instance_first = 30, instances_per_lane = 8;
constexpr uint32_t clone_steps = 12, blocks_looked_at_max = 96, range_max = 40;

uint64_t crc_of(Bytes block) { return crc64(block); }
uint64_t crc_of_zeros() {
  static const uint64_t crc = crc64(std::vector<std::byte>(limits::block_bytes));
  return crc;
}

}  // namespace

// One after the other: a picture is taken, looked at, perhaps cloned, and thrown away.
class Photographer::Lane {
 public:
  Lane(Cluster& cluster, const Options& options, uint32_t number)
      : cluster_(cluster),
        options_(options),
        random_(mix64(options.seed ^ (0x9707ull + number))),
        number_(number),
        node_(client_node(cluster)),
        host_(cluster.world.add_host("camera." + std::to_string(number), cluster.node(node_).ip)),
        timer_(host_.host().reactor) {}

  void start() {
    join();
    pause();
  }
  void clear() {
    clearing_ = true;
    if (resting_) clean_up();
  }
  bool cleared() const { return member_ == nullptr || cleared_; }
  std::string waits_for() const {
    if (attempt_ != nullptr) return doing_ + " (" + attempt_->waits_for() + ")";
    return doing_;
  }
  const std::string& failure() const { return failure_; }
  uint64_t taken() const { return taken_; }

 private:
  using Next = std::function<void()>;
  struct Picture {
    VolumeId source = 0, snapshot = 0;
    std::string name;
    std::vector<uint64_t> blocks;
    std::map<uint64_t, uint64_t> content;  // block -> checksum
  };
  using Expected = std::map<uint64_t, std::set<uint64_t>>;  // by block; one of these checksums

  static NodeId client_node(const Cluster& cluster) { return cluster.clients.front().node; }

  member::Options member_options(uint8_t instance) {
    member::Options options;
    client::StandaloneOptions standalone = cluster_.standalone_options(node_);
    options.key = standalone.key;
    options.self.cluster = standalone.cluster;
    options.self.service = {ServiceKind::client, node_,
                            static_cast<uint8_t>(first_instance() + instance)};
    options.self.start_id = host_.host().random.number() | 1;
    options.self.versions = standalone.versions;
    options.beacons = standalone.beacons;
    options.registration.id = options.self.service;
    options.registration.start_id = options.self.start_id;
    return options;
  }
  uint8_t first_instance() const {
    return static_cast<uint8_t>(instance_first + number_ * instances_per_lane);
  }

  void join() {
    member::Member::Events events;
    events.map_changed = [this](const std::vector<map::Change>&) { ++maps_; };
    versions_ = cluster_.standalone_options(node_).versions;
    member_ = member::Member::start(host_.host(), member_options(0), std::move(events));
  }
  // It was upgraded with its node: the process is started anew.
  bool is_older() const { return versions_ != cluster_.standalone_options(node_).versions; }

  void fail(const std::string& why) {
    if (failure_.empty()) failure_ = why;
  }
  void after(io::Duration time, Next next) {
    timer_.arm(time, [next = std::move(next)] { next(); });
  }
  const map::Map& map() const { return member_->map(); }

  void pause() {
    doing_ = "nothing";
    resting_ = true;
    after(milliseconds(
              1 + random_.below(
                      2 * std::chrono::duration_cast<milliseconds>(options_.pause_mean).count())),
          [this] {
            if (is_older()) {
              join();
              return pause();
            }
            if (clearing_) return clean_up();
            resting_ = false;
            take();
          });
  }

  // Taking

  void take() {
    pictures_.clear();
    if (map().cluster.feature_level < 3) return pause();
    const bool all = random_.below(3) == 0;
    for (const VolumeId volume : cluster_.volumes)
      if (all || random_.below(2) == 0) pictures_.push_back(new_picture(volume));
    if (pictures_.empty()) pictures_.push_back(new_picture(cluster_.volumes.front()));
    asked_ = cluster_.history.next();
    open_cut([this](bool taken) {
      if (!taken) return pause();
      taken_at_ = cluster_.history.next();
      taken_ += pictures_.size();
      for (Picture& picture : pictures_) picture.blocks = cluster_.history.blocks(picture.source);
      look_at(0, [this] { looked(); });
    });
  }

  Picture new_picture(VolumeId source) {
    Picture picture;
    picture.source = source;
    picture.name = "p." + std::to_string(number_) + "." + std::to_string(++names_) + "@" +
                   std::to_string(source);
    return picture;
  }

  void open_cut(std::function<void(bool taken)> done) {
    std::string items;
    for (const Picture& picture : pictures_)
      items += std::string(items.empty() ? "" : ",") + R"({"volume":")" +
               map().volumes.at(picture.source).name + R"(","name":")" + picture.name + R"("})";
    doing_ = "a snapshot of volume " + std::to_string(pictures_.front().source);
    cut_done_ = std::move(done);
    given_up_at_ = {INT64_MAX};
    told_taken_at_ = UINT64_MAX;
    cluster_.administrate(
        Management::post("VolumesGroupSnapshot", R"({"volumes":[)" + items + "]}"),
        [this](const Management::Answer& answer) {
          // Refused: perhaps somebody else takes one. Else it may come yet.
          if (answer.ok())
            told_taken_at_ = answer.generation;
          else if (answer.kind == Management::Answer::Kind::refused)
            given_up_at_ = {};
          else
            given_up_at_ = host_.host().clock.now() + io::Duration(unknown_kept);
          watch_cut();
        });
  }

  void watch_cut() {
    size_t there = 0, open = 0;
    for (Picture& picture : pictures_) {
      const map::Volume* const row = map().find_volume(picture.name);
      if (row == nullptr) continue;
      picture.snapshot = row->id;
      ++there;
      open += map::in_open_cut(map(), row->id) ? 1 : 0;
    }
    if (there != 0 && there != pictures_.size())
      return fail("snapshots: only " + std::to_string(there) + " of a group are there");
    if (map().index >= told_taken_at_ && (there == 0 || open != 0))
      return fail("snapshots: " + doing_ + " was said to be taken, and is not");
    if (there == 0 && host_.host().clock.now() >= given_up_at_) return cut_done_(false);
    if (there != 0 && open == 0) return cut_done_(true);
    after(look_again, [this] { watch_cut(); });
  }

  // Looking

  void look_at(size_t index, Next next) {
    if (index == pictures_.size()) return next();
    const Picture& picture = pictures_[index];
    with_volume(picture.snapshot, map::Rights::read_only, [this, index, next = std::move(next)] {
      read_blocks(index, 0, [this, index, next] {
        give_back([this, index, next] { look_at(index + 1, next); });
      });
    });
  }

  void read_blocks(size_t index, size_t at, Next next) {
    Picture& picture = pictures_[index];
    if (at == picture.blocks.size()) return next();
    const uint64_t block = picture.blocks[at];
    doing_ = "block " + std::to_string(block) + " of snapshot " + std::to_string(picture.snapshot) +
             " of volume " + std::to_string(picture.source);
    attached_->volume().read(block * limits::block_bytes,
                             buffer_.mutable_bytes().first(limits::block_bytes),
                             [this, index, at, next = std::move(next)](const Status& status) {
                               if (status.ok())
                                 have_read(pictures_[index], pictures_[index].blocks[at]);
                               // One that every copy has damaged is told of, and excused by others.
                               read_blocks(index, at + 1, next);
                             });
  }

  void have_read(Picture& picture, uint64_t block) {
    const Bytes bytes = buffer_.bytes().first(limits::block_bytes);
    const BlockKey key{picture.source, block};
    const uint64_t crc = crc_of(bytes);
    const auto [known, first] = picture.content.emplace(block, crc);
    if (!first) {
      if (known->second != crc)
        fail("snapshots: " + doing_ + " is not what it was when it was looked at first");
      return;
    }
    const auto stamp = cluster_.load_of(picture.source) == LoadChoice::stamps
                           ? decode_stamp(bytes, key)
                           : seal_of(bytes, key);
    if (!stamp) return fail("snapshots: " + doing_ + " is something that nobody wrote there");
    stamps_[key] = *stamp;
  }

  void looked() {
    if (cluster_.setup.leases_hold) {
      const std::string wrong = cluster_.history.judge_cut(stamps_, asked_, taken_at_);
      if (!wrong.empty()) return fail("snapshots: " + wrong);
    }
    stamps_.clear();
    const uint64_t choice = random_.below(4);
    if (choice == 0) return throw_away(0);
    after(milliseconds(random_.below(1500)), [this, choice] {
      look_at(0, [this, choice] { choice == 1 ? throw_away(0) : make_clone(); });
    });
  }

  void throw_away(size_t index) {
    if (index == pictures_.size()) return pause();
    remove(pictures_[index].snapshot, [this, index] { throw_away(index + 1); });
  }

  // Calls whose effect can be seen in the map, again until it is.

  struct Change {
    Management::Call call;
    std::function<bool()> is_done;
    Next next;
  };
  void change(Management::Call call, std::function<bool()> is_done, Next next) {
    doing_ = call.path;
    send(std::make_shared<Change>(Change{std::move(call), std::move(is_done), std::move(next)}));
  }
  void send(const std::shared_ptr<Change>& change) {
    if (change->is_done()) return change->next();
    cluster_.administrate(change->call, [this, change](const Management::Answer& answer) {
      if (!answer.ok()) doing_ = change->call.path + ": " + answer.text;
      after(answer.ok() ? look_again : try_again, [this, change] { send(change); });
    });
  }
  void remove(VolumeId volume, Next next) {
    const auto row = map().volumes.find(volume);
    if (row == map().volumes.end()) return next();
    const char* const call = map::is_snapshot(map(), volume) ? "SnapshotDelete/" : "VolumeDelete/";
    change(
        Management::post(call + row->second.name),
        [this, volume] { return map().volumes.count(volume) == 0; }, std::move(next));
  }

  // Attachments

  void with_volume(VolumeId volume, map::Rights rights, Next next) {
    doing_ = "volume " + std::to_string(volume) + " is attached";
    client::StandaloneOptions options = cluster_.standalone_options(node_);
    options.volume = "~" + std::to_string(volume);
    options.rights = rights;
    options.instance =
        static_cast<uint8_t>(first_instance() + 1 + ++attached_count_ % (instances_per_lane - 1));
    attempt_ = client::Standalone::attach(
        host_.host(), std::move(options),
        [this, volume, rights,
         next = std::move(next)](Result<std::unique_ptr<client::Standalone>> result) mutable {
          if (result.ok()) {
            attached_ = std::move(result).value();
            return next();
          }
          doing_ = result.error().message();
          after(try_again, [this, volume, rights, next = std::move(next)] {
            attempt_.reset();
            with_volume(volume, rights, next);
          });
        });
  }
  void give_back(Next next) {
    doing_ = "a volume is detached";
    attached_->detach([this, next = std::move(next)](const Status&) {
      // Lost or not: with its process the attachment goes as well.
      after(milliseconds(1), [this, next] {
        attempt_.reset();
        attached_.reset();
        next();
      });
    });
  }

  // A clone, of which the whole history is known: nobody else works on it.

  void make_clone() {
    const Picture& picture = pictures_[random_.below(pictures_.size())];
    const std::string name = "p." + std::to_string(number_) + "." + std::to_string(++names_);
    blocks_ = picture.blocks;
    expected_.clear();
    for (const auto& [block, crc] : picture.content) expected_[block] = {crc};
    // Those that could not be read: anything.
    std::erase_if(blocks_, [&](uint64_t block) { return expected_.count(block) == 0; });
    if (blocks_.size() > blocks_looked_at_max) blocks_.resize(blocks_looked_at_max);
    if (blocks_.empty()) return throw_away(0);
    const auto call = Management::post(
        "VolumeCreate", R"({"name":")" + name + R"(","parent":")" + picture.name + R"("})");
    change(
        call, [this, name] { return map().find_volume(name) != nullptr; },
        [this, name] {
          clone_ = map().find_volume(name)->id;
          saved_ = 0;
          dropped_ = false;
          work_on_clone();
        });
  }

  void work_on_clone() {
    with_volume(clone_, map::Rights::read_write, [this] { clone_step(clone_steps); });
  }

  void clone_step(uint32_t left) {
    if (left == 0) return verify(0, [this] { give_back([this] { after_clone(); }); });
    const uint64_t first = blocks_[random_.below(blocks_.size())];
    const uint64_t end = attached_->volume().size_bytes() / limits::block_bytes;
    const uint64_t count = std::min<uint64_t>(
        1 + random_.below(random_.below(4) == 0 ? range_max : 3), end - std::min(end, first));
    if (count == 0) return clone_step(left - 1);
    doing_ = "block " + std::to_string(first) + " of clone " + std::to_string(clone_);
    const MutableBytes bytes = buffer_.mutable_bytes().first(count * limits::block_bytes);
    std::vector<uint64_t> made(count, crc_of_zeros());
    const auto kind = random_.below(3);
    if (kind == 0) {
      for (uint64_t i = 0; i < count; ++i) {
        const MutableBytes block = bytes.subspan(i * limits::block_bytes, limits::block_bytes);
        encode_stamp(block, {clone_, first + i}, ++cluster_.last_stamp);
        made[i] = crc_of(block);
      }
    }
    auto done = [this, left, first,
                 made = std::make_unique<std::vector<uint64_t>>(made)](const Status& status) {
      for (uint64_t i = 0; i < made->size(); ++i) {
        auto& one_of = expected_.try_emplace(first + i, std::set{crc_of_zeros()}).first->second;
        if (status.ok()) one_of.clear();
        one_of.insert((*made)[i]);
      }
      clone_step(left - 1);
    };
    const uint64_t offset = first * limits::block_bytes, size = count * limits::block_bytes;
    if (kind == 0) return attached_->volume().write(offset, bytes, std::move(done));
    if (kind == 1) return attached_->volume().discard(offset, size, std::move(done));
    read_range(first, count, [this, left] { clone_step(left - 1); });
  }

  void read_range(uint64_t first, uint64_t count, Next next) {
    attached_->volume().read(first * limits::block_bytes,
                             buffer_.mutable_bytes().first(count * limits::block_bytes),
                             [this, first, count, next = std::move(next)](const Status& status) {
                               if (status.ok()) compare(first, count);
                               next();
                             });
  }

  void compare(uint64_t first, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      const auto known = expected_.find(first + i);
      // Nobody knows what blocks hold that were written after the list was made.
      if (known == expected_.end()) continue;
      const uint64_t crc =
          crc_of(buffer_.bytes().subspan(i * limits::block_bytes, limits::block_bytes));
      if (known->second.count(crc) == 0)
        fail("snapshots: volume " + std::to_string(clone_) + " block " + std::to_string(first + i) +
             ": in a clone, is not what was written there");
      known->second = {crc};
    }
  }

  void verify(size_t at, Next next) {
    if (at == blocks_.size()) return next();
    doing_ = "block " + std::to_string(blocks_[at]) + " of clone " + std::to_string(clone_);
    read_range(blocks_[at], 1, [this, at, next = std::move(next)] { verify(at + 1, next); });
  }

  // What it stands on may go; a snapshot of it is taken, and taken back to.
  void after_clone() {
    if (!dropped_ && random_.below(2) == 0) {
      dropped_ = true;
      return drop_pictures(0);
    }
    if (saved_ == 0 && random_.below(2) == 0) return save_clone();
    if (saved_ != 0 && random_.below(3) != 0) return revert_clone();
    if (random_.below(3) == 0) return work_on_clone();
    end_clone();
  }

  void drop_pictures(size_t index) {
    if (index == pictures_.size()) {
      pictures_.clear();
      // The servers give back what the clone hides, while it is worked on.
      return after(milliseconds(random_.below(4000)), [this] { work_on_clone(); });
    }
    remove(pictures_[index].snapshot, [this, index] { drop_pictures(index + 1); });
  }

  void save_clone() {
    others_ = std::exchange(pictures_, {new_picture(clone_)});
    open_cut([this](bool taken) {
      saved_ = taken ? pictures_.front().snapshot : 0;
      if (taken) saved_expected_ = expected_;
      pictures_ = std::exchange(others_, {});
      taken_ += taken ? 1 : 0;
      work_on_clone();
    });
  }

  void revert_clone() {
    const VolumeId before = map::layer_of(map(), clone_);
    const auto call =
        Management::post("VolumeRevert/" + map().volumes.at(clone_).name,
                         R"({"toSnapshot":")" + map().volumes.at(saved_).name + R"("})");
    change(
        call, [this, before] { return map::layer_of(map(), clone_) != before; },
        [this] {
          expected_ = saved_expected_;
          remove(std::exchange(saved_, 0), [this] { work_on_clone(); });
        });
  }

  void end_clone() {
    const VolumeId saved = std::exchange(saved_, 0);
    remove(clone_, [this, saved] {
      if (saved == 0) return throw_away(0);
      remove(saved, [this] { throw_away(0); });
    });
  }

  // At the end: what commands of unknown outcome have left, too.
  void clean_up() {
    resting_ = false;
    doing_ = "what is left is deleted";
    const std::string mine = "p." + std::to_string(number_) + ".";
    for (const auto& [id, row] : map().volumes)
      if (row.name.starts_with(mine)) {
        if (map::in_open_cut(map(), id)) break;
        return remove(id, [this] { clean_up(); });
      }
    const bool open =
        std::any_of(map().volumes.begin(), map().volumes.end(),
                    [&](const auto& entry) { return entry.second.name.starts_with(mine); });
    cleared_ = !open;
    // With the process gone nothing of it is older than the cluster is to be.
    after(try_again, [this, open] { open ? clean_up() : member_.reset(); });
  }

  Cluster& cluster_;
  Options options_;
  io::SeededRandom random_;
  uint32_t number_;
  NodeId node_;
  io::SimHost& host_;
  io::Timer timer_;
  std::unique_ptr<member::Member> member_;
  std::unique_ptr<client::Standalone::Attempt> attempt_;
  std::unique_ptr<client::Standalone> attached_;
  Buffer buffer_ = Buffer::allocate(size_t{range_max} * limits::block_bytes);
  std::vector<Picture> pictures_, others_;
  std::map<BlockKey, uint64_t> stamps_;
  std::vector<uint64_t> blocks_;
  Expected expected_, saved_expected_;
  VolumeId clone_ = 0, saved_ = 0;
  bool dropped_ = false;
  std::function<void(bool)> cut_done_;
  io::Instant given_up_at_;
  uint64_t told_taken_at_ = UINT64_MAX;  // the index of the map
  uint64_t asked_ = 0, taken_at_ = 0, taken_ = 0;
  uint32_t names_ = 0, attached_count_ = 0;
  Versions versions_;
  uint64_t maps_ = 0;  // that were seen
  bool resting_ = false, clearing_ = false, cleared_ = false;
  std::string doing_, failure_;
};

Photographer::Photographer(Cluster& cluster, Options options) {
  for (uint32_t i = 0; i < options.count; ++i)
    lanes_.push_back(std::make_unique<Lane>(cluster, options, i));
}
Photographer::~Photographer() = default;

void Photographer::start() {
  for (auto& lane : lanes_) lane->start();
}
void Photographer::clear() {
  for (auto& lane : lanes_) lane->clear();
}
bool Photographer::cleared() const {
  return std::all_of(lanes_.begin(), lanes_.end(),
                     [](const auto& lane) { return lane->cleared(); });
}
std::string Photographer::waits_for() const {
  for (const auto& lane : lanes_)
    if (!lane->cleared()) return lane->waits_for();
  return "";
}
const std::string& Photographer::failure() const {
  static const std::string none;
  for (const auto& lane : lanes_)
    if (!lane->failure().empty()) return lane->failure();
  return none;
}
uint64_t Photographer::taken() const {
  uint64_t sum = 0;
  for (const auto& lane : lanes_) sum += lane->taken();
  return sum;
}

}  // namespace sp::sim
