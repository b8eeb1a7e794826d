#include "virtio/transport_core.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <future>
#include <utility>

#include "base/log.hpp"
#include "virtio/device_status.hpp"

// The device's side: its life on the loop's thread, interrupts, state. What the driver sets is in
// transport_registers.cpp.

namespace skerry::virtio {

using namespace device_status;

// --- making ----------------------------------------------------------------------------------------------------------

namespace {
uint64_t offered_by(Device& device, bool packed) {
  return device.features() | feature::kVersion1 | feature::kRingIndirectDesc | feature::kRingEventIdx |
         feature::kRingReset | (packed ? feature::kRingPacked : 0);
}
}  // namespace

Result<TransportCore::Descriptors> TransportCore::open(Device& device, uint32_t room) {
  const size_t queues = device.queue_sizes().size();
  if (queues > kMaxQueues)
    return error("virtio device '{}' has {} queues; there can be {} (give it fewer)", device.name(), queues,
                 kMaxQueues);
  if (device.config_size() > room)
    return error("virtio device '{}' has {} bytes of configuration; there is room for {}", device.name(),
                 device.config_size(), room);
  Descriptors descriptors{UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), {}};
  bool made(descriptors.kick);
  for (size_t i = 0; i < queues && made; ++i) {
    descriptors.bells.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    made = static_cast<bool>(descriptors.bells.back());
  }
  if (!made) return errno_error(errno, fmt::format("virtio device '{}': cannot create an eventfd", device.name()));
  return descriptors;
}

TransportCore::TransportCore(Device& device, LoopThread loop, bool packed_rings, Descriptors descriptors)
    : device_(device),
      descriptors_(std::move(descriptors)),
      queue_sizes_(device.queue_sizes()),
      loop_thread_(loop),
      offered_(offered_by(device, packed_rings)),
      queue_registers_(queue_sizes_.size()) {
  queues_.assign(queue_sizes_.size(), Queue(device.memory()));
}

Result<void> TransportCore::attach_to_loop() {
  auto added = device_.loop().add(descriptors_.kick.get(), EPOLLIN, [this](uint32_t) { serve(); });
  for (unsigned i = 0; i < descriptors_.bells.size() && added; ++i)
    added = device_.loop().add(descriptors_.bells[i].get(), EPOLLIN, [this, i](uint32_t) { serve_doorbell(i); });
  return added ? std::move(added) : std::move(added).error().in(fmt::format("virtio device '{}'", device_.name()));
}

void TransportCore::detach() {
  device_.loop().remove(descriptors_.kick.get());
  for (const UniqueFd& bell : descriptors_.bells) device_.loop().remove(bell.get());
  if (active_) device_.deactivate();
}

// --- from other threads ----------------------------------------------------------------------------------------------

void TransportCore::ask_loop() {
  asked_.store(true, std::memory_order_release);
  kick();
}

void TransportCore::kick() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(descriptors_.kick.get(), &one, sizeof one);
}

void TransportCore::run_on_loop(std::function<void()> work) {
  {
    std::lock_guard guard(lock_);
    work_.push_back(std::move(work));
  }
  ask_loop();
}

// `work` calls `done` on the loop's thread, perhaps later.
void TransportCore::run_and_wait(std::function<void(std::function<void()> done)> work) {
  if (loop_thread_ == LoopThread::kCaller) {
    const auto finished = std::make_shared<bool>(false);
    work([finished] { *finished = true; });
    while (!*finished) device_.loop().poll(-1);
    return;
  }
  const auto finished = std::make_shared<std::promise<void>>();
  run_on_loop([work = std::move(work), finished] { work([finished] { finished->set_value(); }); });
  finished->get_future().wait();
}

void TransportCore::quiesce(std::function<void()> at_rest) {
  run_on_loop([this, at_rest = std::move(at_rest)] {
    serve_driver();  // what the driver has asked for before
    held_ = true;
    bring_to_rest(at_rest);
  });
  if (loop_thread_ == LoopThread::kCaller) serve();
}

void TransportCore::resume() {
  run_on_loop([this] {
    held_ = false;
    if (loaded_ && !(status_.load() & DEVICE_NEEDS_RESET)) activate();
    go_on();
    serve_driver();
    deliver_all();
  });
}

void TransportCore::reset_device() {
  bool engaged = false;
  {
    std::lock_guard guard(lock_);
    engaged = engaged_;
  }
  if (engaged)
    run_and_wait([this](std::function<void()> done) {
      bring_to_rest([this, done = std::move(done)] {
        finish_reset();
        done();
      });
    });
  std::lock_guard guard(lock_);
  reset_registers();
}

// --- on the loop's thread --------------------------------------------------------------------------------------------

void TransportCore::serve() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(descriptors_.kick.get(), &count, sizeof count);
  if (asked_.exchange(false, std::memory_order_acq_rel)) {
    std::vector<std::function<void()>> work;
    {
      std::lock_guard guard(lock_);
      work.swap(work_);
    }
    for (const auto& item : work) item();
    serve_driver();
  }
  serve_notifications();
}

// What the driver has asked for by registers. While the device is held or settles it waits: go_on() comes back to it.
void TransportCore::serve_driver() {
  if (held_ || settling_) return;
  bool reset = false, start = false, queues = false, queue_resets = false;
  {
    std::lock_guard guard(lock_);
    reset = resetting_;
    start = std::exchange(activating_, false) && !reset;
    queues = std::exchange(queues_changed_, false) && !reset;
    for (const auto& queue : queue_registers_) queue_resets |= queue.resetting;
  }
  if (reset) return bring_to_rest([this] { finish_reset(); });
  if (start) activate();
  if (!queues) return;
  start_enabled_queues();
  if (queue_resets) bring_to_rest([this] { stop_reset_queues(); });
}

void TransportCore::serve_notifications() {
  if (held_ || settling_) return;  // all queues are looked at afterwards
  uint64_t bits = notified_.exchange(0, std::memory_order_acq_rel);
  while (bits != 0 && active_) {
    const auto queue = static_cast<unsigned>(std::countr_zero(bits));
    bits &= bits - 1;
    deliver(queue);
  }
}

// As notify(), by who executes the guest.
void TransportCore::serve_doorbell(unsigned queue) {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(descriptors_.bells[queue].get(), &count, sizeof count);
  if (!(status_.load(std::memory_order_acquire) & DRIVER_OK)) return;
  notified_.fetch_or(uint64_t{1} << queue, std::memory_order_acq_rel);
  serve_notifications();
}

// Calls `then` when the device does nothing any more.
void TransportCore::bring_to_rest(std::function<void()> then) {
  at_rest_.push_back(std::move(then));
  if (settling_) return;
  if (!active_ || resting_) return rested();
  settling_ = quiescing_ = true;
  // What follows rest may reset or resume the device: not from inside of its own functions.
  device_.quiesce([this] {
    resting_ = true;
    if (!quiescing_) run_on_loop([this] { rested(); });
  });
  quiescing_ = false;
  if (resting_) rested();
}

void TransportCore::rested() {
  settling_ = false;
  std::vector<std::function<void()>> waiting;
  waiting.swap(at_rest_);
  for (const auto& then : waiting) then();
  if (!held_) go_on();
}

// Ends the device's rest.
void TransportCore::go_on() {
  if (!active_ || !std::exchange(resting_, false)) return;
  device_.resume();
  ask_loop();  // what has come meanwhile
  deliver_all();
}

void TransportCore::activate() {
  uint64_t features = 0;
  std::vector<Queue::Setup> setups;
  {
    std::lock_guard guard(lock_);
    features = driver_features_;
    for (auto& queue : queue_registers_) {
      setups.push_back(queue.setup);
      queue.starting = false;
    }
  }
  for (size_t i = 0; i < setups.size(); ++i)
    if (setups[i].enabled) queues_[i].start(setups[i], features);
  active_ = true;
  loaded_ = false;
  device_.activate(features, queues_, *this);
  if (std::exchange(resting_, false)) device_.resume();
  deliver_all();
}

// With the device at rest.
void TransportCore::finish_reset() {
  if (active_ || loaded_) device_.deactivate();
  active_ = loaded_ = false;
  notified_.store(0, std::memory_order_relaxed);
  {
    std::lock_guard guard(lock_);
    reset_registers();
  }
  driver_served();
}

// 2.6.1; with the device at rest.
void TransportCore::stop_reset_queues() {
  {
    std::lock_guard guard(lock_);
    for (unsigned i = 0; i < queues_.size(); ++i) {
      if (!queue_registers_[i].resetting) continue;
      queues_[i].stop();
      reset_queue_registers(i);
    }
  }
  driver_served();
}

void TransportCore::start_enabled_queues() {
  for (unsigned i = 0; i < queues_.size(); ++i) {
    Queue::Setup setup;
    uint64_t features = 0;
    {
      std::lock_guard guard(lock_);
      if (!std::exchange(queue_registers_[i].starting, false)) continue;
      setup = queue_registers_[i].setup;
      features = driver_features_;
    }
    if (!active_ || queues_[i].running()) continue;
    queues_[i].start(setup, features);
    deliver(i);
  }
}

void TransportCore::deliver(unsigned queue) {
  if (status_.load(std::memory_order_relaxed) & DEVICE_NEEDS_RESET) return;
  if (queues_[queue].running()) device_.notified(queue);
  if (!queues_[queue].broken().empty()) needs_reset(fmt::format("queue {}: {}", queue, queues_[queue].broken()));
}

void TransportCore::deliver_all() {
  for (unsigned i = 0; i < queues_.size() && active_ && !held_ && !settling_; ++i) deliver(i);
}

// --- interrupts ------------------------------------------------------------------------------------------------------

void TransportCore::raise_isr(uint8_t bits) {
  std::lock_guard guard(isr_lock_);
  isr_ |= bits;
  set_line(true);
}

uint8_t TransportCore::isr() {
  std::lock_guard guard(isr_lock_);
  return isr_;
}

uint8_t TransportCore::clear_isr(uint8_t bits) {
  std::lock_guard guard(isr_lock_);
  const uint8_t before = isr_;
  isr_ = static_cast<uint8_t>(isr_ & ~bits);
  if (before != 0 && isr_ == 0) set_line(false);
  return before;
}

void TransportCore::config_interrupt() {
  config_generation_.fetch_add(1, std::memory_order_acq_rel);
  signal_config();
}

void TransportCore::needs_reset(std::string_view why) {  // 2.1.2
  const uint8_t before = status_.fetch_or(DEVICE_NEEDS_RESET, std::memory_order_acq_rel);
  if (before & DEVICE_NEEDS_RESET) return;
  if (!warned_.exchange(true))  // a guest that does it again and again does not fill the log
    log::warn("virtio device '{}' stops until the guest resets it: {}", device_.name(), why);
  if (before & DRIVER_OK) config_interrupt();
}

// --- state -----------------------------------------------------------------------------------------------------------

void TransportCore::describe_queue(state::Fields& fields, unsigned index) {
  Queue::Setup& setup = queue_registers_[index].setup;
  fields.field("size", setup.size, state::up_to(queue_sizes_[index]));
  fields.field("descriptors", setup.descriptors);
  fields.field("driver", setup.driver);
  fields.field("device", setup.device);
  fields.field("enabled", setup.enabled);
  describe_queue_interrupt(fields, index);
  queues_[index].describe(fields);
}

void TransportCore::describe_device(state::Fields& fields) {
  uint8_t status = status_.load(), generation = config_generation_.load();
  fields.field("device_feature_select", device_feature_select_);
  fields.field("driver_feature_select", driver_feature_select_);
  fields.field("driver_features", driver_features_, state::in_mask(offered_));
  fields.field("refused_features", refused_features_);
  fields.field("status", status,
               state::in_mask(ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | DEVICE_NEEDS_RESET | FAILED));
  fields.field("config_generation", generation);
  describe_config_interrupt(fields);
  fields.field("queue_select", queue_select_);
  fields.field("isr", isr_, state::in_mask(kIsrQueue | kIsrConfig));
  status_.store(status);
  config_generation_.store(generation);
  fields.list("queues", queues_.size(),
              [&](size_t i) { fields.group("queue", [&] { describe_queue(fields, static_cast<unsigned>(i)); }); });
  fields.group("device", [&] { device_.describe(fields); });
}

void TransportCore::restore_device() {
  // Not a driver's, but a state may say so.
  if (!(status_.load() & FEATURES_OK)) status_.fetch_and(static_cast<uint8_t>(~DRIVER_OK));
  const uint8_t status = status_.load();
  {
    std::lock_guard guard(lock_);
    engaged_ = status & DRIVER_OK;
  }
  run_and_wait([this, loaded = (status & DRIVER_OK) != 0](const std::function<void()>& done) {
    held_ = loaded_ = loaded;
    // Indexes of a queue that is not set up are nobody's.
    for (size_t i = 0; i < queues_.size(); ++i)
      if (!loaded || !queue_registers_[i].setup.enabled) queues_[i].stop();
    done();
  });
}

}  // namespace skerry::virtio
