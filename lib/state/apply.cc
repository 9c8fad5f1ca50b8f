#include "state/apply.h"

#include <algorithm>

namespace sp::state {

Status apply(Draft& draft, const map::Command& command) {
  if (draft.map().cluster.id == 0 && !std::holds_alternative<map::InitCluster>(command))
    return Error(Code::refused, std::string(map::name(command)) +
                                    ": the cluster is not initialised; InitCluster comes first");
  const uint32_t needed = map::feature_level_of(command), level = draft.map().cluster.feature_level;
  if (needed > level && !std::holds_alternative<map::RaiseFeatureLevel>(command))
    return Error(Code::refused, std::string(map::name(command)) + " needs feature level " +
                                    std::to_string(needed) + "; the cluster has " +
                                    std::to_string(level) +
                                    ": upgrade all nodes, then 'sp-node raise-level'");
  return std::visit([&draft](const auto& c) { return apply_one(draft, c); }, command);
}

Status check_name(std::string_view what, std::string_view name, NameStyle style) {
  const bool snapshot = style == NameStyle::snapshot;
  const bool dotted = style == NameStyle::dotted || snapshot;
  const auto fails = [&](std::string_view why) {
    return Error(Code::invalid, std::string(what) + " name '" +
                                    std::string(name.substr(0, limits::name_bytes_max)) +
                                    "': " + std::string(why));
  };
  if (name.empty()) return fails("is empty; give a name");
  if (name.size() >= limits::name_bytes_max)
    return fails("is too long; use fewer than 200 characters");
  if (name == "list" || (dotted && name == "status")) return fails("is reserved; choose another");
  std::string_view rest = name;
  if (dotted && rest.front() == (snapshot ? '*' : '#')) rest.remove_prefix(1);
  const auto allowed = [dotted, snapshot](char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') || c == '_' || c == '-' || (snapshot && c == '@') ||
           (dotted && (c == '.' || c == ':'));
  };
  if (rest.empty() || !std::all_of(rest.begin(), rest.end(), allowed))
    return fails(snapshot ? "use letters, digits and _ - . : @ only (* may come first)"
                 : dotted ? "use letters, digits and _ - . : only (# may come first)"
                          : "use letters, digits and _ - only");
  return {};
}

Status check_size(std::string_view what, uint64_t size_bytes) {
  if (size_bytes == 0 || size_bytes % limits::block_bytes != 0)
    return Error(Code::invalid, std::string(what) + ": size " + std::to_string(size_bytes) +
                                    " must be a multiple of 4096 and not zero");
  if (size_bytes > limits::volume_bytes_max)
    return Error(Code::invalid, std::string(what) + ": size is above the largest, 1 PiB");
  return {};
}

Status check_tags(const std::map<std::string, std::string>& tags) {
  const auto allowed = [](char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == ':';
  };
  for (const auto& [key, value] : tags) {
    const bool sound = !key.empty() && key.size() <= limits::name_bytes_max &&
                       value.size() <= limits::name_bytes_max &&
                       std::all_of(key.begin(), key.end(), allowed) &&
                       std::all_of(value.begin(), value.end(), allowed);
    if (!sound)
      return Error(Code::invalid,
                   "tag '" + key.substr(0, limits::name_bytes_max) +
                       "': names and values are up to 200 letters, digits and _ - . :");
  }
  return {};
}

std::string text(ServiceId id) {
  static constexpr std::string_view kinds[] = {"?", "beacon", "server", "client", "mgmt"};
  return std::string(kinds[static_cast<size_t>(id.kind)]) + ' ' + std::to_string(id.node) + '.' +
         std::to_string(id.instance);
}

Error no_node(NodeId id) {
  return {Code::not_found, "node " + std::to_string(id) +
                               " is not configured; add it with 'sp-node add', or to sp.toml on "
                               "the nodes of the cluster and restart their beacons"};
}

std::string text(SetId id) {
  return "disk set " + std::to_string(id.group) + '.' + std::to_string(id.index);
}

}  // namespace sp::state
