// The controllers where the accelerator has the local APICs.
#include "irqchip/foreign_apic.hpp"

#include <map>
#include <optional>

#include "irqchip/lapic_bits.hpp"
#include "unit/irqchip/apic_rig.hpp"
#include "unit/state_test.hpp"

namespace skerry::irqchip {
namespace {

constexpr uint32_t kLevel = 1u << 15, kMasked = 1u << 16;

struct FakeApics final : ForeignApics {
  void connect(EoiListener& ioapic) override { eoi = &ioapic; }
  bool deliver(const ApicMessage& message) override {
    delivered.push_back(message.vector);
    return true;
  }
  std::unique_ptr<bus::MsiEvent> make_msi_event() override { return nullptr; }
  void set_pin(unsigned pin, const ApicMessage* message) override {
    if (message) pins[pin] = message->vector;
    else pins.erase(pin);
  }
  EoiListener* eoi = nullptr;
  std::vector<uint8_t> delivered;
  std::map<unsigned, uint8_t> pins;
};

struct FakeApic final : ForeignApic {
  LapicRegisters get_apic() override { return registers; }
  void set_apic(const LapicRegisters& to) override {
    registers = to;
    ++sets;
  }
  LapicRegisters registers;
  unsigned sets = 0;
};

struct ForeignRig : test::ApicRig {
  ForeignRig() {
    bus.use(apics);
    for (size_t i = 0; i < lapics.size(); ++i) {
      lapics[i].keep_in(apic[i]);
      lapics[i].reset();
    }
  }
  FakeApics apics;
  std::array<FakeApic, 4> apic;
};

struct ForeignApicTest : ::testing::Test, ForeignRig {};

TEST_F(ForeignApicTest, ResetSetsTheRegistersAsAfterPowerOn) {
  EXPECT_EQ(apic[0].sets, 1u);
  EXPECT_EQ(apic[1].registers.page[apic::kId], 1u << 24);
  EXPECT_EQ(apic[1].registers.page[apic::kSvr], 0xffu);
  EXPECT_EQ(apic[1].registers.page[apic::kLvtFirst], kMasked);
  EXPECT_EQ(apic[0].registers.apic_base, 0xfee00900u);
  EXPECT_EQ(apic[1].registers.apic_base, 0xfee00800u);
}

TEST_F(ForeignApicTest, MessagesGoToTheAccelerator) {
  bus.send_msi(0xfee00000, 0x41);
  route(5, 1, 0x55);
  ioapic.set_irq(5, true);
  EXPECT_EQ(apics.delivered, (std::vector<uint8_t>{0x41, 0x55}));
  EXPECT_FALSE(pins[0].intr || pins[1].intr);
}

TEST_F(ForeignApicTest, TheAcceleratorKnowsWhichPinsWaitForAnEnd) {
  route(5, 1, 0x55);
  EXPECT_TRUE(apics.pins.empty());
  route(6, 0, 0x66 | kLevel);
  EXPECT_EQ(apics.pins, (std::map<unsigned, uint8_t>{{6, 0x66}}));
  ioapic.set_irq(6, true);
  EXPECT_EQ(apics.delivered, std::vector<uint8_t>{0x66});
  apics.eoi->end_of_interrupt(0x66);
  EXPECT_EQ(apics.delivered, (std::vector<uint8_t>{0x66, 0x66}));  // its line is still asserted
  route(6, 0, 0x66);
  EXPECT_TRUE(apics.pins.empty());
}

TEST_F(ForeignApicTest, A8259InterruptsByThePin) {
  lapics[0].set_lint0(true);
  EXPECT_TRUE(pins[0].intr);
  lapics[0].set_lint0(false);
  EXPECT_FALSE(pins[0].intr);
  lapics[1].set_lint1(true);
  lapics[1].set_lint1(false);
  EXPECT_EQ(pins[1].nmis, 1u);
}

// A state is the same whoever has had the APIC: what a foreign one's registers were an own one goes on with, and back.
TEST_F(ForeignApicTest, StatePassesToAnOwnApicAndBack) {
  LapicRegisters& registers = apic[1].registers;
  registers.page[apic::kTpr] = 0x20;
  registers.page[apic::kSvr] = 0x1ff;
  registers.page[apic::kLdr] = 0x02000000;
  registers.page[apic::kDfr] = 0xffffffff;
  registers.page[apic::kIrr0 + 2] = 1u << 1;  // 0x41
  registers.page[apic::kIsr0 + 1] = 1u << 1;  // 0x21
  registers.page[apic::kTmr0 + 2] = 1u << 1;
  registers.page[apic::kLvtFirst] = 0x20030;  // periodic
  registers.page[apic::kDivideConfiguration] = 0xb;
  registers.page[apic::kInitialCount] = 1'000'000;
  registers.page[apic::kCurrentCount] = 400'000;
  const auto saved = test::save(lapics[1]);

  test::ApicRig own;
  own.time.set(time.now());
  ASSERT_TRUE(test::load(own.lapics[1], saved));
  EXPECT_TRUE(own.pins[1].intr);
  EXPECT_EQ(own.lapics[1].mmio_read(apic::kCurrentCount * 16), 400'000u);
  EXPECT_EQ(own.lapics[1].mmio_read((apic::kIsr0 + 1) * 16), 1u << 1);
  EXPECT_EQ(own.lapics[1].acknowledge(), 0x41);

  ForeignRig back;
  back.time.set(time.now());
  ASSERT_TRUE(test::load(back.lapics[1], test::save(own.lapics[1])));
  EXPECT_EQ(back.apic[1].registers.page[apic::kIsr0 + 2], 1u << 1);
  EXPECT_EQ(back.apic[1].registers.page[apic::kTmr0 + 2], 1u << 1);
  EXPECT_EQ(back.apic[1].registers.page[apic::kCurrentCount], 400'000u);
  EXPECT_EQ(back.apic[1].registers.page[apic::kTpr], 0x20u);
}

TEST_F(ForeignApicTest, ADeadlineIsNotLost) {
  apic[0].registers.page[apic::kSvr] = 0x1ff;
  apic[0].registers.page[apic::kLvtFirst] = 0x40031;
  apic[0].registers.tsc_deadline = tsc() + 2'500'000;
  test::ApicRig own;
  own.time.set(time.now());
  ASSERT_TRUE(test::load(own.lapics[0], test::save(lapics[0])));
  EXPECT_FALSE(own.pins[0].intr);
  own.time.advance(2'000'000);
  EXPECT_TRUE(own.pins[0].intr);
}

}  // namespace
}  // namespace skerry::irqchip
