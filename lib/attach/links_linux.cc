#include "attach/links_linux.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "attach/os_linux.h"

namespace sp::attach {

Status set_link(const std::string& folder, const std::string& name, const std::string& target) {
  SP_CHECK(make_folder(folder));
  const std::string path = folder + "/" + name, fresh = folder + "/." + name + ".new";
  ::unlink(fresh.c_str());
  if (::symlink(target.c_str(), fresh.c_str()) != 0) return system_error("link " + fresh, errno);
  if (::rename(fresh.c_str(), path.c_str()) != 0) return system_error("link " + path, errno);
  return ok_status();
}

Status remove_link(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("remove " + path, errno);
  return ok_status();
}

Status keep_only_links(const std::string& folder, const std::set<std::string>& names) {
  for (const std::string& name : list_folder(folder)) {
    char target[1];
    if (names.contains(name) ||
        ::readlink((folder + "/" + name).c_str(), target, sizeof target) < 0)
      continue;
    SP_CHECK(remove_link(folder, name));
  }
  return ok_status();
}

}  // namespace sp::attach
