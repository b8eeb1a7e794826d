// The 82574L under several vCPU threads, its loop running: for the thread sanitizer, for deadlocks, and for frames that get lost.
#include <future>
#include <thread>

#include "base/io_thread.hpp"
#include "unit/devices/e1000e_rig.hpp"

namespace skerry::devices::e1000e::test {
namespace {

// Gives back what is sent, in a later turn, and has no room now and then.
class Echo final : public net::Backend {
 public:
  Result<void> start(EventLoop& loop, Card& to) override {
    loop_ = &loop;
    card_ = &to;
    loop.post([this] { deliver(); });  // what was kept
    return ok();
  }
  void stop() override { card_ = nullptr; }
  bool send(const net::FrameHeader&, std::span<const iovec> frame) override {
    if (kept_.size() >= 4) {
      full_ = true;
      return false;
    }
    const auto* first = static_cast<const uint8_t*>(frame[0].iov_base);
    kept_.emplace_back(first, first + frame[0].iov_len);
    loop_->post([this] { deliver(); });
    return true;
  }
  void card_has_room() override {
    loop_->post([this] { deliver(); });
  }
  net::Offloads offloads() const override { return {}; }
  void set_guest_offloads(net::Offloads) override {}

 private:
  void deliver() {
    while (card_ && !kept_.empty() && card_->receive({}, kept_.front())) kept_.erase(kept_.begin());
    if (card_ && std::exchange(full_, false)) card_->backend_has_room();
  }
  EventLoop* loop_ = nullptr;
  Card* card_ = nullptr;
  std::vector<Bytes> kept_;
  bool full_ = false;
};

struct QuietInterrupts final : bus::MsiSink, bus::PciHost::IntxSink {
  void send_msi(uint64_t, uint32_t) override { ++calls; }
  void set_intx(const bus::PciFunction&, unsigned, unsigned, bool) override { ++calls; }
  std::atomic<unsigned> calls{0};
};

struct Machine {
  static constexpr uint64_t kBar = 0xfe00'0000;
  static constexpr unsigned kRing = 8, kFrames = 2000;
  static constexpr memory::Gpa kSend = 0x1000, kReceive = 0x2000, kSendBuffers = 0x1'0000, kReceiveBuffers = 0x4'0000;

  Machine() {
    EXPECT_TRUE(memory.add_ram(0, 1 << 20, "ram"));
    EXPECT_TRUE(host.attach(nullptr) && host.root().add(card, 5));
    host.config_write(0, 5 << 3, bus::pci::kBar0, 4, kBar);
    host.config_write(0, 5 << 3, bus::pci::kCommand, 2, bus::pci::kCommandMemory | bus::pci::kCommandMaster);
    io->start();
    write(TDBAL, kSend);
    write(TDBAL + kLength, kRing * 16);
    write(RDBAL, kReceive);
    write(RDBAL + kLength, kRing * 16);
    write(ITR, 1);
    write(IMS, icr::kCauses);
    write(RFCTL, 1 << 15);
    write(RCTL, rctl::EN | rctl::SECRC | rctl::UPE);
    write(TCTL, tctl::EN);
  }
  ~Machine() {
    io->stop();
  }
  uint32_t read(uint32_t at) { return static_cast<uint32_t>(mmio.read(kBar + at, 4)); }
  void write(uint32_t at, uint32_t value) { mmio.write(kBar + at, 4, value); }
  template <typename T>
  void set(memory::Gpa at, T value) {
    EXPECT_TRUE(memory.store<T>(at, value));
  }

  VmClock clock;
  memory::GuestMemory memory;
  bus::AddressSpace pio{"port"}, mmio{"memory"};
  QuietInterrupts interrupts;
  bus::PciHost host{pio, mmio, interrupts, interrupts};
  std::unique_ptr<IoThread> io = std::move(*IoThread::create(clock, "io"));
  Echo backend;
  E1000e card{"net0", io->loop(), memory, backend, E1000e::Options{kMac}};
};

// Numbered frames, as fast as the ring takes them.
void send_all(Machine& machine) {
  for (unsigned i = 0; i < Machine::kFrames; ++i) {
    const memory::Gpa at = Machine::kSend + i % Machine::kRing * 16, buffer = Machine::kSendBuffers + i % Machine::kRing * 0x1000;
    while ((machine.read(TDBAL + kHead) + Machine::kRing - (i + 1) % Machine::kRing) % Machine::kRing == 0) std::this_thread::yield();
    machine.set<uint32_t>(buffer, 0x0000'5452);
    machine.set<uint32_t>(buffer + 16, i);
    machine.set<uint64_t>(at, buffer);
    machine.set<uint32_t>(at + 12, 0);
    machine.set<uint32_t>(at + 8, 100 | 1 << 24 | 1 << 27);
    machine.write(TDBAL + kTail, (i + 1) % Machine::kRing);
  }
}

// The same numbers, in their order.
void receive_all(Machine& machine) {
  unsigned given = 0;
  for (unsigned i = 0; i < Machine::kFrames; ++i) {
    for (; given < i + Machine::kRing - 1; ++given) {
      const memory::Gpa at = Machine::kReceive + given % Machine::kRing * 16;
      machine.set<uint64_t>(at, Machine::kReceiveBuffers + given % Machine::kRing * 0x1000);
      machine.set<uint64_t>(at + 8, 0);
    }
    machine.write(RDBAL + kTail, given % Machine::kRing);
    const memory::Gpa at = Machine::kReceive + i % Machine::kRing * 16;
    while (!(*machine.memory.load<uint32_t>(at + 8) & 1)) std::this_thread::yield();
    ASSERT_EQ(*machine.memory.load<uint32_t>(Machine::kReceiveBuffers + i % Machine::kRing * 0x1000 + 16), i);
  }
}

TEST(E1000eThreads, NothingIsLostOnTheWayAround) {
  Machine machine;
  std::atomic<bool> done{false};
  std::thread sender([&] { send_all(machine); });
  std::thread receiver([&] { receive_all(machine); });
  std::thread handler([&] {
    while (!done) {
      machine.read(ICR);
      machine.write(IMS, icr::kCauses);
      machine.read(STATUS);
    }
  });
  sender.join();
  receiver.join();
  done = true;
  handler.join();
  EXPECT_EQ(machine.read(GPTC), Machine::kFrames);
}

TEST(E1000eThreads, RestWhileFramesAreUnderWay) {
  Machine machine;
  for (unsigned i = 0; i < 200; ++i) {
    const unsigned at = i % Machine::kRing;
    machine.set<uint64_t>(Machine::kReceive + at * 16, Machine::kReceiveBuffers + at * 0x1000);
    machine.set<uint64_t>(Machine::kReceive + at * 16 + 8, 0);
    machine.write(RDBAL + kTail, (at + 1) % Machine::kRing);
    machine.set<uint64_t>(Machine::kSend + at * 16, Machine::kSendBuffers);
    machine.set<uint32_t>(Machine::kSend + at * 16 + 8, 100 | 1 << 24);
    machine.write(TDBAL + kTail, (at + 1) % Machine::kRing);
    std::promise<void> rested;
    machine.card.quiesce([&] { rested.set_value(); });
    rested.get_future().wait();
    const auto first = machine.read(RDBAL + kHead);
    EXPECT_EQ(machine.read(TDBAL + kHead), (at + 1) % Machine::kRing);
    EXPECT_EQ(machine.read(RDBAL + kHead), first);
    machine.card.resume();
    while (machine.read(RDBAL + kHead) != (at + 1) % Machine::kRing) std::this_thread::yield();
  }
}

TEST(E1000eThreads, ResetsWhileFramesAreUnderWay) {
  Machine machine;
  for (unsigned i = 0; i < 200; ++i) {
    machine.write(TDBAL, Machine::kSend);
    machine.write(TDBAL + kLength, Machine::kRing * 16);
    machine.write(TCTL, tctl::EN);
    for (unsigned at = 0; at < Machine::kRing - 1; ++at) {
      machine.set<uint64_t>(Machine::kSend + at * 16, Machine::kSendBuffers);
      machine.set<uint32_t>(Machine::kSend + at * 16 + 12, 0);
      machine.set<uint32_t>(Machine::kSend + at * 16 + 8, 100 | 1 << 24 | 1 << 27);
    }
    machine.write(TDBAL + kTail, Machine::kRing - 1);
    machine.write(CTRL, ctrl::RST);
    for (unsigned at = 0; at < Machine::kRing; ++at) machine.set<uint32_t>(Machine::kSend + at * 16 + 12, 0);
    for (int looks = 0; looks < 10; ++looks)
      for (unsigned at = 0; at < Machine::kRing; ++at) ASSERT_EQ(*machine.memory.load<uint32_t>(Machine::kSend + at * 16 + 12), 0u);
  }
}

}  // namespace
}  // namespace skerry::devices::e1000e::test
