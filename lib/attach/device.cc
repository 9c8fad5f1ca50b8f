#include "attach/device.h"

#include <algorithm>
#include <set>

#include "attach/links_linux.h"
#include "base/limits.h"

namespace sp::attach {

std::string_view way_name(Way way) {
  switch (way) {
    case Way::ublk: return "ublk";
    case Way::nbd: return "nbd";
    case Way::fuse: return "fuse";
  }
  SP_UNREACHABLE();
}

Result<Way> parse_way(std::string_view name) {
  for (const Way way : {Way::ublk, Way::nbd, Way::fuse})
    if (way_name(way) == name) return way;
  return Error(Code::invalid, "no way to attach is called " + std::string(name) +
                                  "; there are ublk, nbd and fuse");
}

AttachManager::AttachManager(io::Host& host, std::vector<std::unique_ptr<Driver>> drivers,
                             AttachOptions options)
    : host_(host), options_(std::move(options)), drivers_(std::move(drivers)) {
  SP_ASSERT(!drivers_.empty());
  for (const auto& each : drivers_)
    for (const uint64_t id : each->left_behind()) left_behind_.try_emplace(id, each->way());
}

AttachManager::~AttachManager() = default;

Driver* AttachManager::driver(Way way) const {
  for (const auto& each : drivers_)
    if (each->way() == way) return each.get();
  return nullptr;
}

Result<Driver*> AttachManager::choose(const AttachRequest& request) const {
  // What is there already is kept going, whatever would be chosen today.
  if (const auto found = left_behind_.find(request.id); found != left_behind_.end())
    return driver(found->second);
  if (!request.way) return drivers_.front().get();
  if (Driver* wanted = driver(*request.way); wanted != nullptr) return wanted;
  return Error(Code::not_found, "attaching by " + std::string(way_name(*request.way)) +
                                    " does not work on this host");
}

Status AttachManager::check(const AttachRequest& request) const {
  SP_ASSERT_OP(request.id, !=, 0u);
  for (const std::string& name : {request.name, request.id_text})
    if (name.empty() || name.size() > limits::name_bytes_max || name[0] == '.' ||
        name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
      return Error(Code::invalid, "\"" + name +
                                      "\" cannot be the name of a device: it must have 1 to " +
                                      std::to_string(limits::name_bytes_max) +
                                      " bytes, no '/', and no dot in front");
  for (const auto& [name, device] : devices_)
    if (name == request.name || device.id == request.id || device.id_text == request.id_text)
      return Error(Code::exists, "volume " + name + " is attached here already");
  return ok_status();
}

void AttachManager::attach(AttachRequest request, std::unique_ptr<client::BlockDevice> device,
                           Attached attached) {
  if (request.id_text.empty()) request.id_text = std::to_string(request.id);
  Status status = check(request);
  Driver* chosen = nullptr;
  if (status.ok()) {
    auto choice = choose(request);
    if (choice.ok())
      chosen = *choice;
    else
      status = std::move(choice).error();
  }
  if (!status.ok()) {
    struct Refusal {
      Attached attached;
      Error error;
    };
    auto refusal =
        std::make_unique<Refusal>(Refusal{std::move(attached), std::move(status).error()});
    host_.reactor.post(
        [refusal = std::move(refusal)] { refusal->attached.call_once(std::move(refusal->error)); });
    return;
  }
  const bool taken_over = left_behind_.erase(request.id) > 0;
  const DeviceSpec spec{request.id, request.read_only || device->read_only()};
  AttachedDevice& entry = devices_[request.name];
  entry.name = request.name;
  entry.id = request.id;
  entry.id_text = request.id_text;
  entry.path = options_.name_folder + "/" + request.name;
  entry.way = chosen->way();
  entry.read_only = spec.read_only;
  struct Pending {
    std::string name;
    Attached attached;
  };
  auto created = [this, pending = std::make_unique<Pending>(
                            Pending{request.name, std::move(attached)})](Result<std::string> node) {
    made(pending->name, std::move(node), std::move(pending->attached));
  };
  if (taken_over)
    chosen->take_over(spec, std::move(device), std::move(created));
  else
    chosen->create(spec, std::move(device), std::move(created));
}

void AttachManager::made(const std::string& name, Result<std::string> node, Attached attached) {
  AttachedDevice& device = devices_.at(name);
  if (!node.ok()) {
    host_.log.error("volume not attached", {{"name", name}, {"why", node.error().message()}});
    devices_.erase(name);
    return attached.call_once(std::move(node));
  }
  device.node = *node;
  device.state = AttachedDevice::State::attached;
  auto path = link(device);
  if (path.ok()) {
    host_.log.info(
        "volume attached",
        {{"name", name}, {"id", device.id}, {"node", device.node}, {"way", way_name(device.way)}});
    return attached.call_once(std::move(path));
  }
  // Without its names it is of no use to anybody.
  device.state = AttachedDevice::State::detaching;
  unlink(device);
  struct Pending {
    std::string name;
    Attached attached;
    Error error;
  };
  auto pending =
      std::make_unique<Pending>(Pending{name, std::move(attached), std::move(path).error()});
  driver(device.way)
      ->destroy(device.id, false, [this, pending = std::move(pending)](const Status& destroyed) {
        if (!destroyed.ok())
          host_.log.error("device left",
                          {{"name", pending->name}, {"why", destroyed.error().message()}});
        devices_.erase(pending->name);
        pending->attached.call_once(std::move(pending->error));
      });
}

Result<std::string> AttachManager::link(const AttachedDevice& device) const {
  SP_CHECK(set_link(options_.name_folder, device.name, device.node));
  SP_CHECK(set_link(options_.id_folder, device.id_text, device.node));
  return device.path;
}

void AttachManager::unlink(const AttachedDevice& device) {
  for (const Status& status : {remove_link(options_.name_folder, device.name),
                               remove_link(options_.id_folder, device.id_text)})
    if (!status.ok())
      host_.log.warning("link left", {{"name", device.name}, {"why", status.error().message()}});
}

void AttachManager::later(Done done, Status status) {
  struct Answer {
    Done done;
    Status status;
  };
  host_.reactor.post(
      [answer = std::make_unique<Answer>(Answer{std::move(done), std::move(status)})] {
        answer->done.call_once(std::move(answer->status));
      });
}

Result<AttachedDevice*> AttachManager::find(const std::string& name) {
  const auto found = devices_.find(name);
  if (found == devices_.end())
    return Error(Code::not_found, "volume " + name + " is not attached here");
  if (found->second.state != AttachedDevice::State::attached)
    return Error(Code::transient,
                 "volume " + name + " is just being attached or detached; try again");
  return &found->second;
}

void AttachManager::detach(const std::string& name, bool force, Done done) {
  auto found = find(name);
  if (!found.ok()) return later(std::move(done), std::move(found).error());
  AttachedDevice& device = **found;
  device.state = AttachedDevice::State::detaching;
  struct Pending {
    std::string name;
    Done done;
  };
  auto pending = std::make_unique<Pending>(Pending{name, std::move(done)});
  driver(device.way)
      ->destroy(device.id, force, [this, pending = std::move(pending)](Status status) {
        AttachedDevice& gone = devices_.at(pending->name);
        if (status.ok()) {
          unlink(gone);
          host_.log.info("volume detached", {{"name", gone.name}, {"id", gone.id}});
          devices_.erase(pending->name);
        } else {
          gone.state = AttachedDevice::State::attached;
          status = std::move(status).error().with("detach " + pending->name);
        }
        pending->done.call_once(std::move(status));
      });
}

void AttachManager::rename(const std::string& name, const std::string& new_name, Done done) {
  auto found = find(name);
  if (!found.ok()) return later(std::move(done), std::move(found).error());
  AttachedDevice device = **found;
  devices_.erase(name);
  AttachRequest request{new_name, device.id, device.id_text, device.read_only, device.way};
  Status status = check(request);
  if (status.ok()) status = set_link(options_.name_folder, new_name, device.node);
  if (status.ok()) {
    if (const auto removed = remove_link(options_.name_folder, name); !removed.ok())
      host_.log.warning("link left", {{"name", name}, {"why", removed.error().message()}});
    device.name = new_name;
    device.path = options_.name_folder + "/" + new_name;
  }
  const std::string key = device.name;
  devices_[key] = std::move(device);
  later(std::move(done), std::move(status));
}

void AttachManager::resized(const std::string& name, Done done) {
  auto found = find(name);
  if (!found.ok()) return later(std::move(done), std::move(found).error());
  driver((*found)->way)->resized((*found)->id, std::move(done));
}

Status AttachManager::remove_stale_links() {
  std::set<std::string> names, ids;
  for (const auto& [name, device] : devices_) {
    names.insert(name);
    ids.insert(device.id_text);
  }
  SP_CHECK(keep_only_links(options_.name_folder, names));
  return keep_only_links(options_.id_folder, ids);
}

struct AttachManager::Sweep {
  size_t remaining;
  Status first_error;
  Done done;
};

void AttachManager::take_down_left_behind(bool force, Done done) {
  if (left_behind_.empty()) return later(std::move(done), remove_stale_links());
  const auto sweep =
      std::make_shared<Sweep>(Sweep{left_behind_.size(), ok_status(), std::move(done)});
  for (const auto& [id, way] : std::map(left_behind_)) {
    driver(way)->destroy(id, force, [this, id = id, sweep](Status status) {
      if (status.ok()) {
        left_behind_.erase(id);
        host_.log.info("device of an earlier life taken down", {{"volume", id}});
      } else if (sweep->first_error.ok()) {
        sweep->first_error =
            std::move(status).error().with("take down the device of volume " + std::to_string(id));
      }
      if (--sweep->remaining > 0) return;
      // What could not be taken down keeps its names.
      if (sweep->first_error.ok()) sweep->first_error = remove_stale_links();
      sweep->done.call_once(std::move(sweep->first_error));
    });
  }
}

std::vector<AttachedDevice> AttachManager::list() const {
  std::vector<AttachedDevice> all;
  for (const auto& [name, device] : devices_) all.push_back(device);
  return all;
}

}  // namespace sp::attach
