#include "devices/hda/command_rings.hpp"

namespace skerry::devices::hda {

namespace {
// 3.3.18 to 3.3.31. In the dword of the pointers and of control, each register has its place.
constexpr uint32_t kPointerReset = 1 << 15;  // CORBRPRST, RIRBWPRST: of their 16 bits
constexpr uint32_t kSizes = 0x42 << 16;      // CORBSIZE, RIRBSIZE: 256 entries, and no other number
constexpr uint8_t kCorbErrorEnable = 1 << 0, kCorbRun = 1 << 1, kCorbError = 1 << 0;
constexpr uint8_t kResponseEnable = 1 << 0, kRirbRun = 1 << 1, kOverrunEnable = 1 << 2, kResponse = 1 << 0,
                  kOverrun = 1 << 2;
constexpr uint32_t kBusy = 1 << 0, kValid = 1 << 1;  // ICB, IRV of ICIS
constexpr unsigned kAddressShift = 28;               // of a command: the codec's

uint64_t with_low(uint64_t address, uint32_t value, uint32_t mask) {
  return (address & ~uint64_t{0xffff'ffff}) | merged(static_cast<uint32_t>(address), value, mask, kBaseMask);
}
uint64_t with_high(uint64_t address, uint32_t value, uint32_t mask) {
  return (address & 0xffff'ffff) | uint64_t{merged(static_cast<uint32_t>(address >> 32), value, mask, ~0u)} << 32;
}
}  // namespace

void CommandRings::reset() {
  corb_ = rirb_ = 0;
  command_write_ = command_read_ = response_write_ = responses_per_interrupt_ = 0;
  command_read_reset_ = immediate_valid_ = false;
  command_control_ = command_status_ = response_control_ = response_status_ = 0;
  immediate_ = immediate_response_ = 0;
}

void CommandRings::describe(state::Fields& fields) {
  fields.field("corb", corb_, state::in_mask(~uint64_t{0x7f}));
  fields.field("rirb", rirb_, state::in_mask(~uint64_t{0x7f}));
  fields.field("command_write", command_write_);
  fields.field("command_read", command_read_);
  fields.field("command_read_reset", command_read_reset_);
  fields.field("response_write", response_write_);
  fields.field("responses_per_interrupt", responses_per_interrupt_);
  fields.field("command_control", command_control_, state::in_mask(kCorbErrorEnable | kCorbRun));
  fields.field("command_status", command_status_, state::in_mask(kCorbError));
  fields.field("response_control", response_control_, state::in_mask(kResponseEnable | kRirbRun | kOverrunEnable));
  fields.field("response_status", response_status_, state::in_mask(kResponse | kOverrun));
  fields.field("immediate", immediate_);
  fields.field("immediate_response", immediate_response_);
  fields.field("immediate_valid", immediate_valid_);
}

// --- registers -------------------------------------------------------------------------------------------------------

uint32_t CommandRings::read(uint32_t offset) const {
  switch (offset) {
    case CORBLBASE:
      return static_cast<uint32_t>(corb_);
    case CORBUBASE:
      return static_cast<uint32_t>(corb_ >> 32);
    case CORBWP:
      return command_write_ | (command_read_ | (command_read_reset_ ? kPointerReset : 0)) << 16;
    case CORBCTL:
      return command_control_ | command_status_ << 8 | kSizes;
    case RIRBLBASE:
      return static_cast<uint32_t>(rirb_);
    case RIRBUBASE:
      return static_cast<uint32_t>(rirb_ >> 32);
    case RIRBWP:
      return response_write_ | responses_per_interrupt_ << 16;
    case RIRBCTL:
      return response_control_ | response_status_ << 8 | kSizes;
    case ICOI:
      return immediate_;
    case ICII:
      return immediate_response_;
    case ICIS:
      return immediate_valid_ ? kValid : 0;
    default:
      return 0;
  }
}

void CommandRings::write(uint32_t offset, uint32_t value, uint32_t mask) {
  const auto clear = static_cast<uint8_t>((value & mask) >> 8);  // status bits to which 1 is written
  switch (offset) {
    case CORBLBASE:
      corb_ = with_low(corb_, value, mask);
      break;
    case CORBUBASE:
      corb_ = with_high(corb_, value, mask);
      break;
    case CORBWP:
      write_corb_pointers(value, mask);
      break;
    case CORBCTL:
      command_control_ = static_cast<uint8_t>(merged(command_control_, value, mask, kCorbErrorEnable | kCorbRun));
      command_status_ &= static_cast<uint8_t>(~clear);
      run();
      break;
    case RIRBLBASE:
      rirb_ = with_low(rirb_, value, mask);
      break;
    case RIRBUBASE:
      rirb_ = with_high(rirb_, value, mask);
      break;
    case RIRBWP:
      write_rirb_pointers(value, mask);
      break;
    case RIRBCTL:
      response_control_ =
          static_cast<uint8_t>(merged(response_control_, value, mask, kResponseEnable | kRirbRun | kOverrunEnable));
      response_status_ &= static_cast<uint8_t>(~clear);
      break;
    case ICOI:
      immediate_ = merged(immediate_, value, mask, ~0u);
      break;
    case ICIS:
      write_immediate_status(value & mask);
      break;
    default:
      break;
  }
}

// 4.4.1.3: the read pointer is put back by a bit that has to be taken back.
void CommandRings::write_corb_pointers(uint32_t value, uint32_t mask) {
  if (mask & kPointerReset << 16) {
    command_read_reset_ = value & kPointerReset << 16;
    if (command_read_reset_) command_read_ = 0;
  }
  command_write_ = static_cast<uint8_t>(merged(command_write_, value, mask, 0xff));
  run();
}

void CommandRings::write_rirb_pointers(uint32_t value, uint32_t mask) {
  if (value & mask & kPointerReset) response_write_ = 0;
  responses_per_interrupt_ =
      static_cast<uint8_t>(merged(responses_per_interrupt_ << 16, value, mask, 0xff << 16) >> 16);
}

void CommandRings::write_immediate_status(uint32_t value) {
  if (value & kValid) immediate_valid_ = false;
  if (!(value & kBusy) || immediate_ >> kAddressShift != Codec::kAddress) return;
  immediate_response_ = codec_.answer(immediate_);
  immediate_valid_ = true;
}

// --- the rings -------------------------------------------------------------------------------------------------------

// A command to a codec that is not there has no response.
void CommandRings::run() {
  if (!(command_control_ & kCorbRun) || command_read_reset_ || !dma_.allowed()) return;
  while (command_read_ != command_write_) {
    ++command_read_;
    const auto command = dma_.memory.load<uint32_t>(corb_ + sizeof(uint32_t) * command_read_);
    if (!command) {
      command_status_ |= kCorbError;
      command_control_ &= static_cast<uint8_t>(~kCorbRun);
      return;
    }
    if (*command >> kAddressShift == Codec::kAddress) respond(codec_.answer(*command));
  }
}

// 4.4.2.2: RINTCNT responses, or all that there are for now, make one interrupt. All commands that wait are answered at
// once, so it is always the latter.
void CommandRings::respond(uint32_t response) {
  const auto next = static_cast<uint8_t>(response_write_ + 1);
  if (!(response_control_ & kRirbRun) || !dma_.memory.store<uint64_t>(rirb_ + sizeof(uint64_t) * next, response)) {
    response_status_ |= kOverrun;
    return;
  }
  response_write_ = next;
  response_status_ |= kResponse;
}

bool CommandRings::interrupts() const {
  return (command_status_ & kCorbError && command_control_ & kCorbErrorEnable) ||
         (response_status_ & kResponse && response_control_ & kResponseEnable) ||
         (response_status_ & kOverrun && response_control_ & kOverrunEnable);
}

}  // namespace skerry::devices::hda
