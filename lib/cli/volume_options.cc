#include "cli/volume_options.h"

namespace sp::cli {

void VolumeOptions::add(Options& verb) {
  verb.number("--iops", 0, UINT32_MAX, iops, "Limit of operations a second; 0: none.");
  verb.size("--bandwidth", bandwidth, "Limit of bytes a second; 0: none.");
  verb.list("--tag", "NAME=VALUE", tags, "Tag; may be repeated. An empty value removes it.");
  verb.check([this] { return check_tags(tags); });
}

void VolumeOptions::put(api::Json& json) const {
  put_limit(json, "iops", iops);
  put_limit(json, "bw", bandwidth);
  if (!tags.empty()) (void)put_tags(json.key("tags"), tags);  // checked above
}

}  // namespace sp::cli
