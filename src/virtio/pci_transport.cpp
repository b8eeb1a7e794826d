#include "virtio/pci_transport.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <future>
#include <utility>

#include "base/log.hpp"
#include "virtio/pci_layout.hpp"

// The device's side: its life on the loop's thread, interrupts, state. The registers are in pci_registers.cpp.

namespace skerry::virtio {

using namespace pci_layout;

// --- making ----------------------------------------------------------------------------------------------------------

namespace {
uint64_t offered_by(Device& device, bool packed) {
  return device.features() | feature::kVersion1 | feature::kRingIndirectDesc | feature::kRingEventIdx |
         feature::kRingReset | (packed ? feature::kRingPacked : 0);
}

bus::PciIdentity identity_of(Device& device) {
  return {.vendor = kVendor,
          .device = static_cast<uint16_t>(kDeviceBase + static_cast<uint16_t>(device.id())),
          .subsystem_vendor = kVendor,
          .subsystem = kSubsystem,
          .class_code = device.pci_class(),
          .revision = kRevision};
}
}  // namespace

Result<std::unique_ptr<PciTransport>> PciTransport::create(virtio::Device& device, Options options) {
  const size_t queues = device.queue_sizes().size();
  if (queues > kMaxQueues)
    return error("virtio device '{}' has {} queues; there can be {} (give it fewer)", device.name(), queues,
                 kMaxQueues);
  if (device.config_size() > kWindow)
    return error("virtio device '{}' has {} bytes of configuration; there is room for {}", device.name(),
                 device.config_size(), kWindow);
  UniqueFd kick(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!kick) return errno_error(errno, fmt::format("virtio device '{}': cannot create an eventfd", device.name()));
  std::vector<UniqueFd> bells;
  for (size_t i = 0; i < queues; ++i) {
    bells.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!bells.back()) return errno_error(errno, fmt::format("virtio device '{}': cannot create an eventfd", device.name()));
  }
  std::unique_ptr<PciTransport> transport(new PciTransport(device, options, std::move(kick), std::move(bells)));
  PciTransport* raw = transport.get();
  auto added = device.loop().add(raw->kick_.get(), EPOLLIN, [raw](uint32_t) { raw->serve(); });
  for (unsigned i = 0; i < queues && added; ++i)
    added = device.loop().add(raw->bells_[i].get(), EPOLLIN, [raw, i](uint32_t) { raw->serve_doorbell(i); });
  if (!added) return std::move(added).error().in(fmt::format("virtio device '{}'", device.name()));
  return transport;
}

PciTransport::PciTransport(virtio::Device& device, Options options, UniqueFd kick, std::vector<UniqueFd> bells)
    : PciFunction(device.name(), identity_of(device)),
      device_(device),
      loop_thread_(options.loop),
      kick_(std::move(kick)),
      bells_(std::move(bells)),
      offered_(offered_by(device, options.packed_rings)),
      queue_sizes_(device.queue_sizes()),
      queue_registers_(queue_sizes_.size()) {
  for (size_t i = 0; i < bells_.size(); ++i)
    doorbells_.push_back({kNotify + kNotifyMultiplier * i, sizeof(uint16_t), std::nullopt, bells_[i].get()});
  queues_.assign(queue_sizes_.size(), Queue(device.memory()));
  add_bar(kBar, bus::BarKind::kMemory64, kBarSize, registers_);
  add_msix(static_cast<unsigned>(queue_sizes_.size()) + 1, kMsixBar);
  add_capabilities();
  use_interrupt_pin(1);
  reset_registers();
}

PciTransport::~PciTransport() {
  device_.loop().remove(kick_.get());
  for (const UniqueFd& bell : bells_) device_.loop().remove(bell.get());
  if (active_) device_.deactivate();
}

unsigned PciTransport::add_virtio_capability(uint8_t type, uint32_t offset, uint32_t length,
                                             std::span<const uint8_t> more, std::span<const uint8_t> writable) {
  std::vector<uint8_t> content(kCapSize - 2);  // what follows ID and next
  const auto put32 = [&](unsigned at, uint32_t value) {
    for (unsigned i = 0; i < 4; ++i) content[at - 2 + i] = static_cast<uint8_t>(value >> (8 * i));
  };
  content[0] = static_cast<uint8_t>(kCapSize + more.size());
  content[kCapType - 2] = type;
  content[kCapBar - 2] = kBar;
  put32(kCapOffset, offset);
  put32(kCapLength, length);
  content.insert(content.end(), more.begin(), more.end());
  return add_capability(bus::pci::kCapVendor, content, writable);
}

void PciTransport::add_capabilities() {
  add_virtio_capability(VIRTIO_PCI_CAP_COMMON_CFG, kCommon, kCommonSize);
  add_virtio_capability(VIRTIO_PCI_CAP_ISR_CFG, kIsr, 1);
  if (const uint32_t size = device_.config_size(); size > 0)
    add_virtio_capability(VIRTIO_PCI_CAP_DEVICE_CFG, kDevice, size);
  const std::array<uint8_t, 4> multiplier = {kNotifyMultiplier};
  add_virtio_capability(VIRTIO_PCI_CAP_NOTIFY_CFG, kNotify,
                        kNotifyMultiplier * static_cast<uint32_t>(std::max<size_t>(queue_sizes_.size(), 1)),
                        multiplier);
  // 4.1.4.9: the driver sets BAR, offset and length; the data is what is there.
  const std::array<uint8_t, 4> data{};
  std::array<uint8_t, kCapSize - 2 + data.size()> writable{};
  writable[kCapBar - 2] = 0xff;
  std::fill(writable.begin() + kCapOffset - 2, writable.end(), uint8_t{0xff});
  config_window_ = add_virtio_capability(VIRTIO_PCI_CAP_PCI_CFG, 0, 0, data, writable);
}

// --- from other threads ----------------------------------------------------------------------------------------------

void PciTransport::ask_loop() {
  asked_.store(true, std::memory_order_release);
  kick();
}

void PciTransport::kick() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(kick_.get(), &one, sizeof one);
}

void PciTransport::run_on_loop(std::function<void()> work) {
  {
    std::lock_guard guard(lock_);
    work_.push_back(std::move(work));
  }
  ask_loop();
}

// `work` calls `done` on the loop's thread, perhaps later.
void PciTransport::run_and_wait(std::function<void(std::function<void()> done)> work) {
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

void PciTransport::quiesce(std::function<void()> at_rest) {
  run_on_loop([this, at_rest = std::move(at_rest)] {
    serve_driver();  // what the driver has asked for before
    held_ = true;
    bring_to_rest(at_rest);
  });
  if (loop_thread_ == LoopThread::kCaller) serve();
}

void PciTransport::resume() {
  run_on_loop([this] {
    held_ = false;
    if (loaded_ && !(status_.load() & DEVICE_NEEDS_RESET)) activate();
    go_on();
    serve_driver();
    deliver_all();
  });
}

void PciTransport::reset() {
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
  PciFunction::reset();
  std::lock_guard guard(lock_);
  reset_registers();
}

// --- on the loop's thread --------------------------------------------------------------------------------------------

void PciTransport::serve() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(kick_.get(), &count, sizeof count);
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
void PciTransport::serve_driver() {
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

void PciTransport::serve_notifications() {
  if (held_ || settling_) return;  // all queues are looked at afterwards
  uint64_t bits = notified_.exchange(0, std::memory_order_acq_rel);
  while (bits != 0 && active_) {
    const auto queue = static_cast<unsigned>(std::countr_zero(bits));
    bits &= bits - 1;
    deliver(queue);
  }
}

// As notify(), by who executes the guest.
void PciTransport::serve_doorbell(unsigned queue) {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(bells_[queue].get(), &count, sizeof count);
  if (!(status_.load(std::memory_order_acquire) & DRIVER_OK)) return;
  notified_.fetch_or(uint64_t{1} << queue, std::memory_order_acq_rel);
  serve_notifications();
}

// Calls `then` when the device does nothing any more.
void PciTransport::bring_to_rest(std::function<void()> then) {
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

void PciTransport::rested() {
  settling_ = false;
  std::vector<std::function<void()>> waiting;
  waiting.swap(at_rest_);
  for (const auto& then : waiting) then();
  if (!held_) go_on();
}

// Ends the device's rest.
void PciTransport::go_on() {
  if (!active_ || !std::exchange(resting_, false)) return;
  device_.resume();
  ask_loop();  // what has come meanwhile
  deliver_all();
}

void PciTransport::activate() {
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
void PciTransport::finish_reset() {
  if (active_ || loaded_) device_.deactivate();
  active_ = loaded_ = false;
  notified_.store(0, std::memory_order_relaxed);
  std::lock_guard guard(lock_);
  reset_registers();
}

// 2.6.1; with the device at rest.
void PciTransport::stop_reset_queues() {
  std::lock_guard guard(lock_);
  for (size_t i = 0; i < queues_.size(); ++i) {
    if (!queue_registers_[i].resetting) continue;
    queues_[i].stop();
    reset_registers(queue_registers_[i], queue_sizes_[i]);
  }
}

void PciTransport::start_enabled_queues() {
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

void PciTransport::deliver(unsigned queue) {
  if (status_.load(std::memory_order_relaxed) & DEVICE_NEEDS_RESET) return;
  if (queues_[queue].running()) device_.notified(queue);
  if (!queues_[queue].broken().empty()) needs_reset(fmt::format("queue {}: {}", queue, queues_[queue].broken()));
}

void PciTransport::deliver_all() {
  for (unsigned i = 0; i < queues_.size() && active_ && !held_ && !settling_; ++i) deliver(i);
}

// --- interrupts ------------------------------------------------------------------------------------------------------

void PciTransport::interrupt(uint16_t vector, uint8_t isr) {
  if (msix()->enabled()) {
    if (vector < msix()->vectors()) msix()->notify(vector);
    return;
  }
  std::lock_guard guard(isr_lock_);
  isr_ |= isr;
  set_intx(true);
}

void PciTransport::queue_interrupt(unsigned queue) {
  interrupt(queue_registers_[queue].vector.load(std::memory_order_relaxed), kIsrQueue);
}

void PciTransport::config_interrupt() {
  config_generation_.fetch_add(1, std::memory_order_acq_rel);
  interrupt(config_vector_.load(std::memory_order_relaxed), kIsrConfig);
}

void PciTransport::needs_reset(std::string_view why) {  // 2.1.2
  const uint8_t before = status_.fetch_or(DEVICE_NEEDS_RESET, std::memory_order_acq_rel);
  if (before & DEVICE_NEEDS_RESET) return;
  if (!warned_.exchange(true))  // a guest that does it again and again does not fill the log
    log::warn("virtio device '{}' stops until the guest resets it: {}", device_.name(), why);
  if (before & DRIVER_OK) config_interrupt();
}

// --- state -----------------------------------------------------------------------------------------------------------

void PciTransport::describe_queue(state::Fields& fields, unsigned index) {
  QueueRegisters& queue = queue_registers_[index];
  uint16_t vector = queue.vector.load();
  fields.field("size", queue.setup.size, state::up_to(queue_sizes_[index]));
  fields.field("descriptors", queue.setup.descriptors);
  fields.field("driver", queue.setup.driver);
  fields.field("device", queue.setup.device);
  fields.field("enabled", queue.setup.enabled);
  fields.field("vector", vector);
  queue.vector.store(legal_vector(vector));
  queues_[index].describe(fields);
}

void PciTransport::describe(state::Fields& fields) {
  PciFunction::describe(fields);
  uint8_t status = status_.load(), generation = config_generation_.load();
  uint16_t config_vector = config_vector_.load();
  fields.field("device_feature_select", device_feature_select_);
  fields.field("driver_feature_select", driver_feature_select_);
  fields.field("driver_features", driver_features_, state::in_mask(offered_));
  fields.field("refused_features", refused_features_);
  fields.field("status", status,
               state::in_mask(ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | DEVICE_NEEDS_RESET | FAILED));
  fields.field("config_generation", generation);
  fields.field("config_vector", config_vector);
  fields.field("queue_select", queue_select_);
  fields.field("isr", isr_, state::in_mask(kIsrQueue | kIsrConfig));
  status_.store(status);
  config_generation_.store(generation);
  config_vector_.store(legal_vector(config_vector));
  fields.list("queues", queues_.size(),
              [&](size_t i) { fields.group("queue", [&] { describe_queue(fields, static_cast<unsigned>(i)); }); });
  fields.group("device", [&] { device_.describe(fields); });
}

void PciTransport::restored() {
  PciFunction::restored();
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
