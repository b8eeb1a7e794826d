#include "vm/cpu_dump.hpp"

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <string_view>

namespace skerry::vm {

namespace {

std::string segment_line(std::string_view name, const x86::Segment& s) {
  return fmt::format("{:<4}{:04x} base {:016x} limit {:08x} type {:x} dpl {}{}{}{}{}\n", name, s.selector, s.base,
                     s.limit, s.type, s.dpl, s.present ? " present" : "", s.long_mode ? " long" : "",
                     s.big ? " big" : "", s.unusable ? " unusable" : "");
}

std::string_view mode(const x86::CpuState& state) {
  if (!state.protected_mode()) return "real mode";
  if (state.v86_mode()) return "virtual-8086 mode";
  if (state.code64()) return "64-bit mode";
  if (state.long_mode_active()) return "compatibility mode";
  return state.seg[x86::kCs].big ? "32-bit protected mode" : "16-bit protected mode";
}

}  // namespace

std::string describe_registers(const x86::CpuState& state) {
  constexpr std::array<std::string_view, 16> kGprs = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                                      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  constexpr std::array<std::string_view, x86::kSegmentCount> kSegments = {"es", "cs", "ss", "ds", "fs", "gs"};
  std::string text;
  const auto out = std::back_inserter(text);
  for (unsigned i = 0; i < 16; ++i)
    fmt::format_to(out, "{:<4}{:016x}{}", kGprs[i], state.gpr[i], i % 4 == 3 ? "\n" : "  ");
  fmt::format_to(out, "rip {:016x}  rflags {:08x}  cpl {}  {}\n", state.rip, state.rflags, state.cpl(), mode(state));
  for (unsigned i = 0; i < x86::kSegmentCount; ++i) text += segment_line(kSegments[i], state.seg[i]);
  text += segment_line("ldt", state.ldtr);
  text += segment_line("tr", state.tr);
  fmt::format_to(out, "gdt base {:016x} limit {:04x}  idt base {:016x} limit {:04x}\n", state.gdtr.base,
                 state.gdtr.limit, state.idtr.base, state.idtr.limit);
  fmt::format_to(out, "cr0 {:08x}  cr2 {:016x}  cr3 {:016x}  cr4 {:08x}  efer {:x}\n", state.cr0, state.cr2, state.cr3,
                 state.cr4, state.efer);
  fmt::format_to(out, "dr6 {:08x}  dr7 {:08x}  kernel_gs_base {:016x}\n", state.dr6, state.dr7, state.kernel_gs_base);
  return text;
}

}  // namespace skerry::vm
