// Random instructions: bytes that the decoder accepts, kept if a user program may execute them anywhere and their memory
// operands can be aimed at the test's own pages.
#include <algorithm>

#include "insn/testcase.hpp"
#include "x86/cpu_state.hpp"

namespace skerry::insn_fuzz {

namespace {

using x86::Decoded;
namespace flags = x86::flags;

uint64_t below(std::mt19937_64& random, uint64_t n) { return random() % n; }
bool chance(std::mt19937_64& random, unsigned percent) { return random() % 100 < percent; }

// Registers that keep pointing into the data pages: never written, so that later operands are aimed too.
constexpr std::array<unsigned, 5> kPointers = {x86::kRbx, x86::kRsi, x86::kRdi, x86::kR14, x86::kR15};
bool is_pointer(unsigned reg) { return std::find(kPointers.begin(), kPointers.end(), reg) != kPointers.end(); }

void put_modrm(std::mt19937_64& random, std::vector<uint8_t>& bytes, bool& rex_b_matters) {
  rex_b_matters = true;
  const uint8_t reg = static_cast<uint8_t>(below(random, 8) << 3);
  switch (below(random, 5)) {
    case 0:
    case 1: bytes.push_back(static_cast<uint8_t>(0xc0 | reg | below(random, 8))); break;
    case 2: {  // [pointer + disp8]
      constexpr std::array<uint8_t, 4> kBases = {3, 6, 7, 6};
      bytes.push_back(static_cast<uint8_t>(0x40 | reg | kBases[below(random, 4)]));
      bytes.push_back(static_cast<uint8_t>(random()));
      break;
    }
    case 3: {  // [pointer]
      constexpr std::array<uint8_t, 4> kBases = {3, 6, 7, 3};
      bytes.push_back(static_cast<uint8_t>(reg | kBases[below(random, 4)]));
      break;
    }
    default: {  // [pointer + index * scale + disp8], the index is RCX, small in most cases, or none
      constexpr std::array<uint8_t, 3> kBases = {3, 6, 7};
      bytes.push_back(static_cast<uint8_t>(0x44 | reg));
      bytes.push_back(static_cast<uint8_t>(below(random, 4) << 6 | (chance(random, 50) ? 1 : 4) << 3 | kBases[below(random, 3)]));
      bytes.push_back(static_cast<uint8_t>(random()));
      break;
    }
  }
}

std::vector<uint8_t> random_bytes(std::mt19937_64& random) {
  std::vector<uint8_t> bytes;
  const unsigned kind = static_cast<unsigned>(below(random, 100));
  if (kind < 35 || kind >= 85) {
    constexpr std::array<uint8_t, 3> kPrefixes = {0x66, 0xf2, 0xf3};
    if (chance(random, 35)) bytes.push_back(kPrefixes[below(random, 3)]);
    if (chance(random, 5)) bytes.push_back(kPrefixes[below(random, 3)]);
    if (chance(random, 3)) bytes.push_back(0xf0);
  }
  if (kind < 15) {  // one-byte opcodes
    if (chance(random, 50)) bytes.push_back(static_cast<uint8_t>(0x40 | below(random, 16)));
    bytes.push_back(static_cast<uint8_t>(random()));
  } else if (kind < 25 || kind >= 92) {  // 0F
    if (chance(random, 40)) bytes.push_back(static_cast<uint8_t>(0x40 | below(random, 16)));
    bytes.push_back(0x0f);
    bytes.push_back(static_cast<uint8_t>(random()));
  } else if (kind < 35 || kind >= 85) {  // 0F38, 0F3A
    if (chance(random, 30)) bytes.push_back(static_cast<uint8_t>(0x40 | below(random, 16)));
    bytes.push_back(0x0f);
    bytes.push_back(chance(random, 70) ? 0x38 : 0x3a);
    bytes.push_back(static_cast<uint8_t>(random()));
  } else if (kind < 70) {  // VEX
    if (chance(random, 40)) {
      bytes.push_back(0xc5);
      bytes.push_back(static_cast<uint8_t>(random()));
    } else {
      bytes.push_back(0xc4);
      bytes.push_back(static_cast<uint8_t>((random() & 0xe0) | (1 + below(random, 3))));
      bytes.push_back(static_cast<uint8_t>(random()));
    }
    bytes.push_back(static_cast<uint8_t>(random()));
  } else {  // x87
    bytes.push_back(static_cast<uint8_t>(0xd8 | below(random, 8)));
  }
  bool used = false;
  put_modrm(random, bytes, used);
  while (bytes.size() < 15) bytes.push_back(static_cast<uint8_t>(random()));
  return bytes;
}

// What cannot run in the middle of a test program: system instructions, time, randomness, control transfer.
bool runnable(const Decoded& decoded) {
  if (decoded.has(ZYDIS_ATTRIB_IS_PRIVILEGED)) return false;
  switch (decoded.instruction.meta.category) {
    case ZYDIS_CATEGORY_CALL: case ZYDIS_CATEGORY_RET: case ZYDIS_CATEGORY_COND_BR: case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_INTERRUPT: case ZYDIS_CATEGORY_SYSCALL: case ZYDIS_CATEGORY_SYSRET: case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_IO: case ZYDIS_CATEGORY_IOSTRINGOP: case ZYDIS_CATEGORY_SEGOP: case ZYDIS_CATEGORY_RDRAND:
    case ZYDIS_CATEGORY_RDSEED: case ZYDIS_CATEGORY_XSAVE: case ZYDIS_CATEGORY_XSAVEOPT: case ZYDIS_CATEGORY_VTX:
    case ZYDIS_CATEGORY_CET: case ZYDIS_CATEGORY_MPX: case ZYDIS_CATEGORY_RDWRFSGS: case ZYDIS_CATEGORY_SSE:
      if (decoded.instruction.meta.category != ZYDIS_CATEGORY_SSE) return false;
      break;
    default: break;
  }
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_CPUID: case ZYDIS_MNEMONIC_RDTSC: case ZYDIS_MNEMONIC_RDTSCP: case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_RDPMC: case ZYDIS_MNEMONIC_XGETBV: case ZYDIS_MNEMONIC_LAR: case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR: case ZYDIS_MNEMONIC_VERW: case ZYDIS_MNEMONIC_STR: case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_SMSW: case ZYDIS_MNEMONIC_SGDT: case ZYDIS_MNEMONIC_SIDT: case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_POPF: case ZYDIS_MNEMONIC_PUSHF: case ZYDIS_MNEMONIC_PUSHFQ: case ZYDIS_MNEMONIC_ENTER:
    case ZYDIS_MNEMONIC_LFS: case ZYDIS_MNEMONIC_LGS: case ZYDIS_MNEMONIC_LSS: case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_CLWB: case ZYDIS_MNEMONIC_CLFLUSHOPT: case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR: case ZYDIS_MNEMONIC_FXRSTOR64: case ZYDIS_MNEMONIC_FNSAVE: case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FLDENV: case ZYDIS_MNEMONIC_FRSTOR: case ZYDIS_MNEMONIC_LDMXCSR: case ZYDIS_MNEMONIC_VLDMXCSR:
    case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1: case ZYDIS_MNEMONIC_UD2: case ZYDIS_MNEMONIC_VMCALL:
    case ZYDIS_MNEMONIC_VMMCALL: case ZYDIS_MNEMONIC_MONITOR: case ZYDIS_MNEMONIC_MWAIT: case ZYDIS_MNEMONIC_UMONITOR:
    case ZYDIS_MNEMONIC_XLAT:
    // The host has no SHA; it is checked against the standard's vectors instead.
    case ZYDIS_MNEMONIC_SHA1MSG1: case ZYDIS_MNEMONIC_SHA1MSG2: case ZYDIS_MNEMONIC_SHA1NEXTE: case ZYDIS_MNEMONIC_SHA1RNDS4:
    case ZYDIS_MNEMONIC_SHA256MSG1: case ZYDIS_MNEMONIC_SHA256MSG2: case ZYDIS_MNEMONIC_SHA256RNDS2: return false;
    default: return true;
  }
}

// Memory operands must start from a pointer register; writes must spare pointer registers and RSP. String instructions
// move their pointers themselves, which is fine, without REP counts beyond the pages.
bool aimed(const Decoded& decoded) {
  const bool string = decoded.instruction.meta.category == ZYDIS_CATEGORY_STRINGOP;
  for (unsigned n = 0; n < decoded.instruction.operand_count; ++n) {
    const ZydisDecodedOperand& operand = decoded.operands[n];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type != ZYDIS_MEMOP_TYPE_AGEN) {
      if (operand.mem.segment == ZYDIS_REGISTER_FS || operand.mem.segment == ZYDIS_REGISTER_GS) return false;
      const int base = ZydisRegisterGetId(operand.mem.base);
      const bool stack = base == x86::kRsp && operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
      if (!stack && (base < 0 || !is_pointer(static_cast<unsigned>(base)))) return false;
      if (operand.mem.base == ZYDIS_REGISTER_RIP || operand.mem.base == ZYDIS_REGISTER_EIP) return false;
    }
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) && !string) {
      const auto kind = ZydisRegisterGetClass(operand.reg.value);
      const bool general = kind == ZYDIS_REGCLASS_GPR8 || kind == ZYDIS_REGCLASS_GPR16 || kind == ZYDIS_REGCLASS_GPR32 ||
                           kind == ZYDIS_REGCLASS_GPR64;
      if (kind == ZYDIS_REGCLASS_SEGMENT) return false;
      if (!general || operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) continue;
      int id = ZydisRegisterGetId(operand.reg.value);
      if (operand.reg.value >= ZYDIS_REGISTER_AH && operand.reg.value <= ZYDIS_REGISTER_BH) id = operand.reg.value - ZYDIS_REGISTER_AH;
      if (id == x86::kRsp || is_pointer(static_cast<unsigned>(id))) return false;
    }
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && n < decoded.instruction.operand_count_visible &&
        ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_SEGMENT)
      return false;
  }
  return true;
}

// Flags that the manual (Intel SDM vol. 2, "Flags Affected" of each instruction) leaves undefined.
uint64_t undefined_flags(const Decoded& decoded) {
  constexpr uint64_t kO = flags::kOf, kS = flags::kSf, kZ = flags::kZf, kA = flags::kAf, kP = flags::kPf, kC = flags::kCf;
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_AND: case ZYDIS_MNEMONIC_OR: case ZYDIS_MNEMONIC_XOR: case ZYDIS_MNEMONIC_TEST: return kA;
    case ZYDIS_MNEMONIC_SHL: case ZYDIS_MNEMONIC_SHR: case ZYDIS_MNEMONIC_SAR: return kA | kO | kC;  // CF: counts over the size
    case ZYDIS_MNEMONIC_ROL: case ZYDIS_MNEMONIC_ROR: case ZYDIS_MNEMONIC_RCL: case ZYDIS_MNEMONIC_RCR: return kO;
    case ZYDIS_MNEMONIC_SHLD: case ZYDIS_MNEMONIC_SHRD: return kO | kA;
    case ZYDIS_MNEMONIC_MUL: case ZYDIS_MNEMONIC_IMUL: return kS | kZ | kA | kP;
    case ZYDIS_MNEMONIC_DIV: case ZYDIS_MNEMONIC_IDIV: return kO | kS | kZ | kA | kP | kC;
    case ZYDIS_MNEMONIC_BT: case ZYDIS_MNEMONIC_BTS: case ZYDIS_MNEMONIC_BTR: case ZYDIS_MNEMONIC_BTC: return kO | kS | kA | kP;
    case ZYDIS_MNEMONIC_BSF: case ZYDIS_MNEMONIC_BSR: return kO | kS | kA | kP | kC;
    case ZYDIS_MNEMONIC_TZCNT: case ZYDIS_MNEMONIC_LZCNT: return kO | kS | kA | kP;
    case ZYDIS_MNEMONIC_ANDN: case ZYDIS_MNEMONIC_BLSI: case ZYDIS_MNEMONIC_BLSR: case ZYDIS_MNEMONIC_BLSMSK: return kA | kP;
    case ZYDIS_MNEMONIC_BZHI: return kA | kP;
    case ZYDIS_MNEMONIC_BEXTR: return kA | kS | kP;
    default: return 0;
  }
}

// Undefined results, which no test can compare: a 16-bit double shift by more than 16, BSWAP of 16 bits.
bool undefined_result(const Decoded& decoded) {
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_SHLD: case ZYDIS_MNEMONIC_SHRD: case ZYDIS_MNEMONIC_BSWAP: return decoded.instruction.operand_width == 16;
    default: return false;
  }
}

bool reads_flags(const Decoded& decoded, uint64_t which) {
  return decoded.instruction.cpu_flags && (decoded.instruction.cpu_flags->tested & which);
}

Registers random_registers(std::mt19937_64& random) {
  Registers r;
  constexpr std::array<uint64_t, 8> kCorners = {0, 1, ~uint64_t{0}, 0x80, 0x8000, 0x80000000, uint64_t{1} << 63, 0x7fffffff};
  for (auto& value : r.gpr) value = chance(random, 40) ? kCorners[below(random, kCorners.size())] : random();
  // Near the end of the writable pages now and then, so that operands cross into the read-only page or the unmapped one.
  for (const unsigned n : kPointers) {
    const uint64_t end = chance(random, 50) ? kReadOnly : kReadOnly + kPage;
    r.gpr[n] = chance(random, 20)   ? end - below(random, 80)
               : chance(random, 10) ? kData + kPage - below(random, 64)
                                    : kData + 512 + (below(random, 6000) & (chance(random, 60) ? ~uint64_t{63} : ~uint64_t{0}));
  }
  r.gpr[x86::kRcx] = chance(random, 80) ? below(random, 40) : random();
  r.gpr[x86::kRsp] = kStack + kStackSize / 2;
  r.rip = kCode;
  r.rflags = 0x202 | (random() & (flags::kStatus | flags::kDf));
  for (auto& ymm : r.ymm) {
    for (auto& byte : ymm) byte = static_cast<uint8_t>(random());
    if (chance(random, 40)) {  // ordinary numbers, so that arithmetic is not all NaN
      for (unsigned n = 0; n < 4; ++n) {
        const double number = static_cast<double>(static_cast<int64_t>(random() >> below(random, 60))) / 16;
        __builtin_memcpy(&ymm[8 * n], &number, 8);
      }
    }
  }
  r.mxcsr = 0x1f80 | static_cast<uint32_t>(random() & 0xe040);
  if (chance(random, 8)) r.mxcsr &= ~static_cast<uint32_t>(random() & 0x1f80);
  r.fcw = static_cast<uint16_t>(0x37f ^ (chance(random, 30) ? random() & 0xf00 : 0));
  if ((r.fcw & 0x300) == 0x100) r.fcw |= 0x200;  // a reserved precision
  if (chance(random, 5)) r.fcw &= static_cast<uint16_t>(~(random() & 0x3f));
  r.fsw = static_cast<uint16_t>(random() & 0x7f00);
  r.ftw = chance(random, 50) ? 0xff : static_cast<uint8_t>(random());
  for (auto& st : r.st) {
    long double number = static_cast<long double>(static_cast<int64_t>(random() >> below(random, 63))) / 64;
    if (chance(random, 10)) number = 0;
    __builtin_memcpy(st.data(), &number, 10);
    if (chance(random, 10))
      for (auto& byte : st) byte = static_cast<uint8_t>(random());
  }
  return r;
}

}  // namespace

std::vector<uint8_t> initial_memory(uint64_t seed, size_t size) {
  std::vector<uint8_t> memory(size);
  uint64_t state = seed | 1;
  for (size_t at = 0; at < size; at += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    __builtin_memcpy(&memory[at], &state, 8);
  }
  return memory;
}

Case generate(std::mt19937_64& random, const x86::CpuModel& model) {
  Case test;
  test.start = random_registers(random);
  test.data_seed = random();
  const unsigned count = chance(random, 60) ? 1 : 1 + static_cast<unsigned>(below(random, 8));
  for (unsigned made = 0; made < count;) {
    const std::vector<uint8_t> bytes = random_bytes(random);
    Decoded decoded;
    if (x86::decode(bytes, x86::CodeSize::k64, decoded) != x86::DecodeStatus::kOk) continue;
    if (!runnable(decoded) || !model.has(decoded.instruction) || !aimed(decoded) || undefined_result(decoded)) continue;
    // An undefined flag must not be read by what follows.
    if (reads_flags(decoded, test.undefined_flags)) continue;
    const auto* changed = decoded.instruction.cpu_flags;
    if (changed) test.undefined_flags &= ~static_cast<uint64_t>(changed->modified | changed->set_0 | changed->set_1);
    test.undefined_flags |= undefined_flags(decoded);
    test.code.insert(test.code.end(), bytes.begin(), bytes.begin() + decoded.instruction.length);
    ++made;
  }
  test.code.push_back(0xcc);
  return test;
}

std::string listing(const Case& test) {
  std::string text;
  for (size_t at = 0; at < test.code.size();) {
    const std::span<const uint8_t> rest(test.code.data() + at, test.code.size() - at);
    Decoded decoded;
    const bool good = x86::decode(rest, x86::CodeSize::k64, decoded) == x86::DecodeStatus::kOk;
    const size_t length = good ? decoded.instruction.length : 1;
    text += fmt::format("  {:#x}  {:02x}  {}\n", kCode + at, fmt::join(rest.first(length), ""),
                        x86::disassemble(rest, x86::CodeSize::k64, kCode + at));
    at += length;
  }
  return text;
}

}  // namespace skerry::insn_fuzz
