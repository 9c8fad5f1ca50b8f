// Named situations, told in a small language: scenarios/*.txt. A line is a command; the lines after
// it that begin with "= " are what it brings about, and have to be equal. RAFT_RECORD=1 writes each
// file as it would be now, for the author to read and keep or not.
//
//   members 1 2 3 [learners 4]      the first configuration          log N TERM...        entries
//   with these terms, before anything ran term N TERM [VOTE]              durable term and vote
//   tick N               its deadline comes wait MS                         time passes for all
//   beat N               deadline, and all that follows is delivered settle deliver and persist all
//   deliver [A>B]        what is in the network now, once drop [A>B]                      lose what
//   is in the network      persist N            its batches under way become durable cut N / join N
//   off and on the network           crash N / start N [abstain [KEEP]] propose N TEXT   barrier N
//   change N add|promote|remove M [LOG]   transfer N M   compact N INDEX   fail N supply N (a
//   snapshot)            log-id N ID (of the next start)    show N   network
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "model/raft/group.h"

using namespace raft_test;

namespace {

class Story {
 public:
  std::vector<std::string> run(const std::string& line) {
    trace_.clear();
    std::istringstream in(line);
    std::string word;
    in >> word;
    std::string a;
    if (word == "members") return members(in);
    if (word == "wait") return in >> a, now_ += std::stoll(a) * 1000000, trace_;
    if (word == "settle") return settle(), trace_;
    if (word == "deliver" || word == "drop") {
      in >> a;
      pass(a, word == "deliver");
      return trace_;
    }
    if (word == "network") {
      for (const Message& m : network_) describe(m);
      return trace_;
    }
    NodeId id = 0;
    in >> id;
    require(id != 0, "no node in: " + line);
    on_node(word, id, in);
    return trace_;
  }

 private:
  std::vector<std::string> members(std::istringstream& in) {
    Config config;
    bool voter = true;
    for (std::string word; in >> word;) {
      if (word == "learners")
        voter = false;
      else
        config.members.push_back(
            {static_cast<NodeId>(std::stoi(word)), 100 + std::stoull(word), voter});
    }
    for (NodeId id = 1; id <= 6; ++id) {
      stored_[id].base.config = config.find(id) != nullptr ? config : Config();
      logs_[id] = 100u + id;
    }
    for (const Member& m : config.members) first_[m.node] = true;
    return trace_;
  }

  Node& node(NodeId id) {
    if (group_.nodes.count(id) == 0) begin(id);
    return group_.nodes.at(id);
  }
  void begin(NodeId id) {
    Options options;
    options.self = id;
    options.log_id = logs_[id];
    options.seed = id;
    options.snapshot_chunk_bytes = 10;
    options.append_bytes_max = 1;  // one entry each
    group_.start(id, options, stored_[id], now_);
  }

  void on_node(const std::string& word, NodeId id, std::istringstream& in) {
    std::string a;
    if (word == "log") {
      for (Term term; in >> term;) {
        Restored& s = stored_[id];
        s.entries.push_back(
            {s.entries.size() + 1, term, EntryKind::command, {static_cast<std::byte>(term)}});
        s.hard_state.term = std::max(s.hard_state.term, term);
      }
      return;
    }
    if (word == "term") {
      in >> stored_[id].hard_state.term;
      in >> stored_[id].hard_state.vote;
      return;
    }
    if (word == "log-id") {
      in >> logs_[id];
      return;
    }
    if (word == "start") return start(id, in);
    if (word == "cut") {
      cut_.insert(id);
      return;
    }
    if (word == "join") {
      cut_.erase(id);
      return;
    }
    for (auto& [other, present] : first_) node(other);
    if (word == "crash") return group_.crash(id);
    if (word == "show") return show(id);
    if (word == "persist") {
      while (!node(id).writes.empty()) persist(id);
      return;
    }
    if (word == "tick" || word == "beat") {
      const int64_t due = node(id).raft->deadline_ns();
      if (due != INT64_MAX) now_ = std::max(now_, due);
      step(id, Tick{});
      if (word == "beat") settle();
      return;
    }
    if (word == "propose") {
      in >> a;
      const Bytes b = as_bytes(a);
      return step(id, Propose{1, {b.begin(), b.end()}});
    }
    if (word == "barrier") return step(id, ReadBarrier{2});
    if (word == "compact") {
      in >> a;
      group_.save_application(node(id));
      return step(id, Compact{std::stoull(a)});
    }
    if (word == "fail") return step(id, DiskFailed{});
    if (word == "transfer") {
      NodeId to = 0;
      in >> to;
      return step(id, Transfer{3, to});
    }
    if (word == "supply") {
      const Application& app = node(id).app;
      return step(id, SupplySnapshot{app.applied,
                                     std::make_shared<std::vector<std::byte>>(app.snapshot())});
    }
    require(word == "change", "unknown command " + word);
    MemberChange change;
    in >> a >> change.node;
    change.kind = a == "add"       ? MemberChange::Kind::add_learner
                  : a == "promote" ? MemberChange::Kind::promote
                                   : MemberChange::Kind::remove;
    change.log_id = logs_[change.node];
    step(id, ChangeMembers{4, change});
  }

  void start(NodeId id, std::istringstream& in) {
    if (group_.nodes.count(id) == 0) return begin(id);
    Node& n = node(id);
    std::string word;
    size_t keep = 0;
    if (in >> word) {
      n.stored.abstain = true;
      if (in >> keep) n.stored.entries.resize(keep);
    }
    if (n.options.log_id != logs_[id]) n.stored = {}, n.stored_app = {};
    n.options.log_id = logs_[id];
    group_.boot(id, now_);
  }

  void step(NodeId id, Event event) {
    Node& n = node(id);
    if (!n.raft) return;
    const size_t answers = group_.answers.size();
    const Output out = group_.step(id, now_, std::move(event));
    note(id, out, answers);
  }
  void persist(NodeId id) {
    Node& n = node(id);
    const size_t answers = group_.answers.size();
    const Role role = n.raft->role();
    const Term term = n.raft->term();
    const bool install = n.writes.front().install.has_value();
    if (role == Role::stopped) return n.writes.pop_front();
    group_.persist(id, now_);
    if (install) say(id, "installed " + std::to_string(n.app.applied));
    Output out;
    out.leadership_changed = n.raft->role() != role || n.raft->term() != term;
    note(id, out, answers);
  }

  void note(NodeId id, const Output& out, size_t answers) {
    static constexpr const char* roles[] = {"follower", "pre-candidate", "candidate", "leader",
                                            "stopped"};
    Node& n = node(id);
    if (out.leadership_changed && n.raft->role() != Role::follower)
      say(id, std::string(roles[static_cast<int>(n.raft->role())]) + " in term " +
                  std::to_string(n.raft->term()));
    for (size_t i = answers; i < group_.answers.size(); ++i) {
      static constexpr const char* outcomes[] = {"accepted", "confirmed", "refused"};
      const Answer& answer = group_.answers[i];
      std::string text = std::string(outcomes[static_cast<int>(answer.outcome)]);
      text += answer.error ? ": " + answer.error->message() : " at " + std::to_string(answer.index);
      say(id, text);
    }
    if (out.caught_up) say(id, "caught up");
    if (out.snapshot_wanted) say(id, "wants a snapshot");
    for (const Member& m : out.strangers)
      say(id,
          "met a stranger: node " + std::to_string(m.node) + " log " + std::to_string(m.log_id));
    if (n.raft->role() != Role::stopped && n.app.applied > n.raft->applied_index())
      step(id, Applied{n.app.applied});
    for (Message& m : group_.outbox) network_.push_back(std::move(m));
    group_.outbox.clear();
  }
  void describe(const Message& m) {
    static constexpr const char* types[] = {"",
                                            "append",
                                            "append answer",
                                            "heartbeat",
                                            "heartbeat answer",
                                            "pre-vote",
                                            "pre-vote answer",
                                            "vote",
                                            "vote answer",
                                            "chunk",
                                            "chunk answer",
                                            "timeout now",
                                            "caught up",
                                            "wrong log"};
    std::string text =
        std::to_string(m.from) + ">" + std::to_string(m.to) + " " + types[static_cast<int>(m.type)];
    if (m.type == MessageType::append)
      text += " of " + std::to_string(m.entries.size()) + " after " + std::to_string(m.index);
    if (m.type == MessageType::snapshot_chunk || m.type == MessageType::snapshot_answer)
      text += " at " + std::to_string(m.offset);
    trace_.push_back(text + (m.refused ? " refused" : "") + (m.transfer ? " by transfer" : ""));
  }
  void say(NodeId id, const std::string& text) {
    trace_.push_back(std::to_string(id) + " " + text);
  }

  void pass(const std::string& route, bool deliver) {
    std::vector<Message> now;
    std::vector<Message> stay;
    for (Message& m : network_) {
      const bool mine =
          route.empty() || route == std::to_string(m.from) + ">" + std::to_string(m.to);
      (mine ? now : stay).push_back(std::move(m));
    }
    network_ = std::move(stay);
    if (!deliver) return;
    for (Message& m : now) {
      if (cut_.count(m.from) + cut_.count(m.to) != 0) continue;
      const NodeId to = m.to;
      step(to, Receive{std::move(m)});
    }
  }

  void settle() {
    for (auto& [other, present] : first_) node(other);
    for (int i = 0; i < 200; ++i) {
      bool quiet = network_.empty();
      pass("", true);
      for (auto& [id, n] : group_.nodes)
        while (!n.writes.empty()) persist(id), quiet = false;
      if (quiet) return;
    }
    throw Violation("does not settle");
  }

  void show(NodeId id) {
    const Node& n = node(id);
    if (!n.raft) return say(id, "down");
    std::string terms;
    for (const LogEntry& e : n.raft->log().entries())
      terms += " " + std::to_string(e.term) + (e.kind == EntryKind::configuration ? "c" : "");
    std::string config;
    for (const Member& m : n.raft->config().members)
      config += (m.voter ? " " : " +") + std::to_string(m.node);
    say(id, "term " + std::to_string(n.raft->term()) + ", log after " +
                std::to_string(n.raft->log().mark().index) + ":" + terms + ", durable " +
                std::to_string(n.raft->durable_index()) + ", commit " +
                std::to_string(n.raft->commit_index()) + ", applied " +
                std::to_string(n.app.applied) + ", members" + config +
                (n.raft->abstaining() ? ", abstains" : ""));
  }

  Group group_;
  std::map<NodeId, Restored> stored_;
  std::map<NodeId, uint64_t> logs_;
  std::map<NodeId, bool> first_;
  std::set<NodeId> cut_;
  std::vector<Message> network_;
  std::vector<std::string> trace_;
  int64_t now_ = 1000000000;
};

std::vector<std::filesystem::path> scenario_files() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(__FILE__).parent_path() / "scenarios"))
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

TEST_CASE("every scenario goes as its file tells") {
  const bool record = std::getenv("RAFT_RECORD") != nullptr;
  const auto files = scenario_files();
  CHECK(files.size() >= 13);
  for (const auto& path : files) {
    CAPTURE(path.filename().string());
    std::ifstream in(path);
    Story story;
    std::vector<std::string> expected;
    std::vector<std::string> got;
    std::string command;
    std::ostringstream recorded;
    const auto compare = [&] {
      CAPTURE(command);
      if (!record) CHECK(got == expected);
      for (const std::string& line : got) recorded << "= " << line << "\n";
      expected.clear();
      got.clear();
    };
    for (std::string line; std::getline(in, line);) {
      if (line.rfind("= ", 0) == 0) {
        expected.push_back(line.substr(2));
        continue;
      }
      compare();
      recorded << line << "\n";
      if (line.empty() || line[0] == '#') continue;
      command = line;
      try {
        got = story.run(line);
      } catch (const Violation& violation) {
        FAIL_CHECK("at '" << line << "': " << std::string(violation.what()));
        break;
      }
    }
    compare();
    if (record) std::ofstream(path) << recorded.str();
  }
}
