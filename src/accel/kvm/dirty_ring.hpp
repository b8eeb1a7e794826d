// Where KVM tells which pages a vCPU has written (Linux, Documentation/virt/kvm/api.rst: KVM_CAP_DIRTY_LOG_RING): as much work as
// pages were written, where a bitmap is as much as there is memory.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "accel/kvm/system.hpp"

namespace skerry::accel::kvm {

class DirtyRing {
 public:
  static constexpr uint32_t kEntries = 4096;
  static constexpr size_t kSize = kEntries * sizeof(kvm_dirty_gfn);

  // Switches rings on for the vCPUs that are made after it. False: this kernel has none, or not of that size.
  static bool enable(const System& system, int vm);
  static Result<DirtyRing> map(int vcpu);
  // Of a power of two of entries, which outlive it.
  explicit DirtyRing(std::span<kvm_dirty_gfn> entries) : entries_(entries) {}
  ~DirtyRing();
  DirtyRing(DirtyRing&& from) noexcept;
  DirtyRing& operator=(DirtyRing&&) = delete;

  // Calls visit(slot, page of the slot) for each page that is new in it. KVM has the entries back with KVM_RESET_DIRTY_RINGS, and
  // watches the pages anew from then on. One caller at a time.
  void harvest(const std::function<void(uint32_t slot, uint64_t page)>& visit);

 private:
  std::span<kvm_dirty_gfn> entries_;
  bool mapped_ = false;  // by this
  uint32_t next_ = 0;
};

}  // namespace skerry::accel::kvm
