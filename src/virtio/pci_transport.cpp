#include "virtio/pci_transport.hpp"

#include "virtio/pci_layout.hpp"

// The PCI function: capabilities, interrupts, state. The registers are in pci_registers.cpp.

namespace skerry::virtio {

using namespace pci_layout;

// --- making ----------------------------------------------------------------------------------------------------------

namespace {
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
  auto descriptors = open(device, kWindow);
  if (!descriptors) return std::move(descriptors).error();
  std::unique_ptr<PciTransport> transport(new PciTransport(device, options, std::move(*descriptors)));
  if (auto added = transport->attach_to_loop(); !added) return std::move(added).error();
  return transport;
}

PciTransport::PciTransport(virtio::Device& device, Options options, Descriptors descriptors)
    : PciFunction(device.name(), identity_of(device)),
      TransportCore(device, options.loop, options.packed_rings, std::move(descriptors)),
      queue_vectors_(queue_sizes_.size()) {
  for (size_t i = 0; i < descriptors_.bells.size(); ++i)
    doorbells_.push_back({kNotify + kNotifyMultiplier * i, sizeof(uint16_t), std::nullopt, descriptors_.bells[i].get()});
  add_bar(kBar, bus::BarKind::kMemory64, kBarSize, registers_);
  add_msix(static_cast<unsigned>(queue_sizes_.size()) + 1, kMsixBar);
  add_capabilities();
  use_interrupt_pin(1);
  reset_registers();
}

PciTransport::~PciTransport() { detach(); }

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

// --- interrupts ------------------------------------------------------------------------------------------------------

void PciTransport::interrupt(uint16_t vector, uint8_t isr) {
  if (!msix()->enabled()) return raise_isr(isr);
  if (vector < msix()->vectors()) msix()->notify(vector);
}

void PciTransport::queue_interrupt(unsigned queue) {
  interrupt(queue_vectors_[queue].load(std::memory_order_relaxed), kIsrQueue);
}

void PciTransport::signal_config() { interrupt(config_vector_.load(std::memory_order_relaxed), kIsrConfig); }

void PciTransport::reset_interrupts() { config_vector_.store(VIRTIO_MSI_NO_VECTOR); }
void PciTransport::reset_queue_interrupt(unsigned queue) { queue_vectors_[queue].store(VIRTIO_MSI_NO_VECTOR); }

// --- life and state --------------------------------------------------------------------------------------------------

void PciTransport::reset() {
  reset_device();
  PciFunction::reset();
}

void PciTransport::describe_vector(state::Fields& fields, std::string_view name, std::atomic<uint16_t>& vector) {
  uint16_t value = vector.load();
  fields.field(name, value);
  vector.store(legal_vector(value));
}

void PciTransport::describe_config_interrupt(state::Fields& fields) { describe_vector(fields, "config_vector", config_vector_); }
void PciTransport::describe_queue_interrupt(state::Fields& fields, unsigned queue) { describe_vector(fields, "vector", queue_vectors_[queue]); }

void PciTransport::describe(state::Fields& fields) {
  PciFunction::describe(fields);
  describe_device(fields);
}

void PciTransport::restored() {
  PciFunction::restored();
  restore_device();
}

}  // namespace skerry::virtio
