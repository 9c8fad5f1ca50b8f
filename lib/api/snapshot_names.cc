#include "api/snapshot_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "api/fields.h"

namespace sp::api {

namespace {

constexpr std::string_view form = "@00000000-000000.000";

std::string time_text(int64_t wall_ms) {
  const std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(wall_ms)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  return fmt::format("@{:04}{:02}{:02}-{:02}{:02}{:02}.{:03}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                     clock.subseconds().count());
}

}  // namespace

std::string made_name(const map::Map& map, const map::Volume& volume, int64_t wall_ms,
                      const std::set<std::string>& taken) {
  std::string stem = shown_name(map, volume);
  // Names of snapshots do not begin with these.
  if (stem.starts_with('~') || stem.starts_with('#')) stem.erase(0, 1);
  stem.resize(std::min(stem.size(), limits::name_bytes_max - form.size() - 1));
  std::string name;
  do name = stem + time_text(wall_ms++);
  while (taken.count(name) != 0 || map.find_volume(name) != nullptr);
  return name;
}

bool is_made_name(std::string_view name) {
  if (name.size() <= form.size()) return false;
  name.remove_prefix(name.size() - form.size());
  return std::equal(form.begin(), form.end(), name.begin(), [](char wanted, char given) {
    return wanted == '0' ? given >= '0' && given <= '9' : given == wanted;
  });
}

}  // namespace sp::api
