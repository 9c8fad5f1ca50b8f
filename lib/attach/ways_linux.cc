#include "attach/ways_linux.h"

#include <algorithm>

#include "attach/fd_store_linux.h"
#include "attach/fuse_loop.h"
#include "attach/nbd_kernel.h"
#include "attach/ublk.h"
#include "io/real_host.h"

namespace sp::attach {

std::vector<WayReport> probe_ways() {
  std::vector<WayReport> reports;
  const auto add = [&](Way way, std::string why_not) {
    reports.push_back({way, why_not.empty(), std::move(why_not)});
  };
  add(Way::ublk, why_no_ublk());
  add(Way::nbd, why_no_nbd_kernel());
  add(Way::fuse, why_no_fuse_loop());
  return reports;
}

Result<Way> choose_way(const std::vector<WayReport>& reports, std::optional<Way> wanted) {
  std::string reasons;
  for (const WayReport& report : reports) {
    if (wanted && report.way != *wanted) continue;
    if (report.works) return report.way;
    reasons +=
        (reasons.empty() ? "" : "; ") + std::string(way_name(report.way)) + ": " + report.why_not;
  }
  return Error(Code::refused, "no block device can be made here: " + reasons);
}

Result<std::vector<std::unique_ptr<Driver>>> make_drivers(io::RealHost& host,
                                                          const DriverOptions& options,
                                                          std::optional<Way> preferred) {
  const auto reports = probe_ways();
  SP_TRY(const Way first, choose_way(reports, preferred));
  std::vector<std::unique_ptr<Driver>> drivers;
  for (const WayReport& report : reports) {
    if (!report.works) continue;
    switch (report.way) {
      case Way::ublk: drivers.push_back(std::make_unique<Ublk>(host)); break;
      case Way::nbd: {
        NbdKernelOptions nbd;
        nbd.socket = options.run_folder + "/nbd.socket";
        SP_TRY(auto driver, NbdKernel::create(host, std::move(nbd)));
        drivers.push_back(std::move(driver));
        break;
      }
      case Way::fuse: {
        std::shared_ptr<FdStore> store;
        if (!options.notify_socket.empty())
          store = make_service_manager_store(options.notify_socket, options.passed_names);
        else
          store = make_holder_store(options.run_folder + "/holder.socket", options.holder_command);
        FuseLoopOptions fuse;
        fuse.folder = options.run_folder + "/fuse";
        drivers.push_back(std::make_unique<FuseLoop>(host, std::move(store), std::move(fuse)));
        break;
      }
    }
  }
  std::stable_partition(drivers.begin(), drivers.end(),
                        [&](const auto& driver) { return driver->way() == first; });
  return drivers;
}

}  // namespace sp::attach
