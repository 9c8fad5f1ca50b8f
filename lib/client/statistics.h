// Statistics: asks every server that is up what it has done, and what its disks have been asked.
// Thread rule: one reactor; the callback runs in a later turn, once, when all have answered or
// given up.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "client/volume.h"
#include "wire/data_messages.h"

namespace sp::client {

struct ServerStatistics {
  ServiceId server;
  std::string error;  // not empty: it did not answer, and why
  wire::StatisticsReply reply;
};

// `member` has a map. In order of ServiceId.
void ask_statistics(io::Host& host, member::Member& member, Servers& servers,
                    Callback<void(std::vector<ServerStatistics>)> done);

}  // namespace sp::client
