// AttachManager: the volumes attached to this host, as block devices with names: /dev/storpool/NAME
// and /dev/storpool-byid/ID are links to the device nodes that the drivers make. It follows orders;
// which volumes should be attached is the affair of the service that owns it.
//
// After a restart: make it with the same drivers, attach() every volume that should be attached
// (what the earlier process left is taken over, its openers go on), then take_down_left_behind()
// for the rest. Destroying it leaves the devices for a successor. Thread rule: the reactor's;
// completions never run inside the call.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attach/driver.h"
#include "client/block_device.h"

namespace sp::attach {

struct AttachOptions {
  std::string name_folder = "/dev/storpool";
  std::string id_folder = "/dev/storpool-byid";
};

struct AttachRequest {
  std::string name;     // the link's name; no '/', not starting with a dot, at most
                        // limits::name_bytes_max bytes
  uint64_t id = 0;      // the volume's; never 0
  std::string id_text;  // the name by ID; empty: the id in decimal
  bool read_only = false;
  std::optional<Way> way;  // empty: the first driver
};

struct AttachedDevice {
  enum class State : uint8_t { attaching, attached, detaching };
  std::string name;
  uint64_t id = 0;
  std::string id_text;
  std::string path;  // /dev/storpool/NAME
  std::string node;  // /dev/loop3; empty while attaching
  Way way = Way::fuse;
  bool read_only = false;
  State state = State::attaching;
};

class AttachManager {
 public:
  using Attached = Callback<void(Result<std::string>)>;
  using Done = Callback<void(Status)>;

  // `drivers` in order of preference (make_drivers() in ways_linux.h); at least one.
  AttachManager(io::Host& host, std::vector<std::unique_ptr<Driver>> drivers,
                AttachOptions options);
  ~AttachManager();

  // The path /dev/storpool/NAME once the device is there with the right size. Code::exists when
  // this name or id is attached, Code::invalid for a bad name, Code::not_found for a way without
  // driver. The device is owned by the manager from now on, and destroyed on failure.
  void attach(AttachRequest request, std::unique_ptr<client::BlockDevice> device,
              Attached attached);
  // Code::not_found; Code::refused while something has it open, unless forced: its openers get
  // errors then; Code::transient while it is being attached or detached.
  void detach(const std::string& name, bool force, Done done);
  void rename(const std::string& name, const std::string& new_name, Done done);
  // To be called when the BlockDevice's size has changed; `done` when the node has it.
  void resized(const std::string& name, Done done);
  // Takes down what an earlier process left and attach() has not asked for, and removes links that
  // belong to no volume (the folders are this manager's alone): the first error, after trying all.
  void take_down_left_behind(bool force, Done done);

  std::vector<AttachedDevice> list() const;  // by name
  const std::map<uint64_t, Way>& left_behind() const { return left_behind_; }

 private:
  struct Sweep;
  Driver* driver(Way way) const;
  Result<Driver*> choose(const AttachRequest& request) const;
  Status check(const AttachRequest& request) const;
  void made(const std::string& name, Result<std::string> node, Attached attached);
  Result<std::string> link(const AttachedDevice& device) const;
  void unlink(const AttachedDevice& device);
  Status remove_stale_links();
  void later(Done done, Status status);
  Result<AttachedDevice*> find(const std::string& name);

  io::Host& host_;
  AttachOptions options_;
  std::vector<std::unique_ptr<Driver>> drivers_;
  std::map<uint64_t, Way> left_behind_;
  std::map<std::string, AttachedDevice> devices_;
};

}  // namespace sp::attach
