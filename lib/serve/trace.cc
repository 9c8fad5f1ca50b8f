#include "serve/trace.h"

#include <string>

namespace sp::serve {

std::string version_text(Version version) {
  return std::to_string(version.epoch()) + ":" + std::to_string(version.sequence());
}

void trace(const io::Host& host, std::string_view event, const wire::CopyRecord& record,
           DiskId disk) {
  if (!traces(host)) return;
  const std::string kind = record.discard ? "discard " : "write ";
  host.log.debug(kind + std::string(event), {{"volume", record.object.volume},
                                             {"object", record.object.index},
                                             {"first", record.first_block},
                                             {"count", record.block_count},
                                             {"version", version_text(record.version)},
                                             {"set", record.set.index},
                                             {"group", record.set.group},
                                             {"client", record.attachment.client},
                                             {"operation", record.operation},
                                             {"disk", disk}});
}

void trace_read(const io::Host& host, SetId set, ObjectId object, uint32_t first, uint32_t count,
                std::string_view versions) {
  host.log.debug("read answered", {{"volume", object.volume},
                                   {"object", object.index},
                                   {"first", first},
                                   {"count", count},
                                   {"set", set.index},
                                   {"group", set.group},
                                   {"versions", versions}});
}

void trace_recovery(const io::Host& host, SetId set, ObjectId object, DiskId disk,
                    size_t blocks_named, size_t blocks_carried) {
  if (!traces(host)) return;
  host.log.debug("object sent to a copy", {{"volume", object.volume},
                                           {"object", object.index},
                                           {"set", set.index},
                                           {"group", set.group},
                                           {"disk", disk},
                                           {"blocks", blocks_named},
                                           {"content_of", blocks_carried}});
}

}  // namespace sp::serve
