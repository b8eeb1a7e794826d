#include "bus/pci.hpp"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <map>

#include "base/fd.hpp"
#include "state/stream.hpp"

namespace skerry::bus {
namespace {

using namespace pci;

struct Registers final : IoHandler {
  uint64_t io_read(uint64_t offset, unsigned) override { return offset; }
  void io_write(uint64_t offset, unsigned, uint64_t value) override { last = {offset, value}; }
  std::pair<uint64_t, uint64_t> last{};
};

struct Messages final : MsiSink {
  using Message = std::pair<uint64_t, uint32_t>;
  struct Event final : MsiEvent {
    explicit Event(Messages& owner) : messages(owner) {}
    bool set(uint64_t address, uint32_t data) override {
      messages.set_to.emplace_back(address, data);
      return messages.events_work;
    }
    int fd() const override { return messages.event.get(); }
    Messages& messages;
  };
  void send_msi(uint64_t address, uint32_t data) override { sent.emplace_back(address, data); }
  std::unique_ptr<MsiEvent> make_msi_event() override { return event ? std::make_unique<Event>(*this) : nullptr; }
  // How often the descriptor has been signalled since it was asked last.
  uint64_t signals() {
    uint64_t count = 0;
    return ::read(event.get(), &count, sizeof count) == sizeof count ? count : 0;
  }
  std::vector<Message> sent, set_to;
  UniqueFd event;
  bool events_work = true;
};

struct Lines final : PciHost::IntxSink {
  void set_intx(const PciFunction&, unsigned device, unsigned pin, bool level) override { levels[{device, pin}] = level; }
  std::map<std::pair<unsigned, unsigned>, bool> levels;
};

class Card final : public PciFunction {
 public:
  explicit Card(std::string name = "card")
      : PciFunction(std::move(name), {.vendor = 0x1234, .device = 0x5678, .class_code = 0x020000, .revision = 3}) {
    add_bar(0, BarKind::kMemory32, 4096, registers);
    add_bar(2, BarKind::kMemory64Prefetchable, 0x10000, wide_registers);
    add_bar(4, BarKind::kIo, 32, ports);
    add_msix(3, 1);
    use_interrupt_pin(1);
  }
  using PciFunction::msix;
  using PciFunction::set_intx;
  Registers registers, wide_registers, ports;
};

class PciTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(host.attach(nullptr));
    ASSERT_TRUE(host.root().add(card, 3));
  }
  uint32_t read(unsigned offset, unsigned size) { return host.config_read(0, 3 << 3, offset, size); }
  void write(unsigned offset, unsigned size, uint32_t value) { host.config_write(0, 3 << 3, offset, size, value); }
  void enable() { write(kCommand, 2, kCommandIo | kCommandMemory | kCommandMaster); }

  AddressSpace pio{"port"}, mmio{"memory"};
  Messages messages;
  Lines lines;
  PciHost host{pio, mmio, messages, lines};
  Card card;
};

TEST_F(PciTest, AFunctionIsFoundByItsIdentityAndNobodyElseAnswers) {
  EXPECT_EQ(read(kVendorId, 4), 0x5678'1234u);
  EXPECT_EQ(read(kRevision, 4), 0x0200'0003u);
  EXPECT_EQ(host.config_read(0, 4 << 3, kVendorId, 4), ~0u);
  EXPECT_EQ(host.config_read(1, 3 << 3, kVendorId, 4), ~0u);
}

TEST_F(PciTest, TheConfigurationPortsReachIt) {
  pio.write(0xcf8, 4, 0x8000'0000 | 3 << 11);
  EXPECT_EQ(pio.read(0xcfc, 4), 0x5678'1234u);
  EXPECT_EQ(pio.read(0xcfe, 2), 0x5678u);
  pio.write(0xcf8, 4, 3 << 11);  // not enabled
  EXPECT_EQ(pio.read(0xcfc, 4), 0xffff'ffffu);
}

TEST_F(PciTest, TheMemoryMechanismReachesAllOfTheConfigurationSpace) {
  host.set_ecam(0xb000'0000, 256);
  EXPECT_EQ(mmio.read(0xb000'0000 + (3 << 15), 4), 0x5678'1234u);
  EXPECT_EQ(mmio.read(0xb000'0000 + (3 << 15) + 0xffc, 4), 0u);
  mmio.write(0xb000'0000 + (3 << 15) + kInterruptLine, 1, 11);
  EXPECT_EQ(read(kInterruptLine, 1), 11u);
  host.set_ecam(0, 0);
  EXPECT_EQ(mmio.read(0xb000'0000 + (3 << 15), 4), 0xffff'ffffu);
}

TEST_F(PciTest, ABarTellsItsSizeAndAnswersWhereItIsPut) {
  write(kBar0, 4, ~0u);
  EXPECT_EQ(read(kBar0, 4), 0xffff'f000u);
  write(kBar0, 4, 0xc000'0000);
  EXPECT_EQ(mmio.read(0xc000'0010, 4), 0xffff'ffffu) << "memory decoding is off";
  enable();
  EXPECT_EQ(mmio.read(0xc000'0010, 4), 0x10u);
  write(kBar0, 4, 0xd000'0000);
  EXPECT_EQ(mmio.read(0xc000'0010, 4), 0xffff'ffffu);
  EXPECT_EQ(mmio.read(0xd000'0010, 4), 0x10u);
}

class Screen final : public PciFunction {
 public:
  Screen() : PciFunction("screen", {.vendor = 0x1234, .device = 0x1111, .class_code = 0x030000}) {
    add_memory_bar(0, BarKind::kMemory32, 16 << 20, [this](std::optional<uint64_t> base) { memory = base; });
  }
  std::optional<uint64_t> memory;
};

TEST_F(PciTest, ABarOfMemoryTellsWhereItIs) {
  Screen screen;
  ASSERT_TRUE(host.root().add(screen, 7));
  const auto write = [&](unsigned offset, uint32_t value) { host.config_write(0, 7 << 3, offset, 4, value); };
  write(kBar0, ~0u);
  EXPECT_EQ(host.config_read(0, 7 << 3, kBar0, 4), 0xff000000u);
  EXPECT_FALSE(screen.memory);
  write(kBar0, 0xe0000000);
  EXPECT_FALSE(screen.memory) << "it does not decode";
  write(kCommand, kCommandMemory);
  EXPECT_EQ(screen.memory, 0xe0000000u);
  write(kBar0, 0xd0000000);
  EXPECT_EQ(screen.memory, 0xd0000000u);
  screen.reset();
  host.reset();
  EXPECT_FALSE(screen.memory);
}

TEST_F(PciTest, AWideBarTakesTwoRegistersAndPortsHaveTheirOwnSpace) {
  write(kBar0 + 8, 4, ~0u);
  write(kBar0 + 12, 4, ~0u);
  EXPECT_EQ(read(kBar0 + 8, 4), 0xffff'000cu);
  EXPECT_EQ(read(kBar0 + 12, 4), 0xffff'ffffu);
  write(kBar0 + 8, 4, 0);
  write(kBar0 + 12, 4, 8);
  write(kBar0 + 16, 4, 0xc000);
  EXPECT_EQ(read(kBar0 + 16, 4), 0xc001u);
  enable();
  EXPECT_EQ(mmio.read(0x8'0000'0020, 2), 0x20u);
  EXPECT_EQ(pio.read(0xc004, 1), 4u);
}

TEST_F(PciTest, OfTwoThatWantTheSamePlaceTheFirstHasItUntilItMoves) {
  Card other("other");
  ASSERT_TRUE(host.root().add(other, 5));
  enable();
  write(kBar0, 4, 0xc000'0000);
  host.config_write(0, 5 << 3, kCommand, 2, kCommandMemory);
  host.config_write(0, 5 << 3, kBar0, 4, 0xc000'0000);
  mmio.write(0xc000'0000, 4, 1);
  EXPECT_EQ(card.registers.last.second, 1u);
  write(kBar0, 4, 0xd000'0000);
  mmio.write(0xc000'0000, 4, 2);
  EXPECT_EQ(other.registers.last.second, 2u);
}

TEST_F(PciTest, WhatCannotBeWrittenStays) {
  for (unsigned offset = 0; offset < kConfigSize; offset += 4) {
    if (offset >= kBar0 && offset < kBar0 + 24) continue;
    const uint32_t before = read(offset, 4);
    write(offset, 4, ~before);
    const uint32_t changed = read(offset, 4) ^ before;
    if (offset == kCommand)
      EXPECT_EQ(changed, uint32_t{kCommandIo | kCommandMemory | kCommandMaster | kCommandParity | kCommandSerr | kCommandIntxDisable});
    else if (offset == kInterruptLine)
      EXPECT_EQ(changed, 0xffu);
    else if ((before & 0xff) == kCapMsix && offset == read(kCapabilities, 1))
      EXPECT_EQ(changed, 0xc000'0000u);
    else
      EXPECT_EQ(changed, 0u) << offset;
  }
}

class MsixTest : public PciTest {
 protected:
  void SetUp() override {
    PciTest::SetUp();
    write(kBar0 + 4, 4, 0xe000'0000);
    enable();
    control = read(kCapabilities, 1) + 2;
  }
  void fill(unsigned vector, uint32_t data, bool masked) {
    mmio.write(0xe000'0000 + vector * 16, 8, 0xfee0'1000);
    mmio.write(0xe000'0008 + vector * 16, 4, data);
    mmio.write(0xe000'000c + vector * 16, 4, masked);
  }
  unsigned control = 0;
};

TEST_F(MsixTest, AVectorSendsItsMessage) {
  fill(1, 0x41, false);
  card.msix()->notify(1);
  EXPECT_TRUE(messages.sent.empty()) << "not enabled";
  write(control, 2, 0x8000);
  card.msix()->notify(1);
  ASSERT_EQ(messages.sent.size(), 1u);
  EXPECT_EQ(messages.sent[0], std::make_pair(uint64_t{0xfee0'1000}, 0x41u));
  card.msix()->notify(77);
  EXPECT_EQ(messages.sent.size(), 1u) << "there is no such vector";
}

TEST_F(MsixTest, AMaskedVectorIsPendingUntilItIsUnmasked) {
  fill(2, 0x42, true);
  write(control, 2, 0x8000);
  card.msix()->notify(2);
  card.msix()->notify(2);
  EXPECT_TRUE(messages.sent.empty());
  EXPECT_EQ(mmio.read(0xe000'0000 + card.msix()->pba_offset(), 8), 4u);
  mmio.write(0xe000'000c + 2 * 16, 4, 0);
  EXPECT_EQ(messages.sent.size(), 1u);
  EXPECT_EQ(mmio.read(0xe000'0000 + card.msix()->pba_offset(), 8), 0u);
}

TEST_F(MsixTest, TheFunctionMaskHoldsAllBack) {
  fill(0, 0x40, false);
  fill(1, 0x41, false);
  write(control, 2, 0xc000);
  card.msix()->notify(0);
  card.msix()->notify(1);
  EXPECT_TRUE(messages.sent.empty());
  write(control, 2, 0x8000);
  EXPECT_EQ(messages.sent.size(), 2u);
}

TEST_F(MsixTest, AMessageIsSentByItsEventWhereThereAreSuch) {
  messages.event = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  fill(1, 0x41, false);
  write(control, 2, 0x8000);
  card.msix()->notify(1);
  card.msix()->notify(1);
  EXPECT_EQ(messages.signals(), 2u);
  EXPECT_EQ(messages.set_to, (std::vector<Messages::Message>{{0xfee0'1000, 0x41}}));
  fill(1, 0x42, true);
  card.msix()->notify(1);
  EXPECT_EQ(messages.signals(), 0u) << "it is masked";
  fill(1, 0x42, false);
  EXPECT_EQ(messages.signals(), 1u);
  EXPECT_EQ(messages.set_to.back(), (Messages::Message{0xfee0'1000, 0x42}));
  EXPECT_TRUE(messages.sent.empty());
}

TEST_F(MsixTest, AMessageThatNoEventTakesIsSentAsItIs) {
  messages.event = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  messages.events_work = false;
  fill(1, 0x41, false);
  write(control, 2, 0x8000);
  card.msix()->notify(1);
  EXPECT_EQ(messages.signals(), 0u);
  EXPECT_EQ(messages.sent, (std::vector<Messages::Message>{{0xfee0'1000, 0x41}}));
}

// A function without MSI-X.
struct PlainCard final : PciFunction {
  PlainCard() : PciFunction("plain", {.vendor = 0x1234, .device = 0x9abc, .class_code = 0x010601}) {
    add_msi();
    use_interrupt_pin(1);
  }
  using PciFunction::send_msi;
  using PciFunction::set_intx;
};

TEST_F(PciTest, AMessageOfAFunctionWithoutATableTakesThePlaceOfItsPin) {
  PlainCard plain;
  ASSERT_TRUE(host.root().add(plain, 6));
  const unsigned devfn = 6 << 3, at = host.config_read(0, devfn, kCapabilities, 1);
  EXPECT_EQ(host.config_read(0, devfn, at, 1), kCapMsi);
  EXPECT_EQ(host.config_read(0, devfn, at + 2, 2), 0x80u) << "one message, 64-bit addresses, no masking";
  plain.set_intx(true);
  EXPECT_TRUE((lines.levels[{6, 0}]));
  EXPECT_FALSE(plain.send_msi()) << "not enabled";
  host.config_write(0, devfn, at + 4, 4, 0xfee0'1003);
  host.config_write(0, devfn, at + 8, 4, 1);
  host.config_write(0, devfn, at + 12, 2, 0x41);
  host.config_write(0, devfn, at + 2, 2, 1);
  EXPECT_FALSE((lines.levels[{6, 0}])) << "the pin is let go";
  EXPECT_TRUE(plain.send_msi());
  EXPECT_TRUE(messages.sent.empty()) << "it is no bus master";
  host.config_write(0, devfn, kCommand, 2, kCommandMaster);
  EXPECT_TRUE(plain.send_msi());
  EXPECT_EQ(messages.sent, (std::vector<Messages::Message>{{0x1'fee0'1000, 0x41}}));

  state::Saver saver;
  plain.describe(saver);
  plain.reset();
  EXPECT_FALSE(plain.send_msi());
  state::Loader loader(saver.data());
  plain.describe(loader);
  ASSERT_TRUE(loader.finish());
  plain.restored();
  EXPECT_TRUE(plain.send_msi());
  EXPECT_EQ(messages.sent.size(), 2u);
}

TEST_F(PciTest, AnInterruptPinIsALevelThatCanBeSwitchedOff) {
  card.set_intx(true);
  EXPECT_TRUE((lines.levels[{3, 0}]));
  EXPECT_EQ(read(kStatus, 2) & kStatusInterrupt, kStatusInterrupt);
  write(kCommand, 2, kCommandIntxDisable);
  EXPECT_FALSE((lines.levels[{3, 0}]));
  write(kCommand, 2, 0);
  EXPECT_TRUE((lines.levels[{3, 0}]));
  card.set_intx(false);
  EXPECT_FALSE((lines.levels[{3, 0}]));
}

TEST_F(PciTest, WhatIsBehindARootPortIsOnItsBusAndItsPinsAreTurned) {
  PciRootPort port("port", 1);
  ASSERT_TRUE(host.root().add(port, 6));
  Card behind("behind");
  ASSERT_TRUE(port.secondary()->add(behind, 1));
  EXPECT_EQ(host.config_read(7, 1 << 3, kVendorId, 2), 0xffffu);
  host.config_write(0, 6 << 3, kPrimaryBus, 4, 0x00'09'07'00);
  EXPECT_EQ(host.config_read(7, 1 << 3, kVendorId, 2), 0x1234u);
  EXPECT_EQ(host.config_read(8, 1 << 3, kVendorId, 2), 0xffffu);
  behind.set_intx(true);
  EXPECT_TRUE((lines.levels[{6, 1}]));
}

TEST_F(MsixTest, ARestoredFunctionAnswersWhereItWas) {
  fill(1, 0x41, true);
  write(control, 2, 0x8000);
  write(kBar0, 4, 0xc100'0000);
  card.msix()->notify(1);
  card.set_intx(true);
  state::Saver saver;
  card.describe(saver);

  AddressSpace pio2{"port"}, mmio2{"memory"};
  Messages messages2;
  Lines lines2;
  PciHost host2{pio2, mmio2, messages2, lines2};
  Card fresh;
  ASSERT_TRUE(host2.root().add(fresh, 3));
  state::Loader loader(saver.data());
  fresh.describe(loader);
  ASSERT_TRUE(loader.finish());
  fresh.restored();
  host2.remap();
  EXPECT_EQ(mmio2.read(0xc100'0010, 4), 0x10u);
  mmio2.write(0xe000'000c + 16, 4, 0);
  ASSERT_EQ(messages2.sent.size(), 1u);
  EXPECT_EQ(messages2.sent[0].second, 0x41u);
  state::Saver again;
  fresh.describe(again);
  EXPECT_NE(again.data(), saver.data());  // the vector is not masked nor pending any more
}

TEST_F(PciTest, AResetPutsEverythingBack) {
  const uint32_t bar = read(kBar0, 4), command = read(kCommand, 2);
  enable();
  write(kBar0, 4, 0xc000'0000);
  card.set_intx(true);
  card.reset();
  host.reset();
  EXPECT_EQ(read(kBar0, 4), bar);
  EXPECT_EQ(read(kCommand, 4) & 0xffff, command);
  EXPECT_EQ(mmio.read(0xc000'0010, 4), 0xffff'ffffu);
}

}  // namespace
}  // namespace skerry::bus
