// IN and OUT.
#include "x86/interp/io.hpp"

#include <array>

#include "base/units.hpp"
#include "x86/interp/operands.hpp"
#include "x86/segmentation.hpp"

namespace skerry::x86 {

bool io_allowed(Interpreter& in, uint16_t port, unsigned size) {
  const CpuState& s = in.state;
  if (!s.protected_mode() || (in.cpl() <= s.iopl() && !s.v86_mode())) return true;
  const auto refuse = [&] { return (in.gp(), false); };
  if (s.tr.type != kTss32Busy || s.tr.limit < 0x67) return refuse();  // a 16-bit TSS has no bitmap
  uint16_t map_base = 0, map = 0;
  if (!in.load_system(s.tr.base + 0x66, &map_base, 2)) return false;
  const uint32_t at = map_base + port / 8u;
  if (at + 1 > s.tr.limit) return refuse();  // two bytes are always read
  if (!in.load_system(s.tr.base + at, &map, 2)) return false;
  return (map >> (port % 8) & (bit(size) - 1)) == 0 || refuse();
}

void watch_io(Interpreter& in, uint16_t port, unsigned size) {
  const CpuState& s = in.state;
  if (!(s.cr4 & cr4::kDe) || !(s.dr7 & 0xff)) return;
  for (unsigned n = 0; n < 4; ++n) {
    if (!(s.dr7 >> (2 * n) & 3) || (s.dr7 >> (16 + 4 * n) & 3) != 2) continue;
    static constexpr std::array<unsigned, 4> kLength = {1, 2, 8, 4};
    const unsigned length = kLength[s.dr7 >> (18 + 4 * n) & 3];
    const uint64_t start = align_down(s.dr[n], length);
    if (port < start + length && start < port + size) in.trap_debug(bit(n));
  }
}

namespace {

template <typename T, bool kImmediate>
Flow in_port(Interpreter& in, const Insn& insn) {
  const uint16_t port = kImmediate ? static_cast<uint8_t>(insn.imm) : in.gpr<uint16_t>(kRdx * 8);
  if (!io_allowed(in, port, sizeof(T))) return Flow::kFault;
  in.set_gpr<T>(kRax * 8, static_cast<T>(in.env.pio_read(port, sizeof(T))));
  watch_io(in, port, sizeof(T));
  return Flow::kNext;
}

template <typename T, bool kImmediate>
Flow out_port(Interpreter& in, const Insn& insn) {
  const uint16_t port = kImmediate ? static_cast<uint8_t>(insn.imm) : in.gpr<uint16_t>(kRdx * 8);
  if (!io_allowed(in, port, sizeof(T))) return Flow::kFault;
  in.env.pio_write(port, sizeof(T), in.gpr<T>(kRax * 8));
  watch_io(in, port, sizeof(T));
  return Flow::kNext;
}

}  // namespace

Handler select_io(Lowering& lowering) {
  switch (lowering.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_IN: {
      const bool immediate = is_immediate(lowering, 1);
      return by_size(operand_size(lowering, 0), [&](auto t) -> Handler {
        return immediate ? in_port<decltype(t), true> : in_port<decltype(t), false>;
      });
    }
    case ZYDIS_MNEMONIC_OUT: {
      const bool immediate = is_immediate(lowering, 0);
      return by_size(operand_size(lowering, 1), [&](auto t) -> Handler {
        return immediate ? out_port<decltype(t), true> : out_port<decltype(t), false>;
      });
    }
    default: return nullptr;
  }
}

}  // namespace skerry::x86
