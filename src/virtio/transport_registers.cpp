// What a driver sets of any device, whatever the registers look like, as vCPU threads access them.

#include <array>
#include <utility>

#include "virtio/device_status.hpp"
#include "virtio/transport_core.hpp"

namespace skerry::virtio {

using namespace device_status;

namespace {
uint64_t with_half(uint64_t before, bool high, uint32_t value) {
  return high ? (before & 0xffff'ffff) | uint64_t{value} << 32 : (before & ~uint64_t{0xffff'ffff}) | value;
}
}  // namespace

// Waits for nobody: one bit, and if it was the first since the loop looked, the loop is woken, or a turn of it
// borrowed.
void TransportCore::notify(unsigned queue) {
  if (queue >= queue_sizes_.size() || !(status_.load(std::memory_order_acquire) & DRIVER_OK)) return;
  if (notified_.fetch_or(uint64_t{1} << queue, std::memory_order_acq_rel) != 0) return;
  const bool borrows = loop_thread_ == LoopThread::kOther && device_.prompt();
  if (!borrows || !device_.loop().borrow_turn([this] { serve_notifications(); })) kick();
}

uint32_t TransportCore::read_device_config(uint32_t offset, unsigned size) {
  const uint32_t end = device_.config_size();
  if (offset >= end) return 0;
  std::array<uint8_t, 4> bytes{};
  device_.read_config(offset, std::span(bytes).first(std::min(size, end - offset)));
  return bytes[0] | uint32_t{bytes[1]} << 8 | uint32_t{bytes[2]} << 16 | uint32_t{bytes[3]} << 24;
}

void TransportCore::write_device_config(uint32_t offset, unsigned size, uint32_t value) {
  const uint32_t end = device_.config_size();
  if (offset >= end) return;
  const std::array<uint8_t, 4> bytes = {static_cast<uint8_t>(value), static_cast<uint8_t>(value >> 8),
                                        static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 24)};
  device_.write_config(offset, std::span(bytes).first(std::min(size, end - offset)));
}

// --- features and status ---------------------------------------------------------------------------------------------

// Once agreed on, features stay. What was not offered is remembered: FEATURES_OK is then refused.
void TransportCore::write_driver_feature(uint32_t value) {
  if (status_.load() & FEATURES_OK) return;
  const uint32_t select = driver_feature_select_;
  const uint64_t wide = select < 2 ? uint64_t{value} << (32 * select) : 0;
  if ((wide & ~offered_) != 0 || (select >= 2 && value != 0)) refused_features_ = true;
  if (select < 2) driver_features_ = with_half(driver_features_, select == 1, value) & offered_;
}

// 2.1, 3.1. Bits are only added, but for 0, a reset. True if the loop has something to do.
bool TransportCore::write_status(uint8_t value) {
  if (value == 0) {
    if (!engaged_) {
      reset_registers();
      return false;
    }
    resetting_ = true;
    return true;
  }
  unsigned added = value & ~unsigned{status_.load()} & (ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK | FAILED);
  if (refused_features_ || !(driver_features_ & feature::kVersion1)) added &= ~unsigned{FEATURES_OK};
  if (!((status_.load() | added) & FEATURES_OK)) added &= ~unsigned{DRIVER_OK};
  status_.fetch_or(static_cast<uint8_t>(added));
  if (!(added & DRIVER_OK)) return false;
  engaged_ = activating_ = true;
  return true;
}

// --- queues ----------------------------------------------------------------------------------------------------------

// What works is not changed (4.1.4.3.2): an enabled queue keeps its size and places.
void TransportCore::write_queue_size(uint32_t value) {
  QueueRegisters* queue = selected_queue();
  if (!queue || queue->setup.enabled || value == 0 || value > selected_queues_most()) return;
  queue->setup.size = static_cast<uint16_t>(value);
}

void TransportCore::write_queue_address(uint64_t Queue::Setup::*address, bool high, uint32_t value) {
  QueueRegisters* queue = selected_queue();
  if (!queue || queue->setup.enabled) return;
  queue->setup.*address = with_half(queue->setup.*address, high, value);
}

bool TransportCore::enable_queue() {
  QueueRegisters* queue = selected_queue();
  if (!queue || queue->setup.enabled) return false;
  queue->setup.enabled = true;
  if (!engaged_) return false;
  queue->starting = queues_changed_ = true;
  return true;
}

bool TransportCore::reset_queue() {
  const bool may = (driver_features_ & feature::kRingReset) && (status_.load() & FEATURES_OK);
  return may && stop_queue();
}

bool TransportCore::stop_queue() {
  QueueRegisters* queue = selected_queue();
  if (!queue) return false;
  if (!engaged_) {
    reset_queue_registers(queue_select_);
    return false;
  }
  queue->resetting = queues_changed_ = true;
  return true;
}

// --- reset -----------------------------------------------------------------------------------------------------------

bool TransportCore::reset_under_way() const {
  bool queues = false;
  for (const QueueRegisters& queue : queue_registers_) queues |= queue.resetting;
  return resetting_ || queues;
}

void TransportCore::reset_queue_registers(unsigned queue) {
  queue_registers_[queue] = {.setup = {.size = queue_sizes_[queue]}};
  reset_queue_interrupt(queue);
}

// 2.4.1, 4.1.4.3.1.
void TransportCore::reset_registers() {
  device_feature_select_ = driver_feature_select_ = 0;
  driver_features_ = 0;
  refused_features_ = false;
  queue_select_ = 0;
  for (unsigned i = 0; i < queue_registers_.size(); ++i) reset_queue_registers(i);
  for (Queue& queue : queues_) queue.stop();  // one that has not begun may have a loaded state
  resetting_ = activating_ = queues_changed_ = engaged_ = false;
  reset_interrupts();
  {
    std::lock_guard guard(isr_lock_);
    isr_ = 0;
    set_line(false);
  }
  status_.store(0, std::memory_order_release);
}

}  // namespace skerry::virtio
