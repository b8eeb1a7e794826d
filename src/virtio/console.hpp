// The console device (virtio 1.2, 5.3): port 0 is the console, the others are byte streams that the guest finds by name
// (/dev/virtio-ports/NAME). VIRTIO_CONSOLE_F_MULTIPORT; a driver without it has port 0 only.
//
// Threads: the loop is the one that the chardevs are started on (the main thread's), so that bytes go from one to the
// other with no lock. Nothing of the device is used elsewhere; its configuration space never changes.
#pragma once

#include <string>
#include <vector>

#include "base/deferred.hpp"
#include "chardev/chardev.hpp"
#include "virtio/activation.hpp"
#include "virtio/device.hpp"

namespace skerry::virtio {

class Console final : public Device {
 public:
  static constexpr size_t kMaxPorts = 16, kMaxPortName = 63;
  struct Port {
    std::string name;  // 1 to kMaxPortName characters, such as "org.qemu.guest_agent.0"
    chardev::Chardev* chardev = nullptr;
  };

  // `console` may be null: nobody sees the output then, and no input comes. The chardevs outlive the device.
  Console(std::string name, EventLoop& loop, memory::GuestMemory& memory, chardev::Chardev* console,
          const std::vector<Port>& ports);
  ~Console() override;

  DeviceId id() const override { return DeviceId::kConsole; }
  uint32_t pci_class() const override { return 0x078000; }  // communication controller, other
  uint64_t features() const override;
  std::vector<uint16_t> queue_sizes() const override;
  uint32_t config_size() const override;
  void read_config(uint32_t offset, std::span<uint8_t> to) override;
  void activate(uint64_t features, std::span<Queue> queues, Transport& transport) override;
  void notified(unsigned index) override;
  void deactivate() override;
  void quiesce(std::function<void()> at_rest) override;
  void resume() override;
  void describe(state::Fields& fields) override;

 private:
  struct PortState {
    std::string name;
    chardev::Chardev* chardev = nullptr;
    bool host_open = false;  // somebody is at the chardev's other end
    // Described:
    bool told_open = false;   // what the guest has been told of it
    bool ready = false;       // the guest has a driver for the port
    bool guest_open = false;  // a program of the guest has opened it
    uint8_t due = 0;          // messages that are to be sent: a bit of Message each, in this order
    uint64_t sent = 0;        // how much of the next buffer of the transmit queue is with the chardev already
  };
  enum Message : uint8_t { kAdd = 1, kConsole = 2, kName = 4, kOpen = 8, kAllMessages = 15 };

  void go_on();
  bool multiport() const;
  bool listens(size_t port) const;  // whether the guest takes input there
  size_t can_receive(size_t port);
  void receive(size_t port, std::span<const uint8_t> bytes);
  void connected(size_t port, bool open);

  void transmit(size_t port);
  bool transmit_chain(PortState& port, const Chain& chain, size_t& left);

  void serve_control();
  void control_message(const Chain& chain);
  void send_due();
  bool send(size_t port, Message message);

  std::vector<PortState> ports_;
  Activation active_;
  Deferred work_later_;
};

}  // namespace skerry::virtio
