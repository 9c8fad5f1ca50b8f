#include "sim/management.h"

#include <algorithm>
#include <array>
#include <utility>

#include "api/errors.h"
#include "base/checksum.h"
#include "base/limits.h"

namespace sp::sim {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr const char* token = "simulated";
constexpr const char* not_reached = "notReached";
constexpr const char* no_answer = "noAnswer";
// Longer than any service takes: it confirms for up to api_confirm_timeout.
constexpr auto answer_limit = limits::api_confirm_timeout + seconds(15);

// Errors after which the change may have been made, or may be made yet (sp-api(7)).
constexpr std::array<std::string_view, 7> unknown_outcomes = {api::names::try_again,
                                                              api::names::timeout,
                                                              api::names::busy,
                                                              "connectionClosed",
                                                              "interrupted",
                                                              "failed",
                                                              no_answer};

Management::Answer read_answer(const api::Response& response) {
  Management::Answer answer;
  auto body = api::parse_json(response.body, limits::api_answer_bytes_max);
  SP_ASSERT(body.ok());
  if (response.status == 200) {
    answer.kind = Management::Answer::Kind::success;
    answer.generation = static_cast<uint64_t>((*body)["generation"].integer_or_zero());
    answer.data = (*body)["data"];
    return answer;
  }
  answer.error = (*body)["error"]["name"].text_or_empty();
  answer.text = (*body)["error"]["descr"].text_or_empty();
  const bool unknown = std::find(unknown_outcomes.begin(), unknown_outcomes.end(), answer.error) !=
                       unknown_outcomes.end();
  answer.kind = unknown ? Management::Answer::Kind::unknown : Management::Answer::Kind::refused;
  return answer;
}

}  // namespace

bool may_succeed_later(const Management::Answer& answer) {
  return answer.error == not_reached || answer.error == api::names::not_active ||
         answer.error == api::names::no_quorum ||
         answer.text.starts_with("too many commands wait");  // an unknown outcome all the same
}

struct Management::Request {
  size_t process = 0;
  Call call;
  Done done;
  bool over = false;
};

Management::Management(io::SimWorld& world, std::function<member::Options(NodeId node)> options)
    : world_(world), options_(std::move(options)), random_(mix64(world.seed() ^ 0x3a9e17u)) {}

void Management::add(NodeId node, const std::string& ip) {
  Process& process = processes_.emplace_back();
  process.node = node;
  process.host = &world_.add_host("mgmt." + std::to_string(node), ip);
}

Management::Process* Management::of_node(NodeId node) {
  const auto found = std::find_if(processes_.begin(), processes_.end(),
                                  [node](const Process& process) { return process.node == node; });
  return found == processes_.end() ? nullptr : &*found;
}

void Management::start(Process& process) {
  if (process.up) return;
  if (!process.host->alive()) process.host->restart();
  process.up = true;
  member::Options member = options_(process.node);
  member.self.start_id = random_.number() | 1;
  process.service =
      std::make_unique<api::MgmtService>(process.host->host(), std::move(member), token);
}

void Management::end(Process& process, io::SimHost::Death death) {
  if (!std::exchange(process.up, false)) return;
  process.host->kill(death);
  process.service.reset();
}

// From the caller to the service, or back.
io::Duration Management::way() {
  const bool slow = lossy_ && random_.below(10) == 0;
  return microseconds(50 + random_.below(slow ? 400'000 : 1000));
}

void Management::ask(size_t process, Call call, io::Duration patience, Done done) {
  const auto request =
      std::make_shared<Request>(Request{process, std::move(call), std::move(done), false});
  world_.at(patience, [this, request] {
    Answer answer;
    answer.error = no_answer;
    deliver(request, std::move(answer));
  });
  if (lost()) return;
  ++under_way_;
  world_.at(way(), [this, request] { arrive(request); });
}

void Management::arrive(const std::shared_ptr<Request>& request) {
  Process& process = processes_[request->process];
  --under_way_;
  if (request->over) return;
  if (!process.up) {
    return world_.at(way(), [this, request] {
      Answer answer;
      answer.kind = Answer::Kind::refused;
      answer.error = not_reached;
      deliver(request, std::move(answer));
    });
  }
  process.service->api().handle(
      {request->call.method, std::string(api::path_prefix) + request->call.path, request->call.json,
       token},
      [this, request](const api::Response& response) {
        if (lost()) return;
        const auto answer = std::make_shared<Answer>(read_answer(response));
        world_.at(way(), [this, request, answer] { deliver(request, std::move(*answer)); });
      });
}

void Management::deliver(const std::shared_ptr<Request>& request, Answer answer) {
  if (std::exchange(request->over, true)) return;
  answer.process = request->process;
  if (answer.ok()) last_good_ = request->process;
  std::exchange(request->done, {})(answer);
}

void Management::call(Call call, uint32_t tries, Done done) {
  const size_t process = last_good_;
  ask(process, call, answer_limit,
      [this, call, tries, done = std::move(done)](const Answer& answer) {
        if (tries <= 1 || !may_succeed_later(answer)) return done(answer);
        if (last_good_ == answer.process) last_good_ = (last_good_ + 1) % processes_.size();
        struct Next {
          Call call;
          uint32_t tries;
          Done done;
        };
        const auto next = std::make_shared<Next>(Next{call, tries - 1, done});
        ++under_way_;
        world_.at(milliseconds(20 + random_.below(200)), [this, next] {
          --under_way_;
          this->call(std::move(next->call), next->tries, std::move(next->done));
        });
      });
}

std::string Management::pending() const {
  std::string text;
  if (under_way_ > 0) text = std::to_string(under_way_) + " requests are on their way";
  for (const Process& process : processes_) {
    if (!process.up) continue;
    const std::string waits = process.service->waits_for();
    if (!waits.empty()) text += (text.empty() ? "" : "; ") + process.host->name() + ": " + waits;
  }
  return text;
}

}  // namespace sp::sim
