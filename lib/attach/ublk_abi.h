// The kernel's ublk interface (include/uapi/linux/ublk_cmd.h of Linux 6.5 and later), defined here
// because the headers of the build host may be older. Only what this driver uses; commands in their
// ioctl encoding.
#pragma once
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace sp::attach::ublk {

struct ControlCommand {
  uint32_t device;
  uint16_t queue;  // 0xffff: none
  uint16_t size;
  uint64_t address;
  uint64_t data;
  uint16_t path_size;
  uint16_t pad;
  uint32_t reserved;
};
static_assert(sizeof(ControlCommand) == 32);

struct DeviceInfo {
  uint16_t queue_count;
  uint16_t queue_depth;
  uint16_t state;
  uint16_t pad0;
  uint32_t buffer_bytes_max;
  uint32_t device;
  int32_t server_pid;
  uint32_t pad1;
  uint64_t flags;
  uint64_t server_flags;  // the kernel only keeps it
  uint32_t owner_uid;
  uint32_t owner_gid;
  uint64_t reserved[2];
};
static_assert(sizeof(DeviceInfo) == 64);

struct Parameters {
  uint32_t size;
  uint32_t types;
  // basic
  uint32_t attributes;
  uint8_t logical_shift, physical_shift, optimal_shift, minimal_shift;
  uint32_t max_sectors;
  uint32_t chunk_sectors;
  uint64_t device_sectors;
  uint64_t virtual_boundary_mask;
  // discard
  uint32_t discard_alignment;
  uint32_t discard_granularity;
  uint32_t max_discard_sectors;
  uint32_t max_write_zeroes_sectors;
  uint16_t max_discard_segments;
  uint16_t reserved;
};
static_assert(offsetof(Parameters, device_sectors) == 24 &&
              offsetof(Parameters, discard_alignment) == 40);

struct IoDescriptor {
  uint32_t operation_flags;
  uint32_t sectors;
  uint64_t start_sector;
  uint64_t address;
};
static_assert(sizeof(IoDescriptor) == 24);

struct IoCommand {
  uint16_t queue;
  uint16_t tag;
  int32_t result;
  uint64_t address;
};
static_assert(sizeof(IoCommand) == 16);

constexpr uint32_t get_device_info = _IOR('u', 0x02, ControlCommand);
constexpr uint32_t add_device = _IOWR('u', 0x04, ControlCommand);
constexpr uint32_t delete_device = _IOWR('u', 0x05, ControlCommand);
constexpr uint32_t start_device = _IOWR('u', 0x06, ControlCommand);
constexpr uint32_t stop_device = _IOWR('u', 0x07, ControlCommand);
constexpr uint32_t set_parameters = _IOWR('u', 0x08, ControlCommand);
constexpr uint32_t start_recovery = _IOWR('u', 0x10, ControlCommand);
constexpr uint32_t end_recovery = _IOWR('u', 0x11, ControlCommand);
constexpr uint32_t get_features = _IOR('u', 0x13, ControlCommand);
constexpr uint32_t update_size = _IOWR('u', 0x15, ControlCommand);
constexpr uint32_t fetch_request = _IOWR('u', 0x20, IoCommand);
constexpr uint32_t commit_and_fetch = _IOWR('u', 0x21, IoCommand);

constexpr uint64_t feature_user_recovery = 1u << 3;
constexpr uint64_t feature_recovery_reissue = 1u << 4;
constexpr uint64_t feature_ioctl_encoding = 1u << 6;
constexpr uint64_t feature_update_size = 1u << 10;

constexpr uint16_t state_dead = 0;
constexpr uint16_t state_live = 1;
constexpr uint16_t state_quiesced = 2;

constexpr uint32_t attribute_read_only = 1u << 0;
constexpr uint32_t type_basic = 1u << 0;
constexpr uint32_t type_discard = 1u << 1;

constexpr uint8_t operation_read = 0;
constexpr uint8_t operation_write = 1;
constexpr uint8_t operation_flush = 2;
constexpr uint8_t operation_discard = 3;
constexpr uint8_t operation_write_zeroes = 5;

constexpr uint32_t queue_depth_max = 4096;
constexpr uint32_t any_device = 0xffffffff;
constexpr uint16_t no_queue = 0xffff;

}  // namespace sp::attach::ublk
