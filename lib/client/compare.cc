#include "client/compare.h"

#include <fmt/format.h>

#include <deque>
#include <optional>

#include "client/servers.h"
#include "wire/data_messages.h"

namespace sp::client {

namespace {

constexpr int tries_max = 10;
constexpr io::Duration pause = std::chrono::milliseconds(200);
constexpr size_t sets_in_flight_max = 32;

class Work final : public Comparing {
 public:
  Work(io::Host& host, member::Member& member, std::shared_ptr<Servers> servers,
       Callback<void(Comparison)> done)
      : member_(member),
        servers_(std::move(servers)),
        done_(std::move(done)),
        turn_(host.reactor),
        anchor_(std::make_shared<Work*>(this)) {
    for (const auto& [id, row] : member.map().sets) {
      todo_.push_back({id, 0});
      const auto group = member.map().groups.find(id.group);
      if (group != member.map().groups.end() && row.acting.size() < group->second.copies)
        ++result_.degraded;
    }
    result_.sets = todo_.size();
    turn_.arm(io::Duration(0), [this] { more(); });
  }
  ~Work() override { *anchor_ = nullptr; }

 private:
  struct Task {
    SetId set;
    int tries = 0;
  };
  struct Asked {
    Task task;
    std::vector<DiskId> disks;
    std::vector<std::optional<wire::DigestReply>> replies;
    size_t open = 0;
  };

  void more() {
    while (!todo_.empty() && in_flight_ < sets_in_flight_max) {
      const Task task = todo_.front();
      todo_.pop_front();
      ask(task);
    }
    if (todo_.empty() && in_flight_ == 0 && later_.empty())
      return done_.call_once(std::move(result_));
    if (!turn_.armed() && !later_.empty()) {
      turn_.arm(pause, [this] {
        todo_.insert(todo_.end(), later_.begin(), later_.end());
        later_.clear();
        more();
      });
    }
  }

  void ask(const Task& task) {
    const auto row = member_.map().sets.find(task.set);
    if (row == member_.map().sets.end()) return;  // deleted meanwhile
    ++in_flight_;
    auto asked = std::make_shared<Asked>();
    asked->task = task;
    asked->disks = row->second.acting;
    asked->replies.resize(asked->disks.size());
    asked->open = asked->disks.size();
    for (size_t i = 0; i < asked->disks.size(); ++i) {
      const map::Service* server = member_.map().server_of(asked->disks[i]);
      auto reply = [anchor = anchor_, asked, i](Result<wire::Message> message) {
        if (message.ok()) asked->replies[i] = wire::decode<wire::DigestReply>(message->body);
        if (--asked->open == 0 && *anchor != nullptr) (*anchor)->answered(*asked);
      };
      if (server == nullptr) {
        --asked->open;
        continue;
      }
      wire::Digest digest;
      digest.set = task.set;
      digest.disk = asked->disks[i];
      wire::Message message;
      message.type = wire::MessageType::digest;
      message.body = wire::encode(digest);
      servers_->request(*server, std::move(message), reply);
    }
    if (asked->open == 0) answered(*asked);
  }

  void answered(const Asked& asked) {
    --in_flight_;
    std::string what;
    bool same = true;
    const std::optional<wire::DigestReply>& first = asked.replies.front();
    for (size_t i = 0; i < asked.replies.size(); ++i) {
      const auto& reply = asked.replies[i];
      const bool good = reply && reply->ok;
      same = same && good && first->hash == reply->hash && first->blocks == reply->blocks;
      what +=
          fmt::format("{}disk {}: {}", i == 0 ? "" : ", ", asked.disks[i],
                      good    ? fmt::format("{} blocks, digest {:016x}", reply->blocks, reply->hash)
                      : reply ? reply->text
                              : "does not answer");
    }
    if (same) {
      result_.copies += asked.disks.size();
      result_.blocks += first->blocks;
    } else if (asked.task.tries + 1 < tries_max) {
      later_.push_back({asked.task.set, asked.task.tries + 1});
    } else {
      result_.differences.push_back({asked.task.set, std::move(what)});
    }
    more();
  }

  member::Member& member_;
  std::shared_ptr<Servers> servers_;
  Callback<void(Comparison)> done_;
  Comparison result_;
  std::deque<Task> todo_;
  std::vector<Task> later_;
  size_t in_flight_ = 0;
  io::Timer turn_;
  std::shared_ptr<Work*> anchor_;
};

}  // namespace

std::unique_ptr<Comparing> Comparing::start(io::Host& host, member::Member& member,
                                            std::shared_ptr<Servers> servers,
                                            Callback<void(Comparison)> done) {
  return std::make_unique<Work>(host, member, std::move(servers), std::move(done));
}

}  // namespace sp::client
