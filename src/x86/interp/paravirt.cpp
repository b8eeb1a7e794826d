// KVM's paravirtual interface, as far as it is the processor's: hypercalls, and the structure with the steal time (Linux,
// Documentation/virt/kvm/x86/hypercalls.rst and msr.rst). A guest uses what CPUID has once told it, wherever it goes on.
#include <atomic>
#include <bit>
#include <optional>

#include "x86/interp/operands.hpp"

namespace skerry::x86 {

namespace {

enum Hypercall : uint32_t { kVapicPollIrq = 1, kSendIpi = 10 };
constexpr int64_t kEperm = -1, kEinval = -22, kEnosys = -1000;

// kvm_steal_time, of which the rest is the time: it stands still here, as this vCPU is not said to have been kept waiting.
constexpr uint64_t kVersion = 8, kPreempted = 16;

// To the local APICs whose IDs are RDX and so on, by the bits of RBX and then of RCX. The result: how many took it.
int64_t send_ipi(Interpreter& in, unsigned size) {
  constexpr uint64_t kLogical = 1 << 11, kShorthand = 3 << 18, kHighestId = 0xffffffff;
  const uint64_t icr = in.gpr_sized(kRsi, size);
  if (icr & (kLogical | kShorthand)) return kEinval;
  int64_t taken = 0;
  uint64_t first = in.gpr_sized(kRdx, 4);
  for (const unsigned map : {kRbx, kRcx}) {
    for (uint64_t bits = in.gpr_sized(map, size); bits != 0; bits &= bits - 1) {
      const uint64_t id = first + static_cast<unsigned>(std::countr_zero(bits));
      if (id <= kHighestId && in.env.send_ipi(static_cast<uint32_t>(id), static_cast<uint32_t>(icr))) ++taken;
    }
    first += 8 * size;
  }
  return taken;
}

int64_t hypercall(Interpreter& in, unsigned size) {
  if (in.cpl() != 0) return kEperm;
  switch (in.gpr_sized(kRax, size)) {
    case kVapicPollIrq: return 0;  // interrupts are looked at all the time
    case kSendIpi: return send_ipi(in, size);
    default: return kEnosys;
  }
}

Flow vmcall(Interpreter& in, const Insn&) {
  const unsigned size = in.code64() ? 8 : 4;
  in.set_gpr_sized(kRax, size, static_cast<uint64_t>(hypercall(in, size)));
  return Flow::kNext;
}

}  // namespace

// The version is odd while the structure changes; what is there may be anything.
bool Interpreter::write_steal_time(uint64_t value) {
  if (value & ~kStealTimeWritable) return false;
  state.kvm_steal_time = value;
  if (!(value & kParavirtualEnabled)) return true;
  const memory::Gpa version = (value & ~kParavirtualEnabled) + kVersion;
  const std::optional<uint32_t> old = memory.load<uint32_t>(version);
  if (!old) return true;
  memory.store<uint32_t>(version, *old | 1);
  tell_that_it_runs();
  memory.store<uint32_t>(version, (*old | 1) + 1);
  return true;
}

// A vCPU that is said to be preempted gets no message when its TLB is to be flushed: KVM would do that as it goes on. Others
// may look while this one does: the flush comes after it.
void Interpreter::tell_that_it_runs() {
  if (!(state.kvm_steal_time & kParavirtualEnabled)) return;
  memory.store<uint8_t>((state.kvm_steal_time & ~kParavirtualEnabled) + kPreempted, 0);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

Handler select_paravirt(Lowering& lowering) {
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_VMCALL:
    case ZYDIS_MNEMONIC_VMMCALL: return vmcall;
    default: return nullptr;
  }
}

}  // namespace skerry::x86
