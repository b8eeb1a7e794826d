// The VM generation ID: a GUID in guest memory that changes when the guest is restored from what it once was, so that
// it makes its random numbers and its databases' identities anew. Microsoft, "Virtual Machine Generation ID" (2012);
// QEMU, docs/specs/vmgenid.
//
// The GUID lives in a page of its own, which either the firmware allocates (from the file kGuidFile of fw_cfg; it tells
// where by writing kAddressFile) or the board itself.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "bus/device.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::devices {

class VmGenId final : public bus::Device {
 public:
  using Guid = std::array<uint8_t, 16>;  // in the order in which the guest has it in memory

  static constexpr unsigned kGpe = 5;  // \_GPE._E05
  static constexpr size_t kPageSize = 4096;
  // Within the page: what comes before must not look like an ACPI table's header to OVMF.
  static constexpr size_t kGuidOffset = 40;
  static constexpr std::string_view kGuidFile = "etc/vmgenid_guid", kAddressFile = "etc/vmgenid_addr";

  // `raise_gpe` is called with no lock held.
  VmGenId(memory::GuestMemory& memory, const Guid& guid, std::function<void(unsigned event)> raise_gpe);

  static Result<Guid> random_guid();

  // The page as the firmware gets it, with the GUID in it.
  std::vector<uint8_t> page() const;
  // The content of kAddressFile, as the guest has written it: the address of the GUID, 8 bytes, little endian. Any
  // thread.
  void address_written(std::span<const uint8_t> content);
  // Puts the page at `page` of RAM, and keeps the GUID there. For boards without firmware, after each reset.
  void place(uint64_t page);
  // After a restore, with the VM at rest: another GUID, of which the guest is told. One that has not said yet where its
  // GUID is (or has said something foolish) finds it when it looks.
  void renew(const Guid& guid);
  Guid guid() const;

  std::string_view name() const override { return "vmgenid"; }
  void reset() override;
  void describe(state::Fields& fields) override;

 private:
  memory::GuestMemory& memory_;
  const std::function<void(unsigned)> raise_gpe_;
  mutable std::mutex lock_;
  Guid guid_;
  uint64_t address_ = 0;  // of the GUID in guest memory; 0: unknown
};

}  // namespace skerry::devices
