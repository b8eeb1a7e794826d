// Into System Management Mode and out of it. AMD64 Architecture Programmer's Manual vol. 2, chapter 10; Intel SDM vol. 3, chapter 33.
#include "base/log.hpp"
#include "x86/interp/operands.hpp"
#include "x86/smm.hpp"

namespace skerry::x86 {

// SMRAM is seen in SMM only: nothing that is known of memory holds across the border. Outside of paging, where SMM begins and which RSM
// has left by then, the state is at its linear address, and accesses to it cannot fault.
void Interpreter::enter_smm() {
  log::debug(log::Category::kCpu, "vCPU {}: SMI at {:04x}:{:#x}, to {:#x}", index, state.seg[kCs].selector, state.rip, state.smbase);
  const SmmStateSaveArea area = x86::enter_smm(state);
  env.smm_changed(true);
  flush_tlb();
  mode_changed();
  (void)store_system(static_cast<uint32_t>(state.smbase + SmmStateSaveArea::kOffset), &area, sizeof area);
}

void Interpreter::leave_smm() {
  SmmStateSaveArea area;
  state.cr0 &= ~(cr0::kPe | cr0::kPg);
  state.cr4 = state.efer = 0;
  mode_changed();
  const bool read = load_system(static_cast<uint32_t>(state.smbase + SmmStateSaveArea::kOffset), &area, sizeof area);
  if (!read || !x86::leave_smm(state, area, memory, model.cr4_allowed(), model.physical_address_bits())) {
    log::debug(log::Category::kCpu, "vCPU {}: RSM to a state that no processor can be in: it shuts down", index);
    state.activity = Activity::kShutdown;
    return;
  }
  log::debug(log::Category::kCpu, "vCPU {}: RSM to {:04x}:{:#x}", index, state.seg[kCs].selector, state.rip);
  env.smm_changed(false);
  flush_tlb();
  mode_changed();
  set_request(request::kKick);  // an INIT may have waited
}

namespace {

Flow rsm(Interpreter& in, const Insn&) {
  if (!in.state.in_smm) return in.ud();
  in.leave_smm();
  in.no_step_trap();
  return Flow::kStop;
}

}  // namespace

Handler select_smm(Lowering& lowering) {
  return lowering.decoded.instruction.mnemonic == ZYDIS_MNEMONIC_RSM ? rsm : nullptr;
}

}  // namespace skerry::x86
