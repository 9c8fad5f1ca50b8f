#include "io/sim_medium.h"

#include <algorithm>
#include <cstring>

#include "base/checksum.h"

namespace sp::io {

const SimMedium::Page SimMedium::zeros{};

const SimMedium::Page* SimMedium::find(uint64_t page) const {
  const uint64_t group = page / pages_per_group;
  if (group >= groups_.size() || groups_[group] == nullptr) return nullptr;
  return groups_[group]->pages[page % pages_per_group].get();
}

std::unique_ptr<const SimMedium::Page, SimMedium::Free>& SimMedium::place(uint64_t page) {
  const uint64_t group = page / pages_per_group;
  if (group >= groups_.size()) groups_.resize(group + 1);
  if (groups_[group] == nullptr) groups_[group] = std::make_unique<Group>();
  auto& place = groups_[group]->pages[page % pages_per_group];
  if (place == nullptr) ++page_count_;
  return place;
}

SimMedium::Page& SimMedium::make(uint64_t page) {
  auto& held = place(page);
  if (held != nullptr && held.get() != &zeros) return const_cast<Page&>(*held);
  auto made = std::make_unique_for_overwrite<Page>();
  if (held != nullptr)
    made->fill(std::byte{0});
  else
    fill_noise(page * page_bytes, *made);
  Page& result = *made;
  held.reset(made.release());
  return result;
}

void SimMedium::write_page(uint64_t page, Bytes data) {
  auto& held = place(page);
  if (std::memcmp(data.data(), zeros.data(), page_bytes) == 0) {
    held.reset(&zeros);
    return;
  }
  if (held == nullptr || held.get() == &zeros)
    held.reset(std::make_unique_for_overwrite<Page>().release());
  std::memcpy(const_cast<Page&>(*held).data(), data.data(), page_bytes);
}

void SimMedium::fill_noise(uint64_t offset, MutableBytes into) const {
  if (!noise_) {
    std::memset(into.data(), 0, into.size());
    return;
  }
  // One draw per sector, its words follow by a cheap step: noise must differ everywhere, not be
  // random.
  for (size_t at = 0; at < into.size(); at += sector_bytes) {
    uint64_t word = mix64(salt_ ^ mix64((offset + at) / sector_bytes));
    for (size_t i = 0; i < sector_bytes; i += sizeof word) {
      std::memcpy(into.data() + at + i, &word, sizeof word);
      word = word * 6364136223846793005ull + 1442695040888963407ull;
    }
  }
}

uint64_t SimMedium::bytes_needed(uint64_t offset, uint64_t size) const {
  uint64_t needed = 0;
  for (uint64_t page = offset / page_bytes; page * page_bytes < offset + size; ++page) {
    if (find(page) == nullptr) needed += page_bytes;
  }
  return needed;
}

void SimMedium::read(uint64_t offset, MutableBytes into) const {
  while (!into.empty()) {
    const uint64_t within = offset % page_bytes;
    const size_t size = std::min<uint64_t>(into.size(), page_bytes - within);
    if (const Page* page = find(offset / page_bytes))
      std::memcpy(into.data(), page->data() + within, size);
    else
      fill_noise(offset, into.first(size));
    into = into.subspan(size);
    offset += size;
  }
}

std::vector<uint64_t> SimMedium::mend(uint64_t offset, uint64_t size) {
  const uint64_t first = offset / sector_bytes, end = (offset + size) / sector_bytes;
  unreadable_.erase(unreadable_.lower_bound(first), unreadable_.lower_bound(end));
  const auto from = harmed_.lower_bound(first), to = harmed_.lower_bound(end);
  std::vector<uint64_t> mended(from, to);
  harmed_.erase(from, to);
  return mended;
}

void SimMedium::note_harm(uint64_t offset, uint64_t size) {
  const uint64_t end = std::min(offset + size, size_bytes_);
  for (uint64_t at = offset / sector_bytes; at * sector_bytes < end; ++at) harmed_.insert(at);
}

bool SimMedium::harmed(uint64_t offset, uint64_t size) const {
  const auto first = harmed_.lower_bound(offset / sector_bytes);
  return first != harmed_.end() && *first * sector_bytes < offset + size;
}

void SimMedium::make_unreadable(uint64_t offset, uint64_t size) {
  note_harm(offset, size);
  const uint64_t end = std::min(offset + size, size_bytes_);
  for (uint64_t at = offset / sector_bytes; at * sector_bytes < end; ++at) unreadable_.insert(at);
}

bool SimMedium::readable(uint64_t offset, uint64_t size) const {
  const auto first = unreadable_.lower_bound(offset / sector_bytes);
  return first == unreadable_.end() || *first * sector_bytes >= offset + size;
}

void SimMedium::write_through(uint64_t offset, Bytes data) {
  if (!harmed_.empty()) mend(offset, data.size());
  while (!data.empty()) {
    const uint64_t within = offset % page_bytes;
    const size_t size = std::min<uint64_t>(data.size(), page_bytes - within);
    if (size == page_bytes)
      write_page(offset / page_bytes, data.first(size));
    else
      std::memcpy(make(offset / page_bytes).data() + within, data.data(), size);
    data = data.subspan(size);
    offset += size;
  }
}

void SimMedium::write_cached(uint64_t offset, Buffer data, uint64_t cache_bytes) {
  Buffer before = Buffer::allocate(data.size());
  read(offset, before.mutable_bytes());
  std::vector<uint64_t> harmed_before;
  if (!harmed_.empty()) harmed_before = mend(offset, data.size());
  write_through(offset, data.bytes());
  cached_bytes_ += data.size();
  cached_.push_back(
      {++applied_, {offset, std::move(data)}, std::move(before), std::move(harmed_before)});
  while (cached_bytes_ > cache_bytes) make_durable(cached_.front().mark);
}

void SimMedium::make_durable(uint64_t mark) {
  while (!cached_.empty() && cached_.front().mark <= mark) {
    cached_bytes_ -= cached_.front().write.data.size();
    cached_.pop_front();
  }
}

void SimMedium::discard(uint64_t offset, uint64_t size, Random& random) {
  for (uint64_t end = offset + size; offset < end;) {
    const uint64_t within = offset % page_bytes;
    const uint64_t step = std::min(end - offset, page_bytes - within);
    if (find(offset / page_bytes) != nullptr) {
      const uint64_t fate = random.below(3);
      if (fate == 1) {
        std::memset(make(offset / page_bytes).data() + within, 0, step);
      } else if (fate == 2 && step == page_bytes) {
        groups_[offset / page_bytes / pages_per_group]
            ->pages[offset / page_bytes % pages_per_group]
            .reset();
        --page_count_;
      }
    }
    offset += step;
  }
}

void SimMedium::corrupt(uint64_t offset, uint64_t size) {
  const uint64_t end = std::min(offset + size, size_bytes_);
  for (uint64_t at = offset / sector_bytes * sector_bytes; at < end; at += sector_bytes) {
    const uint64_t draw = mix64(salt_ ^ at ^ 0xdecau);
    std::byte* sector = make(at / page_bytes).data() + at % page_bytes;
    const uint64_t count = 1 + (draw & 7);
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t place = mix64(draw + i);
      sector[place % sector_bytes] ^= std::byte{1} << (place >> 32 & 7);
    }
    sector[draw >> 8 & (sector_bytes - 1)] ^= std::byte{0x40};
  }
  note_harm(offset, size);
}

void SimMedium::flip_bit(uint64_t offset, uint64_t bit) {
  const uint64_t at = offset + bit / 8;
  make(at / page_bytes)[at % page_bytes] ^= std::byte{1} << (bit % 8);
  note_harm(at, 1);
}

void SimMedium::wipe() {
  groups_.clear();
  cached_.clear();
  cached_bytes_ = 0;
  page_count_ = 0;
  harmed_.clear();
  unreadable_.clear();
  salt_ = mix64(salt_);
}

void SimMedium::put(Write write, bool cached) {
  if (cached)
    write_cached(write.offset, std::move(write.data), UINT64_MAX);
  else
    write_through(write.offset, write.data.bytes());
}

void SimMedium::write_in_part(const Write& write, Random& random, bool garbage, bool cached) {
  Buffer mixed = Buffer::allocate(write.data.size());
  read(write.offset, mixed.mutable_bytes());
  std::vector<uint64_t> kept;
  for (size_t at = 0; at < mixed.size(); at += sector_bytes) {
    const uint64_t draw = random.below(garbage ? 3 : 2);
    if (draw == 1) std::memcpy(mixed.data() + at, write.data.data() + at, sector_bytes);
    if (draw == 2) random.fill(mixed.mutable_bytes().subspan(at, sector_bytes));
    const uint64_t sector = (write.offset + at) / sector_bytes;
    if (draw == 0 && harmed_.count(sector) != 0) kept.push_back(sector);
  }
  put({write.offset, std::move(mixed)}, cached);
  harmed_.insert(kept.begin(), kept.end());
}

void SimMedium::meet_fate(const SimDiskOptions& options, std::vector<Write>& writes, Random& random,
                          bool cached) {
  const uint64_t sum = uint64_t{options.crash_keep} + options.crash_drop + options.crash_tear +
                       options.crash_garbage;
  // Whole outcomes are drawn besides mixed ones: "nothing of it is there" would otherwise be rare
  // after many writes.
  const uint64_t mood = random.below(8);
  for (Write& write : writes) {
    uint64_t draw = sum == 0 ? 0 : random.below(sum);
    if (mood == 0 && options.crash_keep > 0) draw = 0;
    if (mood == 1 && options.crash_drop > 0) draw = options.crash_keep;
    if (sum == 0 || draw < options.crash_keep) {
      put(std::move(write), cached);
    } else if (draw >= uint64_t{options.crash_keep} + options.crash_drop) {
      const bool garbage =
          draw >= uint64_t{options.crash_keep} + options.crash_drop + options.crash_tear;
      write_in_part(write, random, garbage, cached);
    }
  }
  writes.clear();
}

void SimMedium::crash(const SimDiskOptions& options, std::vector<Write> in_flight, Random& random) {
  std::vector<Write> writes;
  writes.reserve(cached_.size() + in_flight.size());
  for (auto applied = cached_.rbegin(); applied != cached_.rend(); ++applied) {
    write_through(applied->write.offset, applied->before.bytes());
    harmed_.insert(applied->harmed_before.begin(), applied->harmed_before.end());
    writes.push_back(std::move(applied->write));
  }
  std::reverse(writes.begin(), writes.end());
  cached_.clear();
  cached_bytes_ = 0;
  std::move(in_flight.begin(), in_flight.end(), std::back_inserter(writes));
  meet_fate(options, writes, random, false);
}

void SimMedium::end_in_flight(const SimDiskOptions& options, std::vector<Write> in_flight,
                              Random& random) {
  meet_fate(options, in_flight, random, options.volatile_cache);
}

}  // namespace sp::io
