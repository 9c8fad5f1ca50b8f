// Standalone: a process that attaches one volume for itself, without sp-block: it registers as a
// client of its own, takes the attachment, and opens the Volume. Used by sp-attach --socket and the
// benchmarks.
//
// The attachment lives as long as the process: `detach` gives it back, and a process that dies
// loses it (its service goes down). Thread rule: one reactor; callbacks never inside a call, except
// none.
#pragma once
#include <memory>
#include <string>

#include "client/volume.h"
#include "member/member.h"

namespace sp::client {

struct StandaloneOptions {
  wire::ClusterKey key;
  ClusterId cluster = 0;
  NodeId node = 0;       // of this host
  uint8_t instance = 0;  // 2 to client_instance_max, nobody else's on this host; 0: drawn
  std::vector<io::Address> beacons;
  std::string volume;  // name, or ~ID
  map::Rights rights = map::Rights::read_write;
  bool force = false;  // take it from whoever has it: they are fenced
  std::string device;  // what the attachment shows as its device, for people
  io::Duration timeout = std::chrono::seconds(30);  // of attaching
  Tuning tuning;
  Versions versions;
};

class Standalone {
 public:
  using Ready = Callback<void(Result<std::unique_ptr<Standalone>>)>;
  virtual ~Standalone() = default;

  // Code::not_found: no such volume; Code::refused: attached elsewhere; Code::unreachable,
  // Code::timed_out: no cluster. The returned handle is the attempt; keep it until `ready` ran.
  // Destroying it gives up.
  class Attempt {
   public:
    virtual ~Attempt() = default;
    virtual std::string waits_for() const = 0;
  };
  [[nodiscard]] static std::unique_ptr<Attempt> attach(io::Host& host, StandaloneOptions options,
                                                       Ready ready);

  virtual Volume& volume() = 0;
  virtual uint32_t generation() const = 0;  // of the attachment; a higher one takes the volume
  virtual member::Member& member() = 0;
  virtual Servers& servers() = 0;
  virtual void detach(Callback<void(Status)> done) = 0;
  virtual void on_fenced(Callback<void()> fenced) = 0;
};

}  // namespace sp::client
