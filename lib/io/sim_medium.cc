#include "io/sim_medium.h"

#include <algorithm>
#include <cstring>

#include "base/checksum.h"

namespace sp::io {

const SimPage* SimMedium::find(uint64_t page) const {
  const uint64_t group = page / pages_per_group;
  if (group >= groups_.size() || groups_[group] == nullptr) return nullptr;
  const SimPage& found = (*groups_[group])[page % pages_per_group];
  return found ? &found : nullptr;
}

SimPage& SimMedium::place(uint64_t page) {
  const uint64_t group = page / pages_per_group;
  if (group >= groups_.size()) groups_.resize(group + 1);
  if (groups_[group] == nullptr) groups_[group] = std::make_unique<Group>();
  return (*groups_[group])[page % pages_per_group];
}

void SimMedium::set(uint64_t page, SimPage content) {
  SimPage& held = place(page);
  page_count_ += (content ? 1 : 0);
  page_count_ -= (held ? 1 : 0);
  held = std::move(content);
}

std::byte* SimMedium::make(uint64_t page) {
  SimPage& held = place(page);
  if (held) return held.own();
  SimPage made = SimPage::fresh();
  fill_noise(page * page_bytes, {made.own(), page_bytes});
  set(page, std::move(made));
  return held.own();
}

void SimMedium::write_part(uint64_t page, uint64_t within, uint64_t length,
                           const SimPage& content) {
  if (length == page_bytes) return set(page, content);
  std::byte* const to = make(page) + within;
  if (content)
    std::memcpy(to, content.data() + within, length);
  else
    fill_noise(page * page_bytes + within, {to, length});
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
    if (const SimPage* page = find(offset / page_bytes))
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

void SimMedium::write_through(const Write& write) {
  if (!harmed_.empty()) mend(write.offset, write.size);
  write.each_page([this](uint64_t page, uint64_t within, uint64_t length, const SimPage& content) {
    write_part(page, within, length, content);
  });
}

void SimMedium::write_cached(Write write, uint64_t cache_bytes) {
  Applied applied{++applied_, std::move(write), {}, {}};
  const Write& kept = applied.write;
  applied.before.reserve(kept.pages.size());
  kept.each_page([&](uint64_t page, uint64_t, uint64_t, const SimPage&) {
    const SimPage* const before = find(page);
    applied.before.push_back(before == nullptr ? SimPage() : *before);
  });
  if (!harmed_.empty()) applied.harmed_before = mend(kept.offset, kept.size);
  write_through(kept);
  cached_bytes_ += kept.size;
  cached_.push_back(std::move(applied));
  while (cached_bytes_ > cache_bytes) make_durable(cached_.front().mark);
}

void SimMedium::undo(const Applied& applied) {
  if (!harmed_.empty()) mend(applied.write.offset, applied.write.size);
  size_t at = 0;
  applied.write.each_page([&](uint64_t page, uint64_t within, uint64_t length, const SimPage&) {
    write_part(page, within, length, applied.before[at++]);
  });
  harmed_.insert(applied.harmed_before.begin(), applied.harmed_before.end());
}

void SimMedium::make_durable(uint64_t mark) {
  while (!cached_.empty() && cached_.front().mark <= mark) {
    cached_bytes_ -= cached_.front().write.size;
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
        std::memset(make(offset / page_bytes) + within, 0, step);
      } else if (fate == 2 && step == page_bytes) {
        set(offset / page_bytes, SimPage());
      }
    }
    offset += step;
  }
}

void SimMedium::corrupt(uint64_t offset, uint64_t size) {
  const uint64_t end = std::min(offset + size, size_bytes_);
  const auto add = [](std::byte& to, uint32_t what) {  // done twice, it is no cure
    to = static_cast<std::byte>(std::to_integer<uint32_t>(to) + what);
  };
  for (uint64_t at = offset / sector_bytes * sector_bytes; at < end; at += sector_bytes) {
    const uint64_t draw = mix64(salt_ ^ at ^ 0xdecau);
    std::byte* sector = make(at / page_bytes) + at % page_bytes;
    const uint64_t count = 1 + (draw & 7);
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t place = mix64(draw + i);
      add(sector[place % sector_bytes], 1u << (place >> 32 & 7));
    }
    add(sector[draw >> 8 & (sector_bytes - 1)], 0x41);
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
    write_cached(std::move(write), UINT64_MAX);
  else
    write_through(write);
}

void SimMedium::write_in_part(const Write& write, Random& random, bool garbage, bool cached) {
  std::vector<std::byte> mixed(write.size), whole(write.size);
  read(write.offset, mixed);
  write.copy_to(whole);
  std::vector<uint64_t> kept;
  for (size_t at = 0; at < mixed.size(); at += sector_bytes) {
    const uint64_t draw = random.below(garbage ? 3 : 2);
    if (draw == 1) std::memcpy(mixed.data() + at, whole.data() + at, sector_bytes);
    if (draw == 2) random.fill(MutableBytes(mixed).subspan(at, sector_bytes));
    const uint64_t sector = (write.offset + at) / sector_bytes;
    if (draw == 0 && harmed_.count(sector) != 0) kept.push_back(sector);
  }
  put({write.offset, mixed}, cached);
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
    undo(*applied);
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
