#include "api/mgmt_service.h"

namespace sp::api {

MgmtService::MgmtService(io::Host& host, member::Options options, std::string token) {
  options.with_buckets = true;
  const ServiceId self = options.self.service;
  const uint64_t start_id = options.self.start_id;
  member::Member::Events events;
  events.map_changed = [this](const std::vector<map::Change>&) { api_->map_changed(); };
  // Nothing here acts on the map by itself, so all of it is in force as soon as it is known.
  events.make_report = [this] { return member::Report{.fenced_index = member_->map().index}; };
  member_ = member::Member::start(host, std::move(options), std::move(events));
  api_ = Api::make(host, *member_, {self, std::move(token), start_id});
}

std::string MgmtService::waits_for() const {
  std::string text = api_->open_work();
  const std::string member = member_->waits_for();
  if (!text.empty() && !member.empty()) text += "; ";
  return text + member;
}

}  // namespace sp::api
