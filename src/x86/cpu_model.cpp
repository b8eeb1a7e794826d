#include "x86/cpu_model.hpp"

#include <cpuid.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <vector>

#include "base/units.hpp"
#include "x86/cpu_features.hpp"
#include "x86/cpu_state.hpp"

namespace skerry::x86 {

namespace {

using enum CpuidRegister;

constexpr uint64_t kXcr0X87 = 1, kXcr0Sse = 2, kXcr0Avx = 4, kXcr0Avx512 = 0xe0;
constexpr uint32_t kHighestBasic = 0x16, kHighestExtended = 0x80000008, kHighestOfAmd = 0x80000021;
constexpr uint32_t kKvmBase = 0x40000000, kTimingLeaf = 0x40000010;
constexpr uint32_t kApicTimerHz = 1'000'000'000;

struct Level {
  std::string_view name;
  uint8_t level;
};
constexpr uint8_t kForProcessors = 4;  // the level
constexpr std::array kLevels = {Level{"x86-64-v1", 1}, Level{"x86-64-v2", 2}, Level{"x86-64-v3", 3}, Level{"x86-64-v4", kForProcessors},
                                Level{"host", 9}};

// Each leaf is asked for once: where Skerry is itself in a VM, each CPUID is an exit, which takes 10 us and more.
class HostCpuid {
 public:
  CpuidResult get(uint32_t leaf, uint32_t subleaf) {
    const std::scoped_lock lock(mutex_);
    const uint32_t first = leaf & 0x80000000;
    return leaf == first || leaf <= ask(first, 0).eax ? ask(leaf, subleaf) : CpuidResult{};
  }

 private:
  struct Answer {
    uint32_t leaf, subleaf;
    CpuidResult value;
  };

  CpuidResult ask(uint32_t leaf, uint32_t subleaf) {
    for (const Answer& known : answers_)
      if (known.leaf == leaf && known.subleaf == subleaf) return known.value;
    CpuidResult r;
    __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
    answers_.push_back({leaf, subleaf, r});
    return r;
  }

  std::mutex mutex_;
  std::vector<Answer> answers_;
};

CpuidResult host_cpuid(uint32_t leaf, uint32_t subleaf) {
  static HostCpuid host;
  return host.get(leaf, subleaf);
}

uint32_t& register_of(CpuidResult& r, CpuidRegister reg) {
  switch (reg) {
    case CpuidRegister::kEax: return r.eax;
    case CpuidRegister::kEbx: return r.ebx;
    case CpuidRegister::kEcx: return r.ecx;
    default: return r.edx;
  }
}

// AVX is there only where the host's operating system saves its registers. SDM vol. 1, 14.3 and 15.2.
bool host_saves(uint64_t components) {
  constexpr uint32_t kOsxsave = 1u << 27;
  if (!(host_cpuid(1, 0).ecx & kOsxsave)) return false;
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & components) == components;
}

bool host_has(const Feature& feature) {
  CpuidResult r = host_cpuid(feature.where.leaf, feature.where.subleaf);
  if (!(register_of(r, feature.where.reg) >> feature.where.bit & 1)) return false;
  if (feature.provided == Provided::kByProcessor) return host_saves(kXcr0Sse | kXcr0Avx | kXcr0Avx512);
  return feature.provided != Provided::kByHostAvx || host_saves(kXcr0Sse | kXcr0Avx);
}

void put_text(CpuidResult& r, std::string_view text, std::array<CpuidRegister, 4> order, unsigned count) {
  for (unsigned n = 0; n < count; ++n) {
    char part[4] = {};
    for (unsigned i = 0; i < 4 && 4 * n + i < text.size(); ++i) part[i] = text[4 * n + i];
    std::memcpy(&register_of(r, order[n]), part, 4);
  }
}

unsigned bits_for(unsigned count) {
  unsigned width = 0;
  while ((1u << width) < count) ++width;
  return width;
}

}  // namespace

std::vector<std::string_view> CpuModel::names() {
  std::vector<std::string_view> names;
  for (const Level& level : kLevels) names.push_back(level.name);
  return names;
}

Result<CpuModel> CpuModel::create(std::string_view name, unsigned vcpus, uint64_t tsc_hz) {
  const auto level = std::find_if(kLevels.begin(), kLevels.end(), [&](const Level& l) { return l.name == name; });
  if (level == kLevels.end())
    return skerry::error("unknown CPU model '{}'; there are: {}", name, fmt::join(names(), ", "));

  CpuModel model;
  model.name_ = name;
  model.vcpus_ = vcpus;
  model.tsc_hz_ = tsc_hz;
  const bool as_host = name == "host";

  std::vector<std::string_view> missing;
  for (const Feature& feature : known_features()) {
    if (feature.level > level->level) continue;
    if (feature.provided == Provided::kByProcessor && level->level != kForProcessors) continue;
    if (feature.provided == Provided::kByKernel) continue;
    if (feature.provided != Provided::kAlways && feature.provided != Provided::kBySoftware && !host_has(feature)) {
      if (!as_host) missing.push_back(feature.name);
      continue;
    }
    model.add(feature);
  }
  if (!missing.empty())
    return skerry::error("CPU model '{}' needs {}, which this processor lacks; use --cpu host", name,
                         fmt::join(missing, ", "));
  as_host ? model.identify_as_host() : model.identify();
  return model;
}

void CpuModel::add(const Feature& feature) {
  const auto leaf = std::find_if(leaves_.begin(), leaves_.end(), [&](const Leaf& l) {
    return l.leaf == feature.where.leaf && l.subleaf == feature.where.subleaf;
  });
  Leaf& to = leaf != leaves_.end() ? *leaf : leaves_.emplace_back(Leaf{feature.where.leaf, feature.where.subleaf, {}});
  register_of(to.value, feature.where.reg) |= 1u << feature.where.bit;
}

void CpuModel::identify() {
  vendor_ = "GenuineIntel";
  brand_ = "Skerry " + name_;
  signature_ = intel_signature();
}

// The host's own.
void CpuModel::identify_as_host() {
  const CpuidResult leaf0 = host_cpuid(0, 0);
  for (const uint32_t part : {leaf0.ebx, leaf0.edx, leaf0.ecx}) vendor_.append(reinterpret_cast<const char*>(&part), 4);
  amd_ = vendor_ == "AuthenticAMD" || vendor_ == "HygonGenuine";
  for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    const CpuidResult r = host_cpuid(leaf, 0);
    for (const uint32_t part : {r.eax, r.ebx, r.ecx, r.edx}) brand_.append(reinterpret_cast<const char*>(&part), 4);
  }
  signature_ = vendor_ == "GenuineIntel" ? intel_signature() : host_cpuid(1, 0).eax & 0x0fff3fff;
}

// Programs choose code by family and model too, and then do not ask for features (GCC's target_clones with "arch="): it is
// the newest processor's of which compilers take nothing for granted that is not offered.
uint32_t CpuModel::intel_signature() const {
  constexpr std::array kHaswell = {"avx2", "fma", "bmi1", "bmi2", "abm", "movbe", "f16c", "rdrand", "fsgsbase", "pclmulqdq", "xsaveopt"};
  constexpr std::array kBroadwell = {"adx", "rdseed", "3dnowprefetch"};
  const auto offered = [&](std::string_view name) { return has_named(name); };
  if (!std::ranges::all_of(kHaswell, offered)) return 0x00000f61;  // the last family before 6
  return std::ranges::all_of(kBroadwell, offered) ? 0x000306d4 : 0x000306c3;
}

CpuidResult CpuModel::features(uint32_t leaf, uint32_t subleaf) const {
  for (const Leaf& known : leaves_)
    if (known.leaf == leaf && known.subleaf == subleaf) return known.value;
  return {};
}

// Leaf 1: brand index 0, CLFLUSH of 64 bytes, logical processors in the package, initial APIC ID.
CpuidResult CpuModel::identity(const Dynamic& dynamic) const {
  constexpr uint32_t kHtt = 1u << 28, kOsxsave = 1u << 27, kApic = 1u << 9;
  CpuidResult r = features(1, 0);
  r.eax = signature_;
  r.ebx = 8u << 8 | std::min(1u << bits_for(vcpus_), 255u) << 16 | (dynamic.apic_id & 0xff) << 24;
  if (vcpus_ > 1) r.edx |= kHtt;  // the count in EBX is valid
  if (dynamic.cr4 & cr4::kOsxsave) r.ecx |= kOsxsave;
  if (!dynamic.apic_enabled) r.edx &= ~kApic;
  return r;
}

// Leaf 4, deterministic cache parameters: 32 KiB data and code, 2 MiB second level, each core its own.
CpuidResult CpuModel::caches(uint32_t subleaf) const {
  struct Cache {
    uint32_t type, level, ways, sets;
  };
  constexpr std::array kCaches = {Cache{1, 1, 8, 64}, Cache{2, 1, 8, 64}, Cache{3, 2, 16, 2048}};
  if (subleaf >= kCaches.size() || amd_) return {};
  const Cache& cache = kCaches[subleaf];
  CpuidResult r;
  r.eax = cache.type | cache.level << 5 | 1u << 8 | std::min((1u << bits_for(vcpus_)) - 1, 63u) << 26;
  r.ebx = 63 | (cache.ways - 1) << 22;
  r.ecx = cache.sets - 1;
  return r;
}

// Leaf 0xb: one thread per core; all cores in one package.
CpuidResult CpuModel::topology(uint32_t subleaf, const Dynamic& dynamic) const {
  constexpr uint32_t kThreads = 1, kCores = 2;
  CpuidResult r;
  r.ecx = subleaf & 0xff;
  r.edx = dynamic.apic_id;
  if (subleaf == 0) {
    r.ebx = 1;
    r.ecx |= kThreads << 8;
  } else if (subleaf == 1) {
    r.eax = bits_for(vcpus_);
    r.ebx = vcpus_;
    r.ecx |= kCores << 8;
  }
  return r;
}

// Leaf 0xd: where XSAVE puts what, and the size of its area by what XCR0 enables now.
CpuidResult CpuModel::extended_state(uint32_t subleaf, const Dynamic& dynamic) const {
  constexpr uint32_t kLegacyArea = 576, kAvxSize = 256;
  const uint64_t allowed = xcr0_allowed();
  CpuidResult r = features(0xd, subleaf);
  if (subleaf == 0 && allowed != 0) {
    r.eax = static_cast<uint32_t>(allowed);
    r.ebx = kLegacyArea + (dynamic.xcr0 & kXcr0Avx ? kAvxSize : 0);
    r.ecx = kLegacyArea + (allowed & kXcr0Avx ? kAvxSize : 0);
    // The other parts are where this processor has them.
    for (unsigned component = 5; component <= 7; ++component) {
      if (!(allowed >> component & 1)) continue;
      const CpuidResult part = host_cpuid(0xd, component);
      r.ecx = std::max(r.ecx, part.ebx + part.eax);
      if (dynamic.xcr0 >> component & 1) r.ebx = std::max(r.ebx, part.ebx + part.eax);
    }
  } else if (subleaf == 2 && (allowed & kXcr0Avx)) {
    r.eax = kAvxSize;
    r.ebx = kLegacyArea;
  } else if (subleaf >= 5 && subleaf <= 7 && (allowed >> subleaf & 1)) {
    r = host_cpuid(0xd, subleaf);
  }
  return r;
}

// Linux, Documentation/virt/kvm/x86/cpuid.rst; the leaf with the frequencies is VMware's and is known by most kernels.
CpuidResult CpuModel::hypervisor(uint32_t leaf) const {
  constexpr uint32_t kClockSource = 1u << 0, kNopIoDelay = 1u << 1, kClockSource2 = 1u << 3, kClockStable = 1u << 24;
  CpuidResult r;
  switch (leaf) {
    case kKvmBase:
      r.eax = kTimingLeaf;
      put_text(r, "KVMKVMKVM", {kEbx, kEcx, kEdx, kEax}, 3);
      break;
    case kKvmBase + 1: r.eax = kClockSource | kNopIoDelay | kClockSource2 | kClockStable | features(leaf, 0).eax; break;
    case kTimingLeaf:
      r.eax = static_cast<uint32_t>(tsc_hz_ / 1000);
      r.ebx = static_cast<uint32_t>(kApicTimerHz / 1000);
      break;
    default: break;
  }
  return r;
}

CpuidResult CpuModel::extended(uint32_t leaf) const {
  const uint32_t highest = amd_ ? kHighestOfAmd : kHighestExtended;
  if (leaf > highest) return {};
  CpuidResult r = features(leaf, 0);
  switch (leaf) {
    case 0x80000000:
      r.eax = highest;
      if (amd_) put_text(r, vendor_, {kEbx, kEdx, kEcx, kEax}, 3);
      break;
    case 0x80000001:
      if (amd_) {
        r.eax = signature_;
        r.ecx |= vcpus_ > 1 ? 1u << 1 : 0;  // CmpLegacy: the logical processors of leaf 1 are cores
      }
      break;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
      const size_t from = (leaf - 0x80000002) * 16;
      if (from < brand_.size()) put_text(r, std::string_view(brand_).substr(from, 16), {kEax, kEbx, kEcx, kEdx}, 4);
      break;
    }
    case 0x80000005:  // AMD: first-level caches of 32 KiB, 8 ways, lines of 64 bytes
      if (amd_) r.ecx = r.edx = 64 | 1u << 8 | 8u << 16 | 32u << 24;
      break;
    case 0x80000006: r.ecx = 64 | 8u << 12 | 2048u << 16; break;  // 2 MiB second level, 16 ways
    case 0x80000007: r.edx = 1u << 8; break;                      // invariant TSC
    case 0x80000008:
      r.eax = physical_address_bits_ | 48u << 8;
      if (amd_) r.ecx = (std::min(vcpus_, 256u) - 1) | bits_for(vcpus_) << 12;
      break;
    default: break;
  }
  return r;
}

CpuidResult CpuModel::cpuid(uint32_t leaf, uint32_t subleaf, const Dynamic& dynamic) const {
  CpuidResult r;
  if (leaf >= 0x80000000) return extended(leaf);
  if (leaf >= kKvmBase) return hypervisor(leaf);
  // Beyond the highest leaf: the data of the highest basic one (SDM vol. 2, CPUID).
  switch (std::min(leaf, kHighestBasic)) {
    case 0:
      r.eax = kHighestBasic;
      put_text(r, vendor_, {kEbx, kEdx, kEcx, kEax}, 3);
      break;
    case 1: return identity(dynamic);
    case 2: r.eax = amd_ ? 0 : 0x0000ff01; break;  // one descriptor: see leaf 4
    case 4: return caches(subleaf);
    case 6: r.eax = 1u << 2; break;  // ARAT: the APIC timer runs always
    case 7:
      r = features(7, subleaf);
      if (subleaf == 0) r.eax = features(7, 2).edx ? 2 : 0;  // the highest
      break;
    case 0xb: return topology(subleaf, dynamic);
    case 0xd: return extended_state(subleaf, dynamic);
    case 0x15:  // TSC = crystal * EBX / EAX, with a crystal of the APIC timer's frequency
      r.eax = 1'000'000;
      r.ebx = static_cast<uint32_t>(tsc_hz_ / 1000);
      r.ecx = kApicTimerHz;
      break;
    case 0x16:
      r.eax = r.ebx = static_cast<uint32_t>(tsc_hz_ / 1'000'000);
      r.ecx = 100;
      break;
    default: break;
  }
  return r;
}

namespace {

// The feature that an instruction set of the decoding library belongs to; empty for what every x86-64 processor has,
// "-" for what the engine does not do.
std::string_view feature_of(ZydisISASet set) {
  switch (set) {
    case ZYDIS_ISA_SET_I86: case ZYDIS_ISA_SET_I186: case ZYDIS_ISA_SET_I286PROTECTED: case ZYDIS_ISA_SET_I286REAL:
    case ZYDIS_ISA_SET_I386: case ZYDIS_ISA_SET_I486: case ZYDIS_ISA_SET_I486REAL: case ZYDIS_ISA_SET_PENTIUMREAL:
    case ZYDIS_ISA_SET_PPRO: case ZYDIS_ISA_SET_CMOV: case ZYDIS_ISA_SET_FCMOV: case ZYDIS_ISA_SET_FAT_NOP:
    case ZYDIS_ISA_SET_X87: case ZYDIS_ISA_SET_LONGMODE: case ZYDIS_ISA_SET_PAUSE: case ZYDIS_ISA_SET_RDPMC:
    case ZYDIS_ISA_SET_CLFSH: case ZYDIS_ISA_SET_PREFETCH_NOP: case ZYDIS_ISA_SET_AMD:
    // Hints in the space of NOPs: without their feature they do nothing.
    case ZYDIS_ISA_SET_MPX: case ZYDIS_ISA_SET_CLDEMOTE: return "";
    case ZYDIS_ISA_SET_PENTIUMMMX: return "mmx";
    case ZYDIS_ISA_SET_FXSAVE: case ZYDIS_ISA_SET_FXSAVE64: return "fxsr";
    case ZYDIS_ISA_SET_SSE: case ZYDIS_ISA_SET_SSEMXCSR: case ZYDIS_ISA_SET_SSE_PREFETCH: return "sse";
    case ZYDIS_ISA_SET_SSE2: case ZYDIS_ISA_SET_SSE2MMX: return "sse2";
    case ZYDIS_ISA_SET_SSE3: case ZYDIS_ISA_SET_SSE3X87: return "pni";
    case ZYDIS_ISA_SET_SSSE3: case ZYDIS_ISA_SET_SSSE3MMX: return "ssse3";
    case ZYDIS_ISA_SET_SSE4: return "sse4_1";
    case ZYDIS_ISA_SET_SSE42: return "sse4_2";
    case ZYDIS_ISA_SET_POPCNT: return "popcnt";
    case ZYDIS_ISA_SET_LAHF: return "lahf_lm";
    case ZYDIS_ISA_SET_CMPXCHG16B: return "cx16";
    case ZYDIS_ISA_SET_AVX: return "avx";
    case ZYDIS_ISA_SET_AVX2: case ZYDIS_ISA_SET_AVX2GATHER: return "avx2";
    case ZYDIS_ISA_SET_AVXAES: return "aes";
    case ZYDIS_ISA_SET_AES: return "aes";
    case ZYDIS_ISA_SET_PCLMULQDQ: return "pclmulqdq";
    case ZYDIS_ISA_SET_FMA: return "fma";
    case ZYDIS_ISA_SET_F16C: return "f16c";
    case ZYDIS_ISA_SET_BMI1: return "bmi1";
    case ZYDIS_ISA_SET_BMI2: return "bmi2";
    case ZYDIS_ISA_SET_LZCNT: return "abm";
    case ZYDIS_ISA_SET_ADOX_ADCX: return "adx";
    case ZYDIS_ISA_SET_MOVBE: return "movbe";
    case ZYDIS_ISA_SET_RDRAND: return "rdrand";
    case ZYDIS_ISA_SET_RDSEED: return "rdseed";
    case ZYDIS_ISA_SET_SHA: return "sha_ni";
    case ZYDIS_ISA_SET_RDWRFSGS: return "fsgsbase";
    case ZYDIS_ISA_SET_INVPCID: return "invpcid";
    case ZYDIS_ISA_SET_RDTSCP: return "rdtscp";
    case ZYDIS_ISA_SET_RDPID: return "rdpid";
    case ZYDIS_ISA_SET_SMAP: return "smap";
    case ZYDIS_ISA_SET_CLFLUSHOPT: return "clflushopt";
    case ZYDIS_ISA_SET_CLWB: return "clwb";
    case ZYDIS_ISA_SET_XSAVE: return "xsave";
    case ZYDIS_ISA_SET_XSAVEOPT: return "xsaveopt";
    default: return "-";
  }
}

}  // namespace

bool CpuModel::has(const ZydisDecodedInstruction& instruction) const {
  // The decoder knows VEX forms of the scalar bit counts that only a long gone coprocessor had.
  if (instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX &&
      (instruction.mnemonic == ZYDIS_MNEMONIC_TZCNT || instruction.mnemonic == ZYDIS_MNEMONIC_LZCNT))
    return false;
  switch (instruction.mnemonic) {
    // Encodings that mean something else, or nothing, without their feature.
    case ZYDIS_MNEMONIC_TZCNT: case ZYDIS_MNEMONIC_LZCNT: case ZYDIS_MNEMONIC_ENDBR32: case ZYDIS_MNEMONIC_ENDBR64:
    case ZYDIS_MNEMONIC_RDSSPD: case ZYDIS_MNEMONIC_RDSSPQ: case ZYDIS_MNEMONIC_VMCALL: case ZYDIS_MNEMONIC_VMMCALL:
    case ZYDIS_MNEMONIC_PREFETCH: case ZYDIS_MNEMONIC_PREFETCHW: case ZYDIS_MNEMONIC_PREFETCHWT1: return true;
    default: break;
  }
  if (instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX || instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX ||
      instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP)
    return false;
  const std::string_view name = feature_of(instruction.meta.isa_set);
  if (name.empty()) return true;
  const Feature* feature = find_feature(name);
  return feature && has_feature(*feature);
}

bool CpuModel::has_feature(const Feature& feature) const {
  for (const Leaf& leaf : leaves_) {
    if (leaf.leaf != feature.where.leaf || leaf.subleaf != feature.where.subleaf) continue;
    CpuidResult value = leaf.value;
    return register_of(value, feature.where.reg) >> feature.where.bit & 1;
  }
  return false;
}

bool CpuModel::has_named(std::string_view name) const {
  const Feature* feature = find_feature(name);
  return feature && has_feature(*feature);
}

bool CpuModel::has_bmi1() const { return has_named("bmi1"); }
bool CpuModel::has_lzcnt() const { return has_named("abm"); }

uint64_t CpuModel::cr4_allowed() const {
  struct Bit {
    uint64_t bits;
    std::string_view feature;
  };
  constexpr std::array kBits = {
      Bit{cr4::kVme | cr4::kPvi, "vme"},     Bit{cr4::kTsd, "tsc"},       Bit{cr4::kDe, "de"},           Bit{cr4::kPse, "pse"},
      Bit{cr4::kPae, "pae"},     Bit{cr4::kMce, "mce"},       Bit{cr4::kPge, "pge"},         Bit{cr4::kOsfxsr, "fxsr"},
      Bit{cr4::kUmip, "umip"},   Bit{cr4::kOsxmmexcpt, "sse"}, Bit{cr4::kFsgsbase, "fsgsbase"}, Bit{cr4::kPcide, "pcid"},
      Bit{cr4::kSmep, "smep"},   Bit{cr4::kSmap, "smap"},     Bit{cr4::kOsxsave, "xsave"},
  };
  uint64_t allowed = cr4::kPce;  // RDPMC is there; its counters are not
  for (const Bit& bit : kBits)
    if (has_named(bit.feature)) allowed |= bit.bits;
  return allowed;
}

uint64_t CpuModel::efer_allowed() const { return efer::kSce | efer::kLme | efer::kLma | efer::kNxe; }

uint64_t CpuModel::xcr0_allowed() const {
  if (!has_named("xsave")) return 0;
  return kXcr0X87 | kXcr0Sse | (has_named("avx") ? kXcr0Avx : 0) | (for_processors() ? kXcr0Avx512 : 0);
}

bool CpuModel::for_processors() const { return has_named("avx512f"); }

std::vector<std::string_view> CpuModel::keep(const std::function<bool(const Feature&)>& wanted) {
  constexpr uint8_t kHostOnly = 9;
  std::vector<std::string_view> promised;
  for (const Feature& feature : known_features()) {
    if (!has_feature(feature) || wanted(feature)) continue;
    for (Leaf& leaf : leaves_)
      if (leaf.leaf == feature.where.leaf && leaf.subleaf == feature.where.subleaf)
        register_of(leaf.value, feature.where.reg) &= ~(1u << feature.where.bit);
    const bool of_level = feature.level < kHostOnly &&
                          (feature.level > 1 || (feature.provided != Provided::kAlways && feature.provided != Provided::kBySoftware));
    if (of_level && name_ != "host") promised.push_back(feature.name);
  }
  if (vendor_ == "GenuineIntel") signature_ = intel_signature();
  return promised;
}

}  // namespace skerry::x86
