// VolumeOptions: limits and tags of a volume on the command line: --iops, --bandwidth, --tag.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "cli/remote.h"

namespace sp::cli {

struct VolumeOptions {
  std::optional<uint64_t> iops, bandwidth;
  std::vector<std::string> tags;

  void add(Options& verb);
  void put(api::Json& json) const;  // into an open object; what is not given is left out
};

}  // namespace sp::cli
