#include "state/columns.h"

#include <algorithm>
#include <charconv>

namespace sp::state {
namespace {

constexpr std::string_view kinds[] = {"", "beacon", "server", "client", "mgmt"};
constexpr std::string_view rights_names[] = {"", "ro", "rw"};
constexpr std::string_view state_names[] = {"", "requested", "ready", "detaching"};

template <class T>
bool take_number(std::string_view& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

template <class T, size_t N>
bool named(std::string_view text, const std::string_view (&names)[N], T& value) {
  for (size_t i = 1; i < N; ++i) {
    if (names[i] != text) continue;
    value = static_cast<T>(i);
    return true;
  }
  return false;
}

template <class T>
std::string listed(const std::vector<T>& numbers) {
  std::string out;
  for (const T number : numbers) out += (out.empty() ? "" : ",") + std::to_string(number);
  return out;
}

template <class T>
bool from_list(std::string_view text, std::vector<T>& numbers) {
  numbers.clear();
  if (text.empty()) return true;
  do {
    if (!take_number(text, numbers.emplace_back())) return false;
  } while (take(text, ','));
  return text.empty();
}

// JSON text: quote, backslash and control characters are escaped; other bytes are as they are.
void put_quoted(std::string& out, std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20)
      out.append("\\u00").append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
    else if (c == '"' || c == '\\')
      out.append(1, '\\').append(1, c);
    else
      out += c;
  }
  out += '"';
}

bool take_quoted(std::string_view& text, std::string& out) {
  if (!take(text, '"')) return false;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == '"') return true;
    if (c != '\\') {
      out += c;
      continue;
    }
    if (!text.starts_with("u00")) {
      if (text.empty() || (text.front() != '"' && text.front() != '\\')) return false;
      out += text.front();
      text.remove_prefix(1);
      continue;
    }
    unsigned value = 0;
    const auto [end, error] =
        std::from_chars(text.data() + 3, text.data() + std::min<size_t>(5, text.size()), value, 16);
    if (error != std::errc{} || end != text.data() + 5) return false;
    out += static_cast<char>(value);
    text.remove_prefix(5);
  }
  return false;
}

}  // namespace

std::string to_column(ServiceId id) {
  return std::string(kinds[static_cast<size_t>(id.kind)]) + '.' + std::to_string(id.node) + '.' +
         std::to_string(id.instance);
}

bool from_column(std::string_view text, ServiceId& id) {
  const size_t dot = text.find('.');
  if (dot == std::string_view::npos || !named(text.substr(0, dot), kinds, id.kind)) return false;
  text.remove_prefix(dot + 1);
  return take_number(text, id.node) && take(text, '.') && take_number(text, id.instance) &&
         text.empty();
}

std::string to_column(map::Rights rights) {
  return std::string(rights_names[static_cast<size_t>(rights)]);
}
bool from_column(std::string_view text, map::Rights& rights) {
  return named(text, rights_names, rights);
}
std::string to_column(map::AttachmentState state) {
  return std::string(state_names[static_cast<size_t>(state)]);
}
bool from_column(std::string_view text, map::AttachmentState& state) {
  return named(text, state_names, state);
}

std::string to_column(const std::vector<DiskId>& disks) { return listed(disks); }
bool from_column(std::string_view text, std::vector<DiskId>& disks) {
  return from_list(text, disks);
}
std::string to_column(const std::vector<VolumeId>& volumes) { return listed(volumes); }
bool from_column(std::string_view text, std::vector<VolumeId>& volumes) {
  return from_list(text, volumes);
}

std::string to_column(const std::map<std::string, std::string>& pairs) {
  std::string out = "{";
  for (const auto& [key, value] : pairs) {
    if (out.size() > 1) out += ',';
    put_quoted(out, key);
    out += ':';
    put_quoted(out, value);
  }
  return out + '}';
}

bool from_column(std::string_view text, std::map<std::string, std::string>& pairs) {
  pairs.clear();
  if (!take(text, '{')) return false;
  if (take(text, '}')) return text.empty();
  do {
    std::string key, value;
    if (!take_quoted(text, key) || !take(text, ':') || !take_quoted(text, value)) return false;
    if (!pairs.emplace(std::move(key), std::move(value)).second) return false;
  } while (take(text, ','));
  return take(text, '}') && text.empty();
}

std::string hex_column(uint64_t value) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, 16).ptr;
  return "0x" + std::string(digits, end);
}

bool from_hex_column(std::string_view text, uint64_t& value) {
  if (!text.starts_with("0x")) return false;
  text.remove_prefix(2);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace sp::state
