// Config: /etc/sp/sp.toml, one file, the same on every node of the cluster (sp.toml(5)). A plain
// value: loading checks everything that can be checked without the network and reports all faults
// at once, each with its line. Secrets are not in it but in files that it names; they are read by
// load_key and load_token only.
#pragma once
#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "io/net.h"

namespace sp::cli {

struct ServerConfig {
  uint8_t instance = 1;
  uint16_t port = 0;               // default 4710 + instance
  std::vector<std::string> disks;  // paths of devices or files; "memory:PATH" for io::MemoryDisk
  uint64_t table_memory = 64u << 20;  // of each disk, see store::Options::table_bytes_max
};

struct NodeConfig {
  NodeId id = 0;
  std::string name;
  std::string address;  // IPv4 or IPv6 literal of the storage network
  uint16_t beacon_port = 4700;
  uint16_t api_port = 81;  // default: [api] port
  std::string fault_set;   // empty: the node is its own
  bool voting = true;
  bool mgmt = false;
  std::string state_dir = "/var/lib/sp";
  std::string block_dir = "/dev/storpool";
  std::map<uint8_t, ServerConfig> servers;
};

struct Config {
  std::string path;  // where it was read from
  std::string cluster_name;
  ClusterId cluster_id = 0;
  std::string key_file;
  std::string token_file;  // empty: no API token is configured
  uint16_t api_port = 81;
  std::map<NodeId, NodeConfig> nodes;
};

// The path to read: `option` (of --config) when not empty, else $SP_CONFIG, else /etc/sp/sp.toml.
std::string config_path(const std::string& option);

// Code::not_found, or Code::invalid with one line per fault.
Result<Config> load_config(const std::string& path);
Result<Config> parse_config(std::string_view text, const std::string& path);

// The effective configuration, every default written out, as TOML that parses to an equal Config.
std::string show_config(const Config& config);

// Which node of the configuration this is: `option` (of --node; 0: not given), else $SP_NODE, else
// the node whose name is the host's. Code::invalid says how to tell.
Result<NodeConfig> own_node(const Config& config, uint16_t option);

// The cluster key (64 hex digits in key_file) and the API token (first line of token_file).
// Code::refused when others may read the file.
Result<std::array<std::byte, 32>> load_key(const Config& config);
Result<std::string> load_token(const Config& config);

// All beacons, that of `first` in front; all management services in order of node.
std::vector<io::Address> beacon_addresses(const Config& config, NodeId first);
std::vector<io::Address> mgmt_addresses(const Config& config);

}  // namespace sp::cli
