#include "irqchip/pic.hpp"

#include <bit>

namespace skerry::irqchip {

namespace {
// Names as in the 8259A data sheet (Intel 231468), "Programming the 8259A".
constexpr uint8_t kIcw1 = 0x10;  // marks ICW1
constexpr uint8_t kIcw1Ic4 = 0x01, kIcw1Sngl = 0x02;
constexpr uint8_t kIcw4Aeoi = 0x02, kIcw4Sfnm = 0x10;
constexpr uint8_t kOcw3 = 0x08;  // marks OCW3, where ICW1's mark is absent
constexpr uint8_t kOcw3Ris = 0x01, kOcw3Rr = 0x02, kOcw3P = 0x04, kOcw3Smm = 0x20, kOcw3Esmm = 0x40;
constexpr uint8_t kPollInterrupt = 0x80;

constexpr unsigned kCascade = 2;   // the slave's INT is the master's IR2
constexpr unsigned kSpurious = 7;  // the input whose vector answers when no request is left

// Inputs that can be level-triggered: not the timer, the keyboard, the cascade, the RTC and the coprocessor.
constexpr uint8_t kElcrMask[2] = {0xf8, 0xde};
}  // namespace

// The input of highest priority among the bits `of`, or -1.
int Pic::Chip::highest(uint8_t of) const {
  if (of == 0) return -1;
  const unsigned first = (lowest_priority + 1) & 7;
  return static_cast<int>((first + std::countr_zero(std::rotr(of, static_cast<int>(first)))) & 7);
}

// The input that INT is raised for, or -1.
int Pic::Chip::pending(bool master) const {
  if (init != Init::kDone) return -1;
  const int request = highest(irr & ~imr);
  if (request < 0) return -1;
  uint8_t in_service = isr;
  if (special_mask) in_service &= ~imr;
  // The master lets a further request of the slave through: the slave knows its own priorities.
  if (special_fully_nested && master) in_service &= ~(1u << kCascade);
  const int current = highest(in_service);
  if (current < 0) return request;
  const auto rank = [this](int input) { return (input - lowest_priority - 1) & 7; };
  return rank(request) < rank(current) ? request : -1;
}

void Pic::Chip::set_line(unsigned input, bool level) {
  const uint8_t mask = static_cast<uint8_t>(1u << input);
  const bool rising = level && !(lines & mask);
  lines = level ? lines | mask : lines & ~mask;
  if (elcr & mask)
    irr = level ? irr | mask : irr & ~mask;
  else if (rising)
    irr |= mask;
}

void Pic::Chip::acknowledge(unsigned input) {
  const uint8_t mask = static_cast<uint8_t>(1u << input);
  if (!(elcr & mask)) irr &= ~mask;  // a level request stays for as long as its line is up
  if (!auto_eoi)
    isr |= mask;
  else if (rotate_on_auto_eoi)
    lowest_priority = static_cast<uint8_t>(input);
}

// ICW1 clears everything but the inputs and the ELCR; edges count anew from here.
void Pic::Chip::write_icw1(uint8_t value) {
  irr = lines & elcr;
  imr = isr = 0;
  lowest_priority = 7;
  auto_eoi = rotate_on_auto_eoi = special_fully_nested = special_mask = read_isr = poll = false;
  single = value & kIcw1Sngl;
  icw4_follows = value & kIcw1Ic4;
  init = Init::kIcw2;
}

void Pic::Chip::end_of_interrupt(int input, bool rotate) {
  if (input < 0) return;
  isr &= ~(1u << input);
  if (rotate) lowest_priority = static_cast<uint8_t>(input);
}

void Pic::Chip::write_ocw2(uint8_t value) {
  const int level = value & 7;
  switch (value >> 5) {
    case 0:
      rotate_on_auto_eoi = false;
      break;
    case 4:
      rotate_on_auto_eoi = true;
      break;
    case 1:    // non-specific EOI
    case 5: {  // and rotate; under special mask, masked inputs are not ended by it
      const uint8_t candidates = special_mask ? isr & ~imr : isr;
      end_of_interrupt(highest(candidates), value >> 5 == 5);
      break;
    }
    case 3:
      end_of_interrupt(level, false);
      break;
    case 7:
      end_of_interrupt(level, true);
      break;
    case 6:
      lowest_priority = static_cast<uint8_t>(level);
      break;
    default:
      break;  // 2: no operation
  }
}

void Pic::Chip::write_ocw3(uint8_t value) {
  if (value & kOcw3P) poll = true;
  if (value & kOcw3Rr) read_isr = value & kOcw3Ris;
  if (value & kOcw3Esmm) special_mask = value & kOcw3Smm;
}

// The second port: the mask, or the next word of the initialization.
void Pic::Chip::write_data(uint8_t value) {
  switch (init) {
    case Init::kDone:
      imr = value;
      break;
    case Init::kIcw2:
      icw2 = value & 0xf8;
      init = !single ? Init::kIcw3 : icw4_follows ? Init::kIcw4 : Init::kDone;
      break;
    case Init::kIcw3:  // how the chips are wired is fixed
      init = icw4_follows ? Init::kIcw4 : Init::kDone;
      break;
    case Init::kIcw4:
      auto_eoi = value & kIcw4Aeoi;
      special_fully_nested = value & kIcw4Sfnm;
      init = Init::kDone;
      break;
  }
}

void Pic::Chip::reset() {
  const uint8_t kept = lines;  // what devices drive is theirs
  *this = Chip{};
  lines = kept;
}

void Pic::Chip::describe(state::Fields& fields, bool master) {
  fields.field("lines", lines, state::in_mask(master ? 0xfb : 0xff));
  fields.field("irr", irr);
  fields.field("imr", imr);
  fields.field("isr", isr);
  fields.field("elcr", elcr, state::in_mask(kElcrMask[master ? 0 : 1]));
  fields.field("icw2", icw2, state::in_mask(0xf8));
  fields.field("lowest_priority", lowest_priority, state::up_to(7));
  fields.field("init", init, state::up_to(3));
  fields.field("single", single);
  fields.field("icw4_follows", icw4_follows);
  fields.field("auto_eoi", auto_eoi);
  fields.field("rotate_on_auto_eoi", rotate_on_auto_eoi);
  fields.field("special_fully_nested", special_fully_nested);
  fields.field("special_mask", special_mask);
  fields.field("read_isr", read_isr);
  fields.field("poll", poll);
}

Pic::Pic(std::function<void(bool)> intr) : intr_(std::move(intr)) {}

Result<void> Pic::attach(bus::AddressSpace& pio) {
  if (auto added = pio.add(0x20, 2, master_ports_, "pic"); !added) return added;
  if (auto added = pio.add(0xa0, 2, slave_ports_, "pic"); !added) return added;
  return pio.add(0x4d0, 2, elcr_ports_, "pic");
}

void Pic::update() {
  // Latched, and latched again at once for as long as the slave has a request: neither can get lost. A slave that
  // takes its request back leaves the latch, and the acknowledge then gives IRQ 15's vector.
  if (chips_[1].pending(false) >= 0) chips_[0].irr |= 1u << kCascade;
  const bool level = chips_[0].pending(true) >= 0;
  if (level == intr_level_) return;
  intr_level_ = level;
  intr_(level);
}

void Pic::set_irq(unsigned irq, bool level) {
  if (irq >= 16 || irq == kCascade) return;
  std::lock_guard guard(lock_);
  chips_[irq / 8].set_line(irq % 8, level);
  update();
}

int Pic::acknowledge() {
  std::lock_guard guard(lock_);
  const int input = chips_[0].pending(true);
  int vector = 0;
  if (input < 0) {
    vector = chips_[0].icw2 + kSpurious;
  } else {
    chips_[0].acknowledge(static_cast<unsigned>(input));
    vector = chips_[0].icw2 + input;
  }
  if (input == kCascade) {
    const int slave_input = chips_[1].pending(false);
    if (slave_input >= 0) chips_[1].acknowledge(static_cast<unsigned>(slave_input));
    vector = chips_[1].icw2 + (slave_input >= 0 ? slave_input : static_cast<int>(kSpurious));
  }
  update();
  return vector;
}

uint8_t Pic::read_chip(unsigned index, unsigned port) {
  std::lock_guard guard(lock_);
  Chip& chip = chips_[index];
  if (chip.poll) {
    chip.poll = false;
    const int input = chip.pending(index == 0);
    if (input < 0) return 0;
    chip.acknowledge(static_cast<unsigned>(input));
    update();
    return static_cast<uint8_t>(kPollInterrupt | input);
  }
  if (port == 1) return chip.imr;
  return chip.read_isr ? chip.isr : chip.irr;
}

void Pic::write_elcr(unsigned index, uint8_t value) {
  Chip& chip = chips_[index];
  chip.elcr = value & kElcrMask[index];
  chip.irr = (chip.irr & ~chip.elcr) | (chip.lines & chip.elcr);
  update();
}

uint64_t Pic::ChipPorts::io_read(uint64_t offset, unsigned) { return pic.read_chip(index, offset & 1); }

void Pic::ChipPorts::io_write(uint64_t offset, unsigned, uint64_t value) {
  std::lock_guard guard(pic.lock_);
  Chip& chip = pic.chips_[index];
  const uint8_t byte = static_cast<uint8_t>(value);
  if (offset & 1)
    chip.write_data(byte);
  else if (byte & kIcw1)
    chip.write_icw1(byte);
  else if (byte & kOcw3)
    chip.write_ocw3(byte);
  else
    chip.write_ocw2(byte);
  pic.update();
}

uint64_t Pic::ElcrPorts::io_read(uint64_t offset, unsigned) {
  std::lock_guard guard(pic.lock_);
  return pic.chips_[offset & 1].elcr;
}

void Pic::ElcrPorts::io_write(uint64_t offset, unsigned, uint64_t value) {
  std::lock_guard guard(pic.lock_);
  pic.write_elcr(offset & 1, static_cast<uint8_t>(value));
}

void Pic::reset() {
  for (Chip& chip : chips_) chip.reset();
  update();
}

void Pic::describe(state::Fields& fields) {
  fields.group("master", [&] { chips_[0].describe(fields, true); });
  fields.group("slave", [&] { chips_[1].describe(fields, false); });
}

void Pic::restored() {
  update();
  intr_(intr_level_);  // the processors may have forgotten the level that they were told before
}

}  // namespace skerry::irqchip
