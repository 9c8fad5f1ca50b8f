// Result<T>: a value or an Error. Every fallible function of this project returns one; nothing
// throws.
//
// An Error is a code (what kind of failure, which also picks the exit code of a command) and a
// message that is built up from the inside out: the innermost text says what failed, each caller
// may put its own context before it. An Error costs one allocation; success costs none. Thread
// rule: plain values, no sharing.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.h"

namespace sp {

// The kinds of failure. `exit_code()` in cli maps them to the exit codes of sp(7).
enum class Code : unsigned char {
  failed,          // anything without a better name
  invalid,         // the caller's argument or request is malformed
  not_found,       // the named thing does not exist
  exists,          // the named thing exists already
  transient,       // waiting and asking again may cure it
  refused,         // refused for safety; a flag may override
  timed_out,       // the deadline passed; the outcome may be unknown
  unreachable,     // no quorum, or the peer cannot be reached
  not_authorised,  // authentication or role does not allow it
  damaged,         // stored bytes are not what was written
  io,              // a device or the network reported an error
  no_space,        // a finite resource is used up
  stale,           // epoch, generation or version is older than the current one
  closed,          // the connection or service ended
  interrupted,     // ended by a signal
};

std::string_view code_name(Code code);

class [[nodiscard]] Error {
 public:
  Error(Code code, std::string message)
      : body_(std::make_unique<Body>(Body{code, std::move(message)})) {}
  Error(const Error& other) : body_(std::make_unique<Body>(*other.body_)) {}
  Error(Error&&) noexcept = default;
  Error& operator=(Error&&) noexcept = default;
  Error& operator=(const Error& other) {
    body_ = std::make_unique<Body>(*other.body_);
    return *this;
  }

  Code code() const { return body_->code; }
  const std::string& message() const { return body_->message; }

  // Puts "context: " before the message.
  Error&& with(std::string_view context) && {
    body_->message.insert(0, ": ").insert(0, context);
    return std::move(*this);
  }

 private:
  struct Body {
    Code code;
    std::string message;
  };
  std::unique_ptr<Body> body_;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }

  T& value() & {
    SP_ASSERT(ok());
    return *value_;
  }
  const T& value() const& {
    SP_ASSERT(ok());
    return *value_;
  }
  T&& value() && {
    SP_ASSERT(ok());
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& {
    SP_ASSERT(!ok());
    return *error_;
  }
  Error&& error() && {
    SP_ASSERT(!ok());
    return std::move(*error_);
  }

 private:
  std::optional<T> value_;
  std::optional<Error> error_;
};

// Success or an Error.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const& {
    SP_ASSERT(!ok());
    return *error_;
  }
  Error&& error() && {
    SP_ASSERT(!ok());
    return std::move(*error_);
  }

 private:
  std::optional<Error> error_;
};

inline Status ok_status() { return {}; }

}  // namespace sp

#define SP_CONCAT_INNER(a, b) a##b
#define SP_CONCAT(a, b) SP_CONCAT_INNER(a, b)

// SP_TRY(auto x, f()): x takes f's value, or the enclosing function returns f's error.
#define SP_TRY(declaration, expression) \
  SP_TRY_IMPL(SP_CONCAT(sp_try_, __LINE__), declaration, expression)
#define SP_TRY_IMPL(temporary, declaration, expression)     \
  auto temporary = (expression);                            \
  if (!temporary.ok()) return std::move(temporary).error(); \
  declaration = std::move(temporary).value()

// SP_CHECK(f()): the enclosing function returns f's error, if it has one.
#define SP_CHECK(expression)                                                                 \
  do {                                                                                       \
    if (auto sp_check_ = (expression); !sp_check_.ok()) return std::move(sp_check_).error(); \
  } while (0)
