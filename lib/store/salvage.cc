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
      self->probe(0);
    });
  }
  // The first page of the device, then the last one.
  void probe(uint64_t at) {
    if (!page) page = Buffer::allocate(page_bytes);
    disk.read(at, page.mutable_bytes(), [self = shared_from_this(), at](const Status& status) {
      if (status.ok()) return self->next();
      const uint64_t last = self->disk.size_bytes() / page_bytes * page_bytes - page_bytes;
      if (at != last) return self->probe(last);
      self->done.call_once(std::move(self->failure));
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
  Buffer page;
  size_t pages_done = 0;
  bool again = false;  // this page has failed once
};

}  // namespace

void salvage(io::Disk& disk, uint64_t offset, MutableBytes into, io::DiskDone done) {
  std::make_shared<Salvage>(disk, offset, into, std::move(done))->start();
}

}  // namespace sp::store
