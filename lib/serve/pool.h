// Pool<T>: records of calls in flight, reused so that the per-operation path does not allocate.
// Addresses stay good until release; the pool must outlive its records. Records are
// default-constructed once and handed out as they were released: whoever releases one resets what
// holds resources.
#pragma once
#include <memory>
#include <vector>

namespace sp::serve {

template <class T>
class Pool {
 public:
  T* take() {
    if (free_.empty()) {
      all_.push_back(std::make_unique<T>());
      return all_.back().get();
    }
    T* record = free_.back();
    free_.pop_back();
    return record;
  }
  void release(T* record) { free_.push_back(record); }
  size_t in_use() const { return all_.size() - free_.size(); }

 private:
  std::vector<std::unique_ptr<T>> all_;
  std::vector<T*> free_;
};

}  // namespace sp::serve
