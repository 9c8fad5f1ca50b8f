#include <fmt/format.h>

#include <algorithm>

#include "api/calls.h"
#include "base/planted.h"

namespace sp::api {

Context::Context(std::shared_ptr<Core> core, Request request, Callback<void(Response)> done)
    : core_(std::move(core)), request_(std::move(request)), done_(std::move(done)) {
  ++core_->in_flight;
}

Context::~Context() {
  --core_->in_flight;
  SP_ASSERT(!done_ || core_->closed);  // a call that forgot to answer
}

bool Core::active() const {
  if (SP_PLANTED_BUG(api_answers_while_not_active)) return member.map().index != 0;
  return in_place() && host.clock.now() < member.lease_until();
}

// The lease is for this start of the service: what an older map says of an earlier one is over.
bool Core::in_place() const {
  const map::Map& map = member.map();
  const auto& active = map.cluster.active_mgmt;
  if (!active || *active != options.self) return false;
  const auto row = map.services.find(*active);
  return row != map.services.end() && row->second.start_id == options.start_id;
}

void Context::respond(int status, std::string body) {
  if (core_->closed) return;
  SP_ASSERT(done_);
  end_turn();
  done_.call_once(Response{status, std::move(body)});
}

// A change that is in our map while that has us in place is in the map of whoever comes after us.
// What was only looked up has to be the newest.
void Context::reply(std::string data) {
  const bool may = request_.method == "POST" ? in_place() : active();
  if (!may && !from_anyone_ && !SP_PLANTED_BUG(api_answers_while_not_active))
    return fail(names::try_again,
                "this management service has ceased to be the active one meanwhile: what was asked "
                "for may have been done; look before you ask again");
  respond(200, fmt::format(R"({{"generation":{},"data":{}}})", map().index, data));
}

void Context::reply_ok() { reply(fmt::format(R"({{"ok":true,"generation":{}}})", map().index)); }

void Context::fail(std::string_view name, std::string_view description) {
  const ErrorKind* kind = error_kind(name);
  SP_ASSERT(kind != nullptr);
  fail(*kind, description);
}

void Context::fail(const ErrorKind& kind, std::string_view description, std::string_view active) {
  respond(kind.http_status, error_body(kind, description, active));
}

void Context::in_turn(std::function<void()> work) {
  if (SP_PLANTED_BUG(api_changes_not_in_turn)) return work();
  SP_ASSERT(!in_turn_);
  in_turn_ = true;
  core_->changes.push_back([self = shared_from_this(), work = std::move(work)] { work(); });
  if (core_->changes.size() == 1) core_->changes.front()();
}

void Context::end_turn() {
  if (!in_turn_) return;
  in_turn_ = false;
  // The next one starts in a turn of the reactor of its own, so that a long queue does not become a
  // deep stack.
  core_->host.reactor.post([core = core_] {
    core->changes.pop_front();
    if (!core->closed && !core->changes.empty()) core->changes.front()();
  });
}

void Context::command(const map::Command& command, std::function<void(uint64_t)> then) {
  core_->member.command(
      command, [self = shared_from_this(), then = std::move(then)](Result<uint64_t> result) {
        if (self->core_->closed) return;
        self->end_turn();
        if (SP_PLANTED_BUG(api_calls_unknown_refused) && !result.ok())
          return self->fail(names::refused, result.error().message());
        if (!result.ok()) return self->fail_command(result.error());
        then(*result);
      });
}

// A refusal tells of the state, which whoever came after us may not have heard of yet.
void Context::fail_command(const Error& error) {
  const bool tells = error.code() != Code::transient && error.code() != Code::unreachable &&
                     error.code() != Code::timed_out;
  if (tells && !in_place() && !from_anyone_ && !SP_PLANTED_BUG(api_answers_while_not_active))
    return fail(names::try_again,
                "this management service has ceased to be the active one meanwhile, and the change "
                "was refused: nothing was changed");
  fail(error);
}

void Context::confirm(uint64_t index, std::function<void()> then) {
  if (SP_PLANTED_BUG(api_answers_before_confirmed)) return then();
  core_->member.confirm(index, limits::api_confirm_timeout,
                        [self = shared_from_this(), then = std::move(then)](Status status) {
                          if (self->core_->closed) return;
                          if (!status.ok()) {
                            return self->fail(
                                error_kind(status.error().code()),
                                "the change is agreed, but not every server has put it in force: " +
                                    status.error().message());
                          }
                          then();
                        });
}

void Context::command_and_confirm(const map::Command& command_in) {
  command(command_in, [self = shared_from_this()](uint64_t index) {
    self->confirm(index, [self] { self->reply_ok(); });
  });
}

void Context::wait(std::function<bool()> over, io::Duration timeout,
                   std::function<void(bool)> then) {
  if (over()) return then(true);
  if (timeout <= io::Duration::zero()) return then(false);
  if (waits_full()) {
    return fail(names::busy,
                fmt::format("the change is agreed, but {} requests wait already: ask again",
                            limits::api_waits_max));
  }
  after_wait_ = std::move(then);
  Core::Wait wait{shared_from_this(), std::move(over),
                  std::make_unique<io::Timer>(core_->host.reactor)};
  wait.deadline->arm(std::min<io::Duration>(timeout, limits::api_wait_max), [core = core_.get(),
                                                                             self = this] {
    const auto at = std::find_if(core->waits.begin(), core->waits.end(),
                                 [self](const Core::Wait& w) { return w.context.get() == self; });
    SP_ASSERT(at != core->waits.end());
    const ContextPtr context = at->context;
    core->waits.erase(at);
    context->after_wait_(false);
    context->after_wait_ = nullptr;
  });
  core_->waits.push_back(std::move(wait));
}

void Core::look_at_waits() {
  std::vector<ContextPtr> over;
  for (auto at = waits.begin(); at != waits.end();) {
    if (!at->over()) {
      ++at;
      continue;
    }
    over.push_back(std::move(at->context));
    at = waits.erase(at);
  }
  for (const ContextPtr& context : over) {
    context->after_wait_(true);
    context->after_wait_ = nullptr;
  }
}

}  // namespace sp::api
