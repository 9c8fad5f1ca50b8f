#include "disk/probe.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/buffer.h"

namespace sp::disk {

namespace {

constexpr uint64_t head_bytes = 128 << 10;
constexpr uint64_t tail_bytes = 128 << 10;

struct Signature {
  const char* name;
  const char* description;
  int64_t offset;  // negative: from the end of the device
  std::string_view magic;
};

using namespace std::string_view_literals;

// Offsets as in the formats' own documents (and blkid's source of truth, their kernels' headers).
constexpr Signature signatures[] = {
    {"ext", "an ext2, ext3 or ext4 file system", 1024 + 56, "\x53\xef"sv},
    {"xfs", "an XFS file system", 0, "XFSB"sv},
    {"btrfs", "a btrfs file system", 65536 + 64, "_BHRfS_M"sv},
    {"ntfs", "an NTFS file system", 3, "NTFS    "sv},
    {"fat", "a FAT file system", 82, "FAT32   "sv},
    {"fat", "a FAT file system", 54, "FAT1"sv},
    {"exfat", "an exFAT file system", 3, "EXFAT   "sv},
    {"f2fs", "an F2FS file system", 1024, "\x10\x20\xf5\xf2"sv},
    {"squashfs", "a squashfs image", 0, "hsqs"sv},
    {"bcachefs", "a bcachefs or bcache device", 4096 + 24,
     "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"sv},
    {"lvm", "an LVM physical volume", 512, "LABELONE"sv},
    {"lvm", "an LVM physical volume", 0, "LABELONE"sv},
    {"lvm", "an LVM physical volume", 1024, "LABELONE"sv},
    {"lvm", "an LVM physical volume", 1536, "LABELONE"sv},
    {"luks", "a LUKS encrypted device", 0, "LUKS\xba\xbe"sv},
    {"swap", "swap space", 4096 - 10, "SWAPSPACE2"sv},
    {"swap", "swap space", 65536 - 10, "SWAPSPACE2"sv},
    {"md", "a member of a Linux software RAID", 0, "\xfc\x4e\x2b\xa9"sv},
    {"md", "a member of a Linux software RAID", 4096, "\xfc\x4e\x2b\xa9"sv},
    {"gpt", "a GPT partition table", 512, "EFI PART"sv},
    {"gpt", "a GPT partition table (4 KiB sectors)", 4096, "EFI PART"sv},
    {"gpt", "the backup of a GPT partition table", -512, "EFI PART"sv},
    {"gpt", "the backup of a GPT partition table", -4096, "EFI PART"sv},
    {"zfs", "a ZFS device", 8192 + 0x4000, "\x0c\xb1\xba\x00"sv},
    {"bluestore", "a Ceph BlueStore device", 0, "bluestore block device"sv},
};

class View {
 public:
  View(std::span<const ProbeWindow> windows, uint64_t device_bytes)
      : windows_(windows), device_bytes_(device_bytes) {}

  bool holds(int64_t offset, std::string_view magic) const {
    const uint64_t at = offset >= 0 ? static_cast<uint64_t>(offset)
                                    : device_bytes_ - static_cast<uint64_t>(-offset);
    const Bytes bytes = find(at, magic.size());
    return !bytes.empty() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
  }
  Bytes find(uint64_t offset, size_t size) const {
    for (const ProbeWindow& window : windows_)
      if (offset >= window.offset && offset + size <= window.offset + window.bytes.size())
        return window.bytes.subspan(offset - window.offset, size);
    return {};
  }

 private:
  std::span<const ProbeWindow> windows_;
  uint64_t device_bytes_;
};

// A boot sector: its mark alone is also that of FAT, so at least one partition entry has to make
// sense.
bool is_mbr(const View& view) {
  if (!view.holds(510, "\x55\xaa"sv)) return false;
  const Bytes entries = view.find(446, 64);
  bool any = false;
  for (size_t i = 0; i < 4; i++) {
    const auto status = std::to_integer<uint8_t>(entries[i * 16]);
    if (status != 0 && status != 0x80) return false;
    any = any || std::to_integer<uint8_t>(entries[i * 16 + 4]) != 0;
  }
  return any;
}

// md with metadata 0.90 and 1.0 keeps its superblock near the end.
bool is_md_at_end(const View& view, uint64_t device_bytes) {
  if (device_bytes < 256 << 10) return false;
  const uint64_t old_place = (device_bytes & ~uint64_t{0xffff}) - 0x10000;
  const uint64_t place = (device_bytes / 512 - 16) / 8 * 8 * 512;
  constexpr auto magic = "\xfc\x4e\x2b\xa9"sv;
  return view.holds(static_cast<int64_t>(old_place), magic) ||
         view.holds(static_cast<int64_t>(place), magic);
}

void recognise_ours(const View& view, uint64_t device_bytes, std::vector<Holding>& found) {
  const uint64_t last = device_bytes / 4096 * 4096 - 4096;
  for (const uint64_t offset : {uint64_t{0}, last}) {
    const Bytes bytes = view.find(offset, superblock_bytes);
    if (bytes.empty()) continue;
    const auto superblock = decode_superblock(bytes);
    Holding holding;
    holding.name = "cluster-disk";
    holding.ours = true;
    if (superblock.ok()) {
      holding.superblock = *superblock;
      char cluster[17];
      std::snprintf(cluster, sizeof cluster, "%016llx",
                    static_cast<unsigned long long>(superblock->cluster));
      holding.description = "disk " + std::to_string(superblock->disk) + " of cluster " + cluster;
    } else if (superblock.error().code() == Code::not_found) {
      continue;
    } else {
      holding.description = superblock.error().message();
    }
    found.push_back(std::move(holding));
    return;
  }
}

struct Probing {
  Buffer head;
  Buffer tail;
  uint64_t tail_offset = 0;
  uint64_t device_bytes = 0;
  int left = 2;
  Status status;
  Callback<void(Result<std::vector<Holding>>)> done;
};

}  // namespace

std::vector<Holding> recognise(std::span<const ProbeWindow> windows, uint64_t device_bytes) {
  std::vector<Holding> found;
  if (device_bytes < superblock_bytes) return found;
  const View view(windows, device_bytes);
  recognise_ours(view, device_bytes, found);
  const auto add = [&found](const char* name, const char* description) {
    const auto same = [name](const Holding& holding) { return holding.name == name; };
    if (std::none_of(found.begin(), found.end(), same))
      found.push_back({name, description, false, {}});
  };
  for (const Signature& signature : signatures)
    if (view.holds(signature.offset, signature.magic)) add(signature.name, signature.description);
  if (is_mbr(view)) add("mbr", "an MBR partition table");
  if (is_md_at_end(view, device_bytes)) add("md", "a member of a Linux software RAID");
  return found;
}

void probe(io::Host&, io::Disk& disk, Callback<void(Result<std::vector<Holding>>)> done) {
  auto probing = std::make_shared<Probing>();
  probing->done = std::move(done);
  probing->device_bytes = disk.size_bytes();
  const uint64_t usable = disk.size_bytes() / 4096 * 4096;
  const uint64_t head = std::min(head_bytes, usable);
  const uint64_t tail = std::min(tail_bytes, usable);
  probing->head = Buffer::zeroed(head_bytes);
  probing->tail = Buffer::zeroed(tail_bytes);
  probing->tail_offset = usable - tail;
  const auto finished = [probing, head, tail](Status status) {
    if (!status.ok()) probing->status = std::move(status);
    if (--probing->left > 0) return;
    if (!probing->status.ok()) {
      probing->done.call_once(
          std::move(probing->status).error().with("looking what the device holds"));
      return;
    }
    const ProbeWindow windows[] = {{0, probing->head.bytes().first(head)},
                                   {probing->tail_offset, probing->tail.bytes().first(tail)}};
    probing->done.call_once(recognise(windows, probing->device_bytes));
  };
  disk.read(0, probing->head.mutable_bytes().first(head), finished);
  disk.read(probing->tail_offset, probing->tail.mutable_bytes().first(tail), finished);
}

}  // namespace sp::disk
