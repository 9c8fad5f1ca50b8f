// The numbers and fixed layouts of the NBD protocol (specification: NetworkBlockDevice/nbd
// doc/proto.md), big-endian on the wire, and readers and writers for them. Pure: no I/O. Only what
// this server speaks: fixed newstyle, simple and structured replies, base:allocation.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace sp::attach::nbd {

constexpr uint64_t greeting_magic = 0x4e42444d41474943;  // "NBDMAGIC"
constexpr uint64_t option_magic = 0x49484156454f5054;    // "IHAVEOPT"
constexpr uint64_t option_reply_magic = 0x3e889045565a9;
constexpr uint32_t request_magic = 0x25609513;
constexpr uint32_t simple_reply_magic = 0x67446698;
constexpr uint32_t structured_reply_magic = 0x668e33ef;

// Handshake flags, of the server and of the client alike.
constexpr uint16_t flag_fixed_newstyle = 1 << 0;
constexpr uint16_t flag_no_zeroes = 1 << 1;

enum class Option : uint32_t {
  export_name = 1,
  abort = 2,
  list = 3,
  starttls = 5,
  info = 6,
  go = 7,
  structured_reply = 8,
  list_meta_context = 9,
  set_meta_context = 10,
};

enum class OptionReply : uint32_t {
  ack = 1,
  server = 2,
  info = 3,
  meta_context = 4,
  error_unsupported = 0x80000001,
  error_policy = 0x80000002,
  error_invalid = 0x80000003,
  error_unknown = 0x80000006,
  error_too_big = 0x80000009,
};

enum class Info : uint16_t { export_ = 0, name = 1, description = 2, block_size = 3 };

// Transmission flags of an export.
constexpr uint16_t export_has_flags = 1 << 0;
constexpr uint16_t export_read_only = 1 << 1;
constexpr uint16_t export_send_flush = 1 << 2;
constexpr uint16_t export_send_fua = 1 << 3;
constexpr uint16_t export_send_trim = 1 << 5;
constexpr uint16_t export_send_write_zeroes = 1 << 6;
constexpr uint16_t export_send_df = 1 << 7;
constexpr uint16_t export_can_multi_conn = 1 << 8;
constexpr uint16_t export_send_fast_zero = 1 << 11;

enum class Command : uint16_t {
  read = 0,
  write = 1,
  disconnect = 2,
  flush = 3,
  trim = 4,
  write_zeroes = 6,
  block_status = 7,
};

constexpr uint16_t command_fua = 1 << 0;
constexpr uint16_t command_no_hole = 1 << 1;
constexpr uint16_t command_df = 1 << 2;
constexpr uint16_t command_req_one = 1 << 3;
constexpr uint16_t command_fast_zero = 1 << 4;

constexpr uint16_t chunk_flag_done = 1 << 0;
enum class Chunk : uint16_t {
  none = 0,
  offset_data = 1,
  block_status = 5,
  error = 0x8001,
  error_offset = 0x8002,
};

enum class Errno : uint32_t {
  none = 0,
  permission = 1,
  io = 5,
  invalid = 22,
  no_space = 28,
  overflow = 75,
  not_supported = 95,
  shutdown = 108,
};

constexpr uint32_t option_bytes_max = 16u << 10;  // an option with its data; names are at most 4096
constexpr uint32_t string_bytes_max = 4096;       // any string of the protocol
constexpr uint32_t payload_bytes_max = 32u << 20;  // of one read or write
constexpr uint32_t allocation_context_id = 1;
constexpr std::string_view allocation_context = "base:allocation";

constexpr size_t option_header_bytes = 16;
constexpr size_t request_bytes = 28;

struct OptionHeader {
  uint64_t magic;
  Option option;
  uint32_t size;
};
struct Request {
  uint32_t magic;
  uint16_t flags;
  Command command;
  uint64_t cookie;
  uint64_t offset;
  uint32_t length;
};

// Big-endian counterpart of sp::Writer and sp::Reader, with the same rule: after the first short
// read all is zero and failed().
class BigWriter {
 public:
  template <class T>
  BigWriter& number(T value) {
    for (int shift = (static_cast<int>(sizeof(T)) - 1) * 8; shift >= 0; shift -= 8)
      out_.push_back(static_cast<std::byte>(static_cast<uint64_t>(value) >> shift & 0xff));
    return *this;
  }
  BigWriter& raw(Bytes bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  BigWriter& zeros(size_t count) {
    out_.resize(out_.size() + count);
    return *this;
  }
  Bytes view() const { return out_; }
  std::vector<std::byte> take() && { return std::move(out_); }

 private:
  std::vector<std::byte> out_;
};

class BigReader {
 public:
  explicit BigReader(Bytes bytes) : reader_(bytes) {}
  template <class T>
  T number() {
    uint64_t value = 0;
    for (const std::byte b : reader_.raw(sizeof(T))) value = value << 8 | static_cast<uint64_t>(b);
    return static_cast<T>(value);
  }
  // A string of exactly `size` bytes; fails above string_bytes_max.
  std::string text(uint32_t size);
  Bytes rest() const { return reader_.rest(); }
  bool failed() const { return failed_ || reader_.failed(); }
  bool finished() const { return !failed() && reader_.rest().empty(); }

 private:
  Reader reader_;
  bool failed_ = false;
};

OptionHeader parse_option_header(Bytes bytes);  // option_header_bytes
Request parse_request(Bytes bytes);             // request_bytes

// The data of NBD_OPT_INFO and NBD_OPT_GO, and of NBD_OPT_SET_META_CONTEXT and LIST_META_CONTEXT.
// False when malformed.
struct InfoQuery {
  std::string export_name;
  std::vector<uint16_t> wanted;
};
struct MetaQuery {
  std::string export_name;
  std::vector<std::string> queries;
};
bool parse_info_query(Bytes data, InfoQuery& out);
bool parse_meta_query(Bytes data, MetaQuery& out);

std::vector<std::byte> option_reply(Option option, OptionReply type, Bytes data);
// Header of a structured reply chunk whose payload is `length` bytes.
void chunk_header(BigWriter& out, bool last, Chunk type, uint64_t cookie, uint32_t length);

}  // namespace sp::attach::nbd
