#include "accel/kvm/kernel_apics.hpp"

#include <sys/eventfd.h>

#include "base/log.hpp"
#include "irqchip/ioapic.hpp"

namespace skerry::accel::kvm {

using irqchip::ApicMessage;

namespace {

// Message address and data (Intel SDM vol. 3, 11.11); with wide IDs the rest of the destination is in the upper half.
constexpr uint64_t kMsiBase = 0xfee00000;
constexpr unsigned kDestination = 12, kRedirect = 3, kLogical = 2, kMode = 8, kLevel = 14, kTrigger = 15;

}  // namespace

// An event descriptor that the kernel turns into a message.
class KernelApics::Event final : public bus::MsiEvent {
 public:
  Event(KernelApics& apics, UniqueFd fd, uint32_t gsi) : apics_(apics), fd_(std::move(fd)), gsi_(gsi) {}
  ~Event() override {
    (void)attach(KVM_IRQFD_FLAG_DEASSIGN);
    std::lock_guard guard(apics_.lock_);
    apics_.routes_.erase(gsi_);
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  bool set(uint64_t address, uint32_t data) override {
    if ((address & ~uint64_t{0xfffff}) != kMsiBase) return false;
    {
      std::lock_guard guard(apics_.lock_);
      apics_.routes_[gsi_] = {address, data};
      if (!apics_.set_routes()) return false;
    }
    return attached_ || (attached_ = attach(0));
  }
  int fd() const override { return fd_.get(); }

 private:
  bool attach(uint32_t flags) const {
    kvm_irqfd irqfd{};
    irqfd.fd = static_cast<uint32_t>(fd_.get());
    irqfd.gsi = gsi_;
    irqfd.flags = flags;
    return call(apics_.vm_, KVM_IRQFD, &irqfd) >= 0;
  }

  KernelApics& apics_;
  const UniqueFd fd_;
  const uint32_t gsi_;
  bool attached_ = false;
};

std::string_view KernelApics::missing(const System& system) {
  for (const auto& [capability, name] : {std::pair{KVM_CAP_SPLIT_IRQCHIP, "SPLIT_IRQCHIP"}, {KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI"},
                                         {KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING"}})
    if (!system.check(capability)) return name;
  return {};
}

Result<std::unique_ptr<KernelApics>> KernelApics::create(const System& system, int vm) {
  if (const std::string_view name = missing(system); !name.empty())
    return error("this kernel's KVM lacks KVM_CAP_{}, without which it can have no local APICs; use irqchip=user", name);
  kvm_enable_cap enable{};
  enable.cap = KVM_CAP_SPLIT_IRQCHIP;
  enable.args[0] = irqchip::IoApic::kPins;
  if (const int result = call(vm, KVM_ENABLE_CAP, &enable); result < 0) return errno_error(-result, "KVM_CAP_SPLIT_IRQCHIP");
  std::unique_ptr<KernelApics> apics(new KernelApics(vm));
  enable = {};
  enable.cap = KVM_CAP_X2APIC_API;
  enable.args[0] = KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK;
  apics->wide_ids_ = system.check(KVM_CAP_X2APIC_API) && call(vm, KVM_ENABLE_CAP, &enable) >= 0;
  apics->irqfd_ = system.check(KVM_CAP_IRQFD) > 0;
  apics->most_routes_ = static_cast<uint32_t>(system.check(KVM_CAP_IRQ_ROUTING));
  return apics;
}

KernelApics::Msi KernelApics::msi_of(const ApicMessage& message) {
  const uint64_t level = message.level_triggered ? uint64_t{1} << kTrigger | uint64_t{1} << kLevel : 0;
  return {uint64_t{message.destination & ~0xffu} << 32 | kMsiBase | uint64_t{message.destination & 0xff} << kDestination |
              uint64_t{message.redirect} << kRedirect | uint64_t{message.logical} << kLogical,
          static_cast<uint32_t>(message.vector | uint64_t{static_cast<uint8_t>(message.mode)} << kMode | level)};
}

bool KernelApics::deliver(const ApicMessage& message) {
  if (!wide_ids_ && message.destination > 0xff) return false;
  const Msi at = msi_of(message);
  kvm_msi msi{};
  msi.address_lo = static_cast<uint32_t>(at.address);
  msi.address_hi = static_cast<uint32_t>(at.address >> 32);
  msi.data = at.data;
  return call(vm_, KVM_SIGNAL_MSI, &msi) > 0;
}

std::unique_ptr<bus::MsiEvent> KernelApics::make_msi_event() {
  if (!irqfd_) return nullptr;
  std::lock_guard guard(lock_);
  uint32_t gsi = irqchip::IoApic::kPins;  // its pins are the first
  while (routes_.contains(gsi)) ++gsi;
  if (gsi >= most_routes_) return nullptr;
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return nullptr;
  routes_[gsi] = {kMsiBase, 0};
  return std::make_unique<Event>(*this, std::move(fd), gsi);
}

void KernelApics::set_pin(unsigned pin, const ApicMessage* message) {
  std::lock_guard guard(lock_);
  const auto found = routes_.find(pin);
  if (!message) {
    if (found == routes_.end()) return;
    routes_.erase(found);
  } else {
    const Msi msi = msi_of(*message);
    if (found != routes_.end() && found->second == msi) return;
    routes_[pin] = msi;
  }
  if (!set_routes()) log::warn("kvm: the kernel does not take the I/O APIC's routes; interrupts may be lost");
}

bool KernelApics::set_routes() {
  const auto buffer = std::make_unique<std::byte[]>(sizeof(kvm_irq_routing) + routes_.size() * sizeof(kvm_irq_routing_entry));
  auto* const table = reinterpret_cast<kvm_irq_routing*>(buffer.get());
  for (const auto& [gsi, msi] : routes_) {
    kvm_irq_routing_entry& entry = table->entries[table->nr++];
    entry = {};
    entry.gsi = gsi;
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = static_cast<uint32_t>(msi.address);
    entry.u.msi.address_hi = static_cast<uint32_t>(msi.address >> 32);
    entry.u.msi.data = msi.data;
  }
  return call(vm_, KVM_SET_GSI_ROUTING, table) >= 0;
}

}  // namespace skerry::accel::kvm
