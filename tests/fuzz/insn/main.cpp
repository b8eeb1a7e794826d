// Generated instruction sequences on every side, compared.
//
//   insn_fuzz --seed N --count N [--corpus DIR]     random cases; a failure is written to DIR as case-SEED
//   insn_fuzz --only SEED                           one case, with its listing
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/log.hpp"
#include "base/units.hpp"
#include "insn/testcase.hpp"
#include "x86/cpu_state.hpp"
#include "x86/exception.hpp"

namespace skerry::insn_fuzz {
namespace {

bool in_test_pages(uint64_t address) {
  return address - kData < kDataSize + 2 * kPage || address - kStack < kStackSize || address - kCode < kPage;
}

// What the manuals leave open when an instruction faults in its midst: the status flags of a repeated comparison (only
// the registers are kept for its restart), how much of an 80-bit operand over two pages was written, and which byte of a
// masked store CR2 names.
struct Open {
  bool flags = false, memory = false;
  bool offset = false;  // of CR2 in its page: which byte of a masked store is named
  bool fault = false;   // whether there is one: MASKMOVQ may fault on bytes that it does not store (SDM vol. 2)
};
Open left_open(const Case& test, const Outcome& native) {
  Open open;
  x86::Decoded decoded;
  const uint64_t offset = native.end.rip - kCode;
  if (native.vector != x86::kPageFault || offset >= test.code.size()) return open;
  if (x86::decode({test.code.data() + offset, test.code.size() - offset}, x86::CodeSize::k64, decoded) != x86::DecodeStatus::kOk)
    return open;
  open.flags = decoded.instruction.meta.category == ZYDIS_CATEGORY_STRINGOP;
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MASKMOVQ: case ZYDIS_MNEMONIC_MASKMOVDQU: case ZYDIS_MNEMONIC_VMASKMOVDQU:
      open.fault = open.offset = true;
      break;
    case ZYDIS_MNEMONIC_VMASKMOVPS: case ZYDIS_MNEMONIC_VMASKMOVPD: case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ: open.offset = true; break;
    default: break;
  }
  open.memory = decoded.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY && decoded.operands[0].size == 80;
  return open;
}

std::string differences(const Case& test, const Outcome& native, const Outcome& other) {
  const Open open = left_open(test, native);
  if (open.fault && other.vector != native.vector) return {};
  std::string text;
  const auto differ = [&](std::string_view what, auto a, auto b) {
    if (a != b) text += fmt::format("    {:8} processor {:#x}, interpreter {:#x}\n", what, a, b);
  };
  static constexpr std::array kNames = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  differ("vector", native.vector, other.vector);
  if (native.vector != x86::kBreakpoint) {
    // The kernel reports a non-canonical address of #GP and #SS alike; only #PF has an error code worth comparing.
    if (native.vector == x86::kPageFault) {
      // Outside of the test's pages the host may have something mapped that the program may not touch.
      const uint32_t kCompared = in_test_pages(native.cr2) ? 7 : 6;
      differ("error", native.error_code & kCompared, other.error_code & kCompared);
      const uint64_t exact = open.offset ? ~(kPage - 1) : ~uint64_t{0};
      differ("cr2", native.cr2 & exact, other.cr2 & exact);
    }
  }
  for (unsigned n = 0; n < 16; ++n) differ(kNames[n], native.end.gpr[n], other.end.gpr[n]);
  differ("rip", native.end.rip, other.end.rip);
  const uint64_t compared = x86::flags::kStatus | x86::flags::kDf;
  const uint64_t mask = compared & ~test.undefined_flags & ~(open.flags ? x86::flags::kStatus : 0);
  differ("rflags", native.end.rflags & mask, other.end.rflags & mask);
  differ("mxcsr", native.end.mxcsr, other.end.mxcsr);
  differ("fcw", native.end.fcw, other.end.fcw);
  differ("fsw", native.end.fsw, other.end.fsw);
  differ("ftw", native.end.ftw, other.end.ftw);
  for (unsigned n = 0; n < 16; ++n)
    if (native.end.ymm[n] != other.end.ymm[n])
      text += fmt::format("    ymm{} processor {:02x}, interpreter {:02x}\n", n, fmt::join(native.end.ymm[n], ""),
                          fmt::join(other.end.ymm[n], ""));
  for (unsigned n = 0; n < 8; ++n)
    if (native.end.st[n] != other.end.st[n])
      text += fmt::format("    st{} processor {:02x}, interpreter {:02x}\n", n, fmt::join(native.end.st[n], ""),
                          fmt::join(other.end.st[n], ""));
  for (size_t at = 0; at < native.memory.size() && !open.memory; ++at) {
    if (native.memory[at] == other.memory[at]) continue;
    text += fmt::format("    memory at {:#x}: processor {:02x}, interpreter {:02x}\n",
                        at < kDataSize ? kData + at : kStack + at - kDataSize, native.memory[at], other.memory[at]);
    break;
  }
  return text;
}

struct Run {
  const x86::CpuModel& model;
  Interpreted interpreted{model};

  // Every case has a seed of its own, so that a failure is one number.
  bool one(uint64_t seed, bool verbose) {
    std::mt19937_64 random(seed);
    const Case test = generate(random, model);
    const Outcome native = run_native(test), other = interpreted.run(test);
    const std::string text = differences(test, native, other);
    if (verbose) std::printf("%s", listing(test).c_str());
    if (text.empty()) return true;
    std::printf("insn_fuzz --only %llu: differs, mxcsr %#x fcw %#x fsw %#x\n%s%s", static_cast<unsigned long long>(seed),
                test.start.mxcsr, test.start.fcw, test.start.fsw, listing(test).c_str(), text.c_str());
    std::fflush(stdout);
    return false;
  }
};

uint64_t number(const char* text) {
  const auto value = parse_number(text);
  if (value) return *value;
  std::fprintf(stderr, "insn_fuzz: %s\n", value.error().message().c_str());
  std::exit(2);
}

int run(int argc, char** argv) {
  uint64_t seed = 1, count = 10'000, most = 20;
  std::string corpus;
  bool only = false;
  for (int n = 1; n + 1 < argc; n += 2) {
    if (!std::strcmp(argv[n], "--seed")) seed = number(argv[n + 1]);
    else if (!std::strcmp(argv[n], "--count")) count = number(argv[n + 1]);
    else if (!std::strcmp(argv[n], "--most")) most = number(argv[n + 1]);
    else if (!std::strcmp(argv[n], "--corpus")) corpus = argv[n + 1];
    else if (!std::strcmp(argv[n], "--only")) seed = number(argv[n + 1]), only = true;
    else return std::fprintf(stderr, "insn_fuzz: unknown option %s\n", argv[n]), 2;
  }
  const auto model = x86::CpuModel::create("host", 1, 1'000'000'000);
  if (!model) return std::fprintf(stderr, "insn_fuzz: %s\n", model.error().message().c_str()), 2;
  Run runner{*model};
  prepare_native();
  if (only) (void)log::enable("cpu");  // each exception that the interpreter raises
  if (only) return runner.one(seed, true) ? 0 : 1;

  uint64_t failures = 0, done = 0;
  if (!corpus.empty() && std::filesystem::is_directory(corpus)) {
    for (const auto& entry : std::filesystem::directory_iterator(corpus)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with("case-")) continue;
      ++done;
      failures += !runner.one(number(name.c_str() + 5), false);
    }
  }
  std::printf("insn_fuzz: seed %llu, %llu sequences\n", static_cast<unsigned long long>(seed), static_cast<unsigned long long>(count));
  std::mt19937_64 seeds(seed);
  for (uint64_t n = 0; n < count && failures < most; ++n, ++done) {
    const uint64_t case_seed = seeds() >> 16;
    if (runner.one(case_seed, false)) continue;
    ++failures;
    if (!corpus.empty()) std::ofstream(corpus + "/case-" + std::to_string(case_seed)) << "replayed by its number\n";
  }
  std::printf("insn_fuzz: %llu sequences, %llu differ\n", static_cast<unsigned long long>(done), static_cast<unsigned long long>(failures));
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace skerry::insn_fuzz

int main(int argc, char** argv) { return skerry::insn_fuzz::run(argc, argv); }
