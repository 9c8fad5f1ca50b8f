#include "bench_processes.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

namespace sp::bench {

namespace {

namespace fs = std::filesystem;

// proc(5): "  0: 0100007F:1F90 00000000:0000 0A ... inode": addresses in network byte order, as
// hexadecimal numbers of the host.
std::string address_text(const std::string& hex) {
  char text[INET6_ADDRSTRLEN] = "";
  if (hex.size() == 8) {
    const auto value = static_cast<uint32_t>(std::stoul(hex, nullptr, 16));
    inet_ntop(AF_INET, &value, text, sizeof text);
  } else if (hex.size() == 32) {
    uint32_t words[4];
    for (size_t i = 0; i < 4; ++i)
      words[i] = static_cast<uint32_t>(std::stoul(hex.substr(i * 8, 8), nullptr, 16));
    inet_ntop(AF_INET6, words, text, sizeof text);
  }
  return text;
}

using Places = std::map<std::pair<std::string, uint16_t>, std::string>;  // to inodes

void read_listeners(const char* path, Places& places) {
  std::ifstream table(path);
  std::string line;
  std::getline(table, line);
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    std::string number, local, remote, state, skip, inode;
    fields >> number >> local >> remote >> state >> skip >> skip >> skip >> skip >> skip >> inode;
    const size_t colon = local.find(':');
    if (state != "0A" || colon == std::string::npos) continue;  // 0A: listening
    const auto port = static_cast<uint16_t>(std::stoul(local.substr(colon + 1), nullptr, 16));
    places[{address_text(local.substr(0, colon)), port}] = inode;
  }
}

std::map<std::string, int> socket_owners() {
  std::map<std::string, int> owners;
  std::error_code error;
  for (const auto& process : fs::directory_iterator("/proc", error)) {
    const int pid = std::atoi(process.path().filename().c_str());
    if (pid == 0) continue;
    // A process that ends meanwhile, or is another user's, has none to show.
    std::error_code gone;
    for (fs::directory_iterator fd(process.path() / "fd", gone), end; !gone && fd != end;
         fd.increment(gone)) {
      const std::string target = fs::read_symlink(fd->path(), gone).string();
      if (!gone && target.starts_with("socket:["))
        owners[target.substr(8, target.size() - 9)] = pid;
      gone.clear();
    }
  }
  return owners;
}

uint64_t status_number(int pid, const char* key) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with(key)) return std::strtoull(line.c_str() + std::strlen(key), nullptr, 10);
  }
  return 0;
}

}  // namespace

std::vector<Process> find_processes(const std::vector<Listener>& listeners) {
  Places places;
  read_listeners("/proc/net/tcp", places);
  read_listeners("/proc/net/tcp6", places);
  const auto owners = socket_owners();
  std::vector<Process> found;
  for (const Listener& listener : listeners) {
    for (const std::string& host : {listener.host, std::string("0.0.0.0"), std::string("::")}) {
      const auto place = places.find({host, listener.port});
      const auto owner = place == places.end() ? owners.end() : owners.find(place->second);
      if (owner == owners.end()) continue;
      found.push_back({listener.name, owner->second});
      break;
    }
  }
  return found;
}

// Of all threads, also those that have ended, as workers of io_uring do: the sum that the kernel
// keeps for the process. It counts in ticks of 10 ms.
Usage usage_of(int pid) {
  Usage usage;
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string stat((std::istreambuf_iterator<char>(file)), {});
  const size_t behind_name = stat.rfind(')');
  double user = 0, system = 0;
  if (behind_name != std::string::npos &&
      std::sscanf(stat.c_str() + behind_name + 1,
                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lf %lf", &user, &system) == 2)
    usage.cpu_us = (user + system) * 1e6 / static_cast<double>(sysconf(_SC_CLK_TCK));
  usage.sleeps = status_number(pid, "voluntary_ctxt_switches:");
  usage.memory_bytes = status_number(pid, "VmRSS:") << 10;
  return usage;
}

}  // namespace sp::bench
