#include "devices/i8042.hpp"

#include "base/log.hpp"

namespace skerry::devices {

namespace {
enum Status : uint8_t {
  kOutputBufferFull = 0x01,
  kSystemFlag = 0x04,
  kCommandData = 0x08,
  kInhibitSwitch = 0x10,  // 1: the keyboard is not locked
  kAuxOutputBufferFull = 0x20,
};
enum CommandByte : uint8_t {
  kKeyboardInterrupt = 0x01,
  kAuxInterrupt = 0x02,
  kSystem = 0x04,
  kDisableKeyboard = 0x10,
  kDisableAux = 0x20,
  kTranslate = 0x40,
  kCommandByteMask = 0x7f,
};
enum Command : uint8_t {
  kReadCommandByte = 0x20,
  kReadRamLast = 0x3f,
  kWriteCommandByte = 0x60,
  kWriteRamLast = 0x7f,
  kTestPassword = 0xa4,
  kDisableAuxDevice = 0xa7,
  kEnableAuxDevice = 0xa8,
  kTestAuxInterface = 0xa9,
  kSelfTest = 0xaa,
  kTestKeyboardInterface = 0xab,
  kDisableKeyboardInterface = 0xad,
  kEnableKeyboardInterface = 0xae,
  kReadInputPort = 0xc0,
  kReadOutputPort = 0xd0,
  kWriteOutputPort = 0xd1,
  kWriteKeyboardOutputBuffer = 0xd2,
  kWriteAuxOutputBuffer = 0xd3,
  kWriteToAux = 0xd4,
  kReadTestInputs = 0xe0,
  kPulseOutputPortFirst = 0xf0,  // bits 0-3 are low for the lines to pulse; bit 0 is the reset
};
enum OutputPort : uint8_t {
  kNotReset = 0x01,
  kA20 = 0x02,
  kOutputUnused = 0xcc,
  kOutputKeyboardFull = 0x10,
  kOutputAuxFull = 0x20,
};
enum ControlA : uint8_t { kFastReset = 0x01, kFastA20 = 0x02 };
constexpr uint8_t kSelfTestPassed = 0x55, kInterfaceGood = 0x00, kInterfaceStuck = 0xff, kNoPassword = 0xf1;
constexpr uint8_t kInputPort = 0x80;  // the keyboard is not locked
constexpr uint8_t kBreakPrefix = 0xf0;

// As a firmware would leave it: a kernel that is booted without one finds a keyboard that speaks set 1.
constexpr uint8_t kCommandByteAtStart = kKeyboardInterrupt | kAuxInterrupt | kSystem | kTranslate;

uint8_t byte(uint64_t value) { return static_cast<uint8_t>(value); }
}  // namespace

I8042::I8042(Wiring wiring)
    : wiring_(std::move(wiring)),
      data_window_(
          1, [this](uint64_t, unsigned) { return read_data(); },
          [this](uint64_t, unsigned, uint64_t value) { write_data(byte(value)); }),
      command_window_(
          1, [this](uint64_t, unsigned) { return read_status(); },
          [this](uint64_t, unsigned, uint64_t value) { write_command(byte(value)); }),
      control_a_window_(
          1, [this](uint64_t, unsigned) { return read_control_a(); },
          [this](uint64_t, unsigned, uint64_t value) { write_control_a(byte(value)); }) {
  reset();
}

Result<void> I8042::attach(bus::AddressSpace& pio) {
  if (auto added = pio.add(kDataPort, 1, data_window_, "i8042"); !added) return added;
  if (auto added = pio.add(kCommandPort, 1, command_window_, "i8042"); !added) return added;
  return pio.add(kSystemControlPortA, 1, control_a_window_, "i8042");
}

void I8042::reset() {
  std::lock_guard guard(lock_);
  write_command_byte(kCommandByteAtStart);
  awaited_ = output_buffer_ = 0;
  output_full_ = output_from_mouse_ = last_write_was_command_ = break_prefix_ = false;
  a20_ = true;
  replies_.clear();
  mouse_loop_.clear();
  keyboard_.reset();
  mouse_.reset();
  show_leds();
  update_irqs();
}

void I8042::describe(state::Fields& fields) {
  fields.field("command_byte", command_byte_, state::in_mask(kCommandByteMask));
  fields.field("awaited", awaited_);
  fields.field("output_buffer", output_buffer_);
  fields.field("output_full", output_full_);
  fields.field("output_from_mouse", output_from_mouse_);
  fields.field("last_write_was_command", last_write_was_command_);
  fields.field("break_prefix", break_prefix_);
  fields.field("a20", a20_);
  replies_.describe(fields, "replies");
  mouse_loop_.describe(fields, "mouse_loop");
  keyboard_.describe(fields);
  mouse_.describe(fields);
}

void I8042::restored() {
  std::lock_guard guard(lock_);
  show_leds();
  update_irqs();
}

// --- from the host ---------------------------------------------------------------------------------------------------

void I8042::key(display::KeyCode key, bool down) {
  std::lock_guard guard(lock_);
  if (!keyboard_.key(key, down)) log::debug(log::Category::kDevice, "i8042: a key is lost");
  fill_output_buffer();
}

void I8042::pointer_relative(int32_t dx, int32_t dy, display::Buttons buttons) {
  std::lock_guard guard(lock_);
  mouse_.move(dx, dy, 0, buttons);
  fill_output_buffer();
}

void I8042::wheel(int32_t vertical, int32_t, display::Buttons buttons) {
  std::lock_guard guard(lock_);
  mouse_.move(0, 0, vertical, buttons);
  fill_output_buffer();
}

void I8042::show_leds() {
  if (shown_.exchange(keyboard_.lamps()) == keyboard_.lamps()) return;
  if (leds_changed_) leds_changed_();
}

// --- ports -----------------------------------------------------------------------------------------------------------

uint8_t I8042::read_data() {
  std::lock_guard guard(lock_);
  const uint8_t value = output_buffer_;
  output_full_ = false;
  update_irqs();  // low in between: the controllers of these interrupts want an edge for each byte
  fill_output_buffer();
  return value;
}

uint8_t I8042::read_status() {
  std::lock_guard guard(lock_);
  uint8_t status = kInhibitSwitch;
  if (output_full_) status |= kOutputBufferFull;
  if (output_full_ && output_from_mouse_) status |= kAuxOutputBufferFull;
  if (command_byte_ & kSystem) status |= kSystemFlag;
  if (last_write_was_command_) status |= kCommandData;
  return status;
}

uint8_t I8042::read_control_a() {
  std::lock_guard guard(lock_);
  return a20_ ? kFastA20 : 0;
}

void I8042::write_data(uint8_t value) {
  bool pulse_reset = false;
  {
    std::lock_guard guard(lock_);
    last_write_was_command_ = false;
    if (awaited_ != 0) {
      pulse_reset = data_for_controller(value);
    } else {
      command_byte_ &= static_cast<uint8_t>(~kDisableKeyboard);  // the controller opens the line to send
      keyboard_.command(value);
      show_leds();
    }
    fill_output_buffer();
  }
  if (pulse_reset && wiring_.reset) wiring_.reset();
}

void I8042::write_command(uint8_t value) {
  bool pulse_reset = false;
  {
    std::lock_guard guard(lock_);
    last_write_was_command_ = true;
    awaited_ = 0;
    pulse_reset = controller_command(value);
    fill_output_buffer();
  }
  if (pulse_reset && wiring_.reset) wiring_.reset();
}

void I8042::write_control_a(uint8_t value) {
  {
    std::lock_guard guard(lock_);
    a20_ = value & kFastA20;
  }
  if ((value & kFastReset) && wiring_.reset) wiring_.reset();
}

// --- the controller --------------------------------------------------------------------------------------------------

bool I8042::controller_command(uint8_t command) {
  if (command >= kPulseOutputPortFirst) return !(command & kNotReset);
  if (command >= kReadCommandByte && command <= kReadRamLast) {
    reply(command == kReadCommandByte ? command_byte_ : 0);
    return false;
  }
  if (command >= kWriteCommandByte && command <= kWriteRamLast) {
    awaited_ = command;
    return false;
  }
  switch (command) {
    case kTestPassword:
      reply(kNoPassword);
      break;
    case kDisableAuxDevice:
      write_command_byte(command_byte_ | kDisableAux);
      break;
    case kEnableAuxDevice:
      write_command_byte(command_byte_ & static_cast<uint8_t>(~kDisableAux));
      break;
    case kTestAuxInterface:
      reply(wiring_.mouse ? kInterfaceGood : kInterfaceStuck);
      break;
    case kSelfTest:
      command_byte_ |= kSystem;
      reply(kSelfTestPassed);
      break;
    case kTestKeyboardInterface:
      reply(kInterfaceGood);
      break;
    case kDisableKeyboardInterface:
      command_byte_ |= kDisableKeyboard;
      break;
    case kEnableKeyboardInterface:
      command_byte_ &= static_cast<uint8_t>(~kDisableKeyboard);
      break;
    case kReadInputPort:
      reply(kInputPort);
      break;
    case kReadOutputPort:
      reply(output_port());
      break;
    case kReadTestInputs:
      reply(0);
      break;
    case kWriteOutputPort:
    case kWriteKeyboardOutputBuffer:
    case kWriteAuxOutputBuffer:
    case kWriteToAux:
      awaited_ = command;
      break;
    default:
      log::debug(log::Category::kDevice, "i8042: unknown command {:#x}", command);
      break;
  }
  return false;
}

bool I8042::data_for_controller(uint8_t value) {
  const uint8_t command = awaited_;
  awaited_ = 0;
  switch (command) {
    case kWriteCommandByte:
      write_command_byte(value);
      break;
    case kWriteOutputPort:
      a20_ = value & kA20;
      return !(value & kNotReset);
    case kWriteKeyboardOutputBuffer:
      reply(value);
      break;
    case kWriteAuxOutputBuffer:
      mouse_loop_.push(value);
      break;
    case kWriteToAux:
      if (!wiring_.mouse) break;  // nobody answers
      command_byte_ &= static_cast<uint8_t>(~kDisableAux);
      mouse_.command(value);
      break;
    default:  // the rest of the controller's RAM
      break;
  }
  return false;
}

// Where no mouse is plugged in, its interface cannot be enabled: by that drivers notice.
void I8042::write_command_byte(uint8_t value) {
  command_byte_ = value & kCommandByteMask;
  if (!wiring_.mouse) command_byte_ |= kDisableAux;
}

uint8_t I8042::output_port() const {
  uint8_t value = kNotReset | kOutputUnused;
  if (a20_) value |= kA20;
  if (output_full_) value |= output_from_mouse_ ? kOutputAuxFull : kOutputKeyboardFull;
  return value;
}

// --- to the guest ----------------------------------------------------------------------------------------------------

void I8042::load(uint8_t value, bool from_mouse) {
  output_buffer_ = value;
  output_from_mouse_ = from_mouse;
  output_full_ = true;
}

void I8042::fill_output_buffer() {
  while (!output_full_) {
    if (!replies_.empty()) {
      load(replies_.pop(), false);
    } else if (!mouse_loop_.empty()) {
      load(mouse_loop_.pop(), true);
    } else if (!(command_byte_ & kDisableKeyboard) && !keyboard_.output.empty()) {
      const uint8_t code = keyboard_.output.pop();
      if (!(command_byte_ & kTranslate)) {
        load(code, false);
      } else if (code == kBreakPrefix) {
        break_prefix_ = true;
      } else {
        load(static_cast<uint8_t>(set1_of_set2(code) | (break_prefix_ ? 0x80 : 0)), false);
        break_prefix_ = false;
      }
    } else if (!(command_byte_ & kDisableAux) && !mouse_.output.empty()) {
      load(mouse_.take(), true);
    } else {
      break;
    }
  }
  update_irqs();
}

void I8042::update_irqs() {
  const bool keyboard = output_full_ && !output_from_mouse_;
  wiring_.keyboard_irq.set(keyboard && (command_byte_ & kKeyboardInterrupt) && !(command_byte_ & kDisableKeyboard));
  wiring_.mouse_irq.set(output_full_ && output_from_mouse_ && (command_byte_ & kAuxInterrupt));
}

}  // namespace skerry::devices
