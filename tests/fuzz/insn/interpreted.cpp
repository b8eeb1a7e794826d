// The interpreter: the same program in user mode of a small 64-bit guest. Every IDT entry leads to a page of the kernel;
// where the processor is in that page says which exception it was.
#include <cstdlib>
#include <cstring>

#include "insn/testcase.hpp"
#include "x86/interp/interpreter.hpp"
#include "x86/segmentation.hpp"

namespace skerry::insn_fuzz {

namespace {

constexpr uint64_t kP = 1, kRw = 2, kUs = 4, kAd = 0x60;
constexpr uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kPd = 0x3000, kPtLow = 0x4000, kPtCode = 0x5000, kPtData = 0x6000,
                   kPtStack = 0x7000;
constexpr uint64_t kIdt = 0x10000, kHandlers = 0x11000, kKernelStack = 0x12000, kTss = 0x13000, kGdt = 0x14000;
constexpr uint64_t kCodePhysical = 0x100000, kDataPhysical = 0x200000, kStackPhysical = 0x300000;
constexpr uint16_t kUserData = 0x1b, kUserCode = 0x23;

class NoEnvironment final : public x86::Environment {
 public:
  uint64_t pio_read(uint16_t, unsigned) override { return 0; }
  void pio_write(uint16_t, unsigned, uint64_t) override {}
  uint64_t mmio_read(uint64_t, unsigned) override { return 0; }
  void mmio_write(uint64_t, unsigned, uint64_t) override {}
  int acknowledge_interrupt() override { return -1; }
  uint8_t read_tpr() override { return 0; }
  void write_tpr(uint8_t) override {}
  x86::MsrResult read_msr(uint32_t, uint64_t&) override { return x86::MsrResult::kUnknown; }
  x86::MsrResult write_msr(uint32_t, uint64_t) override { return x86::MsrResult::kUnknown; }
  uint64_t tsc() override { return 0; }
  void exclusive(const std::function<void()>& work) override { work(); }
  void raise_ferr() override {}
  void spin_hint() override {}
};

x86::Segment segment(uint16_t selector, uint8_t type, bool code) {
  x86::Segment s;
  s.selector = selector;
  s.limit = 0xffffffff;
  s.type = type;
  s.dpl = selector & 3;
  s.code_or_data = s.present = s.granular = true;
  s.long_mode = code;
  s.big = !code;
  s.unusable = false;
  return s;
}

}  // namespace

struct Interpreted::Machine {
  explicit Machine(const x86::CpuModel& model) : interpreter(0, prepared(), environment, model) {}

  memory::GuestMemory& prepared() {
    if (!memory.add_ram(0, 8 << 20, "ram")) std::abort();
    const auto put = [&](uint64_t at, uint64_t value) { memory.store<uint64_t>(at, value); };
    put(kPml4, kPdpt | kP | kRw | kUs | kAd);
    put(kPdpt, kPd | kP | kRw | kUs | kAd);
    put(kPd + 8 * (0 >> 21), kPtLow | kP | kRw | kUs | kAd);
    put(kPd + 8 * (kCode >> 21), kPtCode | kP | kRw | kUs | kAd);
    put(kPd + 8 * (kData >> 21), kPtData | kP | kRw | kUs | kAd);
    put(kPd + 8 * (kStack >> 21), kPtStack | kP | kRw | kUs | kAd);
    for (uint64_t page = kIdt; page <= kGdt; page += kPage) put(kPtLow + 8 * (page >> 12), page | kP | kRw | kAd);
    put(kPtCode, kCodePhysical | kP | kRw | kUs | kAd);
    for (uint64_t n = 0; n < kDataSize / kPage; ++n) put(kPtData + 8 * n, (kDataPhysical + n * kPage) | kP | kRw | kUs | kAd);
    put(kPtData + 8 * (kDataSize / kPage), (kDataPhysical + kDataSize) | kP | kUs | kAd);
    put(kPtStack, kStackPhysical | kP | kRw | kUs | kAd);
    for (uint64_t vector = 0; vector < 32; ++vector) {
      const uint64_t handler = kHandlers + 16 * vector;
      const uint64_t dpl = 3;
      put(kIdt + 16 * vector, (handler & 0xffff) | 8 << 16 | (0x8eull | dpl << 5) << 40 | (handler >> 16 & 0xffff) << 48);
      put(kIdt + 16 * vector + 8, handler >> 32);
    }
    const uint64_t rsp0 = kKernelStack + kPage;
    memory.write(kTss + 4, std::as_bytes(std::span(&rsp0, 1)));
    put(kGdt + 8, 0x00209b0000000000);    // kernel code
    put(kGdt + 16, 0x00cf93000000ffff);
    put(kGdt + 24, 0x00cff3000000ffff);   // user data
    put(kGdt + 32, 0x0020fb0000000000);   // user code
    return memory;
  }

  memory::GuestMemory memory;
  NoEnvironment environment;
  x86::Interpreter interpreter;
};

Interpreted::Interpreted(const x86::CpuModel& model) : machine_(new Machine(model)) {}
Interpreted::~Interpreted() { delete machine_; }

namespace {

void load(const Registers& r, const x86::CpuModel& model, x86::CpuState& s) {
  s.reset(0, false);
  for (unsigned n = 0; n < 16; ++n) s.gpr[n] = r.gpr[n];
  s.rip = r.rip;
  s.rflags = r.rflags;
  s.cr0 = x86::cr0::kPe | x86::cr0::kMp | x86::cr0::kEt | x86::cr0::kNe | x86::cr0::kWp | x86::cr0::kAm | x86::cr0::kPg;
  s.cr3 = kPml4;
  s.cr4 = (x86::cr4::kPae | x86::cr4::kOsfxsr | x86::cr4::kOsxmmexcpt | x86::cr4::kOsxsave | x86::cr4::kFsgsbase) &
          model.cr4_allowed();
  s.efer = x86::efer::kLme | x86::efer::kLma | x86::efer::kSce | x86::efer::kNxe;
  s.xcr0 = model.xcr0_allowed();
  s.seg[x86::kCs] = segment(kUserCode, 0xb, true);
  s.seg[x86::kSs] = segment(kUserData, 3, false);
  for (const unsigned n : {x86::kDs, x86::kEs, x86::kFs, x86::kGs}) s.seg[n] = x86::make_null_segment(0, 3);
  s.gdtr = {kGdt, 39};
  s.idtr = {kIdt, 32 * 16 - 1};
  s.tr.selector = 0x28;
  s.tr.base = kTss;
  s.tr.limit = 0x67;
  s.tr.type = x86::kTss32Busy;
  s.tr.present = true;
  s.tr.unusable = false;
  s.mxcsr = r.mxcsr;
  s.x87.fcw = r.fcw;
  const bool pending = r.fsw & ~r.fcw & 0x3f;
  s.x87.fsw = static_cast<uint16_t>((r.fsw & 0x7f7f) | (pending ? 0x8080 : 0));
  s.x87.ftw = r.ftw;
  for (unsigned n = 0; n < 8; ++n) {
    std::memcpy(&s.x87.st[n].significand, r.st[n].data(), 8);
    std::memcpy(&s.x87.st[n].sign_exponent, r.st[n].data() + 8, 2);
  }
  for (unsigned n = 0; n < 16; ++n) std::memcpy(s.vector[n].bytes.data(), r.ymm[n].data(), 32);
}

void store(const x86::CpuState& s, Registers& r) {
  for (unsigned n = 0; n < 16; ++n) r.gpr[n] = s.gpr[n];
  r.mxcsr = s.mxcsr;
  r.fcw = s.x87.fcw;
  r.fsw = s.x87.fsw;
  r.ftw = s.x87.ftw;
  for (unsigned n = 0; n < 8; ++n) {
    std::memcpy(r.st[n].data(), &s.x87.st[n].significand, 8);
    std::memcpy(r.st[n].data() + 8, &s.x87.st[n].sign_exponent, 2);
  }
  for (unsigned n = 0; n < 16; ++n) std::memcpy(r.ymm[n].data(), s.vector[n].bytes.data(), 32);
}

}  // namespace

Outcome Interpreted::run(const Case& test) {
  x86::Interpreter& in = machine_->interpreter;
  memory::GuestMemory& memory = machine_->memory;
  const auto content = initial_memory(test.data_seed, kDataSize + kPage + kStackSize);
  const auto bytes = std::as_bytes(std::span(content));
  memory.write(kDataPhysical, bytes.first(kDataSize + kPage));
  memory.write(kStackPhysical, bytes.subspan(kDataSize + kPage));
  memory.write(kCodePhysical, std::as_bytes(std::span(test.code)));
  load(test.start, in.model, in.state);
  in.state_changed();

  // A REP of many elements takes a step for each.
  for (unsigned steps = 0; in.cpl() == 3 && steps < 1'000'000; ++steps)
    if (in.step() == x86::StopReason::kTripleFault) break;

  Outcome result;
  store(in.state, result.end);
  result.vector = static_cast<unsigned>((in.state.rip - kHandlers) / 16);
  const bool has_error = x86::pushes_error_code(result.vector);
  const uint64_t frame = in.state.gpr[x86::kRsp];
  if (has_error) result.error_code = static_cast<uint32_t>(memory.load<uint64_t>(frame).value_or(0));
  const uint64_t at = frame + (has_error ? 8 : 0);
  result.end.rip = memory.load<uint64_t>(at).value_or(0);
  result.end.rflags = memory.load<uint64_t>(at + 16).value_or(0);
  result.end.gpr[x86::kRsp] = memory.load<uint64_t>(at + 24).value_or(0);
  result.cr2 = in.state.cr2;
  result.memory.resize(kDataSize + kStackSize);
  const auto out = std::as_writable_bytes(std::span(result.memory));
  memory.read(kDataPhysical, out.first(kDataSize));
  memory.read(kStackPhysical, out.subspan(kDataSize));
  return result;
}

}  // namespace skerry::insn_fuzz
