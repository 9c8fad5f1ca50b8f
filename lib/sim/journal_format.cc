#include "sim/journal_format.h"

#include <cstring>

#include "base/checksum.h"

namespace sp::sim::journal {

namespace {

template <class T>
Bytes bytes_of(const T& value) {
  return {reinterpret_cast<const std::byte*>(&value), sizeof value};
}

}  // namespace

uint64_t value_of(const Inode& inode) {
  return inode.transaction == 0 ? 0 : crc64(bytes_of(inode));
}

uint64_t chain_of(uint64_t before, const Descriptor& descriptor, const Inode* inodes) {
  uint64_t sum = crc64(bytes_of(descriptor), before);
  for (uint32_t i = 0; i < descriptor.count; ++i) sum = crc64(bytes_of(inodes[i]), sum);
  return mix64(sum);
}

Scan scan(const Superblock& superblock, const SealedRead& journal) {
  Scan out;
  out.newest = superblock.next - 1;
  out.chain = superblock.chain;
  out.end = superblock.tail;
  const auto commit_at = [&](uint32_t position, uint64_t transaction) {
    const auto commit = take<Commit>(journal, Layout::journal_block(position), commit_magic);
    const bool follows = commit.transaction == transaction && commit.before == out.chain;
    return follows ? commit : Commit{};
  };
  for (;;) {
    const uint64_t next = out.newest + 1;
    const auto d = take<Descriptor>(journal, Layout::journal_block(out.end), descriptor_magic);
    if (d.transaction != next || d.before != out.chain || d.count > changed_max) break;
    const Commit commit = commit_at(out.end + 1 + d.count, next);
    if (commit.magic == 0) return out;
    Inode inodes[changed_max];
    for (uint32_t i = 0; i < d.count; ++i)
      inodes[i] = take<Inode>(journal, Layout::journal_block(out.end + 1 + i), inode_magic);
    const uint64_t chain = chain_of(out.chain, d, inodes);
    if (commit.chain != chain) {
      out.wrong = "transaction " + std::to_string(next) + " is committed and there in part";
      out.block = Layout::journal_block(out.end + 1);
      return out;
    }
    for (uint32_t i = 0; i < d.count; ++i) out.inodes[d.inodes[i]] = inodes[i];
    out.newest = next;
    out.chain = chain;
    out.end = (out.end + d.count + 2) % journal_blocks;
  }
  for (uint32_t i = 0; i < changed_max; ++i) {
    if (commit_at(out.end + 2 + i, out.newest + 1).magic == 0) continue;
    out.wrong = "transaction " + std::to_string(out.newest + 1) +
                " is committed and its descriptor is not there";
    out.block = Layout::journal_block(out.end);
  }
  return out;
}

}  // namespace sp::sim::journal
