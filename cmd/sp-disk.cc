// sp-disk: the disks of the cluster.
//   sp-disk list | show DISK | describe DISK TEXT | forget DISK DISK
// Exit codes: sp(7). Disks are made with sp-disk-init(8) and checked offline with sp-disk-check(8).
#include <fmt/format.h>

#include "base/limits.h"
#include "base/units.h"
#include "cli/remote.h"

using namespace sp;

namespace {

struct Values {
  std::string disk, description;
  cli::Confirmation confirmation;

  std::string call(const char* name_of_call) const {
    return std::string(name_of_call) + "/" + api::path_part(disk);
  }
};

}  // namespace

int main(int argc, char** argv) {
  Values v;
  cli::Options options("sp-disk", "The disks of the cluster.");
  cli::Remote remote(options);
  const auto verb = [&](const char* name, const char* help) -> cli::Options& {
    cli::Options& made = options.verb(name, help).argument("DISK", v.disk, "Number of the disk.");
    return made.check([&]() -> Status {
      auto number = parse_number(v.disk, limits::disks_max - 1);
      return number.ok() ? Status() : std::move(number).error().with("DISK");
    });
  };
  options.verb("list", "All disks.").run([&] {
    return remote.list("DisksList", cli::columns::disks);
  });
  verb("show", "One disk that is up.").run([&] {
    return remote.show(v.call("DiskDescribe"), cli::columns::disks);
  });
  auto& describing =
      verb("describe", "Note something about a disk.")
          .argument("TEXT", v.description, "At most 30 letters, digits, '_', '-', spaces.");
  describing.run([&] {
    return remote.change_text(v.call("DiskSetDescription"), "description", v.description,
                              fmt::format("disk {} described", v.disk));
  });
  auto& forgetting = verb("forget", "Strike a disk that will not come back off the list.");
  v.confirmation.add(forgetting, v.disk);
  forgetting.run([&] {
    return remote.destroy(v.confirmation, "DisksList", v.call("DiskForget"),
                          fmt::format("disk {} forgotten", v.disk));
  });
  return options.execute(argc, argv);
}
