// A machine of one thread and one disk, for tests that choose exactly what a crash
// leaves: which I/O is the last, which unflushed writes survive, and whether one of them is torn.
// Time stands still until everything else is done; then the next timer fires.
#pragma once
#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "crash/paged_bytes.h"
#include "io/host.h"

namespace sp::test {

class FakeReactor final : public io::Reactor, public io::Clock {
 public:
  void post(Callback<void()> work) override { work_.push_back(std::move(work)); }
  io::Instant now() const override { return {now_ns_}; }
  int64_t wall_ms() const override { return 1'700'000'000'000 + now_ns_ / 1'000'000; }

  // One piece of work; fires the next timer when there is none. False: nothing left at all.
  bool step() {
    if (work_.empty()) {
      if (timers_.empty()) return false;
      auto [key, fire] = std::move(*timers_.begin());
      timers_.erase(timers_.begin());
      now_ns_ = std::max(now_ns_, key.first);
      work_.push_back(std::move(fire));
    }
    Callback<void()> work = std::move(work_.front());
    work_.pop_front();
    work();
    return true;
  }
  bool run_until(const std::function<bool()>& condition) {
    while (!condition())
      if (!step()) return false;
    return true;
  }
  void drop_all() {
    work_.clear();
    timers_.clear();
  }

 protected:
  uint64_t timer_start(io::Duration delay, Callback<void()> fire) override {
    const uint64_t id = ++timer_id_;
    timers_.emplace(std::pair(now_ns_ + delay.count(), id), std::move(fire));
    return id;
  }
  void timer_cancel(uint64_t id) override {
    for (auto it = timers_.begin(); it != timers_.end(); ++it) {
      if (it->first.second != id) continue;
      timers_.erase(it);
      return;
    }
  }

 private:
  std::deque<Callback<void()>> work_;
  std::map<std::pair<int64_t, uint64_t>, Callback<void()>> timers_;
  uint64_t timer_id_ = 0;
  int64_t now_ns_ = 0;
};

// What survives of the device, and what is only in its cache.
template <class Content>
struct BasicMedium {
  explicit BasicMedium(uint64_t size) : bytes(size) {}
  struct Unflushed {
    uint64_t offset;
    std::vector<std::byte> bytes;
    bool completed = false;
  };
  Content bytes;                     // durable
  std::vector<Unflushed> unflushed;  // in order of issue
  uint64_t operations = 0;           // writes and flushes issued
  uint64_t stop_at = ~uint64_t{0};   // from this operation on nothing completes
  bool hold_reads = false;           // reads wait, and see what is there when they are let go
  std::deque<std::function<void()>> held_reads;
  uint64_t fail_at = ~uint64_t{0}, fail_count = 1;  // operations that are refused with Code::io
  uint64_t unreadable_from = 0, unreadable_to = 0;  // reads that touch these bytes fail

  bool stopped() const { return operations >= stop_at; }
  bool refuses(uint64_t operation) const {
    return operation >= fail_at && operation - fail_at < fail_count;
  }
  void apply(const Unflushed& write, size_t first, size_t size) {
    copy_in(bytes, write.offset + first, Bytes(write.bytes).subspan(first, size));
  }
  void settle() {
    for (const Unflushed& write : unflushed) apply(write, 0, write.bytes.size());
    unflushed.clear();
  }
};

using FakeMedium = BasicMedium<std::vector<std::byte>>;
using PagedMedium = BasicMedium<PagedBytes>;

template <class Medium>
class BasicDisk final : public io::Disk {
 public:
  BasicDisk(FakeReactor& reactor, Medium& medium) : reactor_(reactor), medium_(medium) {}
  ~BasicDisk() override { *alive_ = false; }
  uint64_t size_bytes() const override { return medium_.bytes.size(); }
  uint32_t alignment() const override { return 4096; }

  void read(uint64_t offset, MutableBytes into, io::DiskDone done) override {
    check(offset, into);
    if (medium_.hold_reads) {
      auto held = std::make_shared<io::DiskDone>(std::move(done));
      medium_.held_reads.push_back(
          [this, offset, into, held] { read_now(offset, into, std::move(*held)); });
      return;
    }
    read_now(offset, into, std::move(done));
  }
  void read_now(uint64_t offset, MutableBytes into, io::DiskDone done) {
    if (offset < medium_.unreadable_to && medium_.unreadable_from < offset + into.size())
      return finish(std::move(done), Error(Code::io, "the device cannot read this"));
    peek(offset, into);
    finish(std::move(done), Status{});
  }
  bool peek(uint64_t offset, MutableBytes into) const override {
    copy_out(medium_.bytes, offset, into);
    for (const auto& write : medium_.unflushed) {
      const uint64_t begin = std::max(offset, write.offset);
      const uint64_t end = std::min(offset + into.size(), write.offset + write.bytes.size());
      if (begin < end)
        std::memcpy(into.data() + (begin - offset), write.bytes.data() + (begin - write.offset),
                    end - begin);
    }
    return true;
  }
  void write(uint64_t offset, Bytes from, io::DiskDone done) override {
    check(offset, from);
    const uint64_t number = medium_.operations++;
    if (medium_.refuses(number))
      return finish(std::move(done), Error(Code::io, "the device refuses"));
    if (number > medium_.stop_at) return;
    medium_.unflushed.push_back({offset, {from.begin(), from.end()}});
    if (number >= medium_.stop_at) return;
    finish(std::move(done), Status{});
  }
  void flush(io::DiskDone done) override {
    const uint64_t number = medium_.operations++;
    if (medium_.refuses(number))
      return finish(std::move(done), Error(Code::io, "the device refuses"));
    if (number >= medium_.stop_at) return;
    medium_.settle();
    finish(std::move(done), Status{});
  }
  void discard(uint64_t, uint64_t, io::DiskDone done) override {
    finish(std::move(done), Status{});
  }

 private:
  void check(uint64_t offset, Bytes memory) const {
    SP_ASSERT_OP(offset % 4096, ==, 0u);
    SP_ASSERT_OP(memory.size() % 4096, ==, 0u);
    SP_ASSERT_OP(reinterpret_cast<uintptr_t>(memory.data()) % 4096, ==, 0u);
    SP_ASSERT_OP(offset + memory.size(), <=, medium_.bytes.size());
  }
  void finish(io::DiskDone done, Status status) {
    struct Completion {
      io::DiskDone done;
      Status status;
    };
    reactor_.post([alive = alive_, c = std::make_unique<Completion>(
                                       Completion{std::move(done), std::move(status)})] {
      if (*alive) c->done.call_once(std::move(c->status));
    });
  }
  FakeReactor& reactor_;
  Medium& medium_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};
using FakeDisk = BasicDisk<FakeMedium>;
using PagedDisk = BasicDisk<PagedMedium>;

class NoNet final : public io::Net {
 public:
  Result<std::unique_ptr<io::Listener>> listen(
      const io::Address&, Callback<void(std::unique_ptr<io::Socket>)>) override {
    return Error(Code::failed, "no network here");
  }
  std::unique_ptr<Attempt> connect(const io::Address&, io::Duration,
                                   Callback<void(Result<std::unique_ptr<io::Socket>>)>) override {
    return nullptr;
  }
};

class NoDisks final : public io::DiskOpener {
 public:
  Result<std::unique_ptr<io::Disk>> open(const std::string&, const io::OpenOptions&) override {
    return Error(Code::not_found, "no disks here");
  }
};

struct FakeMachine {
  explicit FakeMachine(uint64_t seed) : random(seed) {}
  FakeReactor reactor;
  io::SeededRandom random;
  NoNet net;
  NoDisks disks;
  Log log = Log::nowhere();
  io::Host host{reactor, reactor, random, disks, net, log};
};

}  // namespace sp::test
