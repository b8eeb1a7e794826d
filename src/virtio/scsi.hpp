// SCSI host device (virtio 1.2, 5.6): a controller with targets 0, 1, ..., each with one logical unit, LUN 0.
//
// Each request is a coroutine; the data goes straight between a unit and guest memory. All queues are served on the
// loop's thread, which is that of the units' nodes. What ends in one turn of the loop is told by one interrupt for each
// queue.
//
// Absent, and not offered: targets that come and go, commands with data in both directions, protection information,
// events; the well-known unit REPORT LUNS beside the targets. A buffer of the event queue stays there.
#pragma once

#include <atomic>
#include <memory>

#include "base/task.hpp"
#include "devices/scsi/absent_unit.hpp"
#include "devices/scsi/unit.hpp"
#include "virtio/device.hpp"
#include "virtio/request_queues.hpp"
#include "virtio/scsi_layout.hpp"
#include "virtio/scsi_tasks.hpp"

namespace skerry::virtio {

class Scsi final : public Device {
 public:
  struct Options {
    uint16_t queues = 1;        // of requests
    uint16_t queue_size = 256;  // of each of them; a power of two, at least 4
  };
  using Units = std::vector<std::unique_ptr<devices::scsi::Unit>>;  // by target
  // 1 to 256 units, whose nodes have `loop` as their own.
  Scsi(std::string name, EventLoop& loop, memory::GuestMemory& memory, Units units, Options options);

  DeviceId id() const override { return DeviceId::kScsi; }
  uint32_t pci_class() const override { return 0x010000; }  // SCSI storage
  uint64_t features() const override { return 0; }
  std::vector<uint16_t> queue_sizes() const override;
  uint32_t config_size() const override { return sizeof(scsi_layout::Config); }
  void read_config(uint32_t offset, std::span<uint8_t> to) override;
  void write_config(uint32_t offset, std::span<const uint8_t> from) override;

  void activate(uint64_t features, std::span<Queue> queues, Transport& transport) override;
  void notified(unsigned index) override;
  // If something is under way still, polls the loop until it has ended.
  void deactivate() override;
  void quiesce(std::function<void()> at_rest) override { requests_.quiesce(std::move(at_rest)); }
  void resume() override { requests_.resume(); }
  void describe(state::Fields& fields) override;

 private:
  struct Target {
    std::unique_ptr<devices::scsi::Unit> unit;
    ScsiTaskSet tasks;
  };
  struct Request {
    unsigned queue = 0;
    Chain chain;
    uint64_t request_size = 0, response_size = 0;  // without the data that follows
    devices::scsi::Cdb cdb{};
    ScsiTask task;
    Target* target = nullptr;   // whose unit it is for
    std::vector<iovec> ranges;  // where the data is in this process
    // The answer.
    scsi_layout::CommandResponse response{};
    std::vector<uint8_t> sense;
    uint64_t moved = 0;  // bytes of data

    uint64_t room_out() const { return chain.readable_size - request_size; }
    uint64_t room_in() const { return chain.writable_size - response_size; }
  };
  // Where a request goes: of a target that is there, LUN 0 or one of those that are not.
  struct Address {
    Target* target = nullptr;
    bool unit = false;
  };

  Task<void> serve(Request request);
  Task<void> perform(Request& request);
  Task<void> execute(devices::scsi::Unit& unit, Request& request);
  Task<bool> move(devices::scsi::Unit& unit, devices::scsi::Command& command, Request& request);
  bool read_header(Request& request, Address& address);
  void fail(Request& request, devices::scsi::Sense sense);
  void complete(Request& request);
  Task<void> control(Chain chain);
  Task<uint8_t> manage(const scsi_layout::TaskManagement& function);
  Address address_of(std::span<const uint8_t, 8> lun);

  const Options options_;
  std::vector<Target> targets_;
  devices::scsi::AbsentUnit absent_;
  // The driver's, from vCPU threads.
  std::atomic<uint32_t> sense_size_, cdb_size_;

  RequestQueues requests_;
};

}  // namespace skerry::virtio
