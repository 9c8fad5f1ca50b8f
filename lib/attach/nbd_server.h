// NbdServer: volumes over the NBD protocol, on unix sockets and TCP, for any client: qemu, libnbd,
// fio, the kernel's own.
//
// An export is a BlockDevice under a name; several connections may serve one export, since an
// acknowledged write is durable and seen by all of them. Byte granularity: blocks of 4096 are read,
// changed and written here (attach/unaligned.h), in order, also between connections. A connection
// holds at most limits::nbd_bytes_in_flight of payload; beyond it its socket is not read. A client
// that breaks the protocol is cut off with a line in the log; others are not touched.
//
// Ownership: devices belong to the caller. Before a device goes away remove its export and wait; or
// destroy the device first (that drops its completions), then at once drop_export() or the server.
// Thread rule: the reactor's. Works over any io::Host.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attach/unaligned.h"
#include "client/block_device.h"

namespace sp::attach {

class NbdConnection;

struct NbdExport {
  std::string name;  // at most limits::name_bytes_max bytes; the client asks for it by this name
  std::string description;  // for people, shown by clients that list
  bool read_only = false;   // also when the device itself is
  client::BlockDevice* device = nullptr;
};

class NbdServer {
 public:
  explicit NbdServer(io::Host& host);
  ~NbdServer();
  NbdServer(const NbdServer&) = delete;
  NbdServer& operator=(const NbdServer&) = delete;

  // May be called several times. Code::exists when the address is taken.
  Status listen(const io::Address& address);
  std::vector<io::Address> addresses() const;

  // Code::exists, or Code::invalid for a name that does not fit. A new size of the device is seen
  // by the next request; clients learn of it when they connect again, as the protocol has it.
  Status add_export(NbdExport exported);
  // Cuts its connections off; `done` runs in a later turn, when no operation is under way on the
  // device any more. Unknown name: done at once.
  void remove_export(const std::string& name, Callback<void()> done);
  // For a device that was destroyed and has dropped its completions: forgets export and connections
  // at once. Not from within its completions.
  void drop_export(const std::string& name);

  struct ConnectionCounts {
    size_t connections = 0;
    size_t operations = 0;  // under way on the device
  };
  ConnectionCounts counts(const std::string& export_name) const;
  // Called, in a later turn, after a connection to an export has ended for whatever reason.
  void on_connection_closed(Callback<void(const std::string& export_name)> closed) {
    closed_ = std::move(closed);
  }

 private:
  friend class NbdConnection;
  struct Export {
    explicit Export(NbdExport exported) : settings(std::move(exported)), bytes(*settings.device) {}
    NbdExport settings;
    Unaligned bytes;
    Callback<void()> removed;
    bool removing = false;
    bool read_only() const { return settings.read_only || settings.device->read_only(); }
  };

  Export* find_export(const std::string& name);  // "" finds the only export, if there is just one
  void accept(std::unique_ptr<io::Socket> socket);
  void connection_changed();  // one may have closed or become idle: look at them in a later turn
  void sweep();

  io::Host& host_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::vector<std::unique_ptr<io::Listener>> listeners_;
  std::map<std::string, std::unique_ptr<Export>> exports_;
  std::vector<std::unique_ptr<NbdConnection>> connections_;
  Callback<void(const std::string&)> closed_;
  bool sweep_posted_ = false;
};

}  // namespace sp::attach
