#include "cluster.h"

#include <algorithm>

#include "base/client_id.h"
#include "disk/superblock.h"
#include "store/check.h"

namespace sp::sim {

namespace {

constexpr uint16_t server_port = 4100;
constexpr size_t log_lines_kept = 4000;

wire::ClusterKey cluster_key() {
  wire::ClusterKey key;
  key.bytes.fill(std::byte{7});
  return key;
}

io::SimOptions with_log(io::SimOptions options, std::vector<std::string>& log) {
  options.log_sink = [&log](LogLevel, std::string_view line) {
    if (log.size() >= log_lines_kept) log.erase(log.begin(), log.begin() + log_lines_kept / 2);
    log.emplace_back(line);
  };
  return options;
}

}  // namespace

DataCluster::DataCluster(uint64_t seed, ClusterOptions given)
    : options(std::move(given)),
      world(seed, with_log(options.world, log)),
      control(world, options.control) {
  tools_ = &world.add_host("tools", "10.0.9.9");
  std::vector<DiskId> all;
  for (uint32_t s = 0; s < options.servers; ++s) {
    ServerProcess process;
    process.ip = "10.0.0." + std::to_string(s + 1);
    process.id = {ServiceKind::server, static_cast<NodeId>(s + 1), 1};
    process.host = &world.add_host("serve." + std::to_string(s + 1), process.ip);
    for (uint32_t d = 0; d < options.disks_per_server; ++d) {
      const auto id = static_cast<DiskId>(s * options.disks_per_server + d + 1);
      process.disks.push_back(id);
      process.paths.push_back("/disk" + std::to_string(id));
      all.push_back(id);
    }
    servers.push_back(std::move(process));
  }
  format_disks();
  for (auto& process : servers) start_server(process);
  const bool registered = world.run_until(
      [&] {
        return std::all_of(all.begin(), all.end(),
                           [&](DiskId disk) { return control.map().disk_serves(disk); });
      },
      std::chrono::seconds(30));
  SP_ASSERT(registered);
  // Copies on different servers, each set beginning with another one.
  std::vector<std::vector<DiskId>> sets;
  for (uint32_t i = 0; i < options.sets; ++i) {
    std::vector<DiskId> disks;
    for (uint32_t c = 0; c < options.copies; ++c) {
      const ServerProcess& process = servers[(i + c) % servers.size()];
      disks.push_back(process.disks[(i / servers.size()) % process.disks.size()]);
    }
    sets.push_back(std::move(disks));
  }
  group = control.add_group(options.copies, options.min_copies, sets);
  for (uint32_t c = 0; c < options.clients + options.sharers + options.readers; ++c) {
    ClientProcess process;
    const auto node = static_cast<NodeId>(40 + c);
    process.id = client_of(node, 1);
    process.host =
        &world.add_host("client." + std::to_string(node), "10.0.1." + std::to_string(c + 1));
    const bool own = c < options.clients;
    process.reader = c >= options.clients + options.sharers;
    process.shares = options.sharers > 0 && !process.reader && (c == 0 || !own);
    process.volume_id =
        own ? control.add_volume(group, options.volume_bytes) : clients.front().volume_id;
    clients.push_back(std::move(process));
  }
  for (auto& process : clients) start_client(process);
}

DataCluster::~DataCluster() {
  for (auto& process : clients) {
    process.work.reset();
    process.volume.reset();
    process.servers.reset();
    process.member.reset();
  }
  for (auto& process : servers) {
    process.server.reset();
    process.member.reset();
  }
}

void DataCluster::format_disks() {
  for (auto& process : servers) {
    for (size_t i = 0; i < process.paths.size(); ++i) {
      const bool small = process.disks[i] == options.small_disk;
      const Status added = world.disks().add(process.paths[i],
                                             small ? options.small_disk_bytes : options.disk_bytes);
      SP_ASSERT(added.ok());
      format_disk(process, i);
    }
  }
}

void DataCluster::format_disk(ServerProcess& process, size_t index) {
  auto disk = tools_->host().disks.open(process.paths[index], {});
  SP_ASSERT(disk.ok());
  disk::FormatOptions format;
  format.cluster = control.map().cluster.id;
  format.disk = process.disks[index];
  format.write_in_full = false;
  if (options.log_bytes != 0) {
    format.layout = *disk::plan_layout(options.disk_bytes);
    format.layout->log_bytes = options.log_bytes;
  }
  bool done = false;
  disk::format(tools_->host(), **disk, format, [&done](Result<disk::Superblock> superblock) {
    SP_ASSERT(superblock.ok());
    done = true;
  });
  const bool formatted = world.run_until([&] { return done; }, std::chrono::seconds(60));
  SP_ASSERT(formatted);
}

void DataCluster::start_server(ServerProcess& process) {
  if (process.up) return;
  if (!process.host->alive()) process.host->restart();
  process.up = true;
  process.start_id = ++last_start_id_;
  member::Options options_of_member;
  options_of_member.key = cluster_key();
  options_of_member.self = {control.map().cluster.id, 1, process.id, process.start_id};
  options_of_member.registration.id = process.id;
  options_of_member.registration.address = process.ip + ":" + std::to_string(server_port);
  ServerProcess* const p = &process;
  member::Member::Events events;
  events.map_changed = [p](const std::vector<map::Change>& changes) {
    if (p->server) p->server->map_changed(changes);
  };
  events.make_report = [p] { return p->server ? p->server->make_report() : member::Report(); };
  process.member = control.join(process.host->host(), options_of_member, std::move(events));
  serve::ServerOptions server;
  server.key = cluster_key();
  server.self = options_of_member.self;
  server.listen = {process.ip, server_port};
  server.disk_paths = process.paths;
  server.tuning = options.serve;
  server.store = options.store;
  auto started = serve::Server::start(process.host->host(), std::move(server), *process.member);
  SP_ASSERT(started.ok());
  process.server = std::move(started).value();
}

void DataCluster::end_server(ServerProcess& process, io::SimHost::Death death) {
  if (!process.up) return;
  process.up = false;
  process.host->kill(death);
  process.server.reset();
  process.member.reset();
  if (death != io::SimHost::Death::silent) control.process_ended(process.id, process.start_id);
}

void DataCluster::start_client(ClientProcess& process) {
  if (process.up) return;
  if (!process.host->alive()) process.host->restart();
  process.up = true;
  process.start_id = ++last_start_id_;
  const uint32_t generation = control.attach(
      process.volume_id, process.id,
      process.reader ? map::Rights::read_only : map::Rights::read_write, process.shares);
  member::Options options_of_member;
  options_of_member.key = cluster_key();
  options_of_member.self = {control.map().cluster.id, 1, service_of_client(process.id),
                            process.start_id};
  ClientProcess* const p = &process;
  member::Member::Events events;
  events.map_changed = [p](const std::vector<map::Change>&) {
    if (p->volume) p->volume->map_changed();
  };
  process.member = control.join(process.host->host(), options_of_member, std::move(events));
  process.servers = client::make_servers(process.host->host(), cluster_key(),
                                         options_of_member.self, options.client);
  client::VolumeOptions volume;
  volume.volume = process.volume_id;
  volume.generation = generation;
  volume.read_only = process.reader;
  process.volume =
      client::Volume::open(process.host->host(), *process.member, process.servers, volume);
  WorkloadOptions work = options.work;
  work.volume = process.volume_id;
  if (process.reader) {
    work.reads = 1;
  } else {
    if (process.session != 0) process.earlier_sessions.push_back(process.session);
    process.session = work.session = ++last_session_;
  }
  process.work =
      std::make_unique<Workload>(process.host->host(), *process.volume, history, last_stamp, work);
  confirm_client(process, control.map().index);
}

// Work begins once nothing of the earlier sessions can take effect any more.
void DataCluster::confirm_client(ClientProcess& process, uint64_t index) {
  process.member->confirm(index, std::chrono::seconds(5), [this, &process, index](Status status) {
    if (!process.up) return;
    if (!status.ok()) return confirm_client(process, index);
    const uint64_t now = history.next();
    for (const uint64_t session : process.earlier_sessions) history.session_fenced(session, now);
    process.earlier_sessions.clear();
    process.work->start();
  });
}

void DataCluster::end_client(ClientProcess& process, io::SimHost::Death death) {
  if (!process.up) return;
  process.up = false;
  process.completed_before += process.work->completed();
  process.host->kill(death);
  process.work.reset();
  process.volume.reset();
  process.servers.reset();
  process.member.reset();
  control.process_ended(service_of_client(process.id), process.start_id);
}

std::string DataCluster::unsettled() const {
  for (const auto& [id, row] : control.map().sets) {
    const bool whole = row.activated && row.acting == row.target && row.recovering.empty();
    if (whole) continue;
    std::string text = "set " + std::to_string(id.index) + " epoch " + std::to_string(row.epoch) +
                       (row.activated ? " activated" : " not activated") + ", acting";
    for (const DiskId disk : row.acting) text += " " + std::to_string(disk);
    text += ", recovering";
    for (const DiskId disk : row.recovering) text += " " + std::to_string(disk);
    text += ", target";
    for (const DiskId disk : row.target) text += " " + std::to_string(disk);
    for (const auto& process : servers) {
      if (!process.server) continue;
      for (const auto& set : process.server->make_report().sets) {
        if (set.set == id) text += "; " + process.host->name() + " waits for " + set.waits_for;
      }
    }
    return text;
  }
  return "";
}

bool DataCluster::settled() const { return unsettled().empty(); }

std::string DataCluster::compare_copies() {
  for (const auto& [id, row] : control.map().sets) {
    std::vector<wire::DigestReply> replies(row.acting.size());
    size_t open = 0;
    for (size_t i = 0; i < row.acting.size(); ++i) {
      for (auto& process : servers) {
        if (!process.server || std::find(process.disks.begin(), process.disks.end(),
                                         row.acting[i]) == process.disks.end())
          continue;
        ++open;
        process.server->digest(row.acting[i], id,
                               [&open, &reply = replies[i]](wire::DigestReply answer) {
                                 reply = std::move(answer);
                                 --open;
                               });
      }
    }
    if (!world.run_until([&] { return open == 0; }, std::chrono::seconds(20)))
      return "a digest does not come";
    for (size_t i = 0; i < replies.size(); ++i) {
      if (!replies[i].ok)
        return "no digest of disk " + std::to_string(row.acting[i]) + ": " + replies[i].text;
      if (replies[i].hash == replies[0].hash && replies[i].blocks == replies[0].blocks) continue;
      return "set " + std::to_string(id.index) + ": disk " + std::to_string(row.acting[0]) +
             " holds " + std::to_string(replies[0].blocks) + " blocks, disk " +
             std::to_string(row.acting[i]) + " " + std::to_string(replies[i].blocks) +
             ", of another content";
    }
  }
  return "";
}

std::string DataCluster::check_disks(const std::vector<std::string>& spoiled) {
  for (auto& process : clients) end_client(process, io::SimHost::Death::process);
  for (auto& process : servers) end_server(process, io::SimHost::Death::power);
  std::string wrong;
  for (const auto& process : servers) {
    for (const std::string& path : process.paths) {
      auto disk = tools_->host().disks.open(path, {});
      SP_ASSERT(disk.ok());
      bool done = false;
      store::check(tools_->host(), std::move(disk).value(), {}, [&](Result<store::Report> report) {
        done = true;
        if (!report.ok()) {
          wrong = path + ": " + report.error().message();
          return;
        }
        if (std::find(spoiled.begin(), spoiled.end(), path) != spoiled.end()) return;
        for (const auto& finding : report->findings) {
          if (finding.severity == store::Severity::damage)
            wrong = path + ": " + finding.place + ": " + finding.explanation;
        }
      });
      if (!world.run_until([&] { return done; }, std::chrono::seconds(600)))
        return path + ": the check does not end";
      if (!wrong.empty()) return wrong;
    }
  }
  return "";
}

std::string DataCluster::work_failure() const {
  for (const auto& process : clients) {
    if (process.work && !process.work->failure().empty())
      return process.host->name() + ": " + process.work->failure();
  }
  return "";
}

uint64_t DataCluster::operations() const {
  uint64_t sum = 0;
  for (const auto& process : clients)
    sum += process.completed_before + (process.work ? process.work->completed() : 0);
  return sum;
}

}  // namespace sp::sim
