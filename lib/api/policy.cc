#include "api/policy.h"

#include <fmt/format.h>

#include "api/views.h"

namespace sp::api {

Policy::Policy(Fields& fields) {
  template_name = fields.name("template", NameKind::template_);
  place_all = fields.name("placeAll", NameKind::placement_group);
  place_tail = fields.name("placeTail", NameKind::placement_group);
  place_head = fields.name("placeHead", NameKind::placement_group);
  copies = fields.number("replication", 1, limits::copies_max);
  if (fields.boolean("reuseServer").value_or(false))
    fields.fault("reuseServer: copies are never put on one server on purpose; leave it out");
}

bool Policy::agrees(const map::Template& row) const {
  return (!place_all || *place_all == row.place_all) &&
         (!place_tail || *place_tail == policy_group(row.place_tail, row)) &&
         (!place_head || *place_head == policy_group(row.place_head, row)) &&
         (!copies || *copies == row.copies);
}

bool Policy::empty() const {
  return !template_name && !place_all && !place_tail && !place_head && !copies;
}

const map::Template* choose_template(Fields& fields, const map::Map& map, const Policy& policy) {
  if (policy.template_name) {
    const auto at = map.templates.find(*policy.template_name);
    if (at == map.templates.end())
      fields.fault(fmt::format("template '{}' does not exist", *policy.template_name));
    else if (!policy.agrees(at->second))
      fields.fault(fmt::format(
          "placement and replication differ from those of template '{}': leave them out",
          at->first));
    else
      return &at->second;
    return nullptr;
  }
  if (policy.empty()) {
    fields.fault("template is missing");
    return nullptr;
  }
  for (const auto& [name, row] : map.templates) {
    if (policy.agrees(row)) return &row;
  }
  fields.fault(
      "no template has this placement and replication: create one, or name one in 'template'");
  return nullptr;
}

void check_policy_of(Fields& fields, const map::Map& map, const Policy& policy,
                     const map::Volume& volume) {
  if (policy.template_name && *policy.template_name != volume.template_name)
    return fields.fault(
        fmt::format("template: moving a volume from template '{}' to another is not available yet",
                    volume.template_name));
  const auto row = map.templates.find(volume.template_name);
  if (row != map.templates.end() && !policy.agrees(row->second))
    fields.fault(
        fmt::format("placement and replication are those of template '{}': change the template",
                    volume.template_name));
}

}  // namespace sp::api
