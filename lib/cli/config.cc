#include "cli/config.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/units.h"

namespace sp::cli {

namespace {

constexpr size_t file_bytes_max = 1u << 20;

enum class Secrecy { open, secret };

// A whole small file. Secret files must not be readable by others.
Result<std::string> read_file(const std::string& path, Secrecy secrecy) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    const Code code = errno == ENOENT   ? Code::not_found
                      : errno == EACCES ? Code::not_authorised
                                        : Code::failed;
    return Error(code, fmt::format("cannot open {}: {}", path, std::strerror(errno)));
  }
  struct stat status {};
  std::string text;
  Result<std::string> result = std::string();
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    result = Error(Code::invalid, fmt::format("{} is not a regular file", path));
  } else if (secrecy == Secrecy::secret && (status.st_mode & S_IRWXO) != 0) {
    result = Error(
        Code::refused,
        fmt::format("{} is a secret that others may read or write (mode {:04o}): run chmod o= {}",
                    path, status.st_mode & 07777, path));
  } else {
    char chunk[4096];
    ssize_t got = 0;
    while (text.size() <= file_bytes_max && (got = read(fd, chunk, sizeof chunk)) > 0)
      text.append(chunk, static_cast<size_t>(got));
    if (got < 0)
      result = Error(Code::io, fmt::format("cannot read {}: {}", path, std::strerror(errno)));
    else if (text.size() > file_bytes_max)
      result = Error(Code::invalid, fmt::format("{} is larger than 1 MiB", path));
    else
      result = std::move(text);
  }
  close(fd);
  return result;
}

std::string first_line(const std::string& text) {
  std::string line = text.substr(0, text.find('\n'));
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  return line;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + "\"";
}

Result<NodeConfig> known_node(const Config& config, uint64_t id, std::string_view said_by) {
  const auto at = config.nodes.find(static_cast<NodeId>(id));
  if (id > limits::nodes_max || at == config.nodes.end())
    return Error(Code::invalid,
                 fmt::format("node {} ({}) is not in {}: add [node.{}] or name another", id,
                             said_by, config.path, id));
  return at->second;
}

}  // namespace

std::string config_path(const std::string& option) {
  if (!option.empty()) return option;
  const char* environment = std::getenv("SP_CONFIG");
  return environment != nullptr && *environment != '\0' ? environment : "/etc/sp/sp.toml";
}

Result<Config> load_config(const std::string& path) {
  auto text = read_file(path, Secrecy::open);
  if (!text.ok()) {
    return Error(text.error().code(),
                 text.error().message() +
                     "; name the configuration with --config or SP_CONFIG, see sp.toml(5)");
  }
  return parse_config(*text, path);
}

std::string show_config(const Config& config) {
  std::string out = fmt::format(
      "[cluster]\nname = {}\nid = \"{:016x}\"\nkey_file = {}\n\n[api]\nport = {}\n",
      quoted(config.cluster_name), config.cluster_id, quoted(config.key_file), config.api_port);
  if (!config.token_file.empty())
    out += fmt::format("token_file = {}\n", quoted(config.token_file));
  for (const auto& [id, node] : config.nodes) {
    out +=
        fmt::format("\n[node.{}]\nname = {}\naddress = {}\nbeacon_port = {}\napi_port = {}\n", id,
                    quoted(node.name), quoted(node.address), node.beacon_port, node.api_port);
    if (!node.fault_set.empty()) out += fmt::format("fault_set = {}\n", quoted(node.fault_set));
    out += fmt::format("voting = {}\nmgmt = {}\nstate_dir = {}\nblock_dir = {}\n", node.voting,
                       node.mgmt, quoted(node.state_dir), quoted(node.block_dir));
    for (const auto& [instance, server] : node.servers) {
      out += fmt::format("\n[node.{}.server.{}]\nport = {}\ntable_memory = \"{}\"\ndisks = [", id,
                         instance, server.port, server.table_memory);
      for (size_t i = 0; i < server.disks.size(); ++i)
        out += (i == 0 ? "" : ", ") + quoted(server.disks[i]);
      out += "]\n";
    }
  }
  return out;
}

Result<NodeConfig> own_node(const Config& config, uint16_t option) {
  if (option != 0) return known_node(config, option, "--node");
  if (const char* environment = std::getenv("SP_NODE");
      environment != nullptr && *environment != '\0') {
    auto id = parse_number(environment, limits::nodes_max);
    if (!id.ok()) return std::move(id).error().with("SP_NODE");
    return known_node(config, *id, "SP_NODE");
  }
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  for (const auto& [id, node] : config.nodes) {
    if (node.name == host) return node;
  }
  return Error(Code::invalid, fmt::format("no node of {} is named {} as this host is: say which "
                                          "node this is with --node N or SP_NODE",
                                          config.path, quoted(host)));
}

Result<std::array<std::byte, 32>> load_key(const Config& config) {
  auto text = read_file(config.key_file, Secrecy::secret);
  if (!text.ok()) return std::move(text).error().with("cluster key");
  std::array<std::byte, 32> key{};
  if (!from_hex(first_line(*text), key))
    return Error(
        Code::invalid,
        fmt::format(
            "cluster key: {} does not hold 64 hex digits; make one with: openssl rand -hex 32",
            config.key_file));
  return key;
}

Result<std::string> load_token(const Config& config) {
  if (config.token_file.empty())
    return Error(Code::invalid,
                 fmt::format("{} names no API token: set token_file in [api]", config.path));
  auto text = read_file(config.token_file, Secrecy::secret);
  if (!text.ok()) return std::move(text).error().with("API token");
  std::string token = first_line(*text);
  const bool printable =
      std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (token.size() < 8 || token.size() > 256 || !printable)
    return Error(Code::invalid,
                 fmt::format("API token: {} must hold 8 to 256 printable characters without spaces",
                             config.token_file));
  return token;
}

std::vector<io::Address> beacon_addresses(const Config& config, NodeId first) {
  std::vector<io::Address> addresses;
  if (const auto own = config.nodes.find(first); own != config.nodes.end())
    addresses.push_back({own->second.address, own->second.beacon_port});
  for (const auto& [id, node] : config.nodes) {
    if (id != first) addresses.push_back({node.address, node.beacon_port});
  }
  return addresses;
}

std::vector<io::Address> mgmt_addresses(const Config& config) {
  std::vector<io::Address> addresses;
  for (const auto& [id, node] : config.nodes) {
    if (node.mgmt) addresses.push_back({node.address, node.api_port});
  }
  return addresses;
}

}  // namespace sp::cli
