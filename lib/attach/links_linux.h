// Symbolic links from a device's names to its node. Each call replaces or removes at once (rename),
// so a name never points nowhere.
#pragma once
#include <set>
#include <string>

#include "base/result.h"

namespace sp::attach {

Status set_link(const std::string& folder, const std::string& name,
                const std::string& target);                              // makes the folder
Status remove_link(const std::string& folder, const std::string& name);  // ok when it is not there

Status keep_only_links(const std::string& folder,
                       const std::set<std::string>& names);  // removes other links

}  // namespace sp::attach
