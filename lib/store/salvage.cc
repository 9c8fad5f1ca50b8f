#include "store/salvage.h"

#include <cstring>
#include <memory>

#include "base/buffer.h"
#include "base/probe.h"
#include "store/log_page.h"

namespace sp::store {

namespace {

struct Salvage : std::enable_shared_from_this<Salvage> {
  Salvage(io::Disk& disk_in, uint64_t offset_in, MutableBytes into_in, io::DiskDone done_in)
      : disk(disk_in), offset(offset_in), into(into_in), done(std::move(done_in)) {}

  void start() {
    disk.read(offset, into, [self = shared_from_this()](Status status) {
      if (status.ok() || status.error().code() != Code::io)
        return self->done.call_once(std::move(status));
      self->failure = std::move(status);
      reads_at_all(self->disk, [self](bool reads) {
        if (reads) return self->next();
        self->done.call_once(std::move(self->failure));
      });
    });
  }
  void next() {
    if (pages_done * page_bytes >= into.size()) return done.call_once(Status());
    const MutableBytes part = into.subspan(pages_done * page_bytes, page_bytes);
    disk.read(offset + pages_done * page_bytes, part,
              [self = shared_from_this(), part](const Status& status) {
                if (!status.ok() && !std::exchange(self->again, true)) return self->next();
                if (!status.ok()) {
                  SP_PROBE(store_unreadable_metadata);
                  std::memset(part.data(), 0, part.size());
                }
                self->again = false;
                ++self->pages_done;
                self->next();
              });
  }

  io::Disk& disk;
  uint64_t offset;
  MutableBytes into;
  io::DiskDone done;
  Status failure;
  size_t pages_done = 0;
  bool again = false;  // this page has failed once
};

}  // namespace

void salvage(io::Disk& disk, uint64_t offset, MutableBytes into, io::DiskDone done) {
  std::make_shared<Salvage>(disk, offset, into, std::move(done))->start();
}

void reads_at_all(io::Disk& disk, Callback<void(bool)> done) {
  struct Attempt {
    Buffer page = Buffer::allocate(page_bytes);
    Callback<void(bool)> done;
  };
  auto attempt = std::make_shared<Attempt>();
  attempt->done = std::move(done);
  const uint64_t last = disk.size_bytes() / page_bytes * page_bytes - page_bytes;
  disk.read(0, attempt->page.mutable_bytes(), [&disk, attempt, last](const Status& status) {
    if (status.ok()) return attempt->done.call_once(true);
    disk.read(last, attempt->page.mutable_bytes(),
              [attempt](const Status& second) { attempt->done.call_once(second.ok()); });
  });
}

}  // namespace sp::store
