#include "client/statistics.h"

#include "client/servers.h"

namespace sp::client {

namespace {

struct Asking {
  std::vector<ServerStatistics> rows;
  size_t open = 0;
  Callback<void(std::vector<ServerStatistics>)> done;

  void ended() {
    if (--open == 0) done.call_once(std::move(rows));
  }
};

void answered(ServerStatistics& row, const Result<wire::Message>& message) {
  if (!message.ok()) {
    row.error = message.error().message();
    return;
  }
  auto reply = wire::decode<wire::StatisticsReply>(message->body);
  if (reply)
    row.reply = std::move(*reply);
  else
    row.error = "a malformed answer";
}

}  // namespace

void ask_statistics(io::Host& host, member::Member& member, Servers& servers,
                    Callback<void(std::vector<ServerStatistics>)> done) {
  auto asking = std::make_shared<Asking>();
  asking->done = std::move(done);
  for (const auto& [id, service] : member.map().services) {
    if (id.kind == ServiceKind::server && service.up) asking->rows.push_back({id, "", {}});
  }
  asking->open = asking->rows.size() + 1;
  for (size_t i = 0; i < asking->rows.size(); ++i) {
    wire::Message message;
    message.type = wire::MessageType::ask_statistics;
    message.body = wire::encode(wire::AskStatistics{});
    servers.request(member.map().services.at(asking->rows[i].server), std::move(message),
                    [asking, i](Result<wire::Message> reply) {
                      answered(asking->rows[i], reply);
                      asking->ended();
                    });
  }
  host.reactor.post([asking] { asking->ended(); });
}

}  // namespace sp::client
