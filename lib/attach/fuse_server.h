// FuseServer: one volume as the only file ("volume") of a FUSE file system, spoken as the kernel
// speaks it (linux/fuse.h, versions 7.26 and later), without a FUSE library, because the
// conversation must survive a restart of this process: the kernel says INIT once, and a successor
// takes over the open /dev/fuse in the middle. So nothing is remembered here between requests: node
// ids are fixed.
//
// Pure: requests are given to it, replies handed out, reading and writing /dev/fuse is the
// channel's affair (fuse_channel_linux.h). The device must outlive the server or be destroyed
// first. Thread rule: the reactor's.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "attach/unaligned.h"
#include "client/block_device.h"

struct fuse_in_header;

namespace sp::attach {

class FuseServer {
 public:
  static constexpr std::string_view file_name = "volume";
  static constexpr uint64_t file_node = 2;  // the root is 1
  static constexpr size_t head_bytes = 80;  // header and arguments of a WRITE; its data follows
  static constexpr uint32_t data_bytes_max = 1u << 20;  // of one READ or WRITE

  // Takes one whole reply, at once.
  using Send = std::function<void(std::span<const Bytes>)>;

  FuseServer(io::Host& host, client::BlockDevice& device, bool read_only, Send send);
  ~FuseServer();
  FuseServer(const FuseServer&) = delete;
  FuseServer& operator=(const FuseServer&) = delete;

  // One message from the kernel: its first bytes (up to head_bytes) and the rest. For a WRITE
  // `rest` is kept until the write ends; small ones should be copied into a Buffer of their own
  // size. Code::invalid: not a FUSE message, the channel should be given up.
  Status request(Bytes head, Buffer rest, size_t rest_bytes);

  // False: stop reading until on_room() is called.
  bool has_room() const;
  void on_room(Callback<void()> room) { room_ = std::move(room); }

  size_t operations() const { return operations_; }
  // `idle` runs in a later turn, when no operation is under way; from now on requests for data are
  // answered with an error.
  void close(Callback<void()> idle);
  bool negotiated() const { return negotiated_; }  // an INIT was answered by this server

 private:
  void init(uint64_t unique, Bytes arguments);
  void lookup(uint64_t unique, Bytes name, uint64_t parent);
  void attributes(uint64_t unique, uint64_t node, bool change, Bytes arguments);
  void open(uint64_t unique, uint64_t node, Bytes arguments, bool directory);
  void read_directory(uint64_t unique, Bytes arguments);
  void file_system(uint64_t unique);
  void read(uint64_t unique, Bytes arguments);
  void write(uint64_t unique, Bytes arguments, Buffer data, size_t data_bytes);
  void sync(uint64_t unique);
  void allocate(uint64_t unique, Bytes arguments);
  void dispatch(const fuse_in_header& header, Bytes arguments);

  void reply(uint64_t unique, int error, Bytes data = {});
  void begin(size_t bytes);
  void end(size_t bytes);
  Unaligned::Done answer(uint64_t unique, Buffer keep, size_t bytes, uint32_t written);

  io::Host& host_;
  Unaligned bytes_;
  bool read_only_;
  Send send_;
  Callback<void()> room_, idle_;
  size_t operations_ = 0, bytes_in_flight_ = 0;
  bool closing_ = false, negotiated_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sp::attach
