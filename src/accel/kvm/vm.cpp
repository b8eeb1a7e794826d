#include "accel/kvm/vm.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "base/log.hpp"

namespace skerry::accel::kvm {

using memory::Gpa;
using memory::kPageSize;
using memory::MappedRegion;

namespace {

// Three pages for a task state segment and one for page tables, which Intel processors need for real mode where they do
// not virtualize it. Below the firmware.
constexpr uint64_t kIdentityMap = 0xfffbc000, kTss = 0xfffbd000;
// Before them, where a guest needs it: see Vm::store_code().
constexpr uint64_t kStoreCode = 0xfffbb000;

// MSRs of Skerry's own devices, and those that move the time-stamp counter. x2APIC's cannot be filtered: KVM, which has no
// APIC for the guest, refuses them, and that comes here too.
struct MsrRange {
  uint32_t first, count;
  bool reads;  // and writes
  bool of_apic = false;  // of the local APIC's, or of who sends its messages: the kernel's where that has it
};
constexpr std::array kFiltered = {
    MsrRange{0x10, 1, false},         // IA32_TIME_STAMP_COUNTER
    MsrRange{0x11, 2, true},          // the paravirtual clock of old
    MsrRange{0x1b, 1, true, true},    // IA32_APIC_BASE
    MsrRange{0x3b, 1, true},          // IA32_TSC_ADJUST
    MsrRange{0x6e0, 1, true, true},   // IA32_TSC_DEADLINE
    MsrRange{0x4b564d00, 3, true},    // KVM's paravirtual MSRs: the clock and page faults
    MsrRange{0x4b564d03, 2, true, true},  // steal time, end of interrupt
    MsrRange{0x4b564d05, 3, true},    // polling and page faults
};

}  // namespace

Vm::Vm(System system, UniqueFd fd, memory::GuestMemory& memory, Gpa first_free)
    : system_(std::move(system)), trial_(try_out(system_)), fd_(std::move(fd)), memory_(memory), first_free_(first_free), shadow_(shadow_paging()) {}

Vm::~Vm() { (void)memory_.set_map_listener(nullptr); }

Result<std::unique_ptr<Vm>> Vm::create(System system, memory::GuestMemory& memory, Gpa first_free, bool local_apics) {
  auto fd = system.create_vm();
  if (!fd) return std::move(fd).error();
  std::unique_ptr<Vm> vm(new Vm(std::move(system), std::move(*fd), memory, first_free));
  if (local_apics) {
    auto apics = KernelApics::create(vm->system(), vm->fd());
    if (!apics) return std::move(apics).error();
    vm->apics_ = std::move(*apics);
  }
  if (auto good = vm->set_up(); !good) return std::move(good).error();
  if (auto good = memory.set_map_listener(vm.get()); !good) return std::move(good).error();
  return vm;
}

Result<void> Vm::set_up() {
  uint64_t identity_map = kIdentityMap;
  (void)call(fd(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map);  // where there is none it is at the default place
  if (const int result = call(fd(), KVM_SET_TSS_ADDR, kTss); result < 0) return errno_error(-result, "KVM_SET_TSS_ADDR");
  if (system_.check(KVM_CAP_EXIT_ON_EMULATION_FAILURE)) {
    kvm_enable_cap enable{};
    enable.cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE;
    enable.args[0] = 1;
    (void)call(fd(), KVM_ENABLE_CAP, &enable);  // without it KVM queues a #UD, which is withdrawn
  }
  has_rings_ = DirtyRing::enable(system_, fd());
  return filter_msrs();
}

Result<void> Vm::filter_msrs() {
  kvm_enable_cap enable{};
  enable.cap = KVM_CAP_X86_USER_SPACE_MSR;
  enable.args[0] = KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER;
  if (const int result = call(fd(), KVM_ENABLE_CAP, &enable); result < 0)
    return errno_error(-result, "KVM_CAP_X86_USER_SPACE_MSR");
  std::array<uint8_t, 8> none{};  // no bit is set: no access is allowed
  kvm_msr_filter filter{};
  filter.flags = KVM_MSR_FILTER_DEFAULT_ALLOW;
  static_assert(kFiltered.size() <= KVM_MSR_FILTER_MAX_RANGES);
  size_t n = 0;
  for (const MsrRange& range : kFiltered) {
    if (range.of_apic && apics_) continue;
    const uint32_t reads = range.reads ? KVM_MSR_FILTER_READ : 0;
    filter.ranges[n++] = {KVM_MSR_FILTER_WRITE | reads, range.count, range.first, none.data()};
  }
  if (const int result = call(fd(), KVM_X86_SET_MSR_FILTER, &filter); result < 0)
    return errno_error(-result, "KVM_X86_SET_MSR_FILTER");
  return ok();
}

Result<UniqueFd> Vm::create_vcpu(unsigned index) {
  const int made = call(fd(), KVM_CREATE_VCPU, static_cast<unsigned long>(index));
  if (made >= 0) {
    UniqueFd vcpu(made);
    if (!has_rings_) return vcpu;
    auto ring = DirtyRing::map(vcpu.get());
    if (!ring) return std::move(ring).error();
    std::lock_guard guard(lock_);
    rings_.push_back(std::move(*ring));
    return vcpu;
  }
  if (made == -EINVAL)
    return error("KVM makes at most {} vCPUs on this host; use --cpus", system_.check(KVM_CAP_MAX_VCPUS));
  return errno_error(-made, "KVM_CREATE_VCPU");
}

int Vm::set(const Slot& slot, uint64_t size) {
  kvm_userspace_memory_region region{};
  region.slot = slot.number;
  region.flags = (slot.region.writable ? 0 : KVM_MEM_READONLY) | (log_dirty_ && slot.region.writable ? KVM_MEM_LOG_DIRTY_PAGES : 0);
  region.guest_phys_addr = slot.region.base;
  region.memory_size = size;
  region.userspace_addr = reinterpret_cast<uintptr_t>(slot.region.host);
  return call(fd(), KVM_SET_USER_MEMORY_REGION, &region);
}

Result<void> Vm::added(const MappedRegion& region) {
  std::lock_guard guard(lock_);
  uint32_t number = next_number_;
  if (!free_numbers_.empty()) {
    number = free_numbers_.back();
    free_numbers_.pop_back();
  } else {
    ++next_number_;
  }
  const Slot slot{number, region};
  if (const int result = place(slot); result < 0) {
    free_numbers_.push_back(number);
    return errno_error(-result, fmt::format("KVM takes no memory at {:#x}+{:#x}", region.base, region.size));
  }
  slots_.emplace(region.base, slot);
  return ok();
}

// A slot that may be written cannot become one that may not: it is made anew. In between other vCPUs may find nothing
// there; what they do then comes out as an access to a device, and Runner does it on the memory.
Result<void> Vm::changed(const MappedRegion& region) {
  std::lock_guard guard(lock_);
  const auto found = slots_.find(region.base);
  if (found == slots_.end()) return error("KVM has no memory at {:#x}", region.base);
  (void)set(found->second, 0);
  found->second.region = region;
  if (const int result = place(found->second); result < 0)
    return errno_error(-result, fmt::format("KVM does not change memory at {:#x}", region.base));
  return ok();
}

void Vm::removed(Gpa base) {
  std::lock_guard guard(lock_);
  const auto found = slots_.find(base);
  if (found == slots_.end()) return;
  (void)set(found->second, 0);
  free_numbers_.push_back(found->second.number);
  slots_.erase(found);
}

// Either the one who enters sees that it is stale, or he is seen here.
void Vm::shadow_is_stale() {
  if (!shadow_) return;
  stale_.fetch_add(1, std::memory_order_seq_cst);
  if (inside_.load(std::memory_order_seq_cst) > 0) drop_shadow();
}

// Taking a slot away is the one thing that makes KVM forget all of its page tables. This one is where no guest can look.
void Vm::drop_shadow() {
  alignas(kPageSize) static std::array<std::byte, kPageSize> page;
  std::lock_guard guard(lock_);
  const uint64_t until = stale_.load(std::memory_order_seq_cst);
  if (until == dropped_.load(std::memory_order_relaxed)) return;
  const Slot slot{0, {first_free_, kPageSize, page.data(), false}};
  (void)set(slot, kPageSize);
  (void)set(slot, 0);
  dropped_.store(until, std::memory_order_release);
}

Result<Gpa> Vm::store_code() {
  // mov [edi], eax; out kStorePort, al
  alignas(kPageSize) static std::array<uint8_t, kPageSize> page{0x89, 0x07, 0xe6, kStorePort};
  std::lock_guard guard(lock_);
  if (has_store_code_) return kStoreCode;
  const Slot slot{next_number_, {kStoreCode, kPageSize, reinterpret_cast<std::byte*>(page.data()), false}};
  if (const int result = set(slot, kPageSize); result < 0) return errno_error(-result, "KVM takes no code for stores to the local APIC");
  ++next_number_;
  has_store_code_ = true;
  return kStoreCode;
}

bool Vm::ring(const bus::Doorbell& bell, uint32_t flags) {
  kvm_ioeventfd event{};
  event.addr = bell.offset;
  event.len = bell.size;
  event.fd = bell.fd;
  event.datamatch = bell.value.value_or(0);
  event.flags = flags | (bell.value ? uint32_t{KVM_IOEVENTFD_FLAG_DATAMATCH} : 0);
  return call(fd(), KVM_IOEVENTFD, &event) >= 0;
}

void Vm::place_doorbells(std::span<const bus::Doorbell> doorbells) {
  if (!system_.check(KVM_CAP_IOEVENTFD)) return;
  const auto in = [](const auto& list, const bus::Doorbell& bell) { return std::ranges::find(list, bell) != std::ranges::end(list); };
  std::vector<bus::Doorbell> now;
  for (const bus::Doorbell& bell : doorbells_)
    if (in(doorbells, bell) || !ring(bell, KVM_IOEVENTFD_FLAG_DEASSIGN)) now.push_back(bell);
  for (const bus::Doorbell& bell : doorbells)
    if (!in(now, bell) && ring(bell, 0)) now.push_back(bell);
  doorbells_ = std::move(now);
}

Result<void> Vm::log_dirty(bool on) {
  std::lock_guard guard(lock_);
  log_dirty_ = on;
  for (const auto& [base, slot] : slots_)
    if (const int result = set(slot, slot.region.size); result < 0)
      return errno_error(-result, fmt::format("KVM does not log writes to memory at {:#x}", base));
  return ok();
}

Result<void> Vm::collect_dirty() {
  std::lock_guard guard(lock_);
  return has_rings_ ? collect_rings() : collect_bitmaps();
}

// An entry may be of a slot that is no longer there, or has become another.
Result<void> Vm::collect_rings() {
  std::map<uint32_t, MappedRegion> regions;
  for (const auto& [base, slot] : slots_) regions.emplace(slot.number, slot.region);
  for (DirtyRing& ring : rings_)
    ring.harvest([&](uint32_t number, uint64_t page) {
      const auto found = regions.find(number);
      if (found == regions.end() || page >= found->second.size / kPageSize) return;
      memory_.mark_dirty(found->second.base + page * kPageSize, kPageSize);
    });
  if (const int result = call(fd(), KVM_RESET_DIRTY_RINGS, 0); result < 0) return errno_error(-result, "KVM_RESET_DIRTY_RINGS");
  return ok();
}

Result<void> Vm::collect_bitmaps() {
  std::vector<uint64_t> bitmap;
  for (const auto& [base, slot] : slots_) {
    if (!slot.region.writable) continue;
    bitmap.assign((slot.region.size / kPageSize + 63) / 64, 0);
    kvm_dirty_log log{};
    log.slot = slot.number;
    log.dirty_bitmap = bitmap.data();
    if (const int result = call(fd(), KVM_GET_DIRTY_LOG, &log); result < 0)
      return errno_error(-result, fmt::format("KVM does not say what was written at {:#x}", base));
    for (size_t word = 0; word < bitmap.size(); ++word)
      for (uint64_t bits = bitmap[word]; bits != 0; bits &= bits - 1)
        memory_.mark_dirty(base + (64 * word + static_cast<unsigned>(std::countr_zero(bits))) * kPageSize, kPageSize);
  }
  return ok();
}

}  // namespace skerry::accel::kvm
