#include "accel/kvm/dirty_ring.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <utility>

namespace skerry::accel::kvm {

// Of both capabilities x86 kernels have either or both, for the same thing: stores come in order there.
bool DirtyRing::enable(const System& system, int vm) {
  for (const int capability : {KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_DIRTY_LOG_RING}) {
    if (system.check(capability) < static_cast<int>(kSize)) continue;
    kvm_enable_cap enable{};
    enable.cap = static_cast<uint32_t>(capability);
    enable.args[0] = kSize;
    if (call(vm, KVM_ENABLE_CAP, &enable) >= 0) return true;
  }
  return false;
}

Result<DirtyRing> DirtyRing::map(int vcpu) {
  const off_t offset = KVM_DIRTY_LOG_PAGE_OFFSET * ::sysconf(_SC_PAGESIZE);
  void* const at = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, offset);
  if (at == MAP_FAILED) return errno_error(errno, "cannot map where KVM says what a vCPU has written");
  DirtyRing ring(std::span(static_cast<kvm_dirty_gfn*>(at), kEntries));
  ring.mapped_ = true;
  return ring;
}

DirtyRing::DirtyRing(DirtyRing&& from) noexcept
    : entries_(from.entries_), mapped_(std::exchange(from.mapped_, false)), next_(from.next_) {}

DirtyRing::~DirtyRing() {
  if (mapped_) ::munmap(entries_.data(), entries_.size_bytes());
}

// At most once around: the vCPU may go on writing.
void DirtyRing::harvest(const std::function<void(uint32_t slot, uint64_t page)>& visit) {
  for (size_t count = 0; count < entries_.size(); ++count, ++next_) {
    kvm_dirty_gfn& entry = entries_[next_ % entries_.size()];
    if (!(__atomic_load_n(&entry.flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY)) return;
    visit(entry.slot, entry.offset);
    __atomic_store_n(&entry.flags, uint32_t{KVM_DIRTY_GFN_F_RESET}, __ATOMIC_RELEASE);
  }
}

}  // namespace skerry::accel::kvm
