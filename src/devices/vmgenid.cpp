#include "devices/vmgenid.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.hpp"

namespace skerry::devices {

VmGenId::VmGenId(memory::GuestMemory& memory, const Guid& guid, std::function<void(unsigned)> raise_gpe)
    : memory_(memory), raise_gpe_(std::move(raise_gpe)), guid_(guid) {}

Result<VmGenId::Guid> VmGenId::random_guid() {
  Guid guid{};
  ssize_t got;
  do got = ::getrandom(guid.data(), guid.size(), 0);  // up to 256 bytes come whole
  while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(guid.size()))
    return errno_error(errno, "VM generation ID: the host gives no random numbers");
  guid[7] = static_cast<uint8_t>((guid[7] & 0x0f) | 0x40);  // RFC 4122, 4.4: version 4, in little-endian fields
  guid[8] = static_cast<uint8_t>((guid[8] & 0x3f) | 0x80);
  return guid;
}

std::vector<uint8_t> VmGenId::page() const {
  std::lock_guard guard(lock_);
  std::vector<uint8_t> page(kPageSize);
  std::copy(guid_.begin(), guid_.end(), page.begin() + kGuidOffset);
  return page;
}

void VmGenId::address_written(std::span<const uint8_t> content) {
  uint64_t address = 0;
  std::memcpy(&address, content.data(), std::min(content.size(), sizeof address));
  std::lock_guard guard(lock_);
  address_ = address;
}

void VmGenId::place(uint64_t page) {
  const std::vector<uint8_t> content = this->page();
  if (!memory_.write(page, std::as_bytes(std::span(content))))
    log::warn("vmgenid: there is no RAM at {:#x} for the generation ID", page);
  std::lock_guard guard(lock_);
  address_ = page + kGuidOffset;
}

void VmGenId::renew(const Guid& guid) {
  {
    std::lock_guard guard(lock_);
    guid_ = guid;
    if (address_ == 0) return;
    if (!memory_.write(address_, std::as_bytes(std::span(guid_)))) {
      log::debug(log::Category::kDevice, "vmgenid: the guest keeps its generation ID at {:#x}, which is no RAM",
                 address_);
      return;
    }
  }
  raise_gpe_(kGpe);
}

VmGenId::Guid VmGenId::guid() const {
  std::lock_guard guard(lock_);
  return guid_;
}

void VmGenId::reset() {
  std::lock_guard guard(lock_);
  address_ = 0;  // the firmware will tell anew
}

void VmGenId::describe(state::Fields& fields) {
  fields.field("guid", guid_);
  fields.field("address", address_);
}

}  // namespace skerry::devices
