#include "guest_side.hpp"

#include <cpuid.h>

#include <cstring>
#include <stdexcept>

#include "accel/bt/bt_accelerator.hpp"
#include "accel/interpreter/interpreter_accelerator.hpp"
#include "memory/guest_memory.hpp"
#include "native.hpp"
#include "x86/cpu_features.hpp"
#include "x86/cpu_model.hpp"
#include "x86/environment.hpp"
#include "x86/exception.hpp"

namespace skerry::fuzz {

using namespace x86;

namespace {

// Guest-physical memory. The supervisor's part is mapped in the upper half, as a kernel's.
constexpr uint64_t kPml4 = 0x1000, kPdptLow = 0x2000, kPdLow = 0x3000, kPdptHigh = 0x4000, kPdHigh = 0x5000, kPtHigh = 0x6000;
constexpr uint64_t kPtCode = 0x7000, kPtData = 0x8000, kPtStack = 0x9000;
constexpr uint64_t kIdt = 0x10000, kGdt = 0x11000, kTss = 0x12000, kStubs = 0x13000, kKernelStack = 0x14000;
constexpr uint64_t kCodeGpa = 0x20000, kDataGpa = 0x30000, kStackGpa = 0x40000, kRamSize = 0x50000;
constexpr uint64_t kKernelBase = 0xffffffff80000000;
constexpr uint16_t kKernelCode = 0x10, kKernelData = 0x18, kTssSelector = 0x40;

// Page-table entry bits. Intel SDM vol. 3, 4.5.
constexpr uint64_t kPresent = 1, kWritable = 2, kUser = 4, kNoExecute = uint64_t{1} << 63;

CpuModel& model() {
  static CpuModel made = [] {
    Result<CpuModel> created = CpuModel::create("host", 1, 2'000'000'000);
    if (!created) throw std::runtime_error(created.error().message());
    return std::move(*created);
  }();
  return made;
}

class NoMachine final : public Environment {
 public:
  uint64_t pio_read(uint16_t, unsigned) override { return ~uint64_t{0}; }
  void pio_write(uint16_t, unsigned, uint64_t) override {}
  uint64_t mmio_read(uint64_t, unsigned) override { return ~uint64_t{0}; }
  void mmio_write(uint64_t, unsigned, uint64_t) override {}
  int acknowledge_interrupt() override { return -1; }
  uint8_t read_tpr() override { return 0; }
  void write_tpr(uint8_t) override {}
  MsrResult read_msr(uint32_t, uint64_t&) override { return MsrResult::kUnknown; }
  MsrResult write_msr(uint32_t, uint64_t) override { return MsrResult::kUnknown; }
  bool send_ipi(uint32_t, uint32_t) override { return false; }
  uint64_t tsc() override { return 0; }
  TscRate tsc_rate() override { return {}; }
  void tsc_offset_changed(uint64_t) override {}
  void exclusive(const std::function<void()>& work) override { work(); }
  void raise_ferr() override {}
  void spin_hint() override {}
};

Segment flat(uint16_t selector, bool code, bool wide, uint8_t dpl) {
  Segment s;
  s.selector = selector;
  s.limit = 0xffffffff;
  s.type = code ? 0xb : 0x3;
  s.dpl = dpl;
  s.code_or_data = s.present = s.granular = true;
  s.long_mode = wide;
  s.big = !wide;
  s.unusable = false;
  return s;
}

class GuestSide final : public Side {
 public:
  explicit GuestSide(bool translated) : name_(translated ? "translator" : "interpreter") {
    if (const auto added = memory_.add_ram(0, kRamSize, "ram"); !added) throw std::runtime_error(added.error().message());
    map_memory();
    make_tables();
    make_vcpu(translated);
    make_initial_state();
    data_ = host(kDataGpa, kDataSize);
    stack_ = host(kStackGpa, kStackSize);
    on_timeout([](void* vcpu) { static_cast<accel::Vcpu*>(vcpu)->kick(); }, vcpu_.get());
  }

  const char* name() const override { return name_; }

  void run(const Case& test, Outcome& outcome) override {
    // Through the one door, so that a translator learns of it.
    memory_.fill(kCodeGpa, kCodeSize, 0xcc);
    memory_.write(kCodeGpa + (test.registers.rip - kCodeBase), std::as_bytes(std::span(test.code)));
    fill_memory(test.memory_seed, data_, stack_);
    load(test);
    const accel::Exit stop = vcpu_->run();
    outcome.usable = stop != accel::Exit::kKicked;
    if (outcome.usable && stop != accel::Exit::kHalted) throw std::runtime_error("the guest did not halt in a handler");
    store(outcome);
    outcome.data = data_;
    outcome.stack = stack_;
  }

 private:
  void make_vcpu(bool translated) {
    const accel::AcceleratorParts parts{memory_, model()};
    if (translated) {
      auto made = accel::make_bt_accelerator(parts);
      if (!made) throw std::runtime_error(made.error().message());
      accelerator_ = std::move(*made);
    } else {
      accelerator_ = accel::make_interpreter_accelerator(parts);
    }
    auto vcpu = accelerator_->create_vcpu(0, machine_);
    if (!vcpu) throw std::runtime_error(vcpu.error().message());
    vcpu_ = std::move(*vcpu);
  }

  void put(uint64_t gpa, uint64_t value) { memory_.store<uint64_t>(gpa, value); }

  std::span<uint8_t> host(uint64_t gpa, size_t size) {
    return {reinterpret_cast<uint8_t*>(memory_.page(gpa).host), size};
  }

  void map_range(uint64_t table, uint64_t gpa, uint64_t size, uint64_t bits) {
    for (uint64_t n = 0; n < size / kPage; ++n) put(table + 8 * n, (gpa + n * kPage) | bits);
  }

  void map_memory() {
    constexpr uint64_t kTableBits = kPresent | kWritable | kUser, kUserData = kPresent | kWritable | kUser | kNoExecute;
    put(kPml4, kPdptLow | kTableBits);
    put(kPml4 + 8 * 511, kPdptHigh | kTableBits);
    put(kPdptLow, kPdLow | kTableBits);
    put(kPdptHigh + 8 * 510, kPdHigh | kTableBits);
    put(kPdHigh, kPtHigh | kTableBits);
    map_range(kPtHigh, 0, 0x18000, kPresent | kWritable);
    put(kPdLow + 8 * (kCodeBase >> 21), kPtCode | kTableBits);
    put(kPdLow + 8 * (kDataBase >> 21), kPtData | kTableBits);
    put(kPdLow + 8 * (kStackBase >> 21), kPtStack | kTableBits);
    map_range(kPtCode, kCodeGpa, kCodeSize, kPresent | kUser);
    map_range(kPtData, kDataGpa, kDataSize, kUserData);
    put(kPtData + 8 * ((kReadOnlyBase - kDataBase) / kPage),
        (kDataGpa + kReadOnlyBase - kDataBase) | kPresent | kUser | kNoExecute);
    map_range(kPtStack, kStackGpa, kStackSize, kUserData);
  }

  // Each vector has a handler of one HLT, whose address tells which it was.
  void make_tables() {
    for (uint64_t vector = 0; vector < 256; ++vector) {
      const uint64_t target = kKernelBase + kStubs + vector;
      const uint64_t dpl = vector == kBreakpoint || vector == kOverflow ? 3 : 0;
      constexpr uint64_t kInterruptGate = 0xe;
      put(kIdt + 16 * vector, (target & 0xffff) | uint64_t{kKernelCode} << 16 | kInterruptGate << 40 | dpl << 45 |
                                  uint64_t{1} << 47 | (target >> 16 & 0xffff) << 48);
      put(kIdt + 16 * vector + 8, target >> 32);
    }
    memory_.fill(kStubs, 256, 0xf4);
    put(kGdt + kKernelCode, 0x00af9b000000ffff);
    put(kGdt + kKernelData, 0x00cf93000000ffff);
    put(kGdt + (kUserCode32 & ~7u), 0x00cffb000000ffff);
    put(kGdt + (kUserData & ~7u), 0x00cff3000000ffff);
    put(kGdt + (kUserCode64 & ~7u), 0x00affb000000ffff);
    const uint64_t rsp0 = kKernelBase + kKernelStack + kPage;
    put(kTss, rsp0 << 32);
    put(kTss + 8, rsp0 >> 32);
    put(kTss + 0x60, uint64_t{0x68} << 48);  // the I/O permission bitmap is beyond the limit: no port is allowed
  }

  void make_initial_state() {
    CpuState& s = initial_ = vcpu_->mutable_state();
    s.cr0 = cr0::kPe | cr0::kMp | cr0::kEt | cr0::kNe | cr0::kWp | cr0::kAm | cr0::kPg;
    s.cr3 = kPml4;
    s.cr4 = (cr4::kPae | cr4::kPge | cr4::kDe | cr4::kMce | cr4::kOsfxsr | cr4::kOsxmmexcpt | cr4::kOsxsave | cr4::kFsgsbase |
             cr4::kSmep | cr4::kSmap) & model().cr4_allowed();
    s.efer = efer::kSce | efer::kLme | efer::kLma | efer::kNxe;
    s.xcr0 = model().xcr0_allowed();
    s.seg[kSs] = flat(kUserData, false, false, 3);
    s.seg[kDs] = s.seg[kEs] = s.seg[kSs];
    s.seg[kFs] = s.seg[kGs] = Segment();
    s.seg[kGs].base = kGsBase;
    s.gdtr = {kKernelBase + kGdt, 0x4f};
    s.idtr = {kKernelBase + kIdt, 0xfff};
    s.tr = Segment();
    s.tr.selector = kTssSelector;
    s.tr.base = kKernelBase + kTss;
    s.tr.limit = 0x67;
    s.tr.type = 0xb;
    s.tr.present = true;
    s.tr.unusable = false;
  }

  void load(const Case& test) {
    CpuState& s = vcpu_->mutable_state();
    s = initial_;
    const bool wide = test.mode == CodeSize::k64;
    s.seg[kCs] = flat(wide ? kUserCode64 : kUserCode32, true, wide, 3);
    const Registers& from = test.registers;
    std::memcpy(s.gpr, from.gpr, sizeof(s.gpr));
    s.rip = from.rip;
    s.rflags = from.rflags;
    s.x87 = from.x87;
    s.mxcsr = from.mxcsr;
    for (unsigned n = 0; n < 16; ++n) std::memcpy(s.vector[n].bytes.data(), from.ymm[n].data(), 32);
    vcpu_->state_changed();
  }

  // The state is that in the handler: what it was before is on the stack. Intel SDM vol. 3, figure 6-9.
  void store(Outcome& outcome) {
    const CpuState& s = vcpu_->state();
    outcome.vector = static_cast<uint8_t>(s.rip - 1 - kKernelBase - kStubs);
    const bool has_error = pushes_error_code(outcome.vector);
    uint64_t frame[6] = {};
    if (outcome.usable)
      memory_.read(s.gpr[kRsp] - kKernelBase, std::as_writable_bytes(std::span(frame).first(has_error ? 6 : 5)));
    const uint64_t* saved = frame + has_error;
    outcome.error_code = has_error ? static_cast<uint32_t>(frame[0]) : 0;
    outcome.cr2 = s.cr2;
    Registers& to = outcome.registers;
    std::memcpy(to.gpr, s.gpr, sizeof(to.gpr));
    to.rip = saved[0];
    to.rflags = saved[2];
    to.gpr[kRsp] = saved[3];
    to.x87 = s.x87;
    to.mxcsr = s.mxcsr;
    for (unsigned n = 0; n < 16; ++n) std::memcpy(to.ymm[n].data(), s.vector[n].bytes.data(), 32);
  }

  const char* const name_;
  memory::GuestMemory memory_;
  NoMachine machine_;
  std::unique_ptr<accel::Accelerator> accelerator_;
  std::unique_ptr<accel::Vcpu> vcpu_;
  CpuState initial_;
  std::span<uint8_t> data_, stack_;
};

}  // namespace

std::unique_ptr<Side> make_interpreter_side() { return std::make_unique<GuestSide>(false); }
std::unique_ptr<Side> make_translator_side() { return std::make_unique<GuestSide>(true); }

bool processor_of_amd() { return model().amd(); }

bool processor_has_57_bits() {
  constexpr uint32_t kLa57 = 1 << 16;  // Intel SDM vol. 2, CPUID, leaf 7
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kLa57) != 0;
}

bool both_have(const Decoded& decoded) {
  if (decoded.instruction.meta.isa_set == ZYDIS_ISA_SET_SHA) return false;  // done in plain C++; not in every processor
  return model().has(decoded.instruction);
}

}  // namespace skerry::fuzz
