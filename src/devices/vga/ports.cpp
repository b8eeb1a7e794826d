// How the ports reach the registers.
#include "devices/vga/registers.hpp"

namespace skerry::devices::vga {

namespace {

enum Port : uint16_t {
  kAttribute = 0x3c0,  // index, then data
  kAttributeRead = 0x3c1,
  kMiscOutput = 0x3c2,  // write; reads are input status 0
  kSequencerIndex = 0x3c4,
  kSequencerData = 0x3c5,
  kDacMask = 0x3c6,
  kDacReadIndex = 0x3c7,  // write; reads are the state
  kDacWriteIndex = 0x3c8,
  kDacData = 0x3c9,
  kFeatureControlRead = 0x3ca,
  kMiscOutputRead = 0x3cc,
  kGraphicsIndex = 0x3ce,
  kGraphicsData = 0x3cf,
  // Of the CRT controller and beside it, at 0x3bx or 0x3dx.
  kCrtcIndex = 0x4,
  kCrtcData = 0x5,
  kInputStatus1 = 0xa,  // writes are feature control
};
constexpr uint8_t kNobody = 0xff;

// The bits that a register has.
constexpr std::array<uint8_t, sequencer::kCount> kSequencerBits = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
constexpr std::array<uint8_t, graphics::kCount> kGraphicsBits = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};

bool at_crtc(uint16_t port) { return (port & 0xfff0) == 0x3b0 || (port & 0xfff0) == 0x3d0; }
bool decoded(const Registers& registers, uint16_t port) {
  return ((port & 0xfff0) == 0x3d0) == static_cast<bool>(registers.misc_output & misc_output::IOAS);
}

// Time passes with each reading, so that loops that wait for an edge end: lines with their horizontal blanking, then a
// vertical retrace.
uint8_t read_status_1(Registers& registers) {
  constexpr uint8_t kPhases = 16, kRetraceFrom = 12;
  registers.attribute_data_is_next = false;
  registers.status_phase = static_cast<uint8_t>((registers.status_phase + 1) % kPhases);
  if (registers.status_phase >= kRetraceFrom) return input_status_1::DISPLAY_DISABLED | input_status_1::VERTICAL_RETRACE;
  return registers.status_phase % 2 ? input_status_1::DISPLAY_DISABLED : 0;
}

uint8_t read_crtc_port(Registers& registers, uint16_t port) {
  if (!decoded(registers, port)) return kNobody;
  switch (port & 0xf) {
    case kCrtcIndex: return registers.crtc_index;
    case kCrtcData: return registers.crtc_index < crtc::kCount ? registers.crtc[registers.crtc_index] : 0;
    case kInputStatus1: return read_status_1(registers);
    default: return kNobody;
  }
}

void write_crtc(Registers& registers, uint8_t value) {
  const uint8_t index = registers.crtc_index;
  if (index >= crtc::kCount) return;
  uint8_t& at = registers.crtc[index];
  const bool is_protected = registers.crtc[crtc::VERTICAL_RETRACE_END] & crtc::PROTECT && index <= crtc::OVERFLOW_BITS;
  if (!is_protected)
    at = value;
  else if (index == crtc::OVERFLOW_BITS)  // of which line compare is not protected
    at = static_cast<uint8_t>((at & ~crtc::LINE_COMPARE_8) | (value & crtc::LINE_COMPARE_8));
}

void write_crtc_port(Registers& registers, uint16_t port, uint8_t value) {
  if (!decoded(registers, port)) return;
  switch (port & 0xf) {
    case kCrtcIndex: registers.crtc_index = value; break;
    case kCrtcData: write_crtc(registers, value); break;
    case kInputStatus1: registers.feature_control = value & 0x03; break;
    default: break;
  }
}

uint8_t attribute_bits(uint8_t index) {
  switch (index) {
    case attribute::MODE_CONTROL: return 0xef;
    case attribute::OVERSCAN_COLOR: return 0xff;
    case attribute::HORIZONTAL_PIXEL_PANNING:
    case attribute::COLOR_SELECT: return 0x0f;
    default: return 0x3f;
  }
}

void write_attribute(Registers& registers, uint8_t value) {
  if (!registers.attribute_data_is_next) {
    registers.attribute_index = value & 0x3f;
  } else if (const uint8_t index = registers.attribute_index & 0x1f; index < attribute::kCount) {
    registers.attribute[index] = value & attribute_bits(index);
  }
  registers.attribute_data_is_next = !registers.attribute_data_is_next;
}

uint8_t read_dac(Dac& dac) {
  const uint8_t value = dac.colours[dac.read_index * 3u + dac.component % 3u] & dac.depth_mask();
  dac.component = static_cast<uint8_t>((dac.component + 1) % 3);
  if (dac.component == 0) ++dac.read_index;
  return value;
}

void write_dac(Dac& dac, uint8_t value) {
  dac.colours[dac.write_index * 3u + dac.component % 3u] = value & dac.depth_mask();
  dac.component = static_cast<uint8_t>((dac.component + 1) % 3);
  if (dac.component == 0) ++dac.write_index;
}

void set_dac_index(Dac& dac, uint8_t index, bool reading) {
  (reading ? dac.read_index : dac.write_index) = index;
  dac.component = 0;
  dac.reading = reading;
}

}  // namespace

uint8_t read_port(Registers& registers, uint16_t port) {
  if (at_crtc(port)) return read_crtc_port(registers, port);
  switch (port) {
    case kAttribute: return registers.attribute_index;
    case kAttributeRead: {
      const uint8_t index = registers.attribute_index & 0x1f;
      return index < attribute::kCount ? registers.attribute[index] : 0;
    }
    case kMiscOutput: return 0;  // input status 0: no interrupt, no switch
    case kSequencerIndex: return registers.sequencer_index;
    case kSequencerData:
      return registers.sequencer_index < sequencer::kCount ? registers.sequencer[registers.sequencer_index] : 0;
    case kDacMask: return registers.dac.mask;
    case kDacReadIndex: return registers.dac.reading ? 3 : 0;
    case kDacWriteIndex: return registers.dac.write_index;
    case kDacData: return read_dac(registers.dac);
    case kFeatureControlRead: return registers.feature_control;
    case kMiscOutputRead: return registers.misc_output;
    case kGraphicsIndex: return registers.graphics_index;
    case kGraphicsData: return registers.graphics_index < graphics::kCount ? registers.graphics[registers.graphics_index] : 0;
    default: return kNobody;
  }
}

void write_port(Registers& registers, uint16_t port, uint8_t value) {
  if (at_crtc(port)) return write_crtc_port(registers, port, value);
  switch (port) {
    case kAttribute: write_attribute(registers, value); break;
    case kMiscOutput: registers.misc_output = value & 0xef; break;
    case kSequencerIndex: registers.sequencer_index = value & 0x07; break;
    case kSequencerData:
      if (const uint8_t index = registers.sequencer_index; index < sequencer::kCount)
        registers.sequencer[index] = value & kSequencerBits[index];
      break;
    case kDacMask: registers.dac.mask = value; break;
    case kDacReadIndex: set_dac_index(registers.dac, value, true); break;
    case kDacWriteIndex: set_dac_index(registers.dac, value, false); break;
    case kDacData: write_dac(registers.dac, value); break;
    case kGraphicsIndex: registers.graphics_index = value & 0x0f; break;
    case kGraphicsData:
      if (const uint8_t index = registers.graphics_index; index < graphics::kCount)
        registers.graphics[index] = value & kGraphicsBits[index];
      break;
    default: break;
  }
}

}  // namespace skerry::devices::vga
