// What the simulated file system keeps where, and what is in its blocks; and how its journal is
// read. Plain values.
#pragma once
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "sim/sealed_blocks.h"

namespace sp::sim::journal {

constexpr uint32_t journal_blocks = 40;
constexpr uint32_t inode_count = 16;
constexpr uint32_t data_blocks = 96;
constexpr uint32_t extents_max = 12;  // blocks of a file
constexpr uint32_t changed_max = 3;   // inodes of a transaction

// Spread over the volume, so that the areas are in different objects, and the data across the
// border of two.
struct Layout {
  explicit Layout(uint64_t size_blocks)
      : inodes(size_blocks / 4), data(size_blocks / 2 - data_blocks / 2) {}
  static constexpr uint64_t superblock = 0, journal = 1;
  uint64_t inodes, data;
  static uint64_t journal_block(uint32_t position) { return journal + position % journal_blocks; }
};

struct Superblock {
  uint64_t magic = 0;
  uint64_t chain = 0;  // of the transaction before `next`
  uint64_t next = 0;   // first transaction that the journal may hold
  uint32_t tail = 0;   // and where
  uint32_t unused = 0;
};

struct Extent {
  uint32_t block = 0;  // of the data area
  uint32_t unused = 0;
  uint64_t stamp = 0;  // that lies there
};
struct Inode {
  uint64_t magic = 0;
  uint32_t number = 0;
  uint32_t count = 0;
  uint64_t transaction = 0;  // that changed it last; 0: none yet
  Extent extents[extents_max];
};

struct Descriptor {
  uint64_t magic = 0;
  uint64_t transaction = 0;
  uint64_t before = 0;  // chain
  uint32_t count = 0;
  uint32_t inodes[changed_max] = {};
};
struct Commit {
  uint64_t magic = 0;
  uint64_t transaction = 0;
  uint64_t before = 0, chain = 0;  // the checksum over descriptor and inodes goes into `chain`
};

constexpr uint64_t superblock_magic = 0x1a5b, inode_magic = 0x1a1d, descriptor_magic = 0x1ade,
                   commit_magic = 0x1ac0;

template <class T>
void put(const T& value, const Buffer& data, size_t block) {
  std::memcpy(data.data() + block * limits::block_bytes, &value, sizeof value);
}
// The value, or one with magic 0.
template <class T>
T take(const SealedRead& read, uint64_t block, uint64_t magic) {
  T value;
  std::memcpy(&value, read.payload(block).data(), sizeof value);
  return value.magic == magic ? value : T{};
}

uint64_t value_of(const Inode& inode);  // for the ledger; 0 for one that was never changed
uint64_t chain_of(uint64_t before, const Descriptor& descriptor, const Inode* inodes);

// What the journal holds.
struct Scan {
  uint64_t newest = 0;  // transaction; those from the superblock's on are below
  uint64_t chain = 0;
  uint32_t end = 0;                  // position behind it
  std::map<uint32_t, Inode> inodes;  // as the transactions left them
  std::string wrong;                 // with `block`
  uint64_t block = 0;
};
Scan scan(const Superblock& superblock, const SealedRead& journal);

}  // namespace sp::sim::journal
