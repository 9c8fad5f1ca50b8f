// Assertions. They are on in every build: an assertion states what only a programmer's error can
// break, and stops the process with both values printed. Bad input, bad disks and bad peers are
// Results, never assertions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace sp {

[[noreturn]] void assertion_failed(const char* file, int line, const char* expression,
                                   std::string_view values);

namespace detail {
template <class T>
std::string assert_text(const T& value) {
  if constexpr (std::is_same_v<T, bool>)
    return value ? "true" : "false";
  else if constexpr (std::is_enum_v<T>)
    return std::to_string(static_cast<long long>(value));
  else if constexpr (std::is_arithmetic_v<T>)
    return std::to_string(value);
  else if constexpr (std::is_convertible_v<const T&, std::string_view>)
    return std::string(std::string_view(value));
  else if constexpr (std::is_pointer_v<T>)
    return std::to_string(reinterpret_cast<uintptr_t>(value));
  else
    return "?";
}
}  // namespace detail

}  // namespace sp

#define SP_ASSERT(condition)                                      \
  do {                                                            \
    if (!(condition)) [[unlikely]]                                \
      ::sp::assertion_failed(__FILE__, __LINE__, #condition, ""); \
  } while (0)

// SP_ASSERT_OP(a, <=, b): as SP_ASSERT(a <= b), and prints a and b when it fails.
#define SP_ASSERT_OP(left, op, right)                                                            \
  do {                                                                                           \
    const auto& sp_left_ = (left);                                                               \
    const auto& sp_right_ = (right);                                                             \
    if (!(sp_left_ op sp_right_)) [[unlikely]]                                                   \
      ::sp::assertion_failed(                                                                    \
          __FILE__, __LINE__, #left " " #op " " #right,                                          \
          ::sp::detail::assert_text(sp_left_) + " and " + ::sp::detail::assert_text(sp_right_)); \
  } while (0)
#define SP_UNREACHABLE() ::sp::assertion_failed(__FILE__, __LINE__, "unreachable", "")
