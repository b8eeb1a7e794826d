// The network card (virtio 1.2, 5.1) over a net::Backend.
//
// What the guest sends goes to the backend out of guest memory without being copied; what it receives is copied once.
// Frames that are malformed, or ask for what was not agreed on, are dropped and counted.
//
// Threads: made before the loop runs, or on its thread, where everything happens but the configuration space.
#pragma once

#include <array>
#include <mutex>
#include <string>
#include <vector>

#include "base/deferred.hpp"
#include "net/backend.hpp"
#include "virtio/activation.hpp"
#include "virtio/device.hpp"
#include "virtio/net_filter.hpp"

namespace skerry::virtio {

class Net final : public Device, private net::Backend::Card {
 public:
  static constexpr unsigned kMaxQueuePairs = 8;
  struct Options {
    Mac mac{};                 // a unicast address
    unsigned queue_pairs = 1;  // 1 to kMaxQueuePairs
  };
  struct Counters {
    uint64_t sent = 0, received = 0;
    uint64_t filtered = 0;                           // not for this guest
    uint64_t send_dropped = 0, receive_dropped = 0;  // malformed, too long, or with no buffer that could take it
  };

  // `backend` outlives the card, which starts and stops it.
  Net(std::string name, EventLoop& loop, memory::GuestMemory& memory, net::Backend& backend, const Options& options);
  ~Net() override;

  DeviceId id() const override { return DeviceId::kNet; }
  uint32_t pci_class() const override { return 0x020000; }  // Ethernet controller
  uint64_t features() const override { return offered_; }
  std::vector<uint16_t> queue_sizes() const override;
  uint32_t config_size() const override;
  void read_config(uint32_t offset, std::span<uint8_t> to) override;
  void activate(uint64_t features, std::span<Queue> queues, Transport& transport) override;
  void notified(unsigned index) override;
  bool prompt() override { return true; }
  void deactivate() override;
  void quiesce(std::function<void()> at_rest) override;
  void resume() override;
  void describe(state::Fields& fields) override;

  const Counters& counters() const { return counters_; }  // on the loop's thread

 private:
  static constexpr size_t kFlows = 256;
  // Buffers that were taken from a receive queue and wait to be filled, oldest first.
  struct Held {
    std::vector<Chain> chains;
    uint64_t room = 0;
  };
  enum class Room : uint8_t { kEnough, kNotYet, kNever };

  bool receive(const net::FrameHeader& header, std::span<const uint8_t> frame) override;
  void backend_has_room() override;
  void link_changed(bool up) override;

  void start_backend();
  void stop_backend();
  uint64_t guest_offloads() const;
  void tell_offloads();
  void set_status(uint16_t bits, bool on);
  void interrupt_due();
  void hold_none();
  void reset_state();

  bool may_be_received(const net::FrameHeader& header, size_t size) const;
  unsigned receive_queue(std::span<const uint8_t> frame) const;
  Room find_room(unsigned index, size_t size);
  void deliver(unsigned index, const net::FrameHeader& header, std::span<const uint8_t> frame);

  void transmit_all();
  void transmit(unsigned pair);
  bool send(unsigned pair, const Chain& chain);
  bool may_be_sent(net::FrameHeader& header, size_t size) const;

  unsigned control_queue() const;
  void serve_control();
  bool command(const Chain& chain);
  bool set_addresses(const Chain& chain);
  bool set_own_address(const Chain& chain);
  bool set_vlan(const Chain& chain, bool on);
  bool set_pairs(const Chain& chain);
  bool set_offloads(const Chain& chain);

  net::Backend& backend_;
  const unsigned max_pairs_;
  const uint16_t mtu_;
  const Mac own_mac_;  // of the card, before the driver sets another
  uint64_t offered_ = 0;

  Activation active_;
  Deferred interrupts_, work_later_;
  uint32_t interrupts_due_ = 0;  // a bit a queue
  bool backend_started_ = false;
  bool backend_full_ = false;    // until backend_has_room()
  bool waits_for_room_ = false;  // the backend keeps a frame that there was no buffer for
  std::array<Held, kMaxQueuePairs> held_;
  std::vector<iovec> frame_;       // of the frame that is being sent
  std::vector<uint32_t> written_;  // of the frame that is being received
  Counters counters_;

  // What the driver has asked for.
  NetFilter filter_;
  uint16_t pairs_ = 1;
  bool offloads_chosen_ = false;         // by the control queue; else all that were agreed on
  uint64_t chosen_offloads_ = 0;         // feature bits
  std::array<uint8_t, kFlows> flows_{};  // which pair sent last; 0: none, else pair + 1

  std::mutex lock_;  // the configuration space
  Mac mac_;
  uint16_t status_ = 0;
};

}  // namespace skerry::virtio
