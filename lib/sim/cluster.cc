// The processes of a simulated cluster: how each is made, ended, and kept running.
#include "sim/cluster.h"

#include <algorithm>
#include <utility>

#include "base/checksum.h"
#include "base/client_id.h"
#include "sim/database_load.h"

namespace sp::sim {

namespace {

constexpr uint16_t server_port = 4200;
constexpr size_t log_lines_kept = 6000;
constexpr uint32_t guest_blocks_max = 32;
constexpr uint64_t guest_stride_max = 48;
constexpr uint32_t calls_tried = 20;  // of an administrator, while no service takes them

}  // namespace

Cluster::Cluster(uint64_t seed, ClusterSetup given)
    : setup(std::move(given)),
      timeline(setup.watch ? std::optional<Timeline>(*setup.watch) : std::nullopt),
      world(seed, world_options()),
      management(world, [this](NodeId id) { return management_options(id); }) {
  key_.bytes.fill(std::byte{7});
  add_nodes();
}

Cluster::~Cluster() {
  for (auto& process : clients) {
    process.work.reset();
    process.attempt.reset();
    process.attached.reset();
  }
  for (auto& process : management.processes()) process.service.reset();
  for (auto& node : nodes) {
    if (node.server) {
      node.server->server.reset();
      node.server->member.reset();
    }
    node.beacon.beacon.reset();
  }
}

void Cluster::add_nodes() {
  const uint32_t voters = setup.storage_nodes + (setup.witness ? 1 : 0);
  const uint32_t first_spare = voters + (setup.clients_on_storage ? 0 : setup.client_nodes);
  tools_ = &world.add_host("tools", "10.0.9.9");
  for (uint32_t i = 0; i < first_spare + setup.spare_nodes; ++i) {
    Node node;
    node.id = static_cast<NodeId>(i + 1);
    node.ip = "10.0.0." + std::to_string(node.id);
    node.voting = i < voters || i >= first_spare;
    node.belongs = i < first_spare;
    node.beacon.host = &world.add_host("beacon." + std::to_string(node.id), node.ip);
    if ((setup.older >> i & 1) != 0) node.beacon.versions = older_version;
    if (i < setup.storage_nodes || i >= first_spare) add_server(node);
    const bool clients_here =
        setup.clients_on_storage ? i < setup.client_nodes : i >= voters && i < first_spare;
    if (clients_here) add_clients(node, setup.clients_per_node, false);
    if (node.belongs) rows_.push_back(row_of(node));
    nodes.push_back(std::move(node));
  }
  // Behind the others, which have their places.
  add_clients(nodes[setup.clients_on_storage ? 0 : voters], setup.guests, true);
  for (uint32_t i = 0; i < setup.management; ++i) management.add(nodes[i].id, nodes[i].ip);
}

io::SimOptions Cluster::world_options() {
  io::SimOptions options = setup.world;
  if (!listens()) return options;
  if (timeline) options.log_least = LogLevel::debug;
  options.log_sink = [this](LogLevel level, std::string_view line) {
    if (timeline) timeline->take(line);
    if (level < LogLevel::info) return;
    if (setup.line_sink) setup.line_sink(line);
    if (!setup.keep_log) return;
    if (log.size() >= log_lines_kept) log.erase(log.begin(), log.begin() + log_lines_kept / 2);
    log.emplace_back(line);
  };
  return options;
}

void Cluster::add_server(Node& node) {
  ServerProcess server;
  server.host = &world.add_host("serve." + std::to_string(node.id), node.ip);
  for (uint32_t d = 0; d < setup.disks_per_server; ++d) {
    server.disks.push_back(++disk_last_);
    server.paths.push_back("/disk" + std::to_string(server.disks.back()));
  }
  server.versions = node.beacon.versions;
  node.server = std::move(server);
}

void Cluster::add_clients(Node& node, uint32_t count, bool guests) {
  for (uint32_t c = 0; c < count; ++c) {
    const auto before = static_cast<uint32_t>(node.clients.size());
    ClientProcess client;
    client.node = node.id;
    client.guest = guests;
    client.instance = static_cast<uint8_t>(2 + before);
    client.host = &world.add_host(
        "client." + std::to_string(node.id) + "." + std::to_string(before + 1), node.ip);
    node.clients.push_back(static_cast<uint32_t>(clients.size()));
    clients.push_back(std::move(client));
  }
}

map::Node Cluster::row_of(const Node& node) const {
  return {node.id, "node" + std::to_string(node.id),           "", node.voting,
          false,   node.ip + ":" + std::to_string(beacon_port)};
}

void Cluster::note(const std::string& text) {
  if (listens()) tools_->host().log.info(text, {});
}

void Cluster::note_end(const char* what, io::SimHost& host, NodeId node, Death death) {
  if (!timeline) return;
  const char* const how = death == Death::process ? "killed"
                          : death == Death::power ? "its power fails"
                                                  : "its power fails, and nobody is told";
  tools_->host().log.debug(std::string(what) + " " + host.name() + " ends: " + how,
                           {{"node", node}});
}

// beacons

void Cluster::start_beacon(Node& node, bool bootstrap) {
  BeaconProcess& process = node.beacon;
  if (process.up || !node.belongs) return;
  if (!process.host->alive()) process.host->restart();
  const std::string number = std::to_string(node.id);
  beacon::Options options;
  options.key = key_;
  options.self = {cluster_id,
                  1,
                  {ServiceKind::beacon, node.id, 1},
                  world.random().number() | 1,
                  process.versions};
  options.cluster_name = "simulated";
  options.nodes = rows_;
  const bool listed = std::any_of(rows_.begin(), rows_.end(),
                                  [&](const map::Node& row) { return row.id == node.id; });
  if (!listed) options.nodes.push_back(row_of(node));
  options.log_path = "/log" + number;
  options.snapshot_path = "/snapshot" + number;
  if (setup.database) options.state_path = ":memory:";
  options.bootstrap = bootstrap;
  options.log_frames_bytes = beacon_log_bytes;
  options.snapshot_bytes = 512u << 10;
  options.log_entries_kept = setup.log_entries_kept;
  options.raft = setup.tuning.raft;
  options.commands_max = setup.tuning.beacon_commands_max;
  process.failure.clear();
  auto made =
      beacon::Beacon::start(process.host->host(), std::move(options),
                            [&process](const Error& why) { process.failure = why.message(); });
  SP_ASSERT(made.ok());
  process.beacon = std::move(made).value();
  process.up = true;
}

void Cluster::end_beacon(Node& node, Death death) {
  note_index(node);
  if (!std::exchange(node.beacon.up, false)) return;
  node.beacon.host->kill(death);
  node.beacon.beacon.reset();
}

// servers

void Cluster::start_server(Node& node) {
  if (!node.server || !node.belongs || node.server->up || node.server->held > 0 ||
      node.server->retired)
    return;
  if (may_start && !may_start(node)) return;
  ServerProcess& process = *node.server;
  if (!process.host->alive()) process.host->restart();
  process.up = true;
  if (timeline) tools_->host().log.debug("server starts", {{"node", node.id}});
  member::Options member;
  member.key = key_;
  upgrade_if_needed(process.versions);
  member.self = {cluster_id,
                 1,
                 {ServiceKind::server, node.id, 1},
                 world.random().number() | 1,
                 process.versions};
  member.beacons = {{node.ip, beacon_port}};
  member.registration.id = member.self.service;
  member.registration.start_id = member.self.start_id;
  member.registration.address = node.ip + ":" + std::to_string(server_port);
  serve::ServerOptions server;
  server.key = key_;
  server.self = member.self;
  server.listen = {node.ip, server_port};
  server.disk_paths = process.paths;
  server.store = setup.tuning.store;
  server.tuning = setup.tuning.serve;
  const uint32_t position = node.id - 1u;
  member::Member::Events events;
  events.map_changed = [this, position](const std::vector<map::Change>& changes) {
    if (auto& mine = *nodes[position].server; mine.server) mine.server->map_changed(changes);
  };
  events.make_report = [this, position] {
    const auto& mine = *nodes[position].server;
    return mine.server ? mine.server->make_report() : member::Report();
  };
  process.member =
      member::Member::start(process.host->host(), std::move(member), std::move(events));
  auto started = serve::Server::start(process.host->host(), std::move(server), *process.member);
  SP_ASSERT(started.ok());
  process.server = std::move(started).value();
}

void Cluster::end_server(Node& node, Death death) {
  if (!node.server || !std::exchange(node.server->up, false)) return;
  note_end("server", *node.server->host, node.id, death);
  node.server->host->kill(death);
  node.server->server.reset();
  node.server->member.reset();
}

// clients

void Cluster::start_client(ClientProcess& process, VolumeId volume, bool force) {
  if (process.up) return;
  if (!process.host->alive()) process.host->restart();
  process.up = true;
  process.fenced = false;
  process.volume = volume;
  process.force = force;
  process.session = ++last_session;
  attach(process);
}

client::StandaloneOptions Cluster::standalone_options(NodeId id) const {
  const Node& node = nodes.at(id - 1u);
  client::StandaloneOptions options;
  options.key = key_;
  options.cluster = cluster_id;
  options.node = id;
  options.beacons = {{node.ip, beacon_port}};
  options.device = "simulated";
  options.timeout = std::chrono::seconds(5);
  options.tuning = setup.tuning.client;
  options.versions = node.beacon.versions;
  upgrade_if_needed(options.versions);
  return options;
}

void Cluster::attach(ClientProcess& process) {
  process.retry = false;
  client::StandaloneOptions options = standalone_options(process.node);
  options.volume = "~" + std::to_string(process.volume);
  options.force = process.force;
  options.instance = process.instance;
  const auto position = static_cast<size_t>(&process - clients.data());
  process.attempt = client::Standalone::attach(
      process.host->host(), std::move(options),
      [this, position](Result<std::unique_ptr<client::Standalone>> result) {
        attached(clients[position], std::move(result));
      });
}

void Cluster::attached(ClientProcess& process, Result<std::unique_ptr<client::Standalone>> result) {
  if (!result.ok()) {
    process.host->host().log.warning("not attached", {{"why", result.error().message()}});
    process.retry = true;
    return;
  }
  process.attached = std::move(result).value();
  // Confirmed: nothing of those who had the volume under an earlier generation takes effect any
  // more.
  const uint64_t now = history.next();
  const uint32_t generation = process.attached->generation();
  for (const Session& session : sessions_[process.volume]) {
    if (session.generation < generation) history.session_fenced(session.number, now);
    if (session.generation > generation) history.session_fenced(process.session, now);
  }
  sessions_[process.volume].push_back({process.session, generation, now});
  process.host->host().log.info("attached",
                                {{"volume", process.volume}, {"session", process.session}});
  process.attached->on_fenced([&process] { process.fenced = true; });
  process.work = make_work(process, generation);
  if (!work_over_) process.work->start();
}

// Work

LoadChoice Cluster::load_of(VolumeId volume) const {
  if (setup.load != LoadChoice::mixed) return setup.load;
  return static_cast<LoadChoice>(mix64(world.seed() ^ volume) % 3);
}

uint64_t Cluster::block_in_use(VolumeId volume, uint64_t n) const {
  if (load_of(volume) == LoadChoice::stamps) return n * setup.work.stride;
  // The log, and what is around the borders of objects.
  const uint64_t border = setup.volume_bytes / limits::block_bytes / 4 * (1 + n % 3);
  return n % 2 == 0 ? n / 2 : border - 8 + n / 6 % 16;
}

std::unique_ptr<Work> Cluster::make_work(ClientProcess& process, uint32_t generation) {
  client::BlockDevice& device = process.attached->volume();
  io::Host& host = process.host->host();
  const LoadChoice load = process.guest ? LoadChoice::stamps : load_of(process.volume);
  if (load == LoadChoice::stamps) {
    WorkloadOptions work = setup.work;
    if (process.guest) {  // their volumes are small
      work.blocks = std::min(work.blocks, guest_blocks_max);
      work.stride = std::min(work.stride, guest_stride_max);
    }
    work.volume = process.volume;
    work.session = process.session;
    return std::make_unique<Workload>(host, device, history, last_stamp, work);
  }
  LoadOptions options;
  options.blocks = {process.volume, process.session, setup.loads_in_history ? &history : nullptr};
  options.session = uint64_t{generation} << 32 | ++attached_count_;
  options.depth = setup.work.depth;
  options.think_mean = setup.work.think_mean;
  Ledger& ledger = ledgers_[process.volume];
  if (load == LoadChoice::journal)
    return std::make_unique<JournalLoad>(host, device, ledger, last_stamp, options);
  return std::make_unique<DatabaseLoad>(host, device, ledger, last_stamp, options);
}

void Cluster::stop_work() {
  if (std::exchange(work_over_, true)) return;  // a load that is told again looks again
  for (auto& process : clients) {
    if (process.work) process.work->stop();
  }
}

void Cluster::end_client(ClientProcess& process, Death death) {
  if (!std::exchange(process.up, false)) return;
  if (timeline)
    tools_->host().log.debug("client " + process.host->name() + " ends",
                             {{"volume", process.volume}});
  if (process.work) process.completed_before += process.work->completed();
  process.host->kill(death);
  process.work.reset();
  process.attempt.reset();
  process.attached.reset();
  process.retry = false;
}

Cluster::ClientProcess* Cluster::holder_of(VolumeId volume) {
  ClientProcess* newest = nullptr;
  for (auto& process : clients) {
    if (process.volume == volume && (newest == nullptr || process.session > newest->session))
      newest = &process;
  }
  return newest;
}

std::string Cluster::volume_name(VolumeId volume) const {
  const auto place = std::find(volumes.begin(), volumes.end(), volume);
  return "volume" + std::to_string(place - volumes.begin() + 1);
}

void Cluster::move_volume(VolumeId volume, ClientProcess& to, bool detach) {
  SP_ASSERT(!to.up);
  if (detach) {
    const std::string name = volume_name(volume);
    management.call(Management::post("VolumesReassign", R"([{"volume":")" + name +
                                                            R"(","detach":"all","force":true}])"),
                    calls_tried,
                    [this, volume, asked = history.next()](const Management::Answer& answer) {
                      if (answer.ok()) detached(volume, asked);
                    });
  }
  start_client(to, volume, true);
}

void Cluster::lend(size_t guest, VolumeId volume) {
  ClientProcess& process = clients[clients.size() - setup.guests + guest];
  if (process.volume == 0) start_client(process, volume, true);
}

void Cluster::end_guests() {
  for (auto& process : clients) {
    if (!process.guest) continue;
    end_client(process, Death::process);
    process.volume = 0;
  }
}

void Cluster::detached(VolumeId volume, uint64_t asked) {
  const uint64_t now = history.next();
  for (const Session& session : sessions_[volume]) {
    if (session.attached < asked) history.session_fenced(session.number, now);
  }
}

// nodes

// What the cluster does not take any more, an administrator replaces.
void Cluster::upgrade_if_needed(Versions& versions) const {
  const map::Map* const map = newest_map();
  if (map != nullptr && map->cluster.feature_level > versions.feature_level_newest)
    versions = Versions();
}

void Cluster::start_node(Node& node) {
  if (!node.belongs) return;
  start_beacon(node);
  start_server(node);
  if (auto* const process = management.of_node(node.id)) management.start(*process);
  for (const uint32_t position : node.clients) {
    ClientProcess& process = clients[position];
    if (process.volume != 0 && holder_of(process.volume) == &process)
      start_client(process, process.volume, process.force);
  }
}

void Cluster::end_node(Node& node, Death death) {
  for (const uint32_t position : node.clients) end_client(clients[position], death);
  end_server(node, death);
  if (auto* const process = management.of_node(node.id)) management.end(*process, death);
  end_beacon(node, death);
}

void Cluster::tend() {
  for (auto& node : nodes) {
    if (!node.belongs) continue;
    if (node.beacon.up && !node.beacon.failure.empty()) {
      end_beacon(node, Death::process);
      start_beacon(node);
    }
    auto& server = node.server;
    if (replaces_disks && server && server->up && server->server->all_opened() &&
        server->server->disks().size() != server->disks.size()) {
      end_server(node, Death::process);
      start_server(node);
    }
  }
  for (auto& process : clients) {
    if (!process.up) continue;
    if (process.guest) {
      // Taken from it, or deleted.
      if (!process.fenced && !process.retry) continue;
      end_client(process, Death::process);
      process.volume = 0;
      continue;
    }
    const bool superseded = holder_of(process.volume) != &process;
    if (superseded && (process.fenced || process.work == nullptr)) {
      end_client(process, Death::process);
      process.volume = 0;
    } else if (process.fenced) {
      // Its attachment was lost with its registration, as after a long silence of its node: it
      // starts again.
      end_client(process, Death::process);
      start_client(process, process.volume, process.force);
    } else if (process.retry) {
      attach(process);
    }
  }
}

void Cluster::administrate(Management::Call call, Management::Done done) {
  const auto path = call.path;
  management.call(std::move(call), calls_tried,
                  [this, path, done](const Management::Answer& answer) {
                    if (!answer.ok())
                      note(path + " was not made: " + answer.error + " " + answer.text);
                    if (done) done(answer);
                  });
}

uint64_t Cluster::operations() const {
  uint64_t sum = 0;
  for (const auto& process : clients)
    sum += process.completed_before + (process.work ? process.work->completed() : 0);
  return sum;
}

}  // namespace sp::sim
