#include "io/counted_disk.h"

namespace sp::io {

namespace {

class CountedDisk final : public Disk {
 public:
  CountedDisk(std::unique_ptr<Disk> disk, std::shared_ptr<DiskCounts> counts)
      : disk_(std::move(disk)), counts_(std::move(counts)) {}

  uint64_t size_bytes() const override { return disk_->size_bytes(); }
  uint32_t alignment() const override { return disk_->alignment(); }
  void read(uint64_t offset, MutableBytes into, DiskDone done) override {
    ++counts_->reads;
    counts_->bytes_read += into.size();
    disk_->read(offset, into, std::move(done));
  }
  void write(uint64_t offset, Bytes from, DiskDone done) override {
    ++counts_->writes;
    counts_->bytes_written += from.size();
    disk_->write(offset, from, std::move(done));
  }
  void flush(DiskDone done) override {
    ++counts_->flushes;
    disk_->flush(std::move(done));
  }
  void discard(uint64_t offset, uint64_t size, DiskDone done) override {
    ++counts_->discards;
    disk_->discard(offset, size, std::move(done));
  }
  bool peek(uint64_t offset, MutableBytes into) const override { return disk_->peek(offset, into); }

 private:
  std::unique_ptr<Disk> disk_;
  std::shared_ptr<DiskCounts> counts_;
};

}  // namespace

std::unique_ptr<Disk> count(std::unique_ptr<Disk> disk, std::shared_ptr<DiskCounts> counts) {
  return std::make_unique<CountedDisk>(std::move(disk), std::move(counts));
}

}  // namespace sp::io
