#include "disk/superblock.h"

#include <cstddef>
#include <cstring>
#include <memory>

#include "base/buffer.h"
#include "base/probe.h"
#include "base/units.h"

namespace sp::disk {

namespace {

constexpr uint64_t magic = 0x31304b5349445053;  // "SPDISK01"

struct Raw {
  uint64_t magic;
  uint32_t version;
  uint32_t block_bytes;
  uint64_t cluster;
  uint64_t uuid;
  uint32_t disk;
  uint32_t minor;
  int64_t created_ms;
  Layout layout;
  std::byte zeros[superblock_bytes - 128];
  uint64_t crc;  // of all bytes before it
};
static_assert(sizeof(Layout) == 72);
static_assert(sizeof(Raw) == superblock_bytes);
static_assert(offsetof(Raw, layout) == 48 && offsetof(Raw, crc) == 4088);

struct Reading {
  Buffer first;
  Buffer last;
  int left = 2;
  Status first_read, last_read;
  Callback<void(Result<SuperblockCopies>)> done;
};

}  // namespace

std::array<std::byte, superblock_bytes> encode_superblock(const Superblock& superblock) {
  Raw raw{};
  raw.magic = magic;
  raw.version = format_version;
  raw.block_bytes = 4096;
  raw.cluster = superblock.cluster;
  raw.uuid = superblock.uuid;
  raw.disk = superblock.disk;
  raw.minor = superblock.minor;
  raw.created_ms = superblock.created_ms;
  raw.layout = superblock.layout;
  raw.crc = crc64(struct_bytes(raw).first(offsetof(Raw, crc)));
  std::array<std::byte, superblock_bytes> bytes;
  std::memcpy(bytes.data(), &raw, sizeof raw);
  return bytes;
}

Result<Superblock> decode_superblock(Bytes page) {
  SP_ASSERT_OP(page.size(), ==, superblock_bytes);
  const auto raw = load<Raw>(page);
  if (raw.magic != magic) return Error(Code::not_found, "no superblock");
  if (raw.crc != crc64(page.first(offsetof(Raw, crc))))
    return Error(Code::damaged, "a superblock whose checksum does not match");
  if (raw.version != format_version || raw.block_bytes != 4096)
    return Error(Code::invalid, "disk format version " + std::to_string(raw.version) +
                                    "; this program knows version " +
                                    std::to_string(format_version));
  Superblock superblock;
  superblock.cluster = raw.cluster;
  superblock.uuid = raw.uuid;
  superblock.disk = static_cast<DiskId>(raw.disk);
  superblock.created_ms = raw.created_ms;
  superblock.layout = raw.layout;
  superblock.minor = static_cast<uint16_t>(raw.minor);
  if (raw.minor > UINT16_MAX)
    return Error(Code::damaged, "a superblock with an impossible minor version");
  if (raw.disk > UINT16_MAX) return Error(Code::damaged, "a superblock with an impossible disk id");
  SP_CHECK(check_layout(superblock.layout));
  return superblock;
}

Status check_minor(const Superblock& superblock, uint16_t newest) {
  if (superblock.minor <= newest) return {};
  const std::string major = std::to_string(format_version) + ".";
  return Error(Code::invalid,
               "disk " + std::to_string(superblock.disk) + " has format " + major +
                   std::to_string(superblock.minor) + "; this version knows formats up to " +
                   major + std::to_string(newest) +
                   ": upgrade this node, or bring the disk back to one that is upgraded");
}

void read_superblock_copies(io::Disk& disk, Callback<void(Result<SuperblockCopies>)> done) {
  auto reading = std::make_shared<Reading>();
  reading->first = Buffer::zeroed(superblock_bytes);
  reading->last = Buffer::zeroed(superblock_bytes);
  reading->done = std::move(done);
  // A copy that cannot be read is as good as a damaged one, as long as the other one can.
  const auto finish = [reading](Status& mine, Status status) {
    mine = std::move(status);
    if (--reading->left > 0) return;
    const auto decoded = [](const Status& read, const Buffer& page) -> Result<Superblock> {
      if (!read.ok()) return Error(read.error()).with("reading a superblock");
      return decode_superblock(page.bytes());
    };
    if (!reading->first_read.ok() && !reading->last_read.ok()) {
      reading->done.call_once(
          std::move(reading->first_read).error().with("reading the superblocks"));
      return;
    }
    reading->done.call_once(SuperblockCopies{decoded(reading->first_read, reading->first),
                                             decoded(reading->last_read, reading->last)});
  };
  const auto first = [reading, finish](Status status) {
    finish(reading->first_read, std::move(status));
  };
  const auto last = [reading, finish](Status status) {
    finish(reading->last_read, std::move(status));
  };
  const uint64_t size = disk.size_bytes() / superblock_bytes * superblock_bytes;
  if (size < 2 * superblock_bytes) {
    // Too small for anything: the first copy stands for both, and is read twice so that completion
    // is the same.
    disk.read(0, reading->first.mutable_bytes().first(size == 0 ? 0 : superblock_bytes), first);
    disk.read(0, reading->last.mutable_bytes().first(size == 0 ? 0 : superblock_bytes), last);
    return;
  }
  disk.read(0, reading->first.mutable_bytes(), first);
  disk.read(size - superblock_bytes, reading->last.mutable_bytes(), last);
}

Result<Superblock> choose_superblock(const SuperblockCopies& copies, uint64_t device_bytes) {
  const auto& [first, last] = copies;
  if (first.ok() && last.ok() && encode_superblock(*first) != encode_superblock(*last)) {
    SP_PROBE(disk_superblocks_differ);
    return Error(
        Code::damaged,
        "the two superblocks disagree: format the disk again, or look at both with sp-disk-check");
  }
  if (!first.ok() && !last.ok()) {
    const bool both_absent =
        first.error().code() == Code::not_found && last.error().code() == Code::not_found;
    if (both_absent)
      return Error(Code::not_found,
                   "not a disk of a cluster: no superblock in its first and last 4 KiB");
    Error error = first.error().code() != Code::not_found ? first.error() : last.error();
    return std::move(error).with("neither copy of the superblock can be used");
  }
  if (!first.ok() || !last.ok()) SP_PROBE(disk_superblock_from_other_copy);
  Superblock superblock = first.ok() ? *first : *last;
  if (superblock.layout.device_bytes > device_bytes)
    return Error(Code::damaged, "the device has " + format_size(device_bytes) + " but had " +
                                    format_size(superblock.layout.device_bytes) +
                                    " when it was formatted");
  return superblock;
}

void read_superblock(io::Host&, io::Disk& disk, Callback<void(Result<Superblock>)> done) {
  struct Call {
    Callback<void(Result<Superblock>)> done;
    uint64_t device_bytes;
  };
  auto call = std::make_unique<Call>(Call{std::move(done), disk.size_bytes()});
  read_superblock_copies(disk, [call = std::move(call)](Result<SuperblockCopies> copies) mutable {
    if (!copies.ok()) {
      call->done.call_once(std::move(copies).error());
      return;
    }
    call->done.call_once(choose_superblock(*copies, call->device_bytes));
  });
}

}  // namespace sp::disk
