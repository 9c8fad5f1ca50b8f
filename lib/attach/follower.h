// Follower: keeps what this host presents equal to what the cluster wants: for each attachment of
// this client in the map an open client::Volume, handed to a Presenter (block devices of the host,
// or exports of an NBD server), and reported back as ready or gone.
//
// - A volume is presented under one generation. When the attachment has another one (it was forced,
// or its rights changed), the old one is withdrawn by force, then presented anew.
// - An attachment that is gone from the map was fenced: it is withdrawn by force, at once.
// - A detach asked for in order waits until nobody has the volume open; it is tried again every
// second.
// - Failures to present are logged and tried again every second; they do not touch other volumes.
// Thread rule: one reactor. Destroying it leaves what the Presenter presents to a successor (as far
// as that can).
#pragma once
#include <map>
#include <memory>
#include <string>

#include "client/volume.h"
#include "member/member.h"

namespace sp::attach {

class Presenter {
 public:
  using Presented = Callback<void(Result<std::string>)>;  // the path under which users find it
  using Done = Callback<void(Status)>;
  struct Item {
    VolumeId volume = 0;
    std::string name;  // never empty: the volume's name, or its id
    std::string id_text;
    bool read_only = false;
  };
  virtual ~Presenter() = default;
  // Completions run in later turns. The device is destroyed when it is withdrawn, or when
  // presenting fails.
  virtual void present(const Item& item, std::unique_ptr<client::BlockDevice> device,
                       Presented done) = 0;
  virtual void withdraw(const Item& item, bool force,
                        Done done) = 0;  // Code::refused while in use, unless forced
  virtual void rename(const Item& item, const std::string& name, Done done) = 0;
  virtual void resized(const Item& item, Done done) = 0;
  // The first map was looked at: what is left of an earlier process and was not asked for can go.
  virtual void settled() {}
};

class Follower {
 public:
  // `member_options.self.service` is the client; `id_text` writes a volume's global id. The
  // presenter outlives the Follower.
  using IdText = std::string (*)(ClusterId cluster, VolumeId volume);
  Follower(io::Host& host, member::Options member_options, Presenter& presenter, IdText id_text);
  ~Follower();
  const member::Member& member() const { return *member_; }
  size_t presented() const;  // volumes that are ready

 private:
  struct Entry;
  class Guard;
  void map_changed();
  void look_again();
  void look_at_all();
  void look(VolumeId id);
  void open(const map::Attachment& row, const map::Volume& volume);
  void withdraw(Entry& entry, bool force);
  void follow_changes(Entry& entry, const map::Volume& volume);
  void tell(const map::Command& command);
  void settle();
  member::Report report() const;

  io::Host& host_;
  Presenter& presenter_;
  IdText id_text_;
  NodeId client_ = 0;
  bool settled_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::map<VolumeId, std::shared_ptr<Entry>> entries_;
  std::shared_ptr<client::Servers> servers_;
  io::Timer retry_;
  std::unique_ptr<member::Member> member_;
};

}  // namespace sp::attach
