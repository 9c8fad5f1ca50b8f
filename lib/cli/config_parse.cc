// Reading sp.toml: every key is named once below, with its bounds; what is not named is a fault
// with a hint.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/units.h"
#include "cli/config.h"
#include "cli/hint.h"
#include "cli/toml_library.h"

namespace sp::cli {

namespace {

class Faults {
 public:
  void add(const toml::node& at, std::string text) {
    lines_.emplace_back(at.source().begin.line, std::move(text));
  }
  void add(std::string text) { lines_.emplace_back(0, std::move(text)); }
  bool none() const { return lines_.empty(); }
  Error error(const std::string& path) {
    std::stable_sort(lines_.begin(), lines_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::string message;
    for (const auto& [line, text] : lines_) {
      if (!message.empty()) message += '\n';
      message += line == 0 ? fmt::format("{}: {}", path, text)
                           : fmt::format("{}:{}: {}", path, line, text);
    }
    return {Code::invalid, message};
  }

 private:
  std::vector<std::pair<uint32_t, std::string>> lines_;
};

// One table of the file. Each read names a key; finish() refuses the keys that nobody named.
class Section {
 public:
  Section(Faults& faults, const toml::table& table, std::string name)
      : faults_(faults), table_(table), name_(std::move(name)) {}

  const toml::node* find(const char* key) {
    known_.emplace_back(key);
    return table_.get(key);
  }
  // False when the key is missing.
  bool text(const char* key, std::string& into, bool required = false) {
    const toml::node* node = find(key);
    if (node == nullptr) {
      if (required) missing(key);
      return false;
    }
    const auto value = node->value_exact<std::string>();
    if (!value || value->empty() || value->find('\0') != std::string::npos)
      wrong(*node, key, "a text in quotes that is not empty");
    else
      into = *value;
    return true;
  }
  void boolean(const char* key, bool& into) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    if (const auto value = node->value_exact<bool>())
      into = *value;
    else
      wrong(*node, key, "true or false");
  }
  void port(const char* key, uint16_t& into) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const auto value = node->value_exact<int64_t>();
    if (value && *value >= 1 && *value <= 65535)
      into = static_cast<uint16_t>(*value);
    else
      wrong(*node, key, "a port number, 1 to 65535");
  }
  const toml::table* table(const char* key, bool required) {
    const toml::node* node = find(key);
    if (node == nullptr) {
      if (required) faults_.add(fmt::format("[{}] is missing", path(key)));
      return nullptr;
    }
    if (!node->is_table()) wrong(*node, key, "a section");
    return node->as_table();
  }
  void wrong(const toml::node& at, const char* key, std::string_view expected) {
    faults_.add(at, fmt::format("{} must be {}", path(key), expected));
  }
  void missing(const char* key) { faults_.add(table_, fmt::format("{} is missing", path(key))); }
  std::string path(std::string_view key) const {
    return name_.empty() ? std::string(key) : fmt::format("{}.{}", name_, key);
  }
  void finish() {
    for (const auto& [key, node] : table_) {
      const std::string_view name = key.str();
      if (std::find(known_.begin(), known_.end(), name) == known_.end())
        faults_.add(node,
                    fmt::format("{} is not a known key{}", path(name), hint_for(name, known_)));
    }
  }

 private:
  Faults& faults_;
  const toml::table& table_;
  std::string name_;
  std::vector<std::string> known_;
};

bool good_name(const std::string& name) {
  return name.size() <= limits::name_bytes_max && std::all_of(name.begin(), name.end(), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.';
         });
}

void read_cluster(Faults& faults, const toml::table& table, Config& config) {
  Section section(faults, table, "cluster");
  if (section.text("name", config.cluster_name, true) && !good_name(config.cluster_name))
    section.wrong(*table.get("name"), "name", "of letters, digits, '_', '-' and '.'");
  std::string id;
  if (section.text("id", id, true)) {
    std::array<std::byte, 8> bytes{};
    if (!from_hex(id, bytes))
      section.wrong(*table.get("id"), "id",
                    "16 hex digits in quotes; draw one with: openssl rand -hex 8");
    for (const std::byte byte : bytes)
      config.cluster_id = config.cluster_id << 8 | std::to_integer<uint64_t>(byte);
    if (from_hex(id, bytes) && config.cluster_id == 0)
      section.wrong(*table.get("id"), "id", "other than zero");
  }
  section.text("key_file", config.key_file, true);
  section.finish();
}

void read_api(Faults& faults, const toml::table& table, Config& config) {
  Section section(faults, table, "api");
  section.text("token_file", config.token_file);
  section.port("port", config.api_port);
  section.finish();
}

// The number in a section's name: [node.7], [node.7.server.2].
bool section_number(Faults& faults, const toml::node& node, const std::string& path,
                    std::string_view key, uint32_t max, uint32_t& into) {
  const auto value = parse_number(key, max);
  if (value.ok() && *value >= 1 && key.front() != '0') {
    into = static_cast<uint32_t>(*value);
    return true;
  }
  faults.add(node, fmt::format("[{}] must end in a number, 1 to {}", path, max));
  return false;
}

void read_server(Faults& faults, const toml::table& table, const std::string& name,
                 ServerConfig& server) {
  Section section(faults, table, name);
  server.port = static_cast<uint16_t>(4710 + server.instance);
  section.port("port", server.port);
  const toml::node* disks = section.find("disks");
  if (disks == nullptr) {
    section.missing("disks");
  } else if (!disks->is_array()) {
    section.wrong(*disks, "disks", "a list of paths");
  } else {
    for (const toml::node& element : *disks->as_array()) {
      const auto path = element.value_exact<std::string>();
      const bool memory = path && path->starts_with("memory:");
      if (path && (path->starts_with('/') || (memory && path->size() > 8 && (*path)[7] == '/')))
        server.disks.push_back(*path);
      else
        section.wrong(element, "disks", "a list of absolute paths, or \"memory:/PATH\"");
    }
  }
  section.finish();
}

void read_servers(Faults& faults, const toml::table& table, const std::string& name,
                  NodeConfig& node) {
  for (const auto& [key, value] : table) {
    const std::string path = fmt::format("{}.{}", name, key.str());
    uint32_t instance = 0;
    if (!section_number(faults, value, path, key.str(), limits::servers_per_node_max, instance))
      continue;
    if (!value.is_table()) {
      faults.add(value, fmt::format("[{}] must be a section", path));
      continue;
    }
    ServerConfig& server = node.servers[static_cast<uint8_t>(instance)];
    server.instance = static_cast<uint8_t>(instance);
    read_server(faults, *value.as_table(), path, server);
  }
}

void read_node(Faults& faults, const toml::table& table, const std::string& name,
               NodeConfig& node) {
  Section section(faults, table, name);
  if (section.text("name", node.name, true) && !good_name(node.name))
    section.wrong(*table.get("name"), "name", "of letters, digits, '_', '-' and '.'");
  if (section.text("address", node.address, true)) {
    const auto address = io::Address::parse(
        (node.address.find(':') != std::string::npos ? "[" + node.address + "]" : node.address) +
        ":1");
    if (node.address.starts_with('/') || !address.ok())
      section.wrong(*table.get("address"), "address", "an IPv4 or IPv6 address, not a host name");
  }
  section.port("beacon_port", node.beacon_port);
  section.port("api_port", node.api_port);
  if (section.text("fault_set", node.fault_set) && !good_name(node.fault_set))
    section.wrong(*table.get("fault_set"), "fault_set", "of letters, digits, '_', '-' and '.'");
  section.boolean("voting", node.voting);
  section.boolean("mgmt", node.mgmt);
  for (auto& [key, path] : {std::pair<const char*, std::string*>{"state_dir", &node.state_dir},
                            {"block_dir", &node.block_dir}}) {
    if (section.text(key, *path) && !path->starts_with('/'))
      section.wrong(*table.get(key), key, "an absolute path");
  }
  if (const toml::table* servers = section.table("server", false))
    read_servers(faults, *servers, name + ".server", node);
  section.finish();
}

// What no section can see alone: names, ports and disks given twice, nobody voting.
void check_whole(Faults& faults, const Config& config) {
  std::set<std::string> names, places, disks;
  const auto claim = [&](const NodeConfig& node, uint16_t port, const std::string& who) {
    if (!places.insert(io::Address{node.address, port}.text()).second)
      faults.add(
          fmt::format("{} listens on {} port {}, which is given twice", who, node.address, port));
  };
  bool voters = false;
  for (const auto& [id, node] : config.nodes) {
    voters = voters || node.voting;
    if (!names.insert(node.name).second)
      faults.add(fmt::format("node.{}.name is the name of another node too: {}", id, node.name));
    claim(node, node.beacon_port, fmt::format("node.{} (beacon)", id));
    if (node.mgmt) claim(node, node.api_port, fmt::format("node.{} (mgmt)", id));
    for (const auto& [instance, server] : node.servers) {
      claim(node, server.port, fmt::format("node.{}.server.{}", id, instance));
      for (const auto& disk : server.disks) {
        if (!disks.insert(fmt::format("{} {}", id, disk)).second)
          faults.add(fmt::format("node.{} holds the disk {} twice", id, disk));
      }
    }
  }
  if (config.nodes.empty())
    faults.add("there is no [node.N]: name at least one node");
  else if (!voters)
    faults.add("no node is voting: at least one must be, better three");
}

}  // namespace

Result<Config> parse_config(std::string_view text, const std::string& path) {
  Config config;
  config.path = path;
  Faults faults;
  const toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    const auto& error = parsed.error();
    return Error(Code::invalid, fmt::format("{}:{}: {}", path, error.source().begin.line,
                                            std::string(error.description())));
  }
  const toml::table& file = parsed.table();
  Section section(faults, file, "");
  if (const toml::table* table = section.table("cluster", true))
    read_cluster(faults, *table, config);
  if (const toml::table* table = section.table("api", false)) read_api(faults, *table, config);
  if (const toml::table* table = section.table("node", true)) {
    for (const auto& [key, value] : *table) {
      const std::string name = fmt::format("node.{}", key.str());
      uint32_t id = 0;
      if (!section_number(faults, value, name, key.str(), limits::nodes_max, id)) continue;
      if (!value.is_table()) {
        faults.add(value, fmt::format("[{}] must be a section", name));
        continue;
      }
      NodeConfig& node = config.nodes[static_cast<NodeId>(id)];
      node.id = static_cast<NodeId>(id);
      node.api_port = config.api_port;
      read_node(faults, *value.as_table(), name, node);
    }
  }
  section.finish();
  if (faults.none()) check_whole(faults, config);
  if (!faults.none()) return faults.error(path);
  return config;
}

}  // namespace sp::cli
