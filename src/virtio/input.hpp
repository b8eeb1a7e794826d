// An input device (virtio 1.2, 5.8): events as Linux's evdev has them. What they are of is its kind's: keyboard.hpp, tablet.hpp.
//
// Threads: what happens is told from any thread; queues are worked on by the loop's thread.
#pragma once

#include <array>
#include <atomic>
#include <bitset>
#include <deque>
#include <functional>
#include <initializer_list>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/deferred.hpp"
#include "display/input.hpp"
#include "virtio/activation.hpp"
#include "virtio/device.hpp"

namespace skerry::virtio {

class Input : public Device {
 public:
  struct Options {
    std::string name;
    EventLoop& loop;
    memory::GuestMemory& memory;
    // Called on the loop's thread, or at rest, with no lock held, when in_use() or leds() have changed; may be empty.
    std::function<void()> changed;
  };

  // Whether a driver has begun with it, so that somebody listens. Any thread.
  bool in_use() const { return in_use_.load(std::memory_order_acquire); }
  display::Leds leds() const;  // as the guest has set them; any thread

  DeviceId id() const override { return DeviceId::kInput; }
  uint32_t pci_class() const override { return kind_.pci_class; }
  uint64_t features() const override { return 0; }
  std::vector<uint16_t> queue_sizes() const override;
  uint32_t config_size() const override;
  void read_config(uint32_t offset, std::span<uint8_t> to) override;
  void write_config(uint32_t offset, std::span<const uint8_t> from) override;
  void activate(uint64_t features, std::span<Queue> queues, Transport& transport) override;
  void notified(unsigned index) override;
  void deactivate() override;
  void quiesce(std::function<void()> at_rest) override;
  void resume() override;
  void describe(state::Fields& fields) override;

 protected:
  struct Event {  // 5.8.6: struct virtio_input_event
    uint16_t type, code;
    int32_t value;
  };
  static_assert(sizeof(Event) == 8);

  using Bitmap = std::vector<uint8_t>;
  static Bitmap bitmap(std::span<const uint16_t> codes);
  static Bitmap bitmap(std::initializer_list<uint16_t> codes) { return bitmap({codes.begin(), codes.size()}); }
  struct Kind {
    std::string product;  // at most 128 bytes
    uint16_t product_id;
    uint32_t pci_class;
    std::map<uint16_t, Bitmap> codes;  // by EV_*
  };
  Input(Options options, Kind kind);

  // What has happened at a time. Keys and axes that are as they were before are left out. Any thread. What the guest does not
  // fetch is lost, but it learns in the end which keys are down and where the axes are.
  void happened(std::span<const Event> events);

 private:
  static constexpr size_t kMostEvents = 256, kKeyCodes = 0x300, kAxes = 2;  // KEY_CNT; ABS_X, ABS_Y
  struct Position {                                                         // of keys and axes
    std::bitset<kKeyCodes> keys;
    std::array<int32_t, kAxes> axes{};
  };

  std::optional<Event> next_event();
  void deliver();
  void take_status();
  void report_changes();
  Bitmap config_content() const;
  void set_in_use(bool in_use);
  static bool change(Position& position, const Event& event);
  static void describe_position(state::Fields& fields, std::string_view name, Position& position);

  const Kind kind_;
  const std::function<void()> changed_;
  Activation active_;
  Deferred deliver_, more_status_;
  std::atomic<bool> in_use_{false};

  mutable std::mutex lock_;          // what follows
  uint8_t select_ = 0, subsel_ = 0;  // of the configuration space
  uint8_t leds_ = 0;                 // a bit for each LED_*
  std::deque<Event> events_;         // that the guest has not had
  Position now_;                     // how things are
  Position told_;                    // and how they are by the events
  bool lost_ = false;                // there was no room for an event: the two differ
};

}  // namespace skerry::virtio
