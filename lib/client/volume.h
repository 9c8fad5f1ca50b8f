// Volume: one attached volume as a BlockDevice: splits requests at objects, makes and checks CRC-64
// per block, routes by the map to the primary of each set, and retries until the outcome is
// certain.
//
// - Each write operation gets a number once; every retry of it, on whatever server, carries the
// same number, so it is applied at most once while a server remembers it, and does no harm when it
// is applied again: writes that touch the same block go one after the other (open_writes.h).
// - At most limits::client_window_per_server requests are in flight to one server; the rest waits
// here in order of arrival.
// - Overlapping writes open at once take effect in the order in which they were given; a read
// issued after a write has completed sees it.
// - A read whose checksum does not match is asked again with `checksum_failed`.
// - stale_epoch, not_ready, busy, lost connections and silence (timeouts) are retried for ever with
// a bounded backoff; they are never errors. fenced ends the device: all
//   requests from then on fail with Code::closed.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/limits.h"
#include "client/block_device.h"
#include "member/member.h"

namespace sp::client {

// Connections to servers, shared by all volumes of one process.
// As base/limits.h says, unless the simulator makes them small.
struct Tuning {
  uint32_t window = limits::client_window_per_server;                  // requests in flight
  uint32_t pieces_started_max = 4 * limits::client_window_per_server;  // of one volume
};

class Servers;
std::shared_ptr<Servers> make_servers(io::Host& host, const wire::ClusterKey& key,
                                      const wire::Identity& self, const Tuning& tuning = {});

struct VolumeOptions {
  VolumeId volume = 0;
  uint32_t generation = 0;  // of the attachment
  bool read_only = false;
};

struct VolumeCounters {
  uint64_t reads = 0, writes = 0, retries = 0, checksum_mismatches = 0;
  uint64_t oldest_request_ms = 0;  // age of the oldest unanswered request, 0 when none
  uint64_t in_flight = 0;
  uint64_t requests_open = 0;  // at servers, of all volumes of the process
};

class Volume : public BlockDevice {
 public:
  // `member` outlives the Volume; call map_changed() on each of its changes.
  static std::unique_ptr<Volume> open(io::Host& host, member::Member& member,
                                      std::shared_ptr<Servers> servers,
                                      const VolumeOptions& options);
  virtual void map_changed() = 0;
  // The owner gives the attachment back: that it is gone is nothing to warn of then.
  virtual void detaching() = 0;
  virtual VolumeCounters counters() const = 0;
  // Who lets the oldest request wait: server, set, epoch and the last answer. Empty: none is open.
  virtual std::string waits_for() const = 0;
  // Runs once, in a later turn, when the attachment is gone, also when that is so already.
  virtual void on_fenced(Callback<void()> fenced) = 0;
};

}  // namespace sp::client
