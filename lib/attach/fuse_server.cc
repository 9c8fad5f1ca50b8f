#include "attach/fuse_server.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/limits.h"

namespace sp::attach {

namespace {

constexpr uint64_t root_node = FUSE_ROOT_ID;
constexpr size_t bytes_in_flight_max = limits::nbd_bytes_in_flight;
constexpr uint32_t minor_least = 26;  // FUSE_MAX_PAGES arrived in 7.28; 7.26 is Linux 4.14
static_assert(FuseServer::head_bytes == sizeof(fuse_in_header) + sizeof(fuse_write_in));

int errno_of(Code code) {
  switch (code) {
    case Code::invalid: return EINVAL;
    case Code::no_space: return ENOSPC;
    case Code::closed:
    case Code::stale: return ESHUTDOWN;
    case Code::refused:
    case Code::not_authorised: return EPERM;
    default: return EIO;
  }
}

fuse_attr attributes_of(uint64_t node, uint64_t size_bytes, bool read_only) {
  fuse_attr attr{};
  attr.ino = node;
  attr.nlink = node == root_node ? 2 : 1;
  attr.blksize = limits::block_bytes;
  attr.mode = node == root_node ? S_IFDIR | 0700 : S_IFREG | (read_only ? 0400u : 0600u);
  if (node != root_node) {
    attr.size = size_bytes;
    attr.blocks = size_bytes / 512;
  }
  return attr;
}

}  // namespace

FuseServer::FuseServer(io::Host& host, client::BlockDevice& device, bool read_only, Send send)
    : host_(host),
      bytes_(device),
      read_only_(read_only || device.read_only()),
      send_(std::move(send)) {}

FuseServer::~FuseServer() = default;

Status FuseServer::request(Bytes head, Buffer rest, size_t rest_bytes) {
  if (head.size() < sizeof(fuse_in_header))
    return Error(Code::invalid, "a FUSE message shorter than its header");
  const auto header = load<fuse_in_header>(head);
  if (header.len != head.size() + rest_bytes)
    return Error(Code::invalid, "a FUSE message of another length than its header says");
  const Bytes arguments = head.subspan(sizeof header);
  if (header.opcode == FUSE_WRITE) {
    write(header.unique, arguments, std::move(rest), rest_bytes);
    return ok_status();
  }
  if (rest_bytes == 0) {
    dispatch(header, arguments);
    return ok_status();
  }
  std::vector<std::byte> whole(arguments.begin(), arguments.end());
  whole.insert(whole.end(), rest.data(), rest.data() + rest_bytes);
  dispatch(header, whole);
  return ok_status();
}

void FuseServer::dispatch(const fuse_in_header& header, Bytes arguments) {
  const uint64_t unique = header.unique;
  switch (header.opcode) {
    case FUSE_INIT: return init(unique, arguments);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET: return;  // no reply is expected
    case FUSE_LOOKUP: return lookup(unique, arguments, header.nodeid);
    case FUSE_GETATTR: return attributes(unique, header.nodeid, false, arguments);
    case FUSE_SETATTR: return attributes(unique, header.nodeid, true, arguments);
    case FUSE_OPEN: return open(unique, header.nodeid, arguments, false);
    case FUSE_OPENDIR: return open(unique, header.nodeid, arguments, true);
    case FUSE_READDIR: return read_directory(unique, arguments);
    case FUSE_STATFS: return file_system(unique);
    case FUSE_READ: return read(unique, arguments);
    case FUSE_FSYNC: return sync(unique);
    case FUSE_FALLOCATE: return allocate(unique, arguments);
    case FUSE_FLUSH:
    case FUSE_FSYNCDIR:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_DESTROY: return reply(unique, 0);
    case FUSE_CREATE:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_SYMLINK:
    case FUSE_LINK:
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_UNLINK:
    case FUSE_RMDIR: return reply(unique, EPERM);
    // Told once that these are not there, the kernel does not ask again. INTERRUPT is among them:
    // an operation cannot be taken back.
    default: return reply(unique, ENOSYS);
  }
}

void FuseServer::init(uint64_t unique, Bytes arguments) {
  // Kernels before 7.36 send a shorter struct; what they leave out reads as zero.
  fuse_init_in in{};
  std::memcpy(&in, arguments.data(), std::min(arguments.size(), sizeof in));
  if (in.major != FUSE_KERNEL_VERSION || in.minor < minor_least) return reply(unique, EPROTO);
  fuse_init_out out{};
  out.major = FUSE_KERNEL_VERSION;
  out.minor = FUSE_KERNEL_MINOR_VERSION;
  out.max_readahead = in.max_readahead;
  constexpr uint32_t wanted = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_MAX_PAGES |
                              FUSE_PARALLEL_DIROPS | FUSE_INIT_EXT;
  // Bit 39 (FUSE_HAS_RESEND, 7.40): a successor of this process asks for what this one had read and
  // not answered.
  constexpr uint64_t wanted_extended = uint64_t{1} << 39;
  out.flags = in.flags & wanted;
  if ((in.flags & FUSE_INIT_EXT) != 0)
    out.flags2 = in.flags2 & static_cast<uint32_t>(wanted_extended >> 32);
  out.max_background = limits::fuse_requests_in_flight;
  out.congestion_threshold = limits::fuse_requests_in_flight * 3 / 4;
  out.max_write = data_bytes_max;
  out.max_pages = data_bytes_max / limits::block_bytes;
  out.time_gran = 1;
  negotiated_ = true;
  reply(unique, 0, struct_bytes(out));
}

void FuseServer::lookup(uint64_t unique, Bytes name, uint64_t parent) {
  std::string_view text = as_text(name);
  text = text.substr(0, text.find('\0'));
  if (parent != root_node || text != file_name) return reply(unique, ENOENT);
  fuse_entry_out out{};
  out.nodeid = file_node;
  out.entry_valid = 3600;
  out.attr = attributes_of(file_node, bytes_.device().size_bytes(), read_only_);
  reply(unique, 0, struct_bytes(out));
}

void FuseServer::attributes(uint64_t unique, uint64_t node, bool change, Bytes arguments) {
  if (node != root_node && node != file_node) return reply(unique, ESTALE);
  if (change) {
    if (arguments.size() < sizeof(fuse_setattr_in)) return reply(unique, EINVAL);
    // Times are not kept; the size is the volume's.
    if ((load<fuse_setattr_in>(arguments).valid &
         (FATTR_SIZE | FATTR_MODE | FATTR_UID | FATTR_GID)) != 0)
      return reply(unique, EPERM);
  }
  fuse_attr_out out{};
  out.attr = attributes_of(node, bytes_.device().size_bytes(), read_only_);
  reply(unique, 0, struct_bytes(out));
}

void FuseServer::open(uint64_t unique, uint64_t node, Bytes arguments, bool directory) {
  if (node != (directory ? root_node : file_node))
    return reply(unique, directory ? ENOTDIR : EISDIR);
  if (arguments.size() < sizeof(fuse_open_in)) return reply(unique, EINVAL);
  if (read_only_ && (load<fuse_open_in>(arguments).flags & O_ACCMODE) != O_RDONLY)
    return reply(unique, EROFS);
  fuse_open_out out{};
  if (!directory) out.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
  reply(unique, 0, struct_bytes(out));
}

void FuseServer::read_directory(uint64_t unique, Bytes arguments) {
  if (arguments.size() < sizeof(fuse_read_in)) return reply(unique, EINVAL);
  const auto in = load<fuse_read_in>(arguments);
  struct Entry {
    uint64_t node;
    uint32_t type;
    std::string_view name;
  };
  constexpr Entry entries[] = {
      {root_node, DT_DIR, "."}, {root_node, DT_DIR, ".."}, {file_node, DT_REG, file_name}};
  std::vector<std::byte> out;
  for (uint64_t i = in.offset; i < std::size(entries); ++i) {
    const Entry& entry = entries[i];
    const size_t size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.name.size());
    if (out.size() + size > in.size) break;
    const fuse_dirent dirent{entry.node, i + 1, static_cast<uint32_t>(entry.name.size()),
                             entry.type};
    const size_t at = out.size();
    out.resize(at + size);
    std::memcpy(out.data() + at, &dirent, FUSE_NAME_OFFSET);
    std::memcpy(out.data() + at + FUSE_NAME_OFFSET, entry.name.data(), entry.name.size());
  }
  reply(unique, 0, out);
}

void FuseServer::file_system(uint64_t unique) {
  fuse_statfs_out out{};
  out.st.bsize = out.st.frsize = limits::block_bytes;
  out.st.blocks = bytes_.device().size_bytes() / limits::block_bytes;
  out.st.files = 1;
  out.st.namelen = limits::name_bytes_max;
  reply(unique, 0, struct_bytes(out));
}

void FuseServer::read(uint64_t unique, Bytes arguments) {
  if (arguments.size() < sizeof(fuse_read_in)) return reply(unique, EINVAL);
  if (closing_) return reply(unique, ESHUTDOWN);
  const auto in = load<fuse_read_in>(arguments);
  const uint64_t size = bytes_.device().size_bytes();
  if (in.size > data_bytes_max) return reply(unique, EINVAL);
  if (in.offset >= size || in.size == 0) return reply(unique, 0);
  const size_t length = std::min<uint64_t>(in.size, size - in.offset);
  Buffer buffer = Buffer::allocate(length);
  begin(length);
  bytes_.read(in.offset, buffer.mutable_bytes(), [this, unique, buffer](const Status& status) {
    if (status.ok())
      reply(unique, 0, buffer.bytes());
    else
      reply(unique, errno_of(status.error().code()));
    end(buffer.size());
  });
}

void FuseServer::write(uint64_t unique, Bytes arguments, Buffer data, size_t data_bytes) {
  if (arguments.size() < sizeof(fuse_write_in)) return reply(unique, EINVAL);
  const auto in = load<fuse_write_in>(arguments);
  if (in.size != data_bytes) return reply(unique, EINVAL);
  if (closing_) return reply(unique, ESHUTDOWN);
  if (read_only_) return reply(unique, EROFS);
  const uint64_t size = bytes_.device().size_bytes();
  if (in.offset > size || in.size > size - in.offset) return reply(unique, ENOSPC);
  if (in.size == 0) {
    const fuse_write_out out{};
    return reply(unique, 0, struct_bytes(out));
  }
  begin(data.size());
  bytes_.write(in.offset, data.bytes().first(data_bytes),
               answer(unique, data, data.size(), in.size));
}

void FuseServer::sync(uint64_t unique) {
  if (closing_) return reply(unique, ESHUTDOWN);
  begin(0);
  bytes_.flush(answer(unique, {}, 0, 0));
}

void FuseServer::allocate(uint64_t unique, Bytes arguments) {
  if (arguments.size() < sizeof(fuse_fallocate_in)) return reply(unique, EINVAL);
  const auto in = load<fuse_fallocate_in>(arguments);
  if (closing_) return reply(unique, ESHUTDOWN);
  if (read_only_) return reply(unique, EROFS);
  const bool punch = (in.mode & FALLOC_FL_PUNCH_HOLE) != 0,
             zero = (in.mode & FALLOC_FL_ZERO_RANGE) != 0;
  if (!punch && !zero) return reply(unique, EOPNOTSUPP);
  const uint64_t size = bytes_.device().size_bytes();
  if (in.offset >= size) return reply(unique, (in.mode & FALLOC_FL_KEEP_SIZE) != 0 ? 0 : ENOSPC);
  const uint64_t length = std::min<uint64_t>(in.length, size - in.offset);
  if (length == 0) return reply(unique, EINVAL);
  const bool whole = in.offset % limits::block_bytes == 0 && length % limits::block_bytes == 0;
  begin(0);
  auto done = answer(unique, {}, 0, 0);
  if (punch && whole)
    bytes_.discard(in.offset, length, std::move(done));
  else
    bytes_.write_zeroes(in.offset, length,
                        std::move(done));  // the ends of a hole read as zeros, too
}

// `keep` lives until the operation ended. A write is answered by its length, the others by nothing.
Unaligned::Done FuseServer::answer(uint64_t unique, Buffer keep, size_t bytes, uint32_t written) {
  return [this, unique, keep, bytes, written](const Status& status) {
    fuse_write_out out{};
    out.size = written;
    if (!status.ok())
      reply(unique, errno_of(status.error().code()));
    else if (written > 0)
      reply(unique, 0, struct_bytes(out));
    else
      reply(unique, 0);
    end(bytes);
  };
}

void FuseServer::reply(uint64_t unique, int error, Bytes data) {
  fuse_out_header header{};
  header.len = static_cast<uint32_t>(sizeof header + data.size());
  header.error = -error;
  header.unique = unique;
  const Bytes parts[] = {struct_bytes(header), data};
  send_(std::span(parts, data.empty() ? 1 : 2));
}

bool FuseServer::has_room() const {
  return operations_ < limits::fuse_requests_in_flight && bytes_in_flight_ < bytes_in_flight_max;
}

void FuseServer::begin(size_t bytes) {
  ++operations_;
  bytes_in_flight_ += bytes;
}

void FuseServer::end(size_t bytes) {
  const bool had_room = has_room();
  --operations_;
  bytes_in_flight_ -= bytes;
  if (operations_ == 0 && idle_) return idle_.call_once();  // the owner may destroy this
  if (!had_room && has_room() && room_) room_();
}

void FuseServer::close(Callback<void()> idle) {
  closing_ = true;
  idle_ = std::move(idle);
  if (operations_ > 0) return;
  host_.reactor.post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired() && operations_ == 0 && idle_) idle_.call_once();
  });
}

}  // namespace sp::attach
