#include "virtio/console.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "base/units.hpp"

namespace skerry::virtio {

namespace {
constexpr uint64_t VIRTIO_CONSOLE_F_MULTIPORT = bit(1);  // virtio 1.2, 5.3.3

// 5.3.4; emerg_wr is not offered and the size of the console is not known.
struct Config {
  uint16_t cols, rows;
  uint32_t max_nr_ports;
};
static_assert(sizeof(Config) == 8);

// 5.3.6.2.
struct ControlMessage {
  uint32_t id;
  uint16_t event, value;
};
static_assert(sizeof(ControlMessage) == 8);
enum Event : uint16_t {
  VIRTIO_CONSOLE_DEVICE_READY = 0,
  VIRTIO_CONSOLE_PORT_ADD = 1,
  VIRTIO_CONSOLE_PORT_READY = 3,
  VIRTIO_CONSOLE_CONSOLE_PORT = 4,
  VIRTIO_CONSOLE_PORT_OPEN = 6,
  VIRTIO_CONSOLE_PORT_NAME = 7,
};

// 5.3.2: port 0, then the control queues, then the other ports.
constexpr unsigned kControlReceive = 2, kControlTransmit = 3;
unsigned receive_index(size_t port) { return static_cast<unsigned>(port == 0 ? 0 : 2 * port + 2); }
unsigned transmit_index(size_t port) { return receive_index(port) + 1; }
size_t port_of(unsigned index) { return index < 2 ? 0 : (index - 2) / 2; }

constexpr uint16_t kQueueSize = 64;
constexpr unsigned kChainsAtOnce = 64;      // of one queue; then the loop's other work has its turn
constexpr size_t kBytesAtOnce = 256 * KiB;  // the same for bytes
constexpr size_t kChunk = 4 * KiB;
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

Console::Console(std::string name, EventLoop& loop, memory::GuestMemory& memory, chardev::Chardev* console,
                 const std::vector<Port>& ports)
    : Device(std::move(name), loop, memory), work_later_(loop, [this] {
        for (size_t port = 0; port < ports_.size(); ++port) transmit(port);
        serve_control();
      }) {
  assert(ports.size() < kMaxPorts);
  ports_.push_back({.name = {}, .chardev = console});
  for (const Port& port : ports) {
    assert(!port.name.empty() && port.name.size() <= kMaxPortName);
    ports_.push_back({.name = port.name, .chardev = port.chardev});
  }
  for (size_t port = 0; port < ports_.size(); ++port) {
    if (!ports_[port].chardev) continue;
    ports_[port].chardev->connect({.can_receive = [this, port] { return can_receive(port); },
                                   .receive = [this, port](std::span<const uint8_t> bytes) { receive(port, bytes); },
                                   .writable = [this, port] { transmit(port); },
                                   .connected = [this, port](bool open) { connected(port, open); }});
  }
}

Console::~Console() {
  for (const PortState& port : ports_)
    if (port.chardev) port.chardev->connect({});
}

uint64_t Console::features() const { return VIRTIO_CONSOLE_F_MULTIPORT; }

std::vector<uint16_t> Console::queue_sizes() const {
  return std::vector<uint16_t>(2 * (ports_.size() + 1), kQueueSize);
}

uint32_t Console::config_size() const { return sizeof(Config); }

void Console::read_config(uint32_t offset, std::span<uint8_t> to) {
  const Config config{0, 0, static_cast<uint32_t>(ports_.size())};
  std::memcpy(to.data(), reinterpret_cast<const uint8_t*>(&config) + offset, to.size());
}

void Console::activate(uint64_t features, std::span<Queue> queues, Transport& transport) {
  active_.begin(features, queues, transport);
  go_on();
}

void Console::deactivate() {
  active_.end();
  for (PortState& port : ports_) {
    port.told_open = port.ready = port.guest_open = false;
    port.due = 0;
    port.sent = 0;
  }
}

void Console::quiesce(std::function<void()> at_rest) {
  active_.quiesce();
  at_rest();
}

void Console::resume() {
  active_.resume();
  if (active_.active()) go_on();
}

void Console::go_on() {
  // Who was at the other end may have come or gone meanwhile, or in another process.
  for (PortState& port : ports_)
    if (port.ready && port.told_open != port.host_open) port.due |= kOpen;
  for (const PortState& port : ports_)
    if (port.chardev) port.chardev->receive_ready();
  work_later_.schedule();
}

void Console::describe(state::Fields& fields) {
  fields.list("ports", ports_.size(), [&](size_t i) {
    PortState& port = ports_[i];
    fields.group("port", [&] {
      fields.field("told_open", port.told_open);
      fields.field("ready", port.ready);
      fields.field("guest_open", port.guest_open);
      fields.field("due", port.due, state::in_mask(kAllMessages));
      fields.field("sent", port.sent);
    });
  });
}

bool Console::multiport() const { return active_.has(VIRTIO_CONSOLE_F_MULTIPORT); }

// --- host to guest ---------------------------------------------------------------------------------------------------

// 5.3.6.1: a port that nobody has opened in the guest takes nothing; it waits in the chardev.
bool Console::listens(size_t port) const { return multiport() ? ports_[port].guest_open : port == 0; }

size_t Console::can_receive(size_t port) {
  if (!active_.working() || !listens(port)) return 0;
  const unsigned index = receive_index(port);
  for (unsigned left = kChainsAtOnce; left > 0; --left) {
    auto chain = active_.pop(index);
    if (!chain && active_.more_after_enabling(index)) chain = active_.pop(index);
    if (!chain) return 0;
    if (chain->writable_size > 0) {
      active_.queue(index).unpop(*chain);
      return static_cast<size_t>(std::min<uint64_t>(chain->writable_size, kChunk));
    }
    active_.queue(index).push(*chain, 0);  // there is no room in it
  }
  return 0;
}

// Directly after can_receive(), on the same thread: what it saw is still there, unless the guest has changed the ring
// under it, and then the loss is the guest's.
void Console::receive(size_t port, std::span<const uint8_t> bytes) {
  const unsigned index = receive_index(port);
  const auto chain = active_.pop(index);
  if (!chain) return;
  active_.queue(index).push(*chain, static_cast<uint32_t>(chain->write(memory_, 0, bytes)));
  active_.interrupt(index);
}

void Console::connected(size_t number, bool open) {
  PortState& port = ports_[number];
  port.host_open = open;
  if (port.ready && port.told_open != open) {
    port.due |= kOpen;
    send_due();
  }
  transmit(number);  // what waited for a reader that has gone
}

// --- guest to host ---------------------------------------------------------------------------------------------------

void Console::notified(unsigned index) {
  if (!active_.working()) return;
  if (index == kControlReceive || index == kControlTransmit) {
    serve_control();
  } else if (const size_t port = port_of(index); index % 2 == 1) {
    transmit(port);
  } else if (port < ports_.size() && ports_[port].chardev) {
    ports_[port].chardev->receive_ready();
  }
}

void Console::transmit(size_t number) {
  const unsigned index = transmit_index(number);
  if (!active_.working() || !active_.has_queue(index)) return;
  PortState& port = ports_[number];
  Queue& queue = active_.queue(index);
  queue.disable_notifications();
  size_t left = kBytesAtOnce;
  for (unsigned chains = kChainsAtOnce;; --chains) {
    if (chains == 0) {
      work_later_.schedule();
      break;
    }
    const auto chain = active_.pop(index);
    if (!chain) {
      if (active_.more_after_enabling(index)) continue;
      break;
    }
    if (!transmit_chain(port, *chain, left)) {
      queue.unpop(*chain);
      if (left == 0) work_later_.schedule();  // else the chardev is full, and says when it is not
      break;
    }
    queue.push(*chain, 0);
    port.sent = 0;
  }
  active_.interrupt(index);
}

// False if some of it has to wait. What is for nobody is gone at once: a program that comes later would take it for an
// answer to its own question. The console alone keeps the latest output, in its chardev.
bool Console::transmit_chain(PortState& port, const Chain& chain, size_t& left) {
  if (!port.chardev || (!port.host_open && !port.name.empty())) return true;
  std::array<uint8_t, kChunk> chunk;
  while (port.sent < chain.readable_size) {
    if (left == 0) return false;
    const size_t wanted = std::min(left, chunk.size());
    const size_t got = chain.read(memory_, port.sent, std::span(chunk).first(wanted));
    if (got == 0) return true;
    const size_t taken = port.chardev->write(std::span(chunk).first(got));
    port.sent += taken;
    left -= taken;
    if (taken < got) return false;
  }
  return true;
}

// --- control messages ------------------------------------------------------------------------------------------------

void Console::serve_control() {
  if (!multiport()) return;
  for (unsigned chains = kChainsAtOnce;; --chains) {
    if (chains == 0) {
      work_later_.schedule();
      break;
    }
    const auto chain = active_.pop(kControlTransmit);
    if (!chain) {
      if (active_.more_after_enabling(kControlTransmit)) continue;
      break;
    }
    control_message(*chain);
    active_.queue(kControlTransmit).push(*chain, 0);
  }
  active_.interrupt(kControlTransmit);
  send_due();
}

void Console::control_message(const Chain& chain) {
  ControlMessage message{};
  if (chain.read(memory_, 0, {reinterpret_cast<uint8_t*>(&message), sizeof message}) != sizeof message) return;
  if (message.event == VIRTIO_CONSOLE_DEVICE_READY) {
    if (message.value != 1) return;  // the driver has failed
    for (PortState& port : ports_) port.due |= kAdd;
    return;
  }
  if (message.id >= ports_.size()) return;
  PortState& port = ports_[message.id];
  if (message.event == VIRTIO_CONSOLE_PORT_READY) {
    port.ready = message.value == 1;
    port.told_open = false;
    if (!port.ready) return;
    if (port.name.empty())
      port.due |= kConsole;
    else
      port.due |= kName;
    if (port.host_open) port.due |= kOpen;
  } else if (message.event == VIRTIO_CONSOLE_PORT_OPEN) {
    port.guest_open = message.value == 1;
    if (port.guest_open && port.chardev) port.chardev->receive_ready();
  }
}

// As many as there are buffers for. All ports' messages of one kind before those of the next: ports that exist come
// first.
void Console::send_due() {
  if (!active_.working() || !multiport()) return;
  for (const Message message : {kAdd, kConsole, kName, kOpen}) {
    for (size_t port = 0; port < ports_.size(); ++port) {
      if (!(ports_[port].due & message)) continue;
      if (!send(port, message)) {
        active_.interrupt(kControlReceive);
        return;
      }
      ports_[port].due = static_cast<uint8_t>(ports_[port].due & ~message);
    }
  }
  active_.interrupt(kControlReceive);
}

bool Console::send(size_t number, Message message) {
  auto chain = active_.pop(kControlReceive);
  if (!chain && active_.more_after_enabling(kControlReceive)) chain = active_.pop(kControlReceive);
  if (!chain) return false;
  PortState& port = ports_[number];
  ControlMessage header{.id = static_cast<uint32_t>(number), .event = VIRTIO_CONSOLE_PORT_ADD, .value = 1};
  std::string_view text;
  if (message == kConsole) header.event = VIRTIO_CONSOLE_CONSOLE_PORT;
  if (message == kName) {
    header.event = VIRTIO_CONSOLE_PORT_NAME;
    text = port.name;
  }
  if (message == kOpen) {
    header.event = VIRTIO_CONSOLE_PORT_OPEN;
    header.value = port.told_open = port.host_open;
  }
  size_t written = chain->write(memory_, 0, {reinterpret_cast<const uint8_t*>(&header), sizeof header});
  written += chain->write(memory_, sizeof header, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  active_.queue(kControlReceive).push(*chain, static_cast<uint32_t>(written));
  return true;
}

}  // namespace skerry::virtio
