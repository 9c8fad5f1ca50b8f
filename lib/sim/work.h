// Work: what a client process does with the volume that it has. It runs on the client's host. Start
// it, let the world run, stop it, wait for idle(). When the host dies, destroy it: what was in
// flight then may take effect or not. Thread rule: the host's.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace sp::sim {

class Work {
 public:
  virtual ~Work() = default;
  virtual void start() = 0;
  virtual void stop() = 0;
  virtual bool idle() const = 0;  // nothing is open, and after stop() nothing comes any more
  virtual uint64_t completed() const = 0;
  // Who finds what is wrong with what the volume says, and what that was: nothing while all is
  // well.
  virtual std::string_view checker() const = 0;
  virtual const std::string& failure() const = 0;
};

}  // namespace sp::sim
