#include "generator.hpp"

#include <algorithm>
#include <cstring>

#include "random.hpp"
#include "undefined.hpp"

namespace skerry::fuzz {

using namespace x86;

namespace {

constexpr unsigned kLongest = 15;

// Integers at the edges of the operand sizes.
constexpr uint64_t kEdges[] = {0, 1, 2, 7, 8, 31, 32, 63, 64, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff,
                               0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, ~uint64_t{0}};

constexpr uint32_t kFloats[] = {0, 0x80000000, 1, 0x807fffff, 0x00800000, 0x3f800000, 0xbf800000, 0x3fc00000, 0x40490fdb,
                                0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0x4f000000, 0xcf000000};
constexpr uint64_t kDoubles[] = {0, 0x8000000000000000, 1, 0x800fffffffffffff, 0x0010000000000000, 0x3ff0000000000000,
                                 0xbff8000000000000, 0x7fefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000,
                                 0x7ff8000000000000, 0x7ff0000000000001, 0x43e0000000000000, 0xc1e0000000000000};

// x87 values: sign and exponent, significand. Among them a pseudo-denormal, an unnormal and a pseudo-infinity, which the
// processor takes for invalid (Intel SDM vol. 1, 8.2.2).
constexpr X87::Register kExtended[] = {
    {0, 0},                  {0, 0x8000},                  {0x8000000000000000, 0x3fff}, {0xc90fdaa22168c235, 0x4000},
    {0x8000000000000000, 0xbfff}, {0x8000000000000000, 0x7fff}, {0x8000000000000000, 0xffff}, {0xc000000000000000, 0xffff},
    {0xa000000000000000, 0x7fff}, {1, 0},                  {0x8000000000000000, 0},      {0x4000000000000000, 0x4000},
    {0, 0x7fff},             {0xffffffffffffffff, 0x7ffe}, {0x8000000000000000, 1},      {0xfffffffffffffffe, 0x403e}};

// An address where something is worth testing: anywhere in the data, or near a border of pages.
uint64_t interesting_address(Random& random) {
  constexpr uint64_t kBorders[] = {kDataBase, kDataBase + kPage, kReadOnlyBase, kDataBase + kDataSize};
  if (random.percent(60)) {
    const uint64_t anywhere = kDataBase + 64 + random.below(kReadOnlyBase - kDataBase - 256);
    return random.percent(70) ? anywhere & ~uint64_t{31} : anywhere;
  }
  const uint64_t border = random.percent(60) ? kBorders[1] : random.pick(kBorders);
  return border + static_cast<uint64_t>(random.between(-40, 24));
}

uint64_t random_integer(Random& random) {
  switch (random.below(4)) {
    case 0: return random.pick(kEdges);
    case 1: return random.below(64);
    case 2: return random.next() >> random.below(64);
    default: return random.next();
  }
}

// The state to begin with -------------------------------------------------------------------------------------------------

void random_vector(Random& random, Ymm& to) {
  const uint64_t kind = random.below(6);
  for (unsigned n = 0; n < 4; ++n) {
    uint64_t word = random.next();
    if (kind == 0) word = random.pick(kDoubles);
    if (kind == 1) word = random.pick(kFloats) | static_cast<uint64_t>(random.pick(kFloats)) << 32;
    if (kind == 2) word = random.below(512) | random.below(512) << 32;  // indices of a gather
    if (kind == 3) word &= 0x807f807f807f807f;
    if (kind == 4) word = 0x3ff0000000000000 + (word >> 12) % (uint64_t{1} << 40);
    std::memcpy(to.data() + 8 * n, &word, 8);
  }
}

void random_floating_point(Random& random, Registers& to) {
  X87& x87 = to.x87;
  constexpr uint16_t kAllMasked = 0x3f, kReserved = 0x40;
  if (random.percent(40)) x87.fcw = static_cast<uint16_t>((random.next() & 0xf3f) | kReserved);
  const uint16_t flags = static_cast<uint16_t>(random.next() & 0x7f & (random.percent(60) ? 0 : 0x7f) & (x87.fcw & kAllMasked));
  x87.fsw = static_cast<uint16_t>((random.percent(40) ? random.next() & 0x7f00 : 0) | flags);
  x87.ftw = random.percent(40) ? 0xff : random.percent(50) ? 0 : static_cast<uint8_t>(random.next());
  for (X87::Register& st : x87.st)
    st = random.percent(50) ? random.pick(kExtended)
                            : X87::Register{random.next() | uint64_t{1} << 63, static_cast<uint16_t>(0x3ff0 + random.below(64))};
  to.mxcsr = 0x1f80;
  if (random.percent(40)) to.mxcsr = static_cast<uint32_t>(random.next() & 0xffff & (random.percent(60) ? ~0x0u : ~0x1f80u));
  if (random.percent(60)) to.mxcsr |= 0x1f80;
  for (Ymm& ymm : to.ymm) random_vector(random, ymm);
  if (random.percent(50)) {  // as behind VZEROUPPER; but for one of them, at times
    const uint64_t kept = random.below(2 * std::size(to.ymm));
    for (uint64_t n = 0; n < std::size(to.ymm); ++n)
      if (n != kept) std::memset(to.ymm[n].data() + 16, 0, 16);
  }
}

void random_registers(Random& random, Case& test) {
  Registers& r = test.registers;
  const bool wide = test.mode == CodeSize::k64;
  for (unsigned n = 0; n < 16; ++n) {
    const bool pointer = random.percent(n == kRsi || n == kRdi ? 75 : n == kRcx ? 25 : 50);
    r.gpr[n] = pointer ? interesting_address(random) : random_integer(random);
    if (n == kRcx && random.percent(60)) r.gpr[n] = random.below(20);
    if (!wide && n < 8) r.gpr[n] = static_cast<uint32_t>(r.gpr[n]);
    if (!wide && n >= 8) r.gpr[n] = 0;
  }
  r.gpr[kRsp] = kStackBase + kPage + static_cast<uint64_t>(random.between(-128, 128)) * 8;
  if (random.percent(5)) r.gpr[kRsp] += random.below(8);
  if (random.percent(3)) r.gpr[kRsp] = kStackBase + random.below(24);
  const uint64_t free = flags::kStatus | (random.percent(15) ? flags::kDf : 0);
  r.rflags = (random.next() & free) | flags::kFixed1 | flags::kIf;
  random_floating_point(random, r);
}

// One instruction ---------------------------------------------------------------------------------------------------------

enum class Map : uint8_t { kOne, kTwo, k38, k3a, kX87, kVex };

class Maker {
 public:
  Maker(Random& random, const Case& test) : random_(random), registers_(test.registers), wide_(test.mode == CodeSize::k64) {
    for (unsigned n = 0; n < (wide_ ? 16 : 8); ++n)
      pointer_[n] = n == kRsp || (registers_.gpr[n] >= kDataBase - 64 && registers_.gpr[n] < kDataBase + kDataSize + 64);
  }

  // Bytes that may be an instruction, more than it has.
  std::vector<uint8_t> candidate() {
    bytes_.clear();
    const Map map = pick_map();
    if (map == Map::kVex) return vex();
    prefixes(map);
    uint8_t opcode = static_cast<uint8_t>(random_.next());
    switch (map) {
      case Map::kTwo: bytes_.push_back(0x0f); break;
      case Map::k38: bytes_.insert(bytes_.end(), {0x0f, 0x38}); break;
      case Map::k3a: bytes_.insert(bytes_.end(), {0x0f, 0x3a}); break;
      case Map::kX87: opcode = static_cast<uint8_t>(0xd8 + random_.below(8)); break;
      default: break;
    }
    bytes_.push_back(opcode);
    if (map == Map::kOne && opcode >= 0xa0 && opcode <= 0xa3) return direct_offset();
    modrm();
    immediate();
    return bytes_;
  }

  // The registers that an accepted instruction has changed are no pointers any more.
  void accepted(const Decoded& decoded) {
    for (unsigned n = 0; n < decoded.instruction.operand_count; ++n) {
      const ZydisDecodedOperand& operand = decoded.operands[n];
      if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER || !(operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) continue;
      const ZyanI8 id = ZydisRegisterGetId(operand.reg.value);
      const ZydisRegisterClass kind = ZydisRegisterGetClass(operand.reg.value);
      if ((kind == ZYDIS_REGCLASS_GPR64 || kind == ZYDIS_REGCLASS_GPR32 || kind == ZYDIS_REGCLASS_GPR16) && id != kRsp)
        pointer_[id & 15] = false;
    }
  }

 private:
  Map pick_map() {
    constexpr Map kMaps[] = {Map::kOne, Map::kOne, Map::kOne, Map::kOne, Map::kTwo, Map::kTwo, Map::kTwo, Map::kTwo,
                             Map::k38,  Map::k3a,  Map::kX87, Map::kX87, Map::kVex, Map::kVex, Map::kVex};
    return random_.pick(kMaps);
  }

  void prefixes(Map map) {
    const bool mandatory = map == Map::kTwo || map == Map::k38 || map == Map::k3a;
    if (random_.percent(mandatory ? 40 : 15)) bytes_.push_back(0x66);
    if (random_.percent(3)) bytes_.push_back(0x67);
    if (random_.percent(mandatory ? 18 : 6)) bytes_.push_back(0xf3);
    if (random_.percent(mandatory ? 12 : 4)) bytes_.push_back(0xf2);
    if (random_.percent(map == Map::kOne || map == Map::kTwo ? 5 : 0)) bytes_.push_back(0xf0);
    constexpr uint8_t kSegments[] = {0x65, 0x2e, 0x36, 0x3e, 0x26};
    if (random_.percent(4)) bytes_.push_back(random_.pick(kSegments));
    rex_ = wide_ && random_.percent(55) ? static_cast<uint8_t>(0x40 | random_.below(16)) : 0;
    if (rex_) bytes_.push_back(rex_);
  }

  std::vector<uint8_t> vex() {
    const uint8_t map = static_cast<uint8_t>(1 + random_.below(3));
    const uint8_t pp = static_cast<uint8_t>(random_.below(4)), length = static_cast<uint8_t>(random_.below(2));
    const uint8_t extension = wide_ ? static_cast<uint8_t>(random_.below(8)) : 0;  // R, X, B
    const bool none = random_.percent(25);  // many instructions have no second source
    const uint8_t second = none ? 0xf : static_cast<uint8_t>(random_.below(16) | (wide_ ? 0 : 8));
    const uint8_t w = static_cast<uint8_t>(random_.below(4) == 0);
    if (random_.percent(3)) bytes_.push_back(0x67);
    if (random_.percent(2)) bytes_.push_back(0x65);
    rex_ = extension;
    if (map == 1 && !(extension & 3) && !w) {
      bytes_.push_back(0xc5);
      bytes_.push_back(static_cast<uint8_t>((~extension >> 2 & 1) << 7 | second << 3 | length << 2 | pp));
    } else {
      bytes_.push_back(0xc4);
      bytes_.push_back(static_cast<uint8_t>((~extension & 7) << 5 | map));
      bytes_.push_back(static_cast<uint8_t>(w << 7 | second << 3 | length << 2 | pp));
    }
    bytes_.push_back(static_cast<uint8_t>(random_.next()));
    modrm();
    immediate();
    return bytes_;
  }

  void dword(uint32_t value) {
    for (unsigned n = 0; n < 4; ++n) bytes_.push_back(static_cast<uint8_t>(value >> 8 * n));
  }

  std::vector<uint8_t> direct_offset() {
    const uint64_t address = interesting_address(random_);
    dword(static_cast<uint32_t>(address));
    dword(static_cast<uint32_t>(address >> 32));
    return bytes_;
  }

  int pick_pointer() {
    for (unsigned tries = 0; tries < 40; ++tries) {
      const unsigned n = static_cast<unsigned>(random_.below(wide_ ? 16 : 8));
      // The extension bit is chosen already.
      if (pointer_[n] && (n >= 8) == static_cast<bool>(rex_ & 1)) return static_cast<int>(n & 7);
    }
    return -1;
  }

  uint8_t modrm_byte(unsigned mod, unsigned rm) { return static_cast<uint8_t>(mod << 6 | reg_ << 3 | rm); }

  void displacement(unsigned mod) {
    if (mod == 1) bytes_.push_back(static_cast<uint8_t>(random_.percent(60) ? random_.between(-4, 4) * 16 : random_.next()));
    if (mod == 2) dword(static_cast<uint32_t>(random_.percent(80) ? random_.between(-600, 600) : random_.between(-9000, 9000)));
  }

  void modrm() {
    reg_ = static_cast<unsigned>(random_.below(8));
    const int base = pick_pointer();
    const uint64_t form = random_.below(20);
    if (form < 9) {
      bytes_.push_back(static_cast<uint8_t>(0xc0 | reg_ << 3 | random_.below(8)));
    } else if (form < 17 && base >= 0) {
      const bool needs_sib = base == 4 || random_.percent(30);
      unsigned mod = static_cast<unsigned>(random_.below(3));
      if (mod == 0 && base == 5) mod = 1;
      bytes_.push_back(modrm_byte(mod, needs_sib ? 4 : static_cast<unsigned>(base)));
      if (needs_sib) bytes_.push_back(static_cast<uint8_t>(random_.below(4) << 6 | index() << 3 | static_cast<unsigned>(base)));
      displacement(mod);
    } else if (form < 19) {
      absolute();
    } else {
      bytes_.push_back(static_cast<uint8_t>(random_.next()));
      for (unsigned n = 0; n < 5; ++n) bytes_.push_back(static_cast<uint8_t>(random_.next()));
    }
  }

  // None, or a register with a small value if there is one.
  unsigned index() {
    for (unsigned tries = 0; tries < 6; ++tries) {
      const unsigned n = static_cast<unsigned>(random_.below(8)) | (rex_ & 2 ? 8 : 0);
      if (n != 4 && registers_.gpr[n] < 256) return n & 7;
    }
    return random_.percent(70) && !(rex_ & 2) ? 4 : static_cast<unsigned>(random_.below(8));
  }

  // An address of its own, through SIB or relative to RIP.
  void absolute() {
    const uint64_t address = interesting_address(random_);
    if (wide_ && random_.percent(50)) {
      bytes_.push_back(modrm_byte(0, 5));
      dword(static_cast<uint32_t>(address - (kCodeBase + kPage)));
      return;
    }
    bytes_.push_back(modrm_byte(0, wide_ ? 4 : 5));
    if (wide_) bytes_.push_back(0x25);
    dword(static_cast<uint32_t>(address));
  }

  void immediate() {
    const uint64_t value = random_integer(random_);
    for (unsigned n = 0; n < 8; ++n) bytes_.push_back(static_cast<uint8_t>(value >> 8 * n));
  }

  Random& random_;
  const Registers& registers_;
  const bool wide_;
  bool pointer_[16] = {};
  std::vector<uint8_t> bytes_;
  uint8_t rex_ = 0;    // X and B as chosen
  unsigned reg_ = 0;
};

// The sequence ------------------------------------------------------------------------------------------------------------

struct Jump {
  size_t end;          // of the instruction; its displacement is before
  unsigned size;       // of the displacement
  size_t target;       // number of the instruction
};

bool is_relative_jump(const Decoded& decoded) {
  return decoded.instruction.operand_count_visible > 0 && decoded.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
         decoded.operands[0].imm.is_relative;
}

void resolve(Case& test, std::span<const Jump> jumps, std::span<const size_t> starts) {
  for (const Jump& jump : jumps) {
    const size_t target = jump.target < starts.size() ? starts[jump.target] : test.code.size();
    const uint64_t distance = target - jump.end;
    for (unsigned n = 0; n < jump.size; ++n) test.code[jump.end - jump.size + n] = static_cast<uint8_t>(distance >> 8 * n);
  }
}

// Some kinds are rare enough in the opcode maps, and interesting, or frequent and dull.
bool wanted(Random& random, const Decoded& decoded) {
  switch (decoded.instruction.meta.category) {
    case ZYDIS_CATEGORY_NOP: case ZYDIS_CATEGORY_WIDENOP: case ZYDIS_CATEGORY_PREFETCH: case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_IO: case ZYDIS_CATEGORY_IOSTRINGOP: case ZYDIS_CATEGORY_INTERRUPT: case ZYDIS_CATEGORY_RET:
      return random.percent(12);
    case ZYDIS_CATEGORY_COND_BR: case ZYDIS_CATEGORY_PUSH: case ZYDIS_CATEGORY_POP: return random.percent(40);
    default: return !(decoded.instruction.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) || random.percent(10);
  }
}

void add_instructions(Random& random, Case& test) {
  Maker maker(random, test);
  const uint64_t count = 1 + random.below(12);
  std::vector<Jump> jumps;
  std::vector<size_t> starts;
  for (unsigned tries = 0; starts.size() < count && tries < 2000; ++tries) {
    std::vector<uint8_t> bytes = maker.candidate();
    if (bytes.size() > kLongest) bytes.resize(kLongest);
    Decoded decoded;
    if (decode(bytes, test.mode, decoded) != DecodeStatus::kOk) continue;
    if (!may_be_tested(decoded) || !wanted(random, decoded)) continue;
    starts.push_back(test.code.size());
    test.code.insert(test.code.end(), bytes.begin(), bytes.begin() + decoded.instruction.length);
    if (is_relative_jump(decoded))
      jumps.push_back({test.code.size(), decoded.instruction.raw.imm[0].size / 8u, starts.size() + random.below(3)});
    maker.accepted(decoded);
  }
  resolve(test, jumps, starts);
}

// Sometimes across two pages, sometimes up to the last byte.
void place(Random& random, Case& test) {
  const uint64_t size = test.code.size() + 1;
  uint64_t offset = random.below(kPage);
  if (random.percent(15)) offset = kPage - random.below(size);
  if (random.percent(5)) offset = kCodeSize - size;
  test.registers.rip = kCodeBase + offset;
}

}  // namespace

Case generate(uint64_t seed) {
  Random random(seed);
  for (;;) {
    Case test;
    test.mode = random.percent(85) ? CodeSize::k64 : CodeSize::k32;
    test.memory_seed = random.next();
    random_registers(random, test);
    add_instructions(random, test);
    place(random, test);
    if (!test.code.empty() && !depends_on_undefined(analyse(test))) return test;
  }
}

}  // namespace skerry::fuzz
