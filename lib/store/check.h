// Check: reads everything that a disk holds and says what is wrong, where, and what to do. Writes
// nothing. Also answers where on the device a block lies, for administrators and for tests that
// damage one.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "disk/superblock.h"
#include "io/host.h"
#include "store/store.h"

namespace sp::store {

enum class Severity : uint8_t {
  note,     // worth knowing, nothing is lost: a torn last round, say
  warning,  // redundancy of this disk's own metadata is lost; the content is whole
  damage,   // content or acknowledged state is lost on this disk
};

struct Finding {
  Severity severity = Severity::note;
  std::string place;  // "block 3 of object 7 of volume 12, device offset 1069056"
  std::string explanation;
  std::string advice;
};

// What a copy of a set holds, as if every write that is on this disk were decided: of copies that
// had no write under way, equal ones have equal numbers here, whatever they had remembered of
// decisions when they stopped.
struct SetDigest {
  SetId set;
  bool recovering = false;  // older writes may be missing
  uint64_t blocks = 0;
  uint64_t hash = 0;  // over object, block, version and crc64 of each
};

struct Report {
  disk::Superblock superblock;
  std::vector<SetDigest> digests;  // with CheckOptions::digests; ascending by set
  std::vector<Finding> findings;
  uint64_t findings_omitted = 0;  // beyond findings_max
  uint64_t blocks_verified = 0;
  uint64_t blocks_undecided = 0;
  uint64_t blocks_damaged = 0;
  uint64_t objects = 0;
  uint64_t table_pages_used = 0;
  uint64_t log_tail = 0;
  uint64_t log_next = 0;
  Stats stats;
  static constexpr size_t findings_max = 1000;

  Severity worst() const;
  void add(Severity severity, std::string place, std::string explanation, std::string advice);
};

struct CheckOptions {
  bool read_data = true;  // false: metadata only
  bool digests = false;
  std::function<void(uint64_t done, uint64_t total)> progress;  // in bytes of data
  std::function<void(const Store&)> opened;  // once log and tables are read, for further questions
  uint64_t table_bytes_max = store::table_bytes_max;  // see Options
};

// An Error only when the device cannot be read at all, or is no disk of ours; damage is in the
// report.
void check(io::Host& host, std::unique_ptr<io::Disk> disk, const CheckOptions& options,
           Callback<void(Result<Report>)> done);

struct Location {
  uint64_t device_offset = 0;
  Version version;
  uint64_t crc = 0;
  // False for the blink between a write and the proof that its round was whole: damage that falls
  // on the block then, before a crash, is taken for a torn write (sp-disk-format(5)).
  bool proven = true;
  bool lost = false;  // came here without its content
};
struct BlockName {
  ObjectId object;
  uint16_t block = 0;
};
// "VOLUME:OBJECT:BLOCK", decimal. Code::invalid.
Result<BlockName> parse_block_name(std::string_view text);

// Where the decided content of a block lies; nullopt when the block holds none. For a store made by
// Store::open.
std::optional<Location> locate(const Store& store, ObjectId object, uint16_t block);
// The same on a disk that nobody has open. Code::not_found when the block holds nothing.
void locate(io::Host& host, std::unique_ptr<io::Disk> disk, BlockName block,
            Callback<void(Result<Location>)> done);

}  // namespace sp::store
