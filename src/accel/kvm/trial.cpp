#include "accel/kvm/trial.hpp"

#include <sys/mman.h>

#include <cstring>
#include <initializer_list>
#include <memory>

#include "accel/kvm/vcpu_calls.hpp"
#include "x86/cpu_state.hpp"

namespace skerry::accel::kvm {

namespace {

// The guest's memory: page tables that map all of it at its own addresses, for everybody, and two pieces of code.
constexpr uint64_t kSize = 0x10000, kPml4 = 0x1000, kPdpt = 0x2000, kDirectory = 0x3000, kProgram = 0x5000, kKernel = 0x6000;
constexpr uint64_t kOffset = uint64_t{1} << 60;  // no host has run for so long
constexpr uint16_t kKernelCs = 0x10, kProgramCs = 0x33, kProgramSs = 0x2b;

class TrialGuest {
 public:
  explicit TrialGuest(const System& system) : memory_(map()) {
    auto vm = system.create_vm();
    if (!vm || !memory_) return;
    vm_ = std::move(*vm);
    kvm_userspace_memory_region region{};
    region.memory_size = kSize;
    region.userspace_addr = reinterpret_cast<uintptr_t>(memory_.get());
    (void)call(vm_.get(), KVM_SET_TSS_ADDR, 0xfffbd000ul);
    if (call(vm_.get(), KVM_SET_USER_MEMORY_REGION, &region) < 0) return;
    vcpu_ = UniqueFd(call(vm_.get(), KVM_CREATE_VCPU, 0ul));
    if (!vcpu_) return;
    run_ = static_cast<kvm_run*>(::mmap(nullptr, system.run_size(), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_.get(), 0));
    run_size_ = system.run_size();
    if (run_ == MAP_FAILED) run_ = nullptr;
    (void)set_cpuid(vcpu_.get(), system.supported_cpuid());
  }
  ~TrialGuest() {
    if (run_) ::munmap(run_, run_size_);
  }
  TrialGuest(const TrialGuest&) = delete;
  TrialGuest& operator=(const TrialGuest&) = delete;

  // rdtsc; hlt, in real mode.
  bool sets_tsc() {
    put(kKernel, {0x0f, 0x31, 0xf4});
    uint64_t offset = kOffset;
    kvm_device_attr attribute{};
    attribute.group = KVM_VCPU_TSC_CTRL;
    attribute.attr = KVM_VCPU_TSC_OFFSET;
    attribute.addr = reinterpret_cast<uintptr_t>(&offset);
    kvm_sregs sregs{};
    if (!run_ || !does(KVM_SET_DEVICE_ATTR, &attribute) || !does(KVM_GET_SREGS, &sregs)) return true;
    sregs.cs.base = sregs.cs.selector = 0;
    kvm_regs regs{};
    if (!does(KVM_SET_SREGS, &sregs) || !go(kKernel) || !does(KVM_GET_REGS, &regs)) return true;
    return (regs.rdx << 32 | static_cast<uint32_t>(regs.rax)) >= kOffset;
  }

  // A program of 64-bit mode: syscall. A kernel: hlt, which a program may not.
  bool runs_programs() {
    constexpr uint64_t kTable = 7, kLarge = 0x80;
    put(kProgram, {0x0f, 0x05});
    put(kKernel, {0xf4});
    put64(kPml4, kPdpt | kTable);
    put64(kPdpt, kDirectory | kTable);
    put64(kDirectory, kLarge | kTable);
    kvm_sregs sregs{};
    if (!run_ || !does(KVM_GET_SREGS, &sregs)) return true;
    sregs.cs = {.limit = 0xffffffff, .selector = kProgramCs, .type = 11, .present = 1, .dpl = 3, .s = 1, .l = 1, .g = 1};
    sregs.ss = {.limit = 0xffffffff, .selector = kProgramSs, .type = 3, .present = 1, .dpl = 3, .db = 1, .s = 1, .g = 1};
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss;
    sregs.idt.limit = 0;
    sregs.cr0 = x86::cr0::kPe | x86::cr0::kPg | x86::cr0::kEt | x86::cr0::kNe | x86::cr0::kWp;
    sregs.cr3 = kPml4;
    sregs.cr4 = x86::cr4::kPae | x86::cr4::kOsfxsr;
    sregs.efer = x86::efer::kSce | x86::efer::kLme | x86::efer::kLma;
    if (!does(KVM_SET_SREGS, &sregs) || !set_msr(vcpu_.get(), 0xc0000081, uint64_t{kProgramSs - 8} << 48 | uint64_t{kKernelCs} << 32) ||
        !set_msr(vcpu_.get(), 0xc0000082, kKernel) || !set_msr(vcpu_.get(), 0xc0000084, 0))
      return true;
    return go(kProgram) && run_->exit_reason == KVM_EXIT_HLT && does(KVM_GET_SREGS, &sregs) && sregs.cs.selector == kKernelCs;
  }

 private:
  struct Unmap {
    void operator()(std::byte* at) const { ::munmap(at, kSize); }
  };
  using Memory = std::unique_ptr<std::byte, Unmap>;
  static Memory map() {
    void* const at = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return Memory(at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at));
  }
  template <typename Argument>
  bool does(unsigned long request, Argument* argument) {
    return call(vcpu_.get(), request, argument) >= 0;
  }
  bool go(uint64_t rip) {
    kvm_regs regs{};
    regs.rip = rip;
    regs.rsp = kSize - 8;
    regs.rflags = 2;
    return does(KVM_SET_REGS, &regs) && call(vcpu_.get(), KVM_RUN, 0) >= 0;
  }
  void put(uint64_t at, std::initializer_list<uint8_t> bytes) { std::memcpy(memory_.get() + at, bytes.begin(), bytes.size()); }
  void put64(uint64_t at, uint64_t value) { std::memcpy(memory_.get() + at, &value, sizeof value); }

  const Memory memory_;
  UniqueFd vm_, vcpu_;
  kvm_run* run_ = nullptr;
  size_t run_size_ = 0;
};

}  // namespace

Trial try_out(const System& system) {
  Trial trial;
  if (hardware_assisted()) return trial;
  const auto guest = std::make_shared<TrialGuest>(system);
  trial.sets_tsc = guest->sets_tsc();
  trial.runs_programs = guest->runs_programs();
  trial.guest = guest;
  return trial;
}

}  // namespace skerry::accel::kvm
