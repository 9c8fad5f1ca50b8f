#include "raft/types.h"

#include <algorithm>

#include "base/limits.h"

namespace sp::raft {

const Member* Config::find(NodeId node) const {
  for (const Member& member : members)
    if (member.node == node) return &member;
  return nullptr;
}

bool Config::is_voter(NodeId node, uint64_t log_id) const {
  const Member* member = find(node);
  return member != nullptr && member->voter && member->log_id == log_id;
}

uint32_t Config::voter_count() const {
  return static_cast<uint32_t>(
      std::count_if(members.begin(), members.end(), [](const Member& m) { return m.voter; }));
}

void Config::encode(Writer& out) const {
  out.number(static_cast<uint32_t>(members.size()));
  for (const Member& member : members)
    out.number(member.node).number(member.log_id).number(uint8_t{member.voter});
}

Result<Config> Config::decode(Reader& in) {
  Config config;
  const uint32_t count = in.count(limits::nodes_max);
  for (uint32_t i = 0; i < count && !in.failed(); ++i) {
    Member member;
    member.node = in.number<NodeId>();
    member.log_id = in.number<uint64_t>();
    const auto voter = in.number<uint8_t>();
    member.voter = voter == 1;
    const bool ordered = config.members.empty() || config.members.back().node < member.node;
    if (!ordered || voter > 1 || member.node == 0 || member.node > limits::nodes_max ||
        member.log_id == 0)
      return Error(Code::damaged,
                   "a configuration of the group names an impossible or repeated member");
    config.members.push_back(member);
  }
  if (in.failed())
    return Error(Code::damaged,
                 "a configuration of the group is cut short or has too many members");
  return config;
}

std::vector<std::byte> Config::encoded() const {
  Writer out;
  encode(out);
  return std::move(out).take();
}

Result<Config> Config::decode_all(Bytes bytes) {
  Reader in(bytes);
  auto config = decode(in);
  if (config.ok() && !in.finished())
    return Error(Code::damaged, "a configuration of the group has bytes after its end");
  return config;
}

}  // namespace sp::raft
