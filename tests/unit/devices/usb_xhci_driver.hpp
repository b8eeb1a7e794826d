// A driver of an xHCI controller for tests, as the specification has one work (xHCI 1.2, 4), on the calling thread, which also
// polls the loop. The VM's clock stands still.
#pragma once

#include <map>
#include <optional>
#include <thread>

#include "devices/scsi/disk.hpp"
#include "devices/usb/keyboard.hpp"
#include "devices/usb/storage.hpp"
#include "devices/usb/tablet.hpp"
#include "devices/usb/xhci.hpp"
#include "unit/devices/ata_rig.hpp"
#include "unit/devices/later_node.hpp"

namespace skerry::devices::usb::test {

using ata::test::AtaBoard;
using ata::test::Bytes;
using ata::test::fill_sectors;
using ata::test::sector_byte;
using virtio::test::MemoryNode;
using namespace xhci;

constexpr unsigned kControl = 1, kOut = 4, kInEndpoint = 3;  // device context indexes: bulk OUT 2, IN 1
constexpr uint32_t type(Type value) { return static_cast<uint32_t>(value) << trb::kTypeShift; }

struct XhciRig : AtaBoard {
  static constexpr uint64_t kBarAt = 0xfe00'0000, kMsixAt = 0xfe10'0000;
  static constexpr memory::Gpa kContextArray = 0x1000, kCommandRing = 0x2000, kEventTable = 0x3000, kEventRing = 0x4000, kInput = 0x5000,
                               kContexts = 0x8000, kRings = 0x1'0000, kData = 0x30'0000;
  static constexpr unsigned kRingSize = 64, kEventRingSize = 64;  // TRBs; the last of a ring links to the first
  static constexpr unsigned kDiskPort = 1, kKeyboardPort = kUsb3Ports + 1, kTabletPort = kUsb3Ports + 2;

  explicit XhciRig(bool sometimes_later = false) {
    clock.stop();
    fill_sectors(node);
    block::Node& disk_node = sometimes_later ? static_cast<block::Node&>(later) : node;
    auto unit = std::make_unique<scsi::Disk>("disk0", disk_node, scsi::Disk::Options{.serial = "serial-0"});
    EXPECT_EQ(xhci.plug_in(std::make_unique<Storage>(std::move(unit), "0123456789AB")), kDiskPort);
    auto own_keyboard = std::make_unique<Keyboard>(Hid::Options{*loop, nullptr});
    auto own_tablet = std::make_unique<Tablet>(Hid::Options{*loop, nullptr});
    keyboard = own_keyboard.get();
    tablet = own_tablet.get();
    EXPECT_EQ(xhci.plug_in(std::move(own_keyboard)), kKeyboardPort);
    EXPECT_EQ(xhci.plug_in(std::move(own_tablet)), kTabletPort);
    EXPECT_TRUE(host.root().add(xhci, 5));
    map();
    run_loop();
  }
  void map() {
    host.config_write(0, 5 << 3, bus::pci::kBar0, 4, kBarAt);
    host.config_write(0, 5 << 3, bus::pci::kBar0 + 4, 4, 0);
    host.config_write(0, 5 << 3, bus::pci::kBar0 + 8, 4, kMsixAt);
    host.config_write(0, 5 << 3, bus::pci::kCommand, 2, bus::pci::kCommandMemory | bus::pci::kCommandMaster);
  }
  bus::Device& device() { return xhci; }
  void follow(XhciRig& other) {
    AtaBoard::follow(other);
    node.content = other.node.content;
    messages.sent = other.messages.sent;
    clock.restore(other.clock.now());
    commands = other.commands;
    events = other.events;
    rings = other.rings;
  }

  // --- registers
  uint32_t read(uint64_t at) { return static_cast<uint32_t>(mmio.read(kBarAt + at, 4)); }
  void write(uint64_t at, uint32_t value) {
    mmio.write(kBarAt + at, 4, value);
    run_loop();
  }
  uint32_t operational(uint32_t at) { return read(kOperationalAt + at); }
  void set_operational(uint32_t at, uint32_t value) { write(kOperationalAt + at, value); }
  uint32_t port(unsigned number) { return read(kPortsAt + (number - 1) * kPortStride); }
  void set_port(unsigned number, uint32_t value) { write(kPortsAt + (number - 1) * kPortStride, value); }
  uint32_t interrupter(uint32_t at, unsigned number = 0) { return read(kInterruptersAt + number * kInterrupterStride + at); }
  void set_interrupter(uint32_t at, uint32_t value, unsigned number = 0) {
    write(kInterruptersAt + number * kInterrupterStride + at, value);
  }
  void ring_doorbell(unsigned slot, unsigned target) { write(kDoorbellsAt + 4 * slot, target); }

  // --- life
  void start(uint32_t moderation = 0) {
    set_operational(USBCMD, usbcmd::HCRST);
    EXPECT_EQ(operational(USBCMD) & usbcmd::HCRST, 0u);
    commands = events = {};
    rings.clear();
    zero(kContextArray, 0x1000);
    zero(kCommandRing, 0x1000);
    zero(kEventRing, 0x1000);
    begin_ring(kCommandRing);
    set_operational(CONFIG, kSlots);
    set_operational(DCBAAP, kContextArray);
    set_operational(DCBAAP_HIGH, 0);
    set_operational(CRCR, kCommandRing | crcr::RCS);
    set_operational(CRCR_HIGH, 0);
    begin_events(kEventRingSize);
    set_interrupter(IMOD, moderation);
    set_interrupter(IMAN, iman::IE | iman::IP);
    set_operational(USBCMD, usbcmd::RS | usbcmd::INTE);
  }
  void begin_events(uint32_t size) {
    put64(kEventTable, kEventRing);
    put32(kEventTable + 8, size);
    events = {};
    event_count = size;
    set_interrupter(ERSTSZ, 1);
    set_interrupter(ERDP, kEventRing);
    set_interrupter(ERDP_HIGH, 0);
    set_interrupter(ERSTBA, kEventTable);
    set_interrupter(ERSTBA_HIGH, 0);
  }
  void zero(memory::Gpa at, size_t size) { put(at, Bytes(size)); }
  void put64(memory::Gpa at, uint64_t value) {
    put32(at, static_cast<uint32_t>(value));
    put32(at + 4, static_cast<uint32_t>(value >> 32));
  }
  // The controller may look at it meanwhile.
  void put_trb(memory::Gpa at, const Trb& trb) { EXPECT_TRUE(write_trb(memory, at, trb)); }
  Trb get_trb(memory::Gpa at) const {
    return {get32(at) | uint64_t{get32(at + 4)} << 32, get32(at + 8), get32(at + 12), at};
  }

  // --- rings
  struct Place {
    unsigned index = 0;
    bool cycle = true;
  };
  void begin_ring(memory::Gpa ring) {
    zero(ring, kRingSize * kTrbSize);
    put_trb(ring + (kRingSize - 1) * kTrbSize, {.parameter = ring, .control = type(Type::kLink) | trb::TC});
  }
  // Gives where it is.
  memory::Gpa enqueue(memory::Gpa ring, Place& place, Trb trb) {
    const memory::Gpa at = ring + place.index * kTrbSize;
    trb.control = (trb.control & ~trb::C) | (place.cycle ? trb::C : 0);
    put_trb(at, trb);
    if (++place.index < kRingSize - 1) return at;
    const memory::Gpa link = ring + place.index * kTrbSize + 12;
    memory.store<uint32_t>(link, (get32(link) & ~trb::C) | (place.cycle ? trb::C : 0));
    place = {0, !place.cycle};
    return at;
  }
  // Of a loop that runs on a thread of its own.
  void wait_for_event() {
    while (((*memory.load<uint32_t>(kEventRing + events.index * kTrbSize + 12) & trb::C) != 0) != events.cycle) std::this_thread::yield();
  }
  std::optional<Trb> next_event(bool acknowledge = true) {
    if (waits) wait_for_event();
    const Trb event = get_trb(kEventRing + events.index * kTrbSize);
    if (event.has(trb::C) != events.cycle) return std::nullopt;
    if (++events.index == event_count) events = {0, !events.cycle};
    if (acknowledge) set_interrupter(ERDP, static_cast<uint32_t>(kEventRing + events.index * kTrbSize) | kEventBusy);
    return event;
  }
  std::optional<Trb> next_event_of(Type wanted) {
    for (auto event = next_event(); event; event = next_event())
      if (event->type() == wanted) return event;
    return std::nullopt;
  }
  static Code code_of(const Trb& event) { return static_cast<Code>(event.status >> trb::kCodeShift); }

  // --- commands
  struct Completion {
    Code code;
    unsigned slot;
  };
  std::optional<Completion> command(Type what, uint32_t control = 0, uint64_t parameter = 0) {
    const memory::Gpa at = enqueue(kCommandRing, commands, {.parameter = parameter, .control = type(what) | control});
    ring_doorbell(0, 0);
    const auto event = next_event_of(Type::kCommandCompletion);
    if (!event) return std::nullopt;
    EXPECT_EQ(event->parameter, at);
    return Completion{code_of(*event), event->slot()};
  }
  Code code(Type what, uint32_t control = 0, uint64_t parameter = 0) {
    const auto done = command(what, control, parameter);
    EXPECT_TRUE(done) << "the command has not ended";
    return done ? done->code : Code::kResourceError;
  }

  // --- slots
  static memory::Gpa context(unsigned slot, unsigned index = 0) { return kContexts + slot * 0x400 + index * kContextSize; }
  static memory::Gpa ring_at(unsigned slot, unsigned endpoint) { return kRings + (slot * 32 + endpoint) * kRingSize * kTrbSize; }
  static memory::Gpa input(unsigned index) { return kInput + (index + 1) * kContextSize; }
  static uint32_t slot_bits(unsigned slot) { return slot << trb::kSlotShift; }
  static uint32_t endpoint_bits(unsigned slot, unsigned endpoint) { return slot_bits(slot) | endpoint << trb::kEndpointShift; }
  void put_endpoint(unsigned slot, unsigned endpoint, EndpointType kind) {
    begin_ring(ring_at(slot, endpoint));
    rings[{slot, endpoint}] = {};
    put32(input(endpoint) + 4, 512u << endpoint_context::kPacketShift | static_cast<uint32_t>(kind) << endpoint_context::kTypeShift);
    put64(input(endpoint) + 8, ring_at(slot, endpoint) | 1);
  }
  void put_input(uint32_t drop, uint32_t add, unsigned port_number, unsigned entries) {
    zero(kInput, 0x420);
    put32(kInput, drop);
    put32(kInput + 4, add);
    put32(input(0), entries << slot_context::kEntriesShift);
    put32(input(0) + 4, port_number << slot_context::kPortShift);
  }
  // Resets the port, and addresses the device: its slot.
  unsigned address(unsigned port_number) {
    set_port(port_number, portsc::PP | portsc::PR);
    EXPECT_TRUE(port(port_number) & portsc::PED);
    set_port(port_number, portsc::PP | portsc::kChanges);
    const auto done = command(Type::kEnableSlot);
    EXPECT_TRUE(done && done->code == Code::kSuccess);
    const unsigned slot = done ? done->slot : 0;
    zero(context(slot), 0x400);
    put64(kContextArray + slot * 8, context(slot));
    put_input(0, 3, port_number, 1);
    put_endpoint(slot, kControl, EndpointType::kControl);
    EXPECT_EQ(code(Type::kAddressDevice, slot_bits(slot), kInput), Code::kSuccess);
    return slot;
  }
  Code configure(unsigned slot, const std::vector<std::pair<unsigned, EndpointType>>& endpoints) {
    uint32_t add = 1;
    for (const auto& [endpoint, kind] : endpoints) add |= 1u << endpoint;
    put_input(0, add, 0, 31);
    for (const auto& [endpoint, kind] : endpoints) put_endpoint(slot, endpoint, kind);
    return code(Type::kConfigureEndpoint, slot_bits(slot), kInput);
  }
  EndpointState state_of(unsigned slot, unsigned endpoint) { return static_cast<EndpointState>(get32(context(slot, endpoint)) & 7); }
  unsigned disk() {
    const unsigned slot = address(kDiskPort);
    EXPECT_EQ(configure(slot, {{kInEndpoint, EndpointType::kBulkIn}, {kOut, EndpointType::kBulkOut}}), Code::kSuccess);
    EXPECT_TRUE(control(slot, {.type = 0, .request = SET_CONFIGURATION, .value = 1}));
    return slot;
  }
  unsigned hid(unsigned port_number) {
    const unsigned slot = address(port_number);
    EXPECT_EQ(configure(slot, {{kInEndpoint, EndpointType::kInterruptIn}}), Code::kSuccess);
    EXPECT_TRUE(control(slot, {.type = 0, .request = SET_CONFIGURATION, .value = 1}));
    return slot;
  }

  // --- transfers
  memory::Gpa queue(unsigned slot, unsigned endpoint, const Trb& trb) {
    return enqueue(ring_at(slot, endpoint), rings[{slot, endpoint}], trb);
  }
  void queue_setup(unsigned slot, const Setup& setup) {
    const uint64_t parameter = setup.type | uint64_t{setup.request} << 8 | uint64_t{setup.value} << 16 | uint64_t{setup.index} << 32 |
                               uint64_t{setup.length} << 48;
    queue(slot, kControl, {.parameter = parameter, .status = 8, .control = type(Type::kSetup) | trb::IDT});
  }
  // None: it stalled, or did not end.
  std::optional<Bytes> control(unsigned slot, const Setup& setup, const Bytes& out = {}) {
    queue_setup(slot, setup);
    if (!setup.to_host() && !out.empty()) put(kData, out);
    if (setup.length > 0)
      queue(slot, kControl,
            {.parameter = kData,
             .status = setup.length,
             .control = type(Type::kData) | trb::ISP | (setup.to_host() ? trb::DIR : 0)});
    queue(slot, kControl, {.control = type(Type::kStatus) | trb::IOC});
    ring_doorbell(slot, kControl);
    uint32_t residue = 0;
    for (auto event = next_event(); event; event = next_event()) {
      if (event->type() != Type::kTransferEvent) continue;
      if (code_of(*event) == Code::kShortPacket) residue = event->status & trb::kEventLength;
      if (code_of(*event) == Code::kSuccess) return setup.to_host() ? bytes(kData, setup.length - residue) : Bytes{};
      if (code_of(*event) == Code::kStall) {
        recover(slot, kControl);
        return std::nullopt;
      }
    }
    return std::nullopt;
  }
  // What a driver does about a halted endpoint: behind what it has queued.
  void recover(unsigned slot, unsigned endpoint) {
    EXPECT_EQ(state_of(slot, endpoint), EndpointState::kHalted);
    EXPECT_EQ(code(Type::kResetEndpoint, endpoint_bits(slot, endpoint)), Code::kSuccess);
    const Place place = rings[{slot, endpoint}];
    EXPECT_EQ(code(Type::kSetDequeue, endpoint_bits(slot, endpoint),
                   (ring_at(slot, endpoint) + place.index * kTrbSize) | place.cycle),
              Code::kSuccess);
  }
  struct Moved {
    Code code;
    uint32_t residue;
  };
  std::optional<Moved> transfer_event() {
    const auto event = next_event_of(Type::kTransferEvent);
    if (!event) return std::nullopt;
    return Moved{code_of(*event), event->status & trb::kEventLength};
  }
  std::optional<Moved> transfer(unsigned slot, unsigned endpoint, memory::Gpa at, uint32_t length) {
    queue(slot, endpoint, {.parameter = at, .status = length, .control = type(Type::kNormal) | trb::IOC | trb::ISP});
    ring_doorbell(slot, endpoint);
    return transfer_event();
  }

  // --- the bulk-only transport; its wrappers are at kData
  static constexpr memory::Gpa kWrapper = kData + 0x1000, kStatus = kData + 0x1100, kBlocks = kData + 0x2000;
  std::optional<Moved> send_command(unsigned slot, const Bytes& cdb, uint32_t length, bool in) {
    Bytes wrapper = {0x55, 0x53, 0x42, 0x43, 0x78, 0x56, 0x34, 0x12};
    for (unsigned i = 0; i < 4; ++i) wrapper.push_back(static_cast<uint8_t>(length >> (8 * i)));
    wrapper.insert(wrapper.end(), {static_cast<uint8_t>(in ? 0x80 : 0), 0, static_cast<uint8_t>(cdb.size())});
    wrapper.insert(wrapper.end(), cdb.begin(), cdb.end());
    wrapper.resize(31);
    put(kWrapper, wrapper);
    return transfer(slot, kOut, kWrapper, 31);
  }
  // The status byte of the wrapper; 0xff: there is none.
  uint8_t get_status(unsigned slot, uint32_t* residue = nullptr) {
    const auto moved = transfer(slot, kInEndpoint, kStatus, 13);
    if (!moved || moved->code != Code::kSuccess || get32(kStatus) != 0x53425355 || get32(kStatus + 4) != 0x12345678) return 0xff;
    if (residue) *residue = get32(kStatus + 8);
    return bytes(kStatus + 12, 1)[0];
  }
  uint8_t scsi_in(unsigned slot, const Bytes& cdb, uint32_t length, uint32_t* residue = nullptr) {
    if (!send_command(slot, cdb, length, true)) return 0xfe;
    if (length > 0) transfer(slot, kInEndpoint, kBlocks, length);
    return get_status(slot, residue);
  }
  uint8_t scsi_out(unsigned slot, const Bytes& cdb, uint32_t length, uint32_t* residue = nullptr) {
    if (!send_command(slot, cdb, length, false)) return 0xfe;
    if (length > 0) transfer(slot, kOut, kBlocks, length);
    return get_status(slot, residue);
  }

  MemoryNode node{1 << 20};
  skerry::test::LaterNode later{*loop, node};
  Xhci xhci{"xhci", *loop, memory};
  Keyboard* keyboard = nullptr;
  Tablet* tablet = nullptr;
  Place commands, events;
  uint32_t event_count = kEventRingSize;
  bool waits = false;  // for events
  std::map<std::pair<unsigned, unsigned>, Place> rings;
};

inline Bytes read_10(uint32_t first, uint16_t count) {
  return {0x28, 0, static_cast<uint8_t>(first >> 24), static_cast<uint8_t>(first >> 16), static_cast<uint8_t>(first >> 8),
          static_cast<uint8_t>(first), 0, static_cast<uint8_t>(count >> 8), static_cast<uint8_t>(count), 0};
}
inline Bytes write_10(uint32_t first, uint16_t count, bool fua = false) {
  Bytes cdb = read_10(first, count);
  cdb[0] = 0x2a;
  cdb[1] = fua ? 8 : 0;
  return cdb;
}
constexpr std::initializer_list<uint8_t> kTestUnitReady = {0, 0, 0, 0, 0, 0};

}  // namespace skerry::devices::usb::test
