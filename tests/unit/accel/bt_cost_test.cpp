// How many host instructions guest code becomes, compared with bt_costs.txt beside this file: so that every change of the translator
// shows what it made better or worse. SKERRY_UPDATE=1 writes the file anew.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "accel/bt/translator.hpp"
#include "base/units.hpp"
#include "unit/x86/system_rig.hpp"

namespace skerry::accel::bt {
namespace {

using namespace x86;
using x86::test::FakeEnvironment;

struct Sequence {
  std::string_view name, bytes;  // in hexadecimal
  bool user = true;
  bool ends = false;  // it ends its block itself; else a jump is put behind it, which is not counted
};

constexpr std::array kSequences = {
    Sequence{"mov rax, rbx", "4889d8"},
    Sequence{"mov r14, rbx", "4989de"},
    Sequence{"add r14, r13", "4d01ee"},
    Sequence{"lea rax, [rbx+4*rcx+8]", "488d448b08"},
    Sequence{"mov rax, [rbx]", "488b03"},
    Sequence{"mov [rbx], rax", "488903"},
    Sequence{"add [rbx], rax", "480103"},
    Sequence{"mov rax, [rbx+8*rcx]", "488b04cb"},
    Sequence{"mov rax, [r14]", "498b06"},
    Sequence{"mov rax, [rip+16]", "488b0510000000"},
    Sequence{"mov rax, fs:[40]", "64488b042528000000"},
    Sequence{"lock cmpxchg [rbx], rcx", "f0480fb10b"},
    Sequence{"div rcx", "48f7f1"},
    Sequence{"push rbx", "53"},
    Sequence{"pop rbx", "5b"},
    Sequence{"leave", "c9"},
    Sequence{"prologue: push rbp; mov rbp, rsp; push r12; push rbx; sub rsp, 32", "554889e5415453"
                                                                                 "4883ec20"},
    Sequence{"epilogue: add rsp, 32; pop rbx; pop r12; pop rbp; ret", "4883c4205b415c5dc3", true, true},
    Sequence{"three fields: mov eax, [rdi+4]; add eax, [rdi+8]; mov [rdi+12], eax", "8b47040347088947"
                                                                                   "0c"},
    Sequence{"flags over a load: cmp rax, rbx; mov rcx, [rdi]; jne +16", "4839d8488b0f7510", true, true},
    Sequence{"flags nobody wants: add rax, 8; mov rcx, [rdi+8*rax]; sub rdx, rcx", "4883c008488b0cc74829ca"},
    Sequence{"adc rax, [rbx]", "481303"},
    Sequence{"sum: add rax, [rbx]; add rbx, 8; dec ecx; jnz sum", "4803034883c308ffc975f5", true, true},
    Sequence{"words: mov rax, [rsi]; adc [rdi], rax; mov rax, [rsi+8]; adc [rdi+8], rax; lea rsi, [rsi+16]; lea rdi, [rdi+16]; dec ecx; jnz words",
             "488b06481107488b460848114708488d7610488d7f10ffc975e6", true, true},
    Sequence{"sieve: mov byte [rsi+rax], 0; add rax, rdx; cmp rax, rcx; jb sieve", "c60406004801d04839c872f4", true, true},
    Sequence{"jmp +16", "eb10", true, true},
    Sequence{"call +256", "e800010000", true, true},
    Sequence{"call rax", "ffd0", true, true},
    Sequence{"jmp [rax+8*rcx]", "ff24c8", true, true},
    Sequence{"ret", "c3", true, true},
    Sequence{"addsd xmm0, [rbx]", "f20f5803"},
    Sequence{"movdqa xmm0, [rbx]", "660f6f03"},
    Sequence{"dot: movupd xmm0, [rsi]; mulpd xmm0, xmm1; addpd xmm2, xmm0; add rsi, 16; dec ecx; jnz dot",
             "660f1006660f59c1660f58d04883c610ffc975eb", true, true},
    Sequence{"vfmadd231pd ymm0, ymm1, [rbx]", "c4e2f5b803"},
    Sequence{"rdtsc", "0f31"},
    Sequence{"syscall", "0f05", true, true},
    Sequence{"sysretq", "480f07", false, true},
    Sequence{"swapgs", "0f01f8", false},
    Sequence{"verw [rip+16]", "0f002d10000000", false},
    Sequence{"stac", "0f01cb", false, true},
    Sequence{"cli", "fa", false},
    Sequence{"sti", "fb", false},
    Sequence{"pushfq", "9c", false},
    Sequence{"the interpreter's: cpuid", "0fa2"},
};

std::vector<uint8_t> bytes_of(std::string_view hex) {
  std::vector<uint8_t> bytes;
  for (size_t n = 0; n + 1 < hex.size(); n += 2) bytes.push_back(static_cast<uint8_t>(std::stoi(std::string(hex.substr(n, 2)), nullptr, 16)));
  return bytes;
}

class BtCostTest : public ::testing::Test {
 protected:
  BtCostTest()
      : model(CpuModel::create("host", 1, 2'000'000'000).value()),
        cache(CodeCache::create(MiB).value()),
        context(std::make_unique<Context>(0, memory, environment, model)),
        translator(*cache, Offsets(*context), model, {}) {}

  // 64-bit code with all vector instructions, at CPL 0 or 3.
  Mode mode(bool user) {
    CpuState& s = context->interpreter.state;
    s.cr0 = cr0::kPe | cr0::kPg | cr0::kNe | cr0::kEt;
    s.cr4 = cr4::kPae | cr4::kOsfxsr | cr4::kOsxsave | cr4::kSmap;
    s.xcr0 = 7;
    s.efer = efer::kLme | efer::kLma | efer::kSce;
    for (Segment& segment : s.seg) {
      segment = Segment{.limit = 0xffffffff, .type = 3, .code_or_data = true, .present = true, .unusable = false};
      segment.dpl = user ? 3 : 0;
    }
    s.seg[kCs].type = 11;
    s.seg[kCs].long_mode = true;
    context->interpreter.state_changed();
    return Mode::of(context->interpreter).value();
  }
  // Of the block's hot part. It is never executed.
  unsigned host_instructions(std::vector<uint8_t> code, bool user) {
    constexpr unsigned kAt = 0x100;
    std::vector<uint8_t> page(memory::kPageSize, 0xf4);
    std::ranges::copy(code, page.begin() + kAt);
    std::deque<Edge> edges;
    Block block;
    block.page = reinterpret_cast<const std::byte*>(page.data());
    block.offset = kAt;
    block.entry = Entry::kFlagsSaved;
    block.mode = mode(user);
    translator.translate(block, page, nullptr, user, edges);
    const std::span<const uint8_t> host(block.code, block.code_size);
    unsigned count = 0;
    for (size_t at = 0; at < host.size(); ++count) {
      Decoded decoded;
      if (decode(host.subspan(at), CodeSize::k64, decoded) != DecodeStatus::kOk) {
        ADD_FAILURE() << "no instruction at " << at;
        break;
      }
      if (decoded.instruction.mnemonic == ZYDIS_MNEMONIC_NOP) --count;  // they align what is patched
      at += decoded.instruction.length;
    }
    return count;
  }

  FakeEnvironment environment;
  memory::GuestMemory memory;
  CpuModel model;
  std::unique_ptr<CodeCache> cache;
  std::unique_ptr<Context> context;
  Translator translator;
};

TEST_F(BtCostTest, AreAsRecorded) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("fma"))
    GTEST_SKIP() << "what was recorded is for processors with AVX2, FMA and BMI2";
  const std::vector<uint8_t> jump = {0xeb, 0x40};
  const std::array<unsigned, 2> around = {host_instructions(jump, false), host_instructions(jump, true)};
  std::string text = "# host instructions that guest code becomes, without those of a block's entry and end where it does not end its block; a loop has three copies\n";
  for (const Sequence& sequence : kSequences) {
    std::vector<uint8_t> code = bytes_of(sequence.bytes);
    if (!sequence.ends) code.insert(code.end(), jump.begin(), jump.end());
    const unsigned all = host_instructions(code, sequence.user);
    text += fmt::format("{:4}  {}\n", sequence.ends ? all : all - around[sequence.user], sequence.name);
  }
  const auto path = std::filesystem::path(__FILE__).parent_path() / "bt_costs.txt";
  if (std::getenv("SKERRY_UPDATE")) {
    std::ofstream(path) << text;
    return;
  }
  std::ifstream file(path);
  if (!file) GTEST_SKIP() << "the sources are not at " << path;
  const std::string recorded((std::istreambuf_iterator<char>(file)), {});
  EXPECT_EQ(text, recorded) << "if this is what the change is meant to do: SKERRY_UPDATE=1 build/bin/test_accel --gtest_filter='BtCost*'";
}

}  // namespace
}  // namespace skerry::accel::bt
