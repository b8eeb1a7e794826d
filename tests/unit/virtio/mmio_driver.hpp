// The guest's driver of a virtio device behind memory-mapped registers, for tests: the board around it, and its
// registers (virtio 1.2, 4.2), on the calling thread, which also polls the loop.
#pragma once

#include <map>

#include "unit/virtio/driver.hpp"
#include "virtio/mmio_transport.hpp"

namespace skerry::virtio::test {

struct MmioLines final : bus::IrqSink {
  void set_irq(unsigned gsi, bool level) override { high[gsi] = level; }
  std::array<std::atomic<bool>, 24> high{};
};

// An address space, guest memory and a loop.
struct MmioBoard {
  static constexpr uint64_t kBase = 0xfeb00000;

  explicit MmioBoard(uint64_t memory = 4 << 20) : guest(memory) {
    auto created = EventLoop::create(clock);
    EXPECT_TRUE(created);
    loop = std::move(*created);
  }
  // The transport number `index`, on a line of that number.
  std::unique_ptr<MmioTransport> connect(Device& device, unsigned index, LoopThread thread = LoopThread::kCaller) {
    auto created = MmioTransport::create(device, {.loop = thread, .irq = {lines, index}, .may_wait = [this, thread] {
                                                    return thread == LoopThread::kOther && may_wait.load();
                                                  }});
    EXPECT_TRUE(created);
    EXPECT_TRUE((*created)->attach(mmio, kBase + index * MmioTransport::kSize));
    return std::move(*created);
  }
  // What the guest and what interrupts end at had seen of `other`.
  void follow(MmioBoard& other) {
    guest.follow(other.guest);
    for (size_t i = 0; i < lines.high.size(); ++i) lines.high[i] = other.lines.high[i].load();
  }
  // All that is ready.
  void run_loop() {
    for (int i = 0; i < 8; ++i) loop->poll(0);
  }

  VmClock clock;
  std::unique_ptr<EventLoop> loop;
  Guest guest;
  bus::AddressSpace mmio{"memory"};
  MmioLines lines;
  std::atomic<bool> may_wait{true};
};

class MmioDriver {
 public:
  // `turns`: whether this thread is also the loop's.
  MmioDriver(MmioBoard& board, unsigned index, bool turns = true)
      : board_(board), base_(MmioBoard::kBase + index * MmioTransport::kSize), turns_(turns) {}

  uint32_t get(uint32_t offset, unsigned size = 4) {
    return static_cast<uint32_t>(board_.mmio.read(base_ + offset, size));
  }
  void set(uint32_t offset, uint64_t value, unsigned size = 4) { board_.mmio.write(base_ + offset, size, value); }
  uint8_t status() { return static_cast<uint8_t>(get(mmio_layout::kStatus)); }
  void set_status(uint8_t value) { set(mmio_layout::kStatus, value); }
  void turn() {
    if (turns_) board_.run_loop();
  }

  // 3.1.1, up to FEATURES_OK; whether the device agrees.
  bool negotiate(uint64_t features) {
    set_status(0);
    turn();
    set_status(mmio_layout::ACKNOWLEDGE);
    set_status(mmio_layout::ACKNOWLEDGE | mmio_layout::DRIVER);
    features_ = features | feature::kVersion1;
    for (unsigned half = 0; half < 2; ++half) {
      set(mmio_layout::kDriverFeaturesSel, half);
      set(mmio_layout::kDriverFeatures, features_ >> (32 * half) & 0xffff'ffff);
    }
    set_status(mmio_layout::ACKNOWLEDGE | mmio_layout::DRIVER | mmio_layout::FEATURES_OK);
    return status() & mmio_layout::FEATURES_OK;
  }
  uint64_t offered() {
    uint64_t features = 0;
    for (unsigned half = 0; half < 2; ++half) {
      set(mmio_layout::kDeviceFeaturesSel, half);
      features |= uint64_t{get(mmio_layout::kDeviceFeatures)} << (32 * half);
    }
    return features;
  }
  unsigned queues() {
    unsigned count = 0;
    for (set(mmio_layout::kQueueSel, 0); get(mmio_layout::kQueueSizeMax) != 0; set(mmio_layout::kQueueSel, ++count)) {
    }
    return count;
  }
  void set_queue(unsigned index, const Queue::Setup& setup) {
    set(mmio_layout::kQueueSel, index);
    set(mmio_layout::kQueueSize, setup.size);
    const auto set64 = [&](uint32_t offset, uint64_t value) {
      set(offset, value & 0xffff'ffff);
      set(offset + 4, value >> 32);
    };
    set64(mmio_layout::kQueueDescLow, setup.descriptors);
    set64(mmio_layout::kQueueDriverLow, setup.driver);
    set64(mmio_layout::kQueueDeviceLow, setup.device);
    if (setup.enabled) set(mmio_layout::kQueueReady, 1);
  }
  // A ring for the queue, of `size` or the most that it can have.
  RingDriver& make_ring(unsigned index, uint16_t size = 0) {
    set(mmio_layout::kQueueSel, index);
    if (size == 0) size = static_cast<uint16_t>(get(mmio_layout::kQueueSizeMax));
    rings_[index] = std::make_unique<RingDriver>(board_.guest, size, features_);
    set_queue(index, rings_[index]->setup());
    return *rings_[index];
  }
  RingDriver& ring(unsigned index) { return *rings_.at(index); }
  void driver_ok() {
    set_status(mmio_layout::ACKNOWLEDGE | mmio_layout::DRIVER | mmio_layout::FEATURES_OK | mmio_layout::DRIVER_OK);
    turn();
  }
  // All of the above, with a ring for each queue.
  void start(uint64_t features, uint16_t size = 0) {
    ASSERT_TRUE(negotiate(features));
    const unsigned count = queues();
    for (unsigned i = 0; i < count; ++i) make_ring(i, size);
    driver_ok();
  }
  void notify(unsigned queue) {
    set(mmio_layout::kQueueNotify, queue);
    turn();
  }

 private:
  MmioBoard& board_;
  const uint64_t base_;
  const bool turns_;
  uint64_t features_ = 0;
  std::map<unsigned, std::unique_ptr<RingDriver>> rings_;
};

}  // namespace skerry::virtio::test
