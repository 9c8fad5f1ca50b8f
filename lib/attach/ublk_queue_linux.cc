#include "attach/ublk_queue_linux.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "base/limits.h"
#include "io/real_host.h"

namespace sp::attach {

namespace {

constexpr uint32_t depth = limits::ublk_queue_depth;
constexpr size_t sector_bytes = 512;

int errno_of(Code code) {
  switch (code) {
    case Code::invalid: return EINVAL;
    case Code::no_space: return ENOSPC;
    default: return EIO;
  }
}

}  // namespace

UblkQueue::UblkQueue(io::RealHost& host) : host_(host), busy_(depth) {}

UblkQueue::~UblkQueue() {
  device_.reset();  // drops what is under way before its memory goes
  watch_.reset();
  if (ring_made_) io_uring_queue_exit(&ring_);
  if (descriptors_ != nullptr)
    ::munmap(const_cast<ublk::IoDescriptor*>(descriptors_), descriptor_bytes_);
  if (buffers_ != nullptr) ::munmap(buffers_, size_t{depth} * buffer_bytes);
}

Result<std::unique_ptr<UblkQueue>> UblkQueue::open(io::RealHost& host, uint32_t device_number,
                                                   std::unique_ptr<client::BlockDevice> device) {
  std::unique_ptr<UblkQueue> queue(new UblkQueue(host));
  queue->device_ = std::move(device);
  if (auto status = queue->set_up(device_number); !status.ok())
    return std::move(status).error().with("serve ublk device " + std::to_string(device_number));
  return queue;
}

Status UblkQueue::set_up(uint32_t device_number) {
  SP_TRY(character_device_, open_fd("/dev/ublkc" + std::to_string(device_number), O_RDWR));
  const size_t page = 4096;
  descriptor_bytes_ = (depth * sizeof(ublk::IoDescriptor) + page - 1) / page * page;
  void* descriptors = ::mmap(nullptr, descriptor_bytes_, PROT_READ, MAP_SHARED | MAP_POPULATE,
                             character_device_.number(), 0);
  if (descriptors == MAP_FAILED) return system_error("map requests", errno);
  descriptors_ = static_cast<const ublk::IoDescriptor*>(descriptors);
  void* buffers = ::mmap(nullptr, size_t{depth} * buffer_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffers == MAP_FAILED) return system_error("memory for requests", errno);
  buffers_ = static_cast<std::byte*>(buffers);
  if (const int error = io_uring_queue_init(depth, &ring_, 0); error < 0)
    return system_error("make an io_uring", -error);
  ring_made_ = true;
  for (uint16_t tag = 0; tag < depth; ++tag) command(tag, ublk::fetch_request, -1);
  if (const int count = io_uring_submit(&ring_); count < 0)
    return system_error("fetch requests", -count);
  watch_ = host_.watcher().watch_readable(ring_.ring_fd, [this] { reap(); });
  return ok_status();
}

void UblkQueue::command(uint16_t tag, uint32_t operation, int result) {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  SP_ASSERT(sqe != nullptr);  // one entry per tag, and each tag has at most one command
  std::memset(sqe, 0, sizeof *sqe);
  sqe->opcode = IORING_OP_URING_CMD;
  sqe->fd = character_device_.number();
  sqe->off = operation;  // cmd_op
  sqe->user_data = tag;
  const ublk::IoCommand io{0, tag, result,
                           reinterpret_cast<uint64_t>(buffers_ + size_t{tag} * buffer_bytes)};
  std::memcpy(reinterpret_cast<std::byte*>(sqe) + 48, &io,
              sizeof io);  // the command's place in the entry
}

void UblkQueue::reap() {
  io_uring_cqe* cqe = nullptr;
  while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
    const auto tag = static_cast<uint16_t>(cqe->user_data);
    const int result = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    if (result == 0) serve(tag);  // else: aborted, the device is being stopped
  }
}

void UblkQueue::serve(uint16_t tag) {
  const ublk::IoDescriptor request = descriptors_[tag];
  const uint64_t offset = request.start_sector * sector_bytes,
                 size = uint64_t{request.sectors} * sector_bytes;
  if (device_ == nullptr) return complete(tag, -EIO);
  std::byte* buffer = buffers_ + size_t{tag} * buffer_bytes;
  auto done = [this, tag, size](const Status& status) {
    complete(tag, status.ok() ? static_cast<int>(size) : -errno_of(status.error().code()));
  };
  busy_[tag] = true;
  const auto operation = static_cast<uint8_t>(request.operation_flags);
  switch (operation) {
    case ublk::operation_flush:
      return device_->flush([this, tag](const Status& status) {
        complete(tag, status.ok() ? 0 : -errno_of(status.error().code()));
      });
    case ublk::operation_read:
    case ublk::operation_write:
      if (size == 0 || size > buffer_bytes) return complete(tag, -EINVAL);
      if (operation == ublk::operation_read)
        return device_->read(offset, {buffer, size}, std::move(done));
      return device_->write(offset, {buffer, size}, std::move(done));
    case ublk::operation_discard: return device_->discard(offset, size, std::move(done));
    case ublk::operation_write_zeroes: return device_->write_zeroes(offset, size, std::move(done));
    default: return complete(tag, -EOPNOTSUPP);
  }
}

void UblkQueue::complete(uint16_t tag, int result) {
  busy_[tag] = false;
  command(tag, ublk::commit_and_fetch, result);
  submit_soon();
}

// Once for all that completes in this turn.
void UblkQueue::submit_soon() {
  if (std::exchange(submit_posted_, true)) return;
  host_.host().reactor.post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    submit_posted_ = false;
    io_uring_submit(&ring_);
  });
}

void UblkQueue::abort() {
  device_.reset();
  for (uint16_t tag = 0; tag < depth; ++tag)
    if (busy_[tag]) complete(tag, -EIO);
}

}  // namespace sp::attach
