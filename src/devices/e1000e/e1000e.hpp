// The network card 82574L (8086:10d3) over a net::Backend, for guests without virtio drivers. Intel 82574 GbE Controller Family
// Datasheet, revision 3.4.
//
// Absent: flash memory, management, wake-up, power states, time stamps (IEEE 1588), loopback, segmentation of UDP, and what the
// parts' headers name.
//
// Threads: its registers on vCPUs' threads, under its one lock; frames, the backend and timers on the loop's.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>

#include "bus/pci.hpp"
#include "devices/e1000e/card.hpp"
#include "devices/e1000e/kept_registers.hpp"
#include "devices/e1000e/nvm.hpp"
#include "devices/e1000e/phy.hpp"
#include "devices/e1000e/receiver.hpp"
#include "devices/e1000e/transmitter.hpp"
#include "devices/io_window.hpp"

namespace skerry::devices::e1000e {

class E1000e final : public bus::PciFunction, private bus::IoHandler, private InterruptPins, private net::Backend::Card {
 public:
  struct Options {
    Mac mac{};  // a unicast address
  };
  // They outlive the card, which starts and stops the backend. Made and destroyed while nobody drives the loop.
  E1000e(std::string name, EventLoop& loop, memory::GuestMemory& memory, net::Backend& backend, const Options& options);
  ~E1000e() override;

  // For save, with every vCPU at rest: calls `at_rest` in a turn of the loop when nothing is under way. Then nothing changes
  // until resume(). Any thread but the loop's, or the loop's where nobody else drives it.
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
  uint64_t read_window(uint64_t offset, unsigned size);
  void write_window(uint64_t offset, unsigned size, uint64_t value);

  bool has_msix() override { return msix()->enabled(); }
  void send_msix(unsigned vector) override;
  void send_message() override { send_msi(); }
  void set_line(bool level) override { set_intx(level); }

  bool receive(const net::FrameHeader& header, std::span<const uint8_t> frame) override;
  void backend_has_room() override;
  void link_changed(bool up) override;

  // With the lock held.
  uint32_t read_register(uint32_t offset);
  bool write_register(uint32_t offset, uint32_t value);
  void write_ctrl(uint32_t value);
  uint32_t status() const;
  void reset_mac();
  void update_link();
  void negotiate();

  void link_due();
  void ask();
  void ask_later();
  void serve();
  void start_backend();
  void stop_backend();
  void raise_due();

  const Nvm nvm_;
  std::mutex lock_;
  Interrupts interrupts_;
  Statistics statistics_;
  e1000e::Card card_;
  Phy phy_;
  Receiver receiver_;
  Transmitter transmitter_;
  KeptRegisters kept_;
  IoWindow window_;
  Timer link_timer_;
  int64_t link_due_ = 0;  // of the VM's clock, when the driver is told of the link; 0: not at all
  bool linked_ = false;   // what it was told last
  uint32_t ctrl_ext_ = 0, eec_ = 0, eerd_ = 0, eewr_ = 0, mdic_ = 0, extcnf_ = 0, swsm_ = 0, pba_ = 0;
  bool phy_was_reset_ = false;  // STATUS.PHYRA
  uint32_t window_at_ = 0;      // IOADDR

  std::atomic<bool> asked_{false};
  std::atomic<bool> waits_for_room_{false};  // the backend keeps a frame that there were no descriptors for
  // The loop's.
  bool held_ = false;
  bool backend_started_ = false;
  bool backend_refused_ = false;  // to start: it is not asked again before resume()
  uint32_t due_ = 0;  // causes, at the end of the turn
};

}  // namespace skerry::devices::e1000e
