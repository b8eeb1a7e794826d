// The VM generation ID as a table of its own, because firmware has to find one address in it. Microsoft, "Virtual
// Machine Generation ID" (2012): a device that is compatible with VM_Gen_Counter, whose ADDR gives the halves of the
// address.
#include "devices/vmgenid.hpp"
#include "machine/acpi/definitions.hpp"

namespace skerry::machine::acpi {

using namespace aml;

namespace {
constexpr uint8_t kIdChanged = 0x80;  // the notification
// Guests go by the compatible ID; this one is only to be a vendor's own, and in the form of ACPI IDs (ACPI 6.4, 6.1.5).
constexpr std::string_view kOwnId = "SKRY0001", kCompatibleId = "VM_Gen_Counter";
static_assert(devices::VmGenId::kGpe == 5, "the method below is named for it");
}  // namespace

Bytes vm_gen_id_definition(uint32_t guid) {
  const Bytes address = method("ADDR", 0, Serialize::kNo,
                               cat({store(package(2, {}), local(0)), store(path("VGIA"), element(local(0), 0)),
                                    store(integer(0), element(local(0), 1)), return_value(local(0))}));
  return cat({
      name("VGIA", dword(guid)),
      scope("\\_SB", device("VGEN", cat({name("_HID", string(kOwnId)), name("_CID", string(kCompatibleId)),
                                         name("_DDN", string(kCompatibleId)), address}))),
      method("\\_GPE._E05", 0, Serialize::kNo, notify(path("\\_SB.VGEN"), kIdChanged)),
  });
}

}  // namespace skerry::machine::acpi
