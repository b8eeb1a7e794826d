// A VM of the kernel's: its memory slots, and what holds for all of its vCPUs.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "accel/kvm/dirty_ring.hpp"
#include "accel/kvm/kernel_apics.hpp"
#include "accel/kvm/system.hpp"
#include "accel/kvm/trial.hpp"
#include "bus/address_space.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::accel::kvm {

class Vm final : public memory::MapListener, public bus::DoorbellListener {
 public:
  // `memory` outlives the VM, and tells it of its regions from now on. `first_free` is the first guest-physical address
  // that no guest can name. `local_apics`: the kernel has them.
  static Result<std::unique_ptr<Vm>> create(System system, memory::GuestMemory& memory, memory::Gpa first_free, bool local_apics);
  ~Vm() override;

  const System& system() const { return system_; }
  const Trial& trial() const { return trial_; }
  int fd() const { return fd_.get(); }
  memory::GuestMemory& memory() { return memory_; }
  Result<UniqueFd> create_vcpu(unsigned index);  // before the VM runs
  // Where every guest finds, and cannot change, what stores EAX at EDI without paging and then writes to port kStorePort.
  Result<memory::Gpa> store_code();
  static constexpr uint8_t kStorePort = 0x80;
  static constexpr unsigned kStoreCodeSize = 4;
  KernelApics* local_apics() { return apics_.get(); }  // null: Skerry has them

  // bus::DoorbellListener: one caller at a time. Those that KVM does not take come out of the guest as they did.
  void place_doorbells(std::span<const bus::Doorbell> doorbells) override;

  // Where KVM has page tables in place of the guest's it believes that it sees every write to those. After a write that it has
  // not seen: all that it made of the guest's tables goes before a vCPU enters the guest, and at once if one is in it, which
  // takes as much as a millisecond. Any thread.
  void shadow_is_stale();
  bool has_shadow() const { return shadow_; }
  // Around KVM_RUN.
  void entering() {
    inside_.fetch_add(1, std::memory_order_seq_cst);
    if (stale_.load(std::memory_order_seq_cst) != dropped_.load(std::memory_order_acquire)) drop_shadow();
  }
  void left() { inside_.fetch_sub(1, std::memory_order_seq_cst); }

  // memory::MapListener: a slot for each region.
  Result<void> added(const memory::MappedRegion& region) override;
  Result<void> changed(const memory::MappedRegion& region) override;
  void removed(memory::Gpa base) override;

  // Dirty log. While it is on, collect_dirty() marks in GuestMemory what guests have written since the last call; the
  // pages are watched anew from then on. Where vCPUs have rings, of a vCPU that is in the guest all that it wrote until it last
  // came out, and perhaps more. Any thread.
  Result<void> log_dirty(bool on);
  Result<void> collect_dirty();

 private:
  struct Slot {
    uint32_t number;
    memory::MappedRegion region;
  };
  Vm(System system, UniqueFd fd, memory::GuestMemory& memory, memory::Gpa first_free);
  Result<void> set_up();
  Result<void> filter_msrs();
  int set(const Slot& slot, uint64_t size);
  int place(const Slot& slot) { return slot.region.readable ? set(slot, slot.region.size) : 0; }
  void drop_shadow();
  Result<void> collect_rings();    // with the lock held
  Result<void> collect_bitmaps();  // likewise
  bool ring(const bus::Doorbell& bell, uint32_t flags);

  const System system_;
  const Trial trial_;
  const UniqueFd fd_;
  memory::GuestMemory& memory_;
  const memory::Gpa first_free_;
  const bool shadow_;
  std::atomic<unsigned> inside_{0};                // vCPUs in the guest
  std::atomic<uint64_t> stale_{0}, dropped_{0};  // how often it became stale, and up to which of these it was dropped
  std::unique_ptr<KernelApics> apics_;
  std::vector<bus::Doorbell> doorbells_;  // that KVM has

  std::mutex lock_;  // what follows; a leaf
  std::map<memory::Gpa, Slot> slots_;
  uint32_t next_number_ = 1;  // 0 is drop_shadow()'s
  bool has_store_code_ = false;
  std::vector<uint32_t> free_numbers_;
  bool log_dirty_ = false;
  bool has_rings_ = false;        // there is no bitmap then
  std::vector<DirtyRing> rings_;  // of the vCPUs
};

}  // namespace skerry::accel::kvm
