#include "sim/administrators.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <utility>

#include "api/fields.h"
#include "base/checksum.h"
#include "base/limits.h"

namespace sp::sim {

namespace {

using std::chrono::milliseconds;
using Answer = Management::Answer;
using Call = Management::Call;
using Outcome = Success::Outcome;

constexpr const char* template_name = "work";
constexpr const char* bucket_name = "control";
constexpr uint32_t tries_max = 6;
constexpr size_t volumes_max = 3;
constexpr uint64_t size_first = 8u << 20;
constexpr auto clear_pause = milliseconds(200);

Outcome outcome_of(const Answer& answer) {
  switch (answer.kind) {
    case Answer::Kind::success: return Outcome::success;
    case Answer::Kind::refused: return Outcome::refused;
    case Answer::Kind::unknown: return Outcome::unknown;
  }
  SP_UNREACHABLE();
}

// 0 for what is no number, such as "-".
uint64_t number_in(std::string_view text) {
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

class Administrators::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(Cluster& cluster, uint32_t count, io::Duration pause_mean)
      : cluster_(cluster),
        pause_mean_(pause_mean),
        random_(mix64(cluster.world.seed() ^ 0xad31u)),
        lanes_(count) {
    pair_ = success_.add("the pair of the bucket");
    template_size_ = success_.add("the size of the template");
    template_limit_ = success_.add("the limit of the template");
    for (size_t i = 0; i < count; ++i) lanes_[i].process = i % cluster.management.count();
  }

  void start() {
    cluster_.management.call(Management::post(std::string("KV/Create/") + bucket_name), tries_max,
                             [](const Answer&) {});
    for (size_t lane = 0; lane < lanes_.size(); ++lane) next(lane);
  }

  void clear() {
    clearing_ = true;
    if (lanes_.empty()) cleared_ = true;
  }

  const Success& success() const { return success_; }
  bool cleared() const { return cleared_; }
  std::string waits_for() const { return waits_for_; }

 private:
  struct Lane {
    size_t process = 0;  // which it asks first
    bool busy = false;
  };
  struct Volume {
    uint32_t number = 0;
    Success::Register there = 0, size = 0, mark = 0, name = 0;
    std::string id;      // "~" and the global id; empty: not known
    bool clean = false;  // made once, for certain
    bool over = false;   // its deletion was asked for
    bool lent = false;   // perhaps
  };
  using Done = std::function<void(const Answer& answer, uint64_t sent)>;

  // A call and what follows

  void later(io::Duration pause, std::function<void()> work) {
    const auto box = std::make_shared<std::function<void()>>(std::move(work));
    cluster_.world.at(pause, [weak = weak_from_this(), box] {
      if (weak.lock()) (*box)();
    });
  }

  void next(size_t lane) {
    lanes_[lane].busy = false;
    const auto pause = io::Duration(
        static_cast<int64_t>(random_.below(2 * static_cast<uint64_t>(pause_mean_.count()))));
    later(pause, [this, lane] {
      if (clearing_) return clear_step();
      lanes_[lane].busy = true;
      act(lane);
    });
  }

  void send(size_t lane, const Call& call, uint32_t tries, Done done) {
    const uint64_t sent = success_.now();
    const io::Duration patience = milliseconds(1000 + random_.below(6000));
    cluster_.management.ask(
        lanes_[lane].process, call, patience,
        [self = shared_from_this(), this, lane, call, tries, sent, done](const Answer& answer) {
          cluster_.note("administrator " + std::to_string(lane) + ": " + call.path + " " +
                        call.json + ": " + (answer.ok() ? "done" : answer.error));
          if (answer.ok()) success_.generation(answer.generation, sent);
          if (tries <= 1 || !may_succeed_later(answer)) return done(answer, sent);
          lanes_[lane].process = (lanes_[lane].process + 1) % cluster_.management.count();
          // What one leader had no room for another one may have taken before.
          const bool unknown = answer.kind == Answer::Kind::unknown;
          const Done then = !unknown ? done : [done](Answer last, uint64_t last_sent) {
            if (last.kind == Answer::Kind::refused) last.kind = Answer::Kind::unknown;
            done(last, last_sent);
          };
          later(milliseconds(20 + random_.below(300)),
                [this, lane, call, tries, then] { send(lane, call, tries - 1, then); });
        });
  }

  // `then` may look at the answer before the lane goes on.
  void change(size_t lane, Success::Register reg, uint64_t value, const Call& call,
              std::function<void(const Answer&)> then = {}) {
    send(lane, call, tries_max, [this, lane, reg, value, then](const Answer& answer, uint64_t) {
      success_.ended(reg, value, outcome_of(answer));
      if (then) then(answer);
      next(lane);
    });
  }

  void write(size_t lane, Success::Register reg, uint64_t value, const Call& call,
             std::function<void(const Answer&)> then = {}) {
    success_.started(reg, value);
    change(lane, reg, value, call, std::move(then));
  }

  // What they do

  void act(size_t lane) {
    const uint64_t draw = random_.below(100);
    if (draw < 14) return create(lane);
    if (draw < 48) return change_volume(lane, draw);
    if (draw < 54) return lend(lane);
    if (draw < 58) return take_back(lane);
    if (draw < 65) return set_pair(lane, std::nullopt);
    if (draw < 74) return set_pair_on_condition(lane);
    if (draw < 79) return change_template(lane);
    look(lane, draw, [this, lane] { next(lane); });
  }

  Volume* any_volume() {
    std::vector<Volume*> known;
    for (Volume& volume : volumes_) {
      if (!volume.id.empty() && !volume.over) known.push_back(&volume);
    }
    return known.empty() ? nullptr : known[random_.below(known.size())];
  }

  void create(size_t lane) {
    const auto count = std::count_if(volumes_.begin(), volumes_.end(),
                                     [](const Volume& volume) { return !volume.over; });
    if (static_cast<size_t>(count) >= volumes_max) return next(lane);
    Volume& volume = volumes_.emplace_back();
    volume.number = static_cast<uint32_t>(volumes_.size());
    const std::string text = "volume c" + std::to_string(volume.number);
    volume.there = success_.add("whether " + text + " is there");
    create_again(lane, volume.number - 1, true);
  }

  void create_again(size_t lane, size_t place, bool first) {
    const std::string number = std::to_string(place + 1);
    const uint64_t value = ++value_last_;
    api::Json json;
    json.begin_object().put("name", "c" + number).put("template", template_name);
    json.put_number("size", size_first).key("tags").begin_object();
    json.put("made", std::to_string(value)).put("n", number).end_object().end_object();
    const Call call = Management::post("VolumeCreate", json.take());
    success_.started(volumes_[place].there, value);
    send(lane, call, tries_max, [this, lane, place, value, first](const Answer& answer, uint64_t) {
      Volume& volume = volumes_[place];
      success_.ended(volume.there, value, outcome_of(answer));
      volume.clean = first && answer.ok();
      if (answer.ok()) know(volume, "~" + answer.data["globalId"].text_or_empty());
      if (answer.kind == Answer::Kind::refused && first) volume.over = true;
      // Once it was seen, others may have deleted it: then it would be another one.
      const bool again = volume.id.empty() && answer.kind == Answer::Kind::unknown && first &&
                         random_.below(2) == 0;
      if (again) return create_again(lane, place, false);
      next(lane);
    });
  }

  // An id that is new has registers of its own.
  void know(Volume& volume, const std::string& id) {
    if (volume.id == id) return;
    volume.id = id;
    volume.size = success_.add("the size of volume " + id);
    volume.mark = success_.add("the tag of volume " + id);
    volume.name = success_.add("the name of volume " + id);
  }

  void change_volume(size_t lane, uint64_t draw) {
    Volume* const volume = any_volume();
    if (volume == nullptr) return next(lane);
    if (draw >= 42) return remove(lane, *volume);
    const uint64_t value = ++value_last_;
    const std::string path = "VolumeUpdate/" + volume->id;
    api::Json json;
    json.begin_object();
    if (draw < 26) {
      const uint64_t size = size_first + value * limits::block_bytes;
      json.put_number("size", size).end_object();
      return write(lane, volume->size, value, Management::post(path, json.take()),
                   [this, id = volume->id, size](const Answer& answer) {
                     if (answer.ok()) check_size_in_force(id, size);
                   });
    }
    if (draw < 36 || !volume->clean) {
      json.key("tags").begin_object().put("mark", std::to_string(value)).end_object().end_object();
      return write(lane, volume->mark, value, Management::post(path, json.take()));
    }
    json.put("rename", "c" + std::to_string(volume->number) + "x" + std::to_string(value));
    json.end_object();
    write(lane, volume->name, value, Management::post(path, json.take()));
  }

  // A guest takes it by force: from another one, too, while that one writes.
  void lend(size_t lane) {
    Volume* const volume = any_volume();
    const size_t guest = random_.below(cluster_.setup.guests);
    const map::Map* const map = cluster_.newest_map();
    const map::Volume* const row =
        volume == nullptr || map == nullptr ? nullptr : volume_by(*map, volume->id);
    if (row != nullptr) {
      volume->lent = true;
      cluster_.lend(guest, row->id);
    }
    next(lane);
  }

  void take_back(size_t lane) {
    std::vector<size_t> lent;
    for (const Volume& volume : volumes_) {
      if (volume.lent && !volume.over) lent.push_back(volume.number - 1);
    }
    if (lent.empty()) return next(lane);
    take_back(lane, lent[random_.below(lent.size())], [this, lane] { next(lane); });
  }

  // From whoever has it, by force, while it is written to.
  void take_back(size_t lane, size_t place, std::function<void()> then) {
    const std::string id = volumes_[place].id;
    const uint64_t asked = cluster_.history.next();
    send(lane,
         Management::post("VolumesReassign",
                          R"([{"volume":")" + id + R"(","detach":"all","force":true}])"),
         tries_max, [this, id, asked, then](const Answer& answer, uint64_t) {
           const map::Map* const map = cluster_.newest_map();
           const map::Volume* const row = map == nullptr ? nullptr : volume_by(*map, id);
           if (answer.ok() && row != nullptr) cluster_.detached(row->id, asked);
           then();
         });
  }

  void remove(size_t lane, Volume& volume) {
    volume.over = true;
    if (!volume.lent) return remove_now(lane, volume);
    take_back(lane, volume.number - 1, [this, lane, &volume] { remove_now(lane, volume); });
  }

  void remove_now(size_t lane, Volume& volume) {
    const uint64_t value = ++value_last_;
    success_.removal_started(volume.there, value);
    change(lane, volume.there, value, Management::post("VolumeDelete/" + volume.id),
           [this, id = volume.id](const Answer& answer) {  // of that name there may be a new one
             if (answer.ok()) check_gone(id);
           });
  }

  void change_template(size_t lane) {
    // Below level 2 one of two changes at once may be lost (PutTemplate in map/command.h).
    const map::Map* const map = cluster_.newest_map();
    if (map == nullptr || map->cluster.feature_level < 2) return next(lane);
    const uint64_t value = ++value_last_;
    const bool size = random_.below(2) == 0;
    api::Json json;
    json.begin_object();
    if (size)
      json.put_number("size", value * limits::block_bytes);
    else
      json.put_number("bw", value);
    write(lane, size ? template_size_ : template_limit_, value,
          Management::post(std::string("VolumeTemplateUpdate/") + template_name,
                           json.end_object().take()));
  }

  // The bucket

  void set_pair(size_t lane, std::optional<uint64_t> version) {
    const uint64_t value = ++value_last_;
    api::Json json;
    json.begin_object().key("set").begin_object().put("k", std::to_string(value)).end_object();
    if (version) json.put_number("runIfVersionIs", *version);
    const Call call =
        Management::post(std::string("KV/Set/") + bucket_name, json.end_object().take());
    success_.started(pair_, value);
    send(lane, call, tries_max, [this, lane, value, version](const Answer& answer, uint64_t) {
      success_.ended(pair_, value, outcome_of(answer));
      success_.set_ended(value, version, outcome_of(answer));
      if (answer.error != "versionMismatch") return next(lane);
      read_pair(lane, [this, lane, version](std::optional<uint64_t> now) {
        if (now) success_.mismatch_confirmed(*version, *now);
        next(lane);
      });
    });
  }

  void set_pair_on_condition(size_t lane) {
    read_pair(lane, [this, lane](std::optional<uint64_t> version) {
      if (!version) return next(lane);
      // So that others come in between.
      later(milliseconds(random_.below(100)), [this, lane, version] { set_pair(lane, version); });
    });
  }

  void read_pair(size_t lane, std::function<void(std::optional<uint64_t> version)> then) {
    send(lane, Management::get(std::string("KV/List/") + bucket_name), tries_max,
         [this, then](const Answer& answer, uint64_t sent) {
           if (!answer.ok()) return then(std::nullopt);
           const auto version = static_cast<uint64_t>(answer.data["version"].integer_or_zero());
           const uint64_t value = number_in(answer.data["pairs"]["k"].text_or_empty());
           success_.found(pair_, value, sent);
           success_.bucket_found(version, value, sent);
           then(version);
         });
  }

  // What they see

  void look(size_t lane, uint64_t draw, std::function<void()> then) {
    if (draw % 3 == 0) return read_pair(lane, [then](std::optional<uint64_t>) { then(); });
    const bool list = draw % 3 == 1;
    send(lane,
         Management::get(list ? "VolumesList"
                              : std::string("VolumeTemplateDescribe/") + template_name),
         tries_max, [this, list, then](const Answer& answer, uint64_t sent) {
           if (answer.ok() && list) found_volumes(answer.data, sent);
           if (answer.ok() && !list) {
             success_.found(template_size_,
                            number_in(answer.data["size"].text_or_empty()) / limits::block_bytes,
                            sent);
             success_.found(template_limit_, number_in(answer.data["bw"].text_or_empty()), sent);
           }
           then();
         });
  }

  void found_volumes(const api::Value& list, uint64_t sent) {
    std::map<uint64_t, const api::Value*> rows;
    for (const api::Value& row : list.elements())
      rows[number_in(row["tags"]["n"].text_or_empty())] = &row;
    for (Volume& volume : volumes_) {
      const auto at = rows.find(volume.number);
      if (at == rows.end()) {
        success_.found(volume.there, 0, sent);
        continue;
      }
      const api::Value& row = *at->second;
      success_.found(volume.there, number_in(row["tags"]["made"].text_or_empty()), sent);
      const std::string id = "~" + row["globalId"].text_or_empty();
      if (volume.id.empty()) know(volume, id);
      if (volume.id != id) continue;
      const auto size = static_cast<uint64_t>(row["size"].integer_or_zero());
      success_.found(volume.size, (size - size_first) / limits::block_bytes, sent);
      success_.found(volume.mark, number_in(row["tags"]["mark"].text_or_empty()), sent);
      const std::string name = row["name"].text_or_empty();
      const size_t x = name.find('x');
      success_.found(volume.name, x == name.npos ? 0 : number_in(name.substr(x + 1)), sent);
    }
  }

  // In force, which whoever cannot be reached is waited for by clocks.

  void check_size_in_force(const std::string& id, uint64_t size) {
    if (!cluster_.setup.leases_hold) return;
    cluster_.each_serving([&](const std::string& server, const map::Map& map) {
      const map::Volume* const row = volume_by(map, id);
      if (row != nullptr && row->size_bytes < size)
        success_.fail(id + " was made larger with success, and " + server +
                      " serves it with its old size");
    });
  }

  void check_gone(const std::string& id) {
    if (!cluster_.setup.leases_hold) return;
    cluster_.each_serving([&](const std::string& server, const map::Map& map) {
      if (volume_by(map, id) != nullptr)
        success_.fail(id + " was deleted with success, and " + server + " serves it");
    });
  }

  static const map::Volume* volume_by(const map::Map& map, const std::string& id) {
    const auto found = api::find_volume(map, id);
    return found.ok() ? *found : nullptr;
  }

  // The end

  void clear_step() {
    const bool busy =
        std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) { return lane.busy; });
    if (busy || sweeping_) return;
    sweeping_ = true;
    cluster_.end_guests();
    sweep();
  }

  void sweep() {
    waits_for_ = "the list of volumes";
    send(0, Management::get("VolumesList"), tries_max, [this](const Answer& answer, uint64_t sent) {
      if (!answer.ok()) return later(clear_pause, [this] { sweep(); });
      found_volumes(answer.data, sent);
      for (const api::Value& row : answer.data.elements()) {
        const uint64_t number = number_in(row["tags"]["n"].text_or_empty());
        if (number == 0) continue;
        Volume& volume = volumes_[number - 1];
        const std::string id = "~" + row["globalId"].text_or_empty();
        const uint64_t value = ++value_last_;
        success_.removal_started(volume.there, value);
        waits_for_ = "the deletion of volume " + id;
        return send(0, Management::post("VolumeDelete/" + id), tries_max,
                    [this, &volume, value](const Answer& deleted, uint64_t) {
                      waits_for_ += ": " + deleted.error + " " + deleted.text;
                      success_.ended(volume.there, value, outcome_of(deleted));
                      later(deleted.ok() ? io::Duration() : io::Duration(clear_pause),
                            [this] { sweep(); });
                    });
      }
      look_last(0);
    });
  }

  void look_last(uint64_t draw) {
    if (draw == 3) {
      cleared_ = true;
      return;
    }
    look(0, draw, [this, draw] { look_last(draw + 1); });
  }

  Cluster& cluster_;
  io::Duration pause_mean_;
  io::SeededRandom random_;
  Success success_;
  std::vector<Lane> lanes_;
  std::deque<Volume> volumes_;  // [number - 1]
  Success::Register pair_, template_size_, template_limit_;
  uint64_t value_last_ = 0;
  bool clearing_ = false, sweeping_ = false, cleared_ = false;
  std::string waits_for_ = "an administrator";
};

Administrators::Administrators(Cluster& cluster, uint32_t count, io::Duration pause_mean)
    : impl_(std::make_shared<Impl>(cluster, count, pause_mean)) {}
Administrators::~Administrators() = default;
void Administrators::start() { impl_->start(); }
void Administrators::clear() { impl_->clear(); }
bool Administrators::cleared() const { return impl_->cleared(); }
std::string Administrators::waits_for() const { return impl_->waits_for(); }
const Success& Administrators::success() const { return impl_->success(); }

}  // namespace sp::sim
