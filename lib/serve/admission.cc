#include "serve/admission.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "base/probe.h"

namespace sp::serve {

namespace {
uint32_t cost_of(const ClientRequest& request) {
  constexpr uint32_t blocks_as_one_request = 8;
  if (!request.is_write) return 1 + request.read.block_count / blocks_as_one_request;
  return request.write.discard ? 1 : 1 + request.write.block_count / blocks_as_one_request;
}
}  // namespace

Ticket& Ticket::operator=(Ticket&& other) noexcept {
  if (this == &other) return *this;
  if (admission_ != nullptr) admission_->ended(link_, cost_);
  admission_ = std::exchange(other.admission_, nullptr);
  link_ = other.link_;
  cost_ = other.cost_;
  return *this;
}

Ticket::~Ticket() {
  if (admission_ != nullptr) admission_->ended(link_, cost_);
}

Admission::Admission(io::Reactor& reactor, uint32_t in_service_max,
                     std::function<void(ClientRequest)> serve)
    : in_service_max_(in_service_max), serve_(std::move(serve)), turn_(reactor) {}

uint32_t Admission::share() const {
  const uint32_t active = std::max(active_, was_active_);
  if (active <= 1) return UINT32_MAX;
  return std::max(disks_ * in_service_max_ / active, limits::client_in_service_min);
}

void Admission::arrive(ClientRequest request) {
  const uint64_t link = request.link;
  Client& client = clients_[link];
  if (!std::exchange(client.active, true)) ++active_;
  if (client.waiting.empty() && client.in_service < share())
    return begin(link, client, std::move(request));
  // One that keeps to no window gets what is behind: refusals.
  if (client.waiting.size() >= limits::client_window_per_server) return serve_(std::move(request));
  SP_PROBE(serve_request_waits_for_its_turn);
  client.waiting.push_back(std::move(request));
  ++waiting_;
}

void Admission::begin(uint64_t link, Client& client, ClientRequest request) {
  const uint32_t cost = cost_of(request);
  client.in_service += cost;
  request.ticket = Ticket(*this, link, cost);
  serve_(std::move(request));  // `client` may be gone
}

void Admission::ended(uint64_t link, uint32_t cost) {
  const auto found = clients_.find(link);
  if (found == clients_.end()) return;
  Client& client = found->second;
  client.in_service -= cost;
  if (client.waiting.empty()) return;
  if (!std::exchange(client.in_turn, true)) turns_.push_back(link);
  if (!turn_.armed()) turn_.arm(io::Duration(0), [this] { take_turns(); });
}

// One of each, again and again.
void Admission::take_turns() {
  while (!turns_.empty()) {
    const uint64_t link = turns_.front();
    turns_.pop_front();
    const auto found = clients_.find(link);
    if (found == clients_.end()) continue;
    Client& client = found->second;
    client.in_turn = false;
    if (client.waiting.empty() || client.in_service >= share()) continue;
    ClientRequest request = std::move(client.waiting.front());
    client.waiting.pop_front();
    --waiting_;
    if (!client.waiting.empty()) {
      client.in_turn = true;
      turns_.push_back(link);
    }
    begin(link, client, std::move(request));
  }
}

void Admission::link_closed(uint64_t link) {
  const auto found = clients_.find(link);
  if (found == clients_.end()) return;
  active_ -= found->second.active ? 1 : 0;
  was_active_ -= found->second.was_active ? 1 : 0;
  waiting_ -= found->second.waiting.size();
  const Client gone = std::move(found->second);
  clients_.erase(found);
}

void Admission::tick(size_t disks) {
  disks_ = static_cast<uint32_t>(std::max<size_t>(disks, 1));
  was_active_ = std::exchange(active_, 0);
  for (auto& [link, client] : clients_) {
    client.was_active = std::exchange(client.active, !client.waiting.empty());
    active_ += client.active ? 1 : 0;
    // Its share may have grown.
    if (client.waiting.empty() || std::exchange(client.in_turn, true)) continue;
    turns_.push_back(link);
    if (!turn_.armed()) turn_.arm(io::Duration(0), [this] { take_turns(); });
  }
}

}  // namespace sp::serve
