// What a driver and a SCSI host device tell each other, by the specification's names (virtio 1.2, 5.6). Little endian
// like the host.
#pragma once

#include <cstddef>
#include <cstdint>

namespace skerry::virtio::scsi_layout {

constexpr unsigned kControlQueue = 0, kEventQueue = 1, kFirstRequestQueue = 2;  // 5.6.2

// struct virtio_scsi_config (5.6.4).
struct Config {
  uint32_t num_queues, seg_max, max_sectors, cmd_per_lun, event_info_size, sense_size, cdb_size;
  uint16_t max_channel, max_target;
  uint32_t max_lun;
};
static_assert(sizeof(Config) == 36);
constexpr uint32_t VIRTIO_SCSI_SENSE_DEFAULT_SIZE = 96, VIRTIO_SCSI_CDB_DEFAULT_SIZE = 32;
constexpr uint32_t kEventSize = 16;  // struct virtio_scsi_event (5.6.6.3)

// struct virtio_scsi_req_cmd (5.6.6.1) as far as its length is fixed; then there are cdb_size bytes, and the data.
struct [[gnu::packed]] CommandRequest {
  uint8_t lun[8];
  uint64_t id;
  uint8_t task_attr, prio, crn;
};
static_assert(sizeof(CommandRequest) == 19);
// Its device-writable part; then there are sense_size bytes, and the data.
struct CommandResponse {
  uint32_t sense_len, residual;
  uint16_t status_qualifier;
  uint8_t status, response;
};
static_assert(sizeof(CommandResponse) == 12);

constexpr uint8_t VIRTIO_SCSI_S_OK = 0, VIRTIO_SCSI_S_OVERRUN = 1, VIRTIO_SCSI_S_ABORTED = 2,
                  VIRTIO_SCSI_S_BAD_TARGET = 3;
constexpr uint8_t VIRTIO_SCSI_S_RESET = 4, VIRTIO_SCSI_S_FAILURE = 9;
constexpr uint8_t VIRTIO_SCSI_S_SIMPLE = 0, VIRTIO_SCSI_S_ORDERED = 1, VIRTIO_SCSI_S_HEAD = 2;
constexpr uint8_t GOOD = 0x00, CHECK_CONDITION = 0x02;  // status (SAM-5, 5.3.1)

// The control queue (5.6.6.2): what a request begins with.
constexpr uint32_t VIRTIO_SCSI_T_TMF = 0, VIRTIO_SCSI_T_AN_QUERY = 1, VIRTIO_SCSI_T_AN_SUBSCRIBE = 2;
struct [[gnu::packed]] TaskManagement {
  uint32_t type, subtype;
  uint8_t lun[8];
  uint64_t id;
};
struct [[gnu::packed]] AsynchronousNotification {
  uint32_t type;
  uint8_t lun[8];
  uint32_t event_requested;
};
struct [[gnu::packed]] NotificationResponse {
  uint32_t event_actual;
  uint8_t response;
};
static_assert(sizeof(TaskManagement) == 24 && sizeof(AsynchronousNotification) == 16 &&
              sizeof(NotificationResponse) == 5);

enum Function : uint32_t {
  VIRTIO_SCSI_T_TMF_ABORT_TASK = 0,
  VIRTIO_SCSI_T_TMF_ABORT_TASK_SET = 1,
  VIRTIO_SCSI_T_TMF_CLEAR_ACA = 2,
  VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET = 3,
  VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET = 4,
  VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET = 5,
  VIRTIO_SCSI_T_TMF_QUERY_TASK = 6,
  VIRTIO_SCSI_T_TMF_QUERY_TASK_SET = 7,
};
constexpr uint8_t VIRTIO_SCSI_S_FUNCTION_COMPLETE = 0, VIRTIO_SCSI_S_FUNCTION_SUCCEEDED = 10;
constexpr uint8_t VIRTIO_SCSI_S_FUNCTION_REJECTED = 11, VIRTIO_SCSI_S_INCORRECT_LUN = 12;

}  // namespace skerry::virtio::scsi_layout
