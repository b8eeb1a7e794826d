// A device for tests of the transport: each buffer list comes back with its readable bytes in its writable ones. It can
// be told to keep what it takes until it is asked for (as a device does that waits for a disk).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "virtio/device.hpp"

namespace skerry::virtio::test {

class EchoDevice final : public Device {
 public:
  EchoDevice(EventLoop& loop, memory::GuestMemory& memory, unsigned queues = 2)
      : Device("echo", loop, memory), queues_count_(queues) {}

  DeviceId id() const override { return DeviceId::kConsole; }
  uint32_t pci_class() const override { return 0x078000; }
  uint64_t features() const override { return 0xff; }
  std::vector<uint16_t> queue_sizes() const override { return std::vector<uint16_t>(queues_count_, 16); }
  uint32_t config_size() const override { return sizeof config; }
  void read_config(uint32_t offset, std::span<uint8_t> to) override {
    std::copy_n(config + offset, to.size(), to.begin());
  }
  void write_config(uint32_t offset, std::span<const uint8_t> from) override {
    std::copy(from.begin(), from.end(), config + offset);
  }

  void activate(uint64_t features, std::span<Queue> queues, Transport& given) override {
    agreed = features;
    queues_ = queues;
    transport = &given;
    ++activations;
  }
  void notified(unsigned index) override {
    ++notifications;
    notified_on = std::this_thread::get_id();
    if (quiesced_) return;
    while (auto chain = queues_[index].pop()) kept_.push_back({index, std::move(*chain)});
    if (!keep) give_back();
  }
  bool prompt() override { return is_prompt; }
  void give_back() {
    for (auto& [index, chain] : std::exchange(kept_, {})) {
      std::vector<uint8_t> bytes(std::min<uint64_t>(chain.readable_size, 4096));
      bytes.resize(chain.read(memory_, 0, bytes));
      const size_t written = chain.write(memory_, 0, bytes);
      queues_[index].push(chain, static_cast<uint32_t>(written));
      ++served;
      if (queues_[index].needs_interrupt()) transport->queue_interrupt(index);
    }
    if (at_rest_) std::exchange(at_rest_, nullptr)();
  }
  void deactivate() override {
    EXPECT_TRUE(kept_.empty()) << "the transport brings the device to rest first";
    kept_.clear();
    queues_ = {};
    transport = nullptr;
    quiesced_ = false;
    served = 0;
    ++deactivations;
  }
  void quiesce(std::function<void()> at_rest) override {
    quiesced_ = true;
    if (kept_.empty())
      at_rest();
    else
      at_rest_ = std::move(at_rest);
  }
  void resume() override { quiesced_ = false; }
  void describe(state::Fields& fields) override {
    fields.field("served", served);
    fields.field("config", config);
  }

  bool keep = false, is_prompt = false;
  std::atomic<std::thread::id> notified_on{};
  size_t kept() const { return kept_.size(); }
  uint64_t agreed = 0;
  Transport* transport = nullptr;
  unsigned activations = 0, deactivations = 0, notifications = 0;
  uint32_t served = 0;
  uint8_t config[10] = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19};

 private:
  const unsigned queues_count_;
  std::span<Queue> queues_;
  bool quiesced_ = false;
  std::vector<std::pair<unsigned, Chain>> kept_;
  std::function<void()> at_rest_;
};

}  // namespace skerry::virtio::test
