#include "attach/ublk.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "attach/loop_linux.h"
#include "attach/ublk_queue_linux.h"
#include "base/limits.h"
#include "base/units.h"
#include "io/real_host.h"

namespace sp::attach {

namespace {

// In the server's own field of the device's information: ours, and which volume.
constexpr uint64_t mark = 0x5350ull << 48;
constexpr uint64_t mark_mask = 0xffffull << 48;

constexpr auto poll_interval = std::chrono::milliseconds(20);
constexpr int polls_max = 1500;  // 30 s

constexpr uint64_t wanted_features = ublk::feature_user_recovery | ublk::feature_recovery_reissue;

// One control command, waited for. START_DEVICE and others may take long: for BlockingJobs only.
Status control(uint32_t operation, uint32_t device, void* memory, size_t size, uint64_t data,
               std::string_view what) {
  SP_TRY(const Fd fd, open_fd("/dev/ublk-control", O_RDWR));
  io_uring ring{};
  if (const int error = io_uring_queue_init(4, &ring, IORING_SETUP_SQE128); error < 0)
    return system_error("make an io_uring", -error);
  io_uring_sqe* sqe = io_uring_get_sqe(&ring);
  std::memset(sqe, 0, 2 * sizeof *sqe);
  sqe->opcode = IORING_OP_URING_CMD;
  sqe->fd = fd.number();
  sqe->off = operation;
  ublk::ControlCommand command{};
  command.device = device;
  command.queue = ublk::no_queue;
  command.address = reinterpret_cast<uint64_t>(memory);
  command.size = static_cast<uint16_t>(size);
  command.data = data;
  std::memcpy(reinterpret_cast<std::byte*>(sqe) + 48, &command, sizeof command);
  int result = io_uring_submit(&ring);
  io_uring_cqe* cqe = nullptr;
  if (result >= 0) {
    do result = io_uring_wait_cqe(&ring, &cqe);
    while (result == -EINTR);
  }
  if (result == 0) result = cqe->res;
  io_uring_queue_exit(&ring);
  if (result < 0) return system_error(what, -result);
  return ok_status();
}

std::string node_of(uint32_t number) { return "/dev/ublkb" + std::to_string(number); }

// Nodes appear shortly after the command that makes them.
Status wait_for(const std::string& path) {
  for (int i = 0; i < polls_max; ++i) {
    if (::access(path.c_str(), F_OK) == 0) return ok_status();
    std::this_thread::sleep_for(poll_interval);
  }
  return Error(Code::timed_out, path + " did not appear");
}

Result<uint32_t> add(uint64_t id, uint64_t size_bytes, bool read_only) {
  ublk::DeviceInfo info{};
  info.queue_count = 1;
  info.queue_depth = limits::ublk_queue_depth;
  info.buffer_bytes_max = UblkQueue::buffer_bytes;
  info.device = ublk::any_device;
  info.flags = wanted_features | ublk::feature_ioctl_encoding;
  info.server_flags = mark | id;
  SP_CHECK(control(ublk::add_device, ublk::any_device, &info, sizeof info, 0, "add a ublk device"));
  ublk::Parameters parameters{};
  parameters.size = sizeof parameters;
  parameters.types = ublk::type_basic | ublk::type_discard;
  parameters.attributes = read_only ? ublk::attribute_read_only
                                    : 0;  // no volatile cache: what is acknowledged is durable
  parameters.logical_shift = parameters.physical_shift = parameters.minimal_shift = 12;
  parameters.optimal_shift = 16;
  parameters.max_sectors = UblkQueue::buffer_bytes / 512;
  parameters.device_sectors = size_bytes / 512;
  parameters.discard_granularity = limits::block_bytes;
  parameters.max_discard_sectors = parameters.max_write_zeroes_sectors = (1u << 30) / 512;
  parameters.max_discard_segments = 1;
  Status status = control(ublk::set_parameters, info.device, &parameters, sizeof parameters, 0,
                          "set its parameters");
  if (status.ok()) status = wait_for("/dev/ublkc" + std::to_string(info.device));
  if (status.ok()) return info.device;
  (void)control(ublk::delete_device, info.device, nullptr, 0, 0, "delete it");
  return std::move(status).error();
}

struct Known {
  uint64_t id;
  uint32_t number;
};
std::vector<Known> known_devices() {
  std::vector<Known> known;
  for (const std::string& name : list_folder("/sys/class/ublk-char")) {
    const auto number = parse_number(name.substr(std::min<size_t>(name.size(), 5)), UINT32_MAX);
    ublk::DeviceInfo info{};
    if (!number.ok()) continue;
    const auto device = static_cast<uint32_t>(*number);
    if (!control(ublk::get_device_info, device, &info, sizeof info, 0, "look at a ublk device")
             .ok())
      continue;
    if ((info.server_flags & mark_mask) == mark)
      known.push_back({info.server_flags & ~mark_mask, device});
  }
  return known;
}

Result<uint32_t> number_of(uint64_t id) {
  for (const Known& each : known_devices())
    if (each.id == id) return each.number;
  return Error(Code::not_found, "there is no ublk device for volume " + std::to_string(id));
}

// The kernel notices the death of the old server within moments; until then recovery is refused as
// busy.
Status begin_recovery(uint32_t number) {
  Status status;
  for (int i = 0; i < polls_max; ++i) {
    status = control(ublk::start_recovery, number, nullptr, 0, 0,
                     "take over ublk device " + std::to_string(number));
    if (status.ok() || status.error().code() != Code::refused) return status;
    std::this_thread::sleep_for(poll_interval);
  }
  return status;
}

}  // namespace

struct Ublk::Volume {
  uint32_t number = 0;
  bool ready = false;
  std::unique_ptr<UblkQueue> queue;
};

struct Ublk::Setup {
  std::unique_ptr<client::BlockDevice> device;
  uint32_t number = 0;
  uint64_t size_bytes = 0;
  Created created;
};

Ublk::Ublk(io::RealHost& host) : host_(host), jobs_(host) {}
Ublk::~Ublk() = default;

void Ublk::create(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
                  Created created) {
  SP_ASSERT(!volumes_.contains(spec.id));
  SP_ASSERT_OP(spec.id & mark_mask, ==, 0u);
  volumes_[spec.id] = std::make_unique<Volume>();
  const auto setup = std::make_shared<Setup>();
  setup->size_bytes = device->size_bytes();
  setup->device = std::move(device);
  setup->created = std::move(created);
  jobs_.run(
      [setup, spec]() -> Status {
        SP_TRY(setup->number, add(spec.id, setup->size_bytes, spec.read_only));
        return ok_status();
      },
      [this, id = spec.id, setup](Status status) {
        if (!status.ok()) {
          volumes_.erase(id);
          return setup->created.call_once(std::move(status).error());
        }
        volumes_.at(id)->number = setup->number;
        const uint32_t number = setup->number;
        const uint64_t size = setup->size_bytes;
        serve_and(
            id, std::move(setup->device),
            [number, size]() -> Status {
              SP_CHECK(control(ublk::start_device, number, nullptr, 0,
                               static_cast<uint64_t>(::getpid()), "start the ublk device"));
              SP_CHECK(wait_for(node_of(number)));
              return check_device(node_of(number), size);
            },
            std::move(setup->created));
      });
}

void Ublk::take_over(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
                     Created created) {
  SP_ASSERT(!volumes_.contains(spec.id));
  volumes_[spec.id] = std::make_unique<Volume>();
  const auto setup = std::make_shared<Setup>();
  setup->size_bytes = device->size_bytes();
  setup->device = std::move(device);
  setup->created = std::move(created);
  jobs_.run(
      [setup, spec]() -> Status {
        SP_TRY(setup->number, number_of(spec.id));
        return begin_recovery(setup->number);
      },
      [this, spec, setup](Status status) {
        const uint64_t id = spec.id;
        volumes_.at(id)->number = setup->number;
        if (status.ok()) {
          const uint32_t number = setup->number;
          return serve_and(
              id, std::move(setup->device),
              [number]() -> Status {
                SP_CHECK(control(ublk::end_recovery, number, nullptr, 0,
                                 static_cast<uint64_t>(::getpid()), "go on with the ublk device"));
                return wait_for(node_of(number));
              },
              std::move(setup->created));
        }
        host_.host().log.warning(
            "device cannot be taken over and is made anew; what had it open gets errors",
            {{"volume", id}, {"why", status.error().message()}});
        take_down(id, setup->number, true, [this, spec, setup](const Status&) {
          volumes_.erase(spec.id);
          create(spec, std::move(setup->device), std::move(setup->created));
        });
      });
}

// Starting is waited for off the reactor: the kernel reads the device while it starts.
void Ublk::serve_and(uint64_t id, std::unique_ptr<client::BlockDevice> device,
                     std::function<Status()> start, Created created) {
  Volume& volume = *volumes_.at(id);
  const auto kept = std::make_shared<Created>(std::move(created));
  auto failed = [this, id, kept](Error error) {
    const auto cause = std::make_shared<Error>(std::move(error));
    take_down(id, volumes_.at(id)->number, true, [this, id, kept, cause](const Status&) {
      volumes_.erase(id);
      kept->call_once(std::move(*cause));
    });
  };
  auto queue = UblkQueue::open(host_, volume.number, std::move(device));
  if (!queue.ok()) return failed(std::move(queue).error());
  volume.queue = std::move(queue).value();
  jobs_.run(std::move(start), [this, id, kept, failed](Status status) {
    if (!status.ok()) return failed(std::move(status).error());
    volumes_.at(id)->ready = true;
    kept->call_once(node_of(volumes_.at(id)->number));
  });
}

std::vector<uint64_t> Ublk::left_behind() {
  std::vector<uint64_t> ids;
  for (const Known& known : known_devices())
    if (!volumes_.contains(known.id)) ids.push_back(known.id);
  return ids;
}

// Stops the device (its queue has to serve meanwhile), then closes the queue, then deletes the
// device.
void Ublk::take_down(uint64_t id, uint32_t number, bool force, Done done) {
  const auto kept = std::make_shared<Done>(std::move(done));
  if (const auto found = volumes_.find(id);
      force && found != volumes_.end() && found->second->queue != nullptr)
    found->second->queue->abort();
  jobs_.run(
      [number, force]() -> Status {
        if (!force) SP_CHECK(check_unused(node_of(number)));
        return control(ublk::stop_device, number, nullptr, 0, 0, "stop " + node_of(number));
      },
      [this, id, number, kept](Status status) {
        if (!status.ok()) return kept->call_once(std::move(status));
        if (const auto found = volumes_.find(id); found != volumes_.end())
          found->second->queue.reset();
        jobs_.run(
            [number] {
              return control(ublk::delete_device, number, nullptr, 0, 0,
                             "delete " + node_of(number));
            },
            [kept](Status deleted) { kept->call_once(std::move(deleted)); });
      });
}

void Ublk::destroy(uint64_t id, bool force, Done done) {
  const auto kept = std::make_shared<Done>(std::move(done));
  const auto found = volumes_.find(id);
  if (found == volumes_.end()) {
    const auto number = std::make_shared<uint32_t>(0);
    return jobs_.run(
        [id, number]() -> Status {
          SP_TRY(*number, number_of(id));
          return ok_status();
        },
        [this, id, number, force, kept](Status status) {
          if (!status.ok())
            return kept->call_once(status.error().code() == Code::not_found ? ok_status()
                                                                            : std::move(status));
          take_down(id, *number, force, [kept](Status down) { kept->call_once(std::move(down)); });
        });
  }
  if (!found->second->ready)
    return host_.host().reactor.post([kept] {
      kept->call_once(
          Error(Code::transient, "the device is still being made or taken down; try again"));
    });
  found->second->ready = false;
  take_down(id, found->second->number, force, [this, id, kept](Status status) {
    Volume& volume = *volumes_.at(id);
    if (status.ok())
      volumes_.erase(id);
    else
      volume.ready = volume.queue != nullptr;
    kept->call_once(std::move(status));
  });
}

void Ublk::resized(uint64_t id, Done done) {
  const auto found = volumes_.find(id);
  const bool served = found != volumes_.end() && found->second->ready;
  const uint32_t number = served ? found->second->number : 0;
  const uint64_t size = served ? found->second->queue->device()->size_bytes() : 0;
  jobs_.run(
      [served, number, size]() -> Status {
        if (!served) return Error(Code::not_found, "the volume has no device");
        uint64_t features = 0;
        SP_CHECK(control(ublk::get_features, ublk::any_device, &features, sizeof features, 0,
                         "ask for the features of ublk"));
        if ((features & ublk::feature_update_size) == 0)
          return Error(Code::refused,
                       "this kernel cannot resize a ublk device in use (Linux 6.16 can): detach "
                       "the volume and attach it again");
        SP_CHECK(control(ublk::update_size, number, nullptr, 0, size / 512,
                         "resize " + node_of(number)));
        return check_device(node_of(number), size);
      },
      std::move(done));
}

std::string why_no_ublk() {
  if (::access("/dev/ublk-control", F_OK) != 0)
    return "the kernel has no ublk: load the module ublk_drv (Linux 6.5 or later)";
  uint64_t features = 0;
  const auto status = control(ublk::get_features, ublk::any_device, &features, sizeof features, 0,
                              "ask for the features of ublk");
  if (!status.ok()) return status.error().message();
  if ((features & wanted_features) != wanted_features)
    return "this kernel's ublk cannot hand a device to a successor";
  return "";
}

}  // namespace sp::attach
