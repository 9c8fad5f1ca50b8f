#include "real_rig.h"

namespace sp::io::test {

// On whatever holds the working directory: ext4, xfs, overlay.
class FileSystemRig final : public RealRig {
 public:
  FileSystemRig() : RealRig(std::filesystem::current_path()) {}
};

class MemoryRig final : public RealRig {
 public:
  std::string disk_path(const std::string& name) override {
    return "memory:" + RealRig::disk_path(name);
  }
};

class SpinningRig final : public RealRig {
 public:
  SpinningRig() : RealRig("/dev/shm", {.spin = 50us}) {}
};

SP_CONFORMANCE(RealRig);
SP_DISK_CONFORMANCE(FileSystemRig, MemoryRig);
TEST_CASE_TEMPLATE_INVOKE(conform_timer_order, SpinningRig);
TEST_CASE_TEMPLATE_INVOKE(conform_net_talk, SpinningRig);
TEST_CASE_TEMPLATE_INVOKE(conform_net_many, SpinningRig);

}  // namespace sp::io::test
