// An xHCI host controller (eXtensible Host Controller Interface for USB, 1.2) for the q35 board, with the IDs of QEMU's
// (1b36:000d), which every guest has a driver for: twelve ports, eight of them SuperSpeed; 16 slots; four interrupters, by
// MSI-X or INTx. Absent: isochronous transfers, streams, hubs, suspend of the function, remote wakeup, scratchpads, legacy
// support, which no firmware here needs.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include "base/event_loop.hpp"
#include "bus/pci.hpp"
#include "devices/usb/xhci_commands.hpp"
#include "devices/usb/xhci_interrupter.hpp"
#include "devices/usb/xhci_port.hpp"
#include "devices/usb/xhci_slots.hpp"
#include "devices/usb/xhci_transfers.hpp"

namespace skerry::devices::usb {

class Xhci final : public bus::PciFunction, private bus::IoHandler {
 public:
  static constexpr unsigned kSlot = 30;  // its place on the root bus, behind those of the devices that a description adds

  // `loop` is that of the devices' nodes. Both outlive it.
  Xhci(std::string name, EventLoop& loop, memory::GuestMemory& memory);
  ~Xhci() override;

  // While it is made: at the first free port for its speed. Gives that port's number, from 1 on; 0: none is free.
  unsigned plug_in(std::unique_ptr<usb::Device> device);

  // For save, with every vCPU at rest: begins no more transfers, and calls `at_rest` in a turn of the loop when none is under
  // way. Then nothing changes until resume(). Any thread but the loop's, or the loop's where nobody else drives it.
  void quiesce(std::function<void()> at_rest);
  void resume();

  // With the VM at rest, after quiesce() or before anything ran.
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

  void config_write(unsigned offset, unsigned size, uint32_t value) override;

 private:
  uint64_t io_read(uint64_t offset, unsigned size) override;
  void io_write(uint64_t offset, unsigned size, uint64_t value) override;
  unsigned widest_access() const override { return 4; }

  // With lock_ held. Writes give true: there may be something for the loop.
  uint32_t read_register(uint32_t offset) const;
  bool write_register(uint32_t offset, uint32_t value);
  uint32_t read_operational(uint32_t offset) const;
  bool write_operational(uint32_t offset, uint32_t value);
  bool write_command(uint32_t value);
  bool write_command_ring(uint32_t offset, uint32_t value);
  bool ring_doorbell(uint32_t slot, uint32_t value);
  void interrupt(unsigned number);
  void update_line();

  // The loop's.
  void ask();
  void serve();
  bool may_run();
  void finish_reset();
  void reset_ports();
  void tell_ports();
  bool run_command();
  bool run_endpoints(size_t& work);
  void answer_doorbells(unsigned slot);
  bool backed_up() const;
  void put_event(unsigned interrupter, const xhci::Trb& event, bool quietly);
  void complete(memory::Gpa command, xhci::Code code, unsigned slot);
  void broken(const char* why);
  void ended();
  void drained();
  void device_ready(unsigned port, uint8_t endpoint);
  void forget();

  EventLoop& loop_;
  memory::GuestMemory& memory_;
  mutable std::mutex lock_;
  // With lock_ held.
  std::array<xhci::Port, xhci::kPorts> ports_;
  std::vector<std::unique_ptr<xhci::EventRing>> interrupters_;
  uint32_t command_ = 0, status_ = 0, notification_ = 0, config_ = 0;  // what is kept of USBCMD and USBSTS; DNCTRL; CONFIG
  bool resetting_ = false;                                            // HCRST
  xhci::RingPlace command_ring_;                                      // CRCR
  bool commands_run_ = false, commands_stop_ = false;                 // CRR; CS or CA was written
  uint64_t contexts_ = 0;                                             // DCBAAP
  unsigned under_way_ = 0;                                            // transfers; none at rest
  bool level_ = false;                                                // what the line is; derived

  // A bit for each endpoint, by slot: whose doorbell was rung, which starts one that is stopped; and whose ring is to be looked
  // at. Of slot 0 bit 0: the command ring. Any thread.
  std::array<std::atomic<uint32_t>, xhci::kSlots + 1> rung_{}, kicked_{};
  std::atomic<bool> asked_{false};

  // The loop's.
  xhci::Slots slots_;
  xhci::Commands commands_;
  xhci::Transfers transfers_;
  bool held_ = false, serving_ = false, warned_ = false;
  unsigned last_slot_ = 0;
  std::function<void()> at_rest_;
};

}  // namespace skerry::devices::usb
