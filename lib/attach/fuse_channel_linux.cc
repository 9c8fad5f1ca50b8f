#include "attach/fuse_channel_linux.h"

#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "io/real_host.h"

namespace sp::attach {

namespace {
constexpr int messages_per_turn = 64;  // then others have their turn
constexpr size_t copied_bytes_max =
    64u << 10;  // a smaller write is copied, so that it does not hold a whole buffer
constexpr int32_t notify_resend = 7;  // FUSE_NOTIFY_RESEND, protocol 7.40
}  // namespace

FuseChannel::FuseChannel(io::RealHost& host, Fd fd, client::BlockDevice& device, bool read_only,
                         std::string name)
    : host_(host),
      fd_(std::move(fd)),
      name_(std::move(name)),
      server_(host.host(), device, read_only,
              [this](std::span<const Bytes> parts) { reply(parts); }),
      data_(Buffer::allocate(FuseServer::data_bytes_max)) {
  server_.on_room([this] { readable(); });
  watch_ = host_.watcher().watch_readable(fd_.number(), [this] { readable(); });
}

FuseChannel::~FuseChannel() = default;

Status FuseChannel::ask_again() {
  fuse_out_header header{};
  header.len = sizeof header;
  header.error = notify_resend;
  if (::write(fd_.number(), &header, sizeof header) == static_cast<ssize_t>(sizeof header))
    return ok_status();
  if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)
    return Error(
        Code::invalid,
        "this kernel cannot send requests again that were lost with their reader (Linux 6.9 can)");
  return system_error("ask for lost requests of " + name_, errno);
}

void FuseChannel::readable() {
  for (int i = 0; i < messages_per_turn; ++i) {
    if (ended_ || !server_.has_room()) return stop();
    if (!read_one()) break;
  }
  if (!ended_ && watch_ == nullptr)
    watch_ = host_.watcher().watch_readable(fd_.number(), [this] { readable(); });
}

void FuseChannel::stop() { watch_.reset(); }

// False when there is nothing to read now.
bool FuseChannel::read_one() {
  std::byte head[FuseServer::head_bytes];
  const iovec parts[] = {{head, sizeof head}, {data_.data(), data_.size()}};
  const ssize_t count = ::readv(fd_.number(), parts, 2);
  if (count < 0) {
    // ENOENT: the request was given up before it was read.
    if (errno == EINTR || errno == ENOENT) return true;
    if (errno != EAGAIN) {
      ended_ = true;
      if (errno != ENODEV)
        host_.host().log.error("FUSE conversation ended",
                               {{"device", name_}, {"why", system_error("read", errno).message()}});
    }
    return false;
  }
  const size_t total = static_cast<size_t>(count);
  const size_t head_bytes = std::min(total, sizeof head), rest = total - head_bytes;
  Buffer data;
  if (rest > copied_bytes_max) {
    data = std::move(data_);
    data_ = Buffer::allocate(FuseServer::data_bytes_max);
  } else if (rest > 0) {
    data = Buffer::copy_of(data_.bytes().first(rest));
  }
  const auto status = server_.request(Bytes(head, head_bytes), std::move(data), rest);
  if (!status.ok())
    host_.host().log.error("FUSE message dropped",
                           {{"device", name_}, {"why", status.error().message()}});
  return true;
}

void FuseChannel::reply(std::span<const Bytes> parts) {
  iovec vectors[2];
  SP_ASSERT_OP(parts.size(), <=, std::size(vectors));
  for (size_t i = 0; i < parts.size(); ++i)
    vectors[i] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};
  const ssize_t count = ::writev(fd_.number(), vectors, static_cast<int>(parts.size()));
  // ENOENT: nobody waits for it any more. ENODEV: unmounted.
  if (count < 0 && errno != ENOENT && errno != ENODEV)
    host_.host().log.error("FUSE reply refused",
                           {{"device", name_}, {"why", system_error("write", errno).message()}});
}

}  // namespace sp::attach
