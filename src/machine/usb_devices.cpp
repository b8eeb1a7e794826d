#include "machine/usb_devices.hpp"

#include "devices/usb/storage.hpp"
#include "machine/scsi_units.hpp"

namespace skerry::machine {

namespace usb = devices::usb;

namespace {

// Twelve hexadecimal digits or more (Bulk-Only Transport, 4.1.1): guests tell devices apart by them.
std::string usb_serial(const std::string& serial) {
  std::string digits;
  for (const unsigned char c : serial) digits += fmt::format("{:02X}", c);
  return digits + std::string(digits.size() < 12 ? 12 - digits.size() : 0, '0');
}

}  // namespace

Result<std::unique_ptr<UsbDevices>> UsbDevices::create(const config::VmConfig& config, Backends& backends, IoThread& io,
                                                       memory::GuestMemory& memory, PciBoard& board) {
  std::unique_ptr<UsbDevices> devices(new UsbDevices(io, memory));
  bool any = config.input == config::Input::kTablet || config.input == config::Input::kUsb;
  if (any) devices->add_input(io.loop(), config.input == config::Input::kUsb);
  for (size_t i = 0; i < config.disks.size(); ++i) {
    if (config.disks[i].bus != config::Disk::Bus::kUsb) continue;
    if (auto good = devices->plug_in(i, config.disks[i], backends.disks[i]); !good) return std::move(good).error();
    any = true;
  }
  if (!any) return std::unique_ptr<UsbDevices>();
  if (auto good = board.add_at(devices->xhci_, usb::Xhci::kSlot, 0); !good) return std::move(good).error();
  return devices;
}

void UsbDevices::add_input(EventLoop& loop, bool with_keyboard) {
  const usb::Hid::Options options{loop, [this] {
                                    if (input_changed_) input_changed_();
                                  }};
  auto keyboard = with_keyboard ? std::make_unique<usb::Keyboard>(options) : nullptr;
  auto tablet = std::make_unique<usb::Tablet>(options);
  input_ = std::make_unique<UsbInput>(keyboard.get(), *tablet);
  if (keyboard) xhci_.plug_in(std::move(keyboard));
  xhci_.plug_in(std::move(tablet));
}

Result<void> UsbDevices::plug_in(size_t disk, const config::Disk& description, Backends::Disk& backend) {
  const std::string serial = backend.serial_of(disk);
  auto unit = make_scsi_unit(fmt::format("usb disk {}", disk), description, backend, serial, false);
  const unsigned port = xhci_.plug_in(std::make_unique<usb::Storage>(std::move(unit), usb_serial(serial)));
  if (port == 0) return error("disk {}: all USB ports are taken", disk);
  disk_ports_[disk] = port;
  return ok();
}

}  // namespace skerry::machine
