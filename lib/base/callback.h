// Callback<R(Args...)>: a move-only function object that never allocates. Captures must fit in 64
// bytes (checked at compile time): capture a pointer to a longer-lived record instead of large
// values. Calling an empty one asserts. Thread rule: belongs to the reactor thread that made it.
#pragma once
#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "base/assert.h"

namespace sp {

template <class Signature>
class Callback;

template <class R, class... Args>
class Callback<R(Args...)> {
 public:
  static constexpr size_t capacity_bytes = 64;

  Callback() = default;
  Callback(std::nullptr_t) {}  // NOLINT(google-explicit-constructor)

  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, Callback> &&
                                              std::is_invocable_r_v<R, std::decay_t<F>&, Args...>>>
  Callback(F&& function) {  // NOLINT(google-explicit-constructor)
    using Function = std::decay_t<F>;
    static_assert(sizeof(Function) <= capacity_bytes,
                  "captures too large: capture a pointer to a record");
    static_assert(alignof(Function) <= alignof(std::max_align_t));
    static_assert(std::is_nothrow_move_constructible_v<Function>);
    new (storage_) Function(std::forward<F>(function));
    table_ = &table_for<Function>;
  }

  Callback(Callback&& other) noexcept { take(other); }
  Callback& operator=(Callback&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  Callback(const Callback&) = delete;
  Callback& operator=(const Callback&) = delete;
  ~Callback() { reset(); }

  explicit operator bool() const { return table_ != nullptr; }

  R operator()(Args... args) {
    SP_ASSERT(table_ != nullptr);
    return table_->call(storage_, std::forward<Args>(args)...);
  }

  // Takes the function out, leaves *this empty, calls it. For one-shot completions whose owner may
  // die in the call.
  R call_once(Args... args) {
    Callback taken = std::move(*this);
    return taken(std::forward<Args>(args)...);
  }

  void reset() {
    const Table* const table = std::exchange(table_, nullptr);
    if (table != nullptr && table->destroy != nullptr) table->destroy(storage_);
  }

 private:
  // Without `move` and `destroy` the bytes are all that there is to a function: most captures are
  // pointers and numbers.
  struct Table {
    R (*call)(void*, Args&&...);
    void (*move)(void* to, void* from);
    void (*destroy)(void*);
  };
  template <class F>
  static constexpr bool plain = std::is_trivially_copyable_v<F>;
  template <class F>
  static void move_function(void* to, void* from) {
    new (to) F(std::move(*static_cast<F*>(from)));
    static_cast<F*>(from)->~F();
  }
  template <class F>
  static void destroy_function(void* f) {
    static_cast<F*>(f)->~F();
  }
  template <class F>
  static constexpr Table table_for = {
      [](void* f, Args&&... args) -> R {
        return (*static_cast<F*>(f))(std::forward<Args>(args)...);
      },
      plain<F> ? nullptr : &move_function<F>,
      plain<F> ? nullptr : &destroy_function<F>,
  };
  void take(Callback& other) {
    table_ = std::exchange(other.table_, nullptr);
    if (table_ == nullptr) return;
    if (table_->move != nullptr)
      table_->move(storage_, other.storage_);
    else
      std::memcpy(storage_, other.storage_, capacity_bytes);
  }

  alignas(std::max_align_t) std::byte storage_[capacity_bytes];
  const Table* table_ = nullptr;
};

}  // namespace sp
