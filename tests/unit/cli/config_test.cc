#include "cli/config.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

using namespace sp;
using namespace sp::cli;

namespace {

constexpr std::string_view three_nodes = R"(
[cluster]
name = "demo"
id = "00000000deadbeef"
key_file = "/etc/sp/key"

[api]
token_file = "/etc/sp/token"
port = 8100

[node.1]
name = "alpha"
address = "10.0.0.1"
mgmt = true
[node.1.server.1]
disks = ["/dev/nvme0n1", "memory:/dev/shm/a"]
[node.1.server.2]
port = 5000
disks = []

[node.2]
name = "beta"
address = "fd00::2"
fault_set = "rack-b"
api_port = 81
mgmt = true

[node.3]
name = "gamma"
address = "10.0.0.3"
voting = false
beacon_port = 4800
state_dir = "/srv/sp"
)";

std::string faults_of(std::string_view text) {
  const auto parsed = parse_config(text, "sp.toml");
  return parsed.ok() ? "" : parsed.error().message();
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

struct TemporaryFile {
  std::string path = "/tmp/sp-config-test-XXXXXX";
  explicit TemporaryFile(const std::string& text, mode_t mode) {
    const int fd = mkstemp(path.data());
    REQUIRE(fd >= 0);
    REQUIRE(write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    REQUIRE(fchmod(fd, mode) == 0);
    close(fd);
  }
  ~TemporaryFile() { unlink(path.c_str()); }
};

}  // namespace

TEST_CASE("a configuration is read with its defaults") {
  const auto config = parse_config(three_nodes, "sp.toml");
  REQUIRE_MESSAGE(config.ok(), faults_of(three_nodes));
  CHECK(config->cluster_name == "demo");
  CHECK(config->cluster_id == 0xdeadbeef);
  REQUIRE(config->nodes.size() == 3);
  const NodeConfig& alpha = config->nodes.at(1);
  CHECK(alpha.beacon_port == 4700);
  CHECK(alpha.api_port == 8100);
  CHECK(alpha.voting);
  CHECK(alpha.servers.at(1).port == 4711);
  CHECK(alpha.servers.at(1).disks == std::vector<std::string>{"/dev/nvme0n1", "memory:/dev/shm/a"});
  CHECK(alpha.servers.at(2).port == 5000);
  CHECK(config->nodes.at(2).api_port == 81);
  CHECK(config->nodes.at(2).fault_set == "rack-b");
  CHECK_FALSE(config->nodes.at(3).voting);
  CHECK(config->nodes.at(3).block_dir == "/dev/storpool");
  CHECK(mgmt_addresses(*config) == std::vector<io::Address>{{"10.0.0.1", 8100}, {"fd00::2", 81}});
  CHECK(beacon_addresses(*config, 3) ==
        std::vector<io::Address>{{"10.0.0.3", 4800}, {"10.0.0.1", 4700}, {"fd00::2", 4700}});
}

TEST_CASE("the effective configuration reads back as itself") {
  const auto config = parse_config(three_nodes, "sp.toml");
  REQUIRE(config.ok());
  const std::string shown = show_config(*config);
  const auto again = parse_config(shown, "sp.toml");
  REQUIRE_MESSAGE(again.ok(), shown);
  CHECK(show_config(*again) == shown);
  CHECK(contains(shown, "port = 4711"));
  CHECK(contains(shown, "table_memory = \"67108864\""));
}

TEST_CASE("what a disk's table may take in memory is a size, and not next to nothing") {
  const auto with = [](const std::string& value) {
    return std::string(three_nodes) +
           "\n[node.1.server.9]\ndisks = [\"/x\"]\ntable_memory = " + value;
  };
  const auto config = parse_config(with("\"1.5G\""), "sp.toml");
  REQUIRE(config.ok());
  CHECK(config->nodes.at(1).servers.at(9).table_memory == 3ull << 29);
  for (const char* wrong : {"\"1k\"", "\"much\"", "64"})
    CHECK(contains(faults_of(with(wrong)), "table_memory must be a"));
}

TEST_CASE("all faults of a configuration are reported at once, with their lines") {
  const std::string faults = faults_of(R"([cluster]
name = "de mo"
id = "12"
[node.1]
name = 7
adress = "10.0.0.1"
beacon_port = 70000
[node.99]
[node.2.server.13]
)");
  for (const char* part :
       {"sp.toml:2: cluster.name", "sp.toml:3: cluster.id must be 16 hex digits",
        "sp.toml:1: cluster.key_file is missing", "sp.toml:5: node.1.name",
        "sp.toml:6: node.1.adress is not a known key (did you mean 'address'?)",
        "sp.toml:7: node.1.beacon_port", "sp.toml:8: [node.99] must end in a number, 1 to 63",
        "[node.2.server.13] must end in a number, 1 to 12"})
    CHECK_MESSAGE(contains(faults, part), part << " is not in\n" << faults);
}

TEST_CASE("what cannot work together is refused") {
  const std::string good(three_nodes);
  CHECK(contains(faults_of(replaced(good, "\"gamma\"", "\"alpha\"")), "name of another node"));
  CHECK(contains(faults_of(replaced(good, "port = 5000", "port = 4700")), "given twice"));
  CHECK(contains(faults_of(replaced(good, "memory:/dev/shm/a", "/dev/nvme0n1")), "twice"));
  CHECK(contains(faults_of(replaced(good, "10.0.0.1", "alpha.example")), "not a host name"));
  CHECK(contains(faults_of(replaced(good, "/dev/nvme0n1", "nvme0n1")), "absolute paths"));
  CHECK(
      contains(faults_of("[cluster]\nname = \"x\"\nid = \"0000000000000001\"\nkey_file = "
                         "\"/k\"\n[node.1]\nname = \"a\"\naddress = \"1.2.3.4\"\nvoting = false\n"),
               "no node is voting"));
  CHECK(contains(faults_of("[cluster\n"), "sp.toml:1"));
  CHECK(contains(faults_of(""), "[cluster] is missing"));
}

TEST_CASE("hostile configurations give errors, not crashes") {
  std::string nested;
  for (int i = 0; i < 5000; ++i) nested += "a = [";
  for (const std::string& text :
       {std::string("a = ") + std::string(2000, '['), nested, std::string("\0\x01\xff", 3),
        std::string("[node]\n1 = 3"), std::string("node = 4"),
        std::string("[cluster]\nid = [[1]]\nname={}\n"), std::string("[: x]\n"),
        std::string("[[=]]\n"), std::string("[a.:]\n"), std::string("k\u0153 = 1\n")})
    CHECK_FALSE(parse_config(text, "x").ok());
}

TEST_CASE("which node this is comes from the option, then SP_NODE, then the host name") {
  auto config = *parse_config(three_nodes, "sp.toml");
  unsetenv("SP_NODE");
  CHECK(own_node(config, 2)->name == "beta");
  CHECK(contains(own_node(config, 9).error().message(), "node 9 (--node) is not in sp.toml"));
  setenv("SP_NODE", "3", 1);
  CHECK(own_node(config, 0)->name == "gamma");
  CHECK(own_node(config, 1)->name == "alpha");
  setenv("SP_NODE", "65539", 1);  // 3 in the low 16 bits
  CHECK_FALSE(own_node(config, 0).ok());
  unsetenv("SP_NODE");
  CHECK(contains(own_node(config, 0).error().message(), "--node N or SP_NODE"));
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  config.nodes.at(3).name = host;
  CHECK(own_node(config, 0)->id == 3);
}

TEST_CASE("secrets that others may read are refused") {
  auto config = *parse_config(three_nodes, "sp.toml");
  const std::string hex(64, 'a');
  TemporaryFile open_key(hex + "\n", 0644), key(hex + "\n", 0640), short_key("aabb\n", 0600),
      token("secret-token\n", 0600);
  config.key_file = open_key.path;
  CHECK(load_key(config).error().code() == Code::refused);
  config.key_file = short_key.path;
  CHECK(contains(load_key(config).error().message(), "64 hex digits"));
  config.key_file = key.path;
  REQUIRE(load_key(config).ok());
  CHECK((*load_key(config))[31] == std::byte{0xaa});
  config.token_file = token.path;
  CHECK(*load_token(config) == "secret-token");
  config.token_file = "/nonexistent/token";
  CHECK(load_token(config).error().code() == Code::not_found);
  config.token_file = short_key.path;
  CHECK_FALSE(load_token(config).ok());
}
