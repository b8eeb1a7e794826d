// An HDA card with a driver for tests, written against the specification, and somebody who listens; with time that
// stands still unless it is moved.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "bus/pci.hpp"
#include "devices/hda/hda.hpp"
#include "unit/devices/test_time.hpp"
#include "unit/state_test.hpp"

namespace skerry::devices::hda::test {

constexpr unsigned kDac = 2, kOutPin = 3, kAdc = 4, kInPin = 5;
constexpr uint16_t kStereo48000 = 0x0011, kMono48000 = 0x0010;  // of 16 bits
constexpr int64_t kMillisecond = 1'000'000;

struct Ear final : sound::Listener {
  void sound_begins(sound::Format now) override {
    format = now;
    ++begun;
  }
  void sound(std::span<const int16_t> samples) override { heard.insert(heard.end(), samples.begin(), samples.end()); }
  void sound_ends() override {
    format.reset();
    ++ended;
  }
  std::vector<int16_t> take() { return std::exchange(heard, {}); }

  std::optional<sound::Format> format;
  unsigned begun = 0, ended = 0;
  std::vector<int16_t> heard;
};

struct Rig final : bus::MsiSink, bus::PciHost::IntxSink {
  static constexpr uint64_t kBar = 0xfe00'0000, kRam = 1 << 20;
  static constexpr unsigned kDevfn = 5 << 3;
  static constexpr memory::Gpa kCorb = 0x1000, kRirb = 0x2000, kList = 0x3000, kPositions = 0x5000, kBuffer = 0x1'0000;
  static constexpr unsigned kIn = 0, kOut = 1;

  Rig() {
    EXPECT_TRUE(memory.add_ram(0, kRam, "ram"));
    EXPECT_TRUE(host.attach(nullptr) && host.root().add(card, kDevfn >> 3));
    outlet.add(ear);
    map();
  }
  ~Rig() override { outlet.remove(ear); }
  bus::Device& device() { return card; }
  // The time, and what memory holds.
  void follow(Rig& other) {
    time.set(other.time.now());
    std::vector<std::byte> content(kRam);
    EXPECT_TRUE(other.memory.read(0, content) && memory.write(0, content));
    high = other.high;
  }

  void map(bool master = true) {
    host.config_write(0, kDevfn, bus::pci::kBar0, 4, kBar);
    host.config_write(0, kDevfn, bus::pci::kCommand, 2,
                      bus::pci::kCommandMemory | (master ? bus::pci::kCommandMaster : 0));
  }
  // The capability of MSI follows that of PCI Express.
  void use_msi() {
    constexpr unsigned kMsi = 0x7c;
    EXPECT_EQ(host.config_read(0, kDevfn, kMsi, 1), bus::pci::kCapMsi);
    host.config_write(0, kDevfn, kMsi + 4, 4, 0xfee0'0000);
    host.config_write(0, kDevfn, kMsi + 12, 2, 0x41);
    host.config_write(0, kDevfn, kMsi + 2, 2, 1);
  }
  void send_msi(uint64_t, uint32_t) override { ++messages; }
  void set_intx(const bus::PciFunction&, unsigned, unsigned, bool level) override { high = level; }

  uint32_t get(uint32_t at, unsigned size = 4) { return static_cast<uint32_t>(mmio.read(kBar + at, size)); }
  void set(uint32_t at, uint32_t value, unsigned size = 4) { mmio.write(kBar + at, size, value); }
  static uint32_t sd(unsigned stream, uint32_t at) { return SD0 + stream * kDescriptorSize + at; }
  template <typename T>
  void put(memory::Gpa at, T value) {
    EXPECT_TRUE(memory.store<T>(at, value));
  }
  template <typename T>
  T peek(memory::Gpa at) {
    return memory.load<T>(at).value_or(static_cast<T>(~T{0}));
  }

  // --- commands -----------------------------------------------------------------------------------------------------

  void start_link() {
    set(GCTL, 0);
    set(GCTL, gctl::CRST);
  }
  void start_rings() {
    set(CORBLBASE, kCorb);
    set(RIRBLBASE, kRirb);
    set(CORBWP + 2, 0x8000, 2);
    set(CORBWP + 2, 0, 2);
    set(CORBWP, 0, 2);
    set(RIRBWP, 0x8000, 2);
    set(RIRBWP + 2, 1, 2);
    set(RIRBCTL, 2, 1);
    set(CORBCTL, 2, 1);
  }
  void bring_up() {
    start_link();
    start_rings();
    set(INTCTL, intctl::GIE | intctl::CIE | 3);
  }
  static uint32_t command(unsigned node, unsigned verb, unsigned payload, unsigned codec = 0) {
    return codec << 28 | node << 20 | verb << 8 | payload;
  }
  static uint32_t short_command(unsigned node, unsigned verb, unsigned payload) {
    return node << 20 | verb << 16 | payload;
  }
  uint32_t ask(uint32_t what) {
    const auto at = static_cast<uint8_t>(get(CORBWP, 2) + 1);
    put<uint32_t>(kCorb + 4 * at, what);
    set(CORBWP, at, 2);
    return static_cast<uint32_t>(peek<uint64_t>(kRirb + 8 * get(RIRBWP, 2)));
  }
  uint32_t parameter(unsigned node, unsigned id) { return ask(command(node, 0xf00, id)); }

  // --- streams ------------------------------------------------------------------------------------------------------

  struct Piece {
    memory::Gpa address;
    uint32_t length;
    bool interrupt = false;
  };
  memory::Gpa list_of(unsigned stream) { return kList + 0x1000 * stream; }
  void set_pieces(unsigned stream, const std::vector<Piece>& pieces, uint16_t format) {
    uint32_t total = 0;
    for (size_t i = 0; i < pieces.size(); ++i) {
      put<uint64_t>(list_of(stream) + 16 * i, pieces[i].address);
      put<uint32_t>(list_of(stream) + 16 * i + 8, pieces[i].length);
      put<uint32_t>(list_of(stream) + 16 * i + 12, pieces[i].interrupt);
      total += pieces[i].length;
    }
    set(sd(stream, SDCTL), sdctl::SRST, 1);
    set(sd(stream, SDCTL), 0, 1);
    set(sd(stream, SDBDPL), static_cast<uint32_t>(list_of(stream)));
    set(sd(stream, SDCBL), total);
    set(sd(stream, SDLVI), static_cast<uint32_t>(pieces.size() - 1), 2);
    set(sd(stream, SDFIFOS) + 2, format, 2);
    set(sd(stream, SDCTL) + 2, 1 << 4, 1);  // stream 1
  }
  void run(unsigned stream, bool on = true) {
    set(sd(stream, SDCTL), (on ? sdctl::RUN : 0) | sdctl::IOCE | sdctl::FEIE | sdctl::DEIE, 1);
  }
  // The converter listens to stream 1, at full volume.
  void open_dac(uint16_t format) {
    ask(short_command(kDac, 2, format));
    ask(command(kDac, 0x706, 1 << 4));
    ask(short_command(kDac, 3, 0xb000 | 63));
  }
  // Two pieces of `bytes` each, of which each ends with an interrupt, is playing.
  void play(uint16_t format, uint32_t bytes) {
    open_dac(format);
    set_pieces(kOut, {{kBuffer, bytes, true}, {kBuffer + bytes, bytes, true}}, format);
    run(kOut);
  }
  void fill(memory::Gpa at, size_t samples) {
    for (size_t i = 0; i < samples; ++i) put<uint16_t>(at + 2 * i, sample(i));
  }
  static uint16_t sample(size_t index) { return static_cast<uint16_t>(index * 40503 + 17); }
  // Of what fill() has put there, so much from `first` on.
  static std::vector<int16_t> samples(size_t first, size_t count) {
    std::vector<int16_t> all;
    for (size_t i = first; i < first + count; ++i) all.push_back(static_cast<int16_t>(sample(i)));
    return all;
  }
  uint32_t position(unsigned stream = kOut) { return get(sd(stream, SDLPIB)); }
  uint8_t status(unsigned stream = kOut) { return static_cast<uint8_t>(get(sd(stream, SDCTL) + 3, 1)); }
  void clear_status(unsigned stream = kOut) { set(sd(stream, SDCTL) + 3, 0x1c, 1); }

  skerry::test::TestTime time;
  memory::GuestMemory memory;
  bus::AddressSpace pio{"port"}, mmio{"memory"};
  bus::PciHost host{pio, mmio, *this, *this};
  Ear ear;
  sound::Outlet outlet;
  unsigned messages = 0;
  bool high = false;
  Hda card{"sound", time.loop(), memory, outlet};
};

}  // namespace skerry::devices::hda::test
