#include "devices/serial_16550.hpp"

#include <algorithm>

#include "devices/vm_time.hpp"

namespace skerry::devices {

namespace {
// Register addresses, PC16550D table II. Where DLAB is set, 0 and 1 are the divisor.
enum Register : uint8_t { RBR_THR_DLL = 0, IER_DLM = 1, IIR_FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };

enum Ier : uint8_t { ERBFI = 0x01, ETBEI = 0x02, ELSI = 0x04, EDSSI = 0x08, kIerMask = 0x0f };
enum Iir : uint8_t {
  kIirNone = 0x01,
  kIirLineStatus = 0x06,
  kIirDataAvailable = 0x04,
  kIirTimeout = 0x0c,
  kIirTransmitterEmpty = 0x02,
  kIirModemStatus = 0x00,
  kIirFifosEnabled = 0xc0,
};
enum Fcr : uint8_t {
  kFcrEnable = 0x01,
  kFcrClearReceiver = 0x02,
  kFcrClearTransmitter = 0x04,
  kFcrDmaMode = 0x08,
  kFcrTrigger = 0xc0,
  kFcrKept = kFcrEnable | kFcrDmaMode | kFcrTrigger,
};
enum Lcr : uint8_t { kLcrLength = 0x03, STB = 0x04, PEN = 0x08, DLAB = 0x80 };
enum Mcr : uint8_t { DTR = 0x01, RTS = 0x02, OUT1 = 0x04, OUT2 = 0x08, LOOP = 0x10, kMcrMask = 0x1f };
enum Lsr : uint8_t { DR = 0x01, OE = 0x02, PE = 0x04, FE = 0x08, BI = 0x10, THRE = 0x20, TEMT = 0x40 };
constexpr uint8_t kLsrErrors = OE | PE | FE | BI;
enum Msr : uint8_t {
  DCTS = 0x01,
  DDSR = 0x02,
  TERI = 0x04,
  DDCD = 0x08,
  CTS = 0x10,
  DSR = 0x20,
  RI = 0x40,
  DCD = 0x80
};
constexpr uint8_t kMsrDeltas = DCTS | DDSR | TERI | DDCD;
constexpr uint64_t kClockHz = 1'843'200;     // of the PC's UART; 16 clocks a bit and divisor step
constexpr uint16_t kDivisorAfterReset = 12;  // 9600 baud. The chip leaves it undefined
}  // namespace

// --- FIFO ------------------------------------------------------------------------------------------------------------

bool Serial16550::Fifo::push(uint8_t byte, unsigned depth) {
  if (count >= depth) return false;
  data[count++] = byte;
  return true;
}

uint8_t Serial16550::Fifo::pop() {
  const uint8_t byte = data[0];
  drop(1);
  return byte;
}

void Serial16550::Fifo::drop(size_t bytes) {
  bytes = std::min<size_t>(bytes, count);
  std::copy(data.begin() + bytes, data.begin() + count, data.begin());
  count = static_cast<uint8_t>(count - bytes);
}

void Serial16550::Fifo::describe(state::Fields& fields, std::string_view name) {
  fields.group(name, [&] {
    fields.field("data", data);
    fields.field("count", count, state::up_to(kFifoSize));
  });
}

// --- life ------------------------------------------------------------------------------------------------------------

Serial16550::Serial16550(std::string name, bus::IrqLine irq, EventLoop& loop, chardev::Chardev& chardev)
    : name_(std::move(name)), irq_(irq), chardev_(chardev), timeout_timer_(loop, [this] { timeout(); }) {
  reset();
  chardev_.connect({.can_receive = [this] { return can_receive(); },
                    .receive = [this](std::span<const uint8_t> bytes) { receive(bytes); },
                    .writable = [this] { writable(); },
                    .receive_break = [this] { receive_break(); }});
}

Serial16550::~Serial16550() { chardev_.connect({}); }

Result<void> Serial16550::attach(bus::AddressSpace& pio, uint16_t base) { return pio.add(base, 8, *this, name_); }

void Serial16550::reset() {
  std::lock_guard guard(lock_);
  ier_ = fcr_ = lcr_ = mcr_ = scr_ = line_errors_ = 0;  // PC16550D, table III
  divisor_ = kDivisorAfterReset;
  receive_fifo_ = {};
  transmit_fifo_ = {};
  thre_pending_ = timeout_pending_ = timeout_running_ = false;
  timeout_at_ = 0;
  timeout_timer_.cancel();
  msr_ = modem_inputs();
  update_irq();
  chardev_.receive_ready();
}

void Serial16550::describe(state::Fields& fields) {
  fields.field("ier", ier_, state::in_mask(kIerMask));
  fields.field("fcr", fcr_, state::in_mask(kFcrKept));
  fields.field("lcr", lcr_);
  fields.field("mcr", mcr_, state::in_mask(kMcrMask));
  fields.field("msr", msr_);
  fields.field("scr", scr_);
  fields.field("line_errors", line_errors_, state::in_mask(kLsrErrors));
  fields.field("divisor", divisor_);
  receive_fifo_.describe(fields, "receive_fifo");
  transmit_fifo_.describe(fields, "transmit_fifo");
  fields.field("thre_pending", thre_pending_);
  fields.field("timeout_pending", timeout_pending_);
  fields.field("timeout_running", timeout_running_);
  fields.field("timeout_at", timeout_at_, instant());
}

void Serial16550::restored() {
  std::lock_guard guard(lock_);
  const int64_t now = timeout_timer_.now();
  if (timeout_running_)
    set_after(timeout_timer_, now, elapsed(now, timeout_at_));
  else
    timeout_timer_.cancel();
  if (transmit_fifo_.count > 0) transmit();
  update_irq();
  chardev_.receive_ready();
}

// --- registers -------------------------------------------------------------------------------------------------------

uint64_t Serial16550::io_read(uint64_t offset, unsigned) {
  std::lock_guard guard(lock_);
  switch (offset) {
    case RBR_THR_DLL:
      return lcr_ & DLAB ? divisor_ & 0xff : read_rbr();
    case IER_DLM:
      return lcr_ & DLAB ? divisor_ >> 8 : ier_;
    case IIR_FCR:
      return read_iir();
    case LCR:
      return lcr_;
    case MCR:
      return mcr_;
    case LSR:
      return read_lsr();
    case MSR:
      return read_msr();
    default:
      return scr_;
  }
}

void Serial16550::io_write(uint64_t offset, unsigned, uint64_t wide) {
  const uint8_t value = static_cast<uint8_t>(wide);
  std::lock_guard guard(lock_);
  switch (offset) {
    case RBR_THR_DLL:
      if (lcr_ & DLAB)
        divisor_ = static_cast<uint16_t>((divisor_ & 0xff00) | value);
      else
        write_thr(value);
      break;
    case IER_DLM:
      if (lcr_ & DLAB)
        divisor_ = static_cast<uint16_t>((divisor_ & 0xff) | value << 8);
      else
        write_ier(value);
      break;
    case IIR_FCR:
      write_fcr(value);
      break;
    case LCR:
      lcr_ = value;
      break;
    case MCR:
      write_mcr(value);
      break;
    case SCR:
      scr_ = value;
      break;
    default:  // LSR and MSR: only the chip's factory test writes them
      break;
  }
}

uint8_t Serial16550::read_rbr() {
  const uint8_t byte = receive_fifo_.count > 0 ? receive_fifo_.pop() : 0;
  timeout_pending_ = false;
  restart_timeout();
  update_irq();
  if (receive_room() > 0) chardev_.receive_ready();
  return byte;
}

uint8_t Serial16550::read_iir() {
  const uint8_t pending = pending_interrupt();
  if (pending == kIirTransmitterEmpty) {
    thre_pending_ = false;
    update_irq();
  }
  return pending | (fifos_enabled() ? kIirFifosEnabled : 0);
}

uint8_t Serial16550::read_lsr() {
  uint8_t value = line_errors_;
  if (receive_fifo_.count > 0) value |= DR;
  if (transmit_fifo_.count == 0) value |= THRE | TEMT;
  line_errors_ = 0;
  update_irq();
  return value;
}

uint8_t Serial16550::read_msr() {
  const uint8_t value = msr_;
  msr_ &= static_cast<uint8_t>(~kMsrDeltas);
  update_irq();
  return value;
}

void Serial16550::write_thr(uint8_t value) {
  // The line goes low until the transmitter is empty again: an edge-triggered controller needs to see that.
  thre_pending_ = false;
  update_irq();
  if (loopback()) {
    received(value);
    thre_pending_ = true;
    update_irq();
    return;
  }
  if (!transmit_fifo_.push(value, depth())) return;  // THRE was clear: the chip overwrites, here the new byte is lost
  transmit();
  update_irq();
}

void Serial16550::write_ier(uint8_t value) {
  const uint8_t before = ier_;
  ier_ = value & kIerMask;
  // Enabling ETBEI with an empty transmitter interrupts at once; drivers test for that.
  if ((ier_ & ~before & ETBEI) && transmit_fifo_.count == 0) thre_pending_ = true;
  update_irq();
}

void Serial16550::write_fcr(uint8_t value) {
  const bool switched = (value ^ fcr_) & kFcrEnable;
  if (switched || (value & kFcrClearReceiver)) {
    receive_fifo_ = {};
    timeout_pending_ = timeout_running_ = false;
    timeout_timer_.cancel();
  }
  if ((switched || (value & kFcrClearTransmitter)) && transmit_fifo_.count > 0) {
    transmit_fifo_ = {};
    thre_pending_ = true;
  }
  fcr_ = value & kFcrEnable ? value & kFcrKept : 0;  // "must be a 1 when other FCR bits are written to"
  update_irq();
  if (receive_room() > 0) chardev_.receive_ready();
}

void Serial16550::write_mcr(uint8_t value) {
  const bool was_loopback = loopback();
  mcr_ = value & kMcrMask;
  update_modem_inputs();
  if (was_loopback && !loopback()) chardev_.receive_ready();
}

bool Serial16550::fifos_enabled() const { return fcr_ & kFcrEnable; }
bool Serial16550::loopback() const { return mcr_ & LOOP; }

unsigned Serial16550::trigger_level() const {
  constexpr std::array<unsigned, 4> kLevels = {1, 4, 8, 14};
  return fifos_enabled() ? kLevels[fcr_ >> 6] : 1;
}

// --- modem lines -----------------------------------------------------------------------------------------------------

uint8_t Serial16550::modem_inputs() const {
  if (!loopback()) return CTS | DSR | DCD;  // somebody is always there
  uint8_t inputs = 0;
  if (mcr_ & RTS) inputs |= CTS;
  if (mcr_ & DTR) inputs |= DSR;
  if (mcr_ & OUT1) inputs |= RI;
  if (mcr_ & OUT2) inputs |= DCD;
  return inputs;
}

void Serial16550::update_modem_inputs() {
  const uint8_t now = modem_inputs();
  const uint8_t changed = (now ^ msr_) & static_cast<uint8_t>(~kMsrDeltas);
  uint8_t deltas = msr_ & kMsrDeltas;
  if (changed & CTS) deltas |= DCTS;
  if (changed & DSR) deltas |= DDSR;
  if ((changed & RI) && !(now & RI)) deltas |= TERI;  // only the trailing edge
  if (changed & DCD) deltas |= DDCD;
  msr_ = now | deltas;
  update_irq();
}

// --- interrupts ------------------------------------------------------------------------------------------------------

uint8_t Serial16550::pending_interrupt() const {  // in the order of table IV
  if ((ier_ & ELSI) && line_errors_ != 0) return kIirLineStatus;
  if ((ier_ & ERBFI) && receive_fifo_.count >= trigger_level()) return kIirDataAvailable;
  if ((ier_ & ERBFI) && timeout_pending_) return kIirTimeout;
  if ((ier_ & ETBEI) && thre_pending_) return kIirTransmitterEmpty;
  if ((ier_ & EDSSI) && (msr_ & kMsrDeltas)) return kIirModemStatus;
  return kIirNone;
}

// On a PC, OUT2 gates the line. Small guests that never set it are written against machines where it does not, so
// neither does it here.
void Serial16550::update_irq() { irq_.set(pending_interrupt() != kIirNone); }

uint64_t Serial16550::character_ns() const {
  const unsigned half_bits =
      2 * (1 + 5 + (lcr_ & kLcrLength) + (lcr_ & PEN ? 1 : 0)) + (!(lcr_ & STB)              ? 2
                                                                  : (lcr_ & kLcrLength) == 0 ? 3
                                                                                             : 4);
  const uint64_t divisor = divisor_ == 0 ? 0x10000 : divisor_;
  return multiply_divide(half_bits * 16 * divisor, kNanosecondsPerSecond, 2 * kClockHz);
}

// PC16550D, 8.7 "FIFO Interrupt Mode Operation": a character in the FIFO, and four character times without one
// arriving or being read.
void Serial16550::restart_timeout() {
  timeout_running_ = fifos_enabled() && receive_fifo_.count > 0;
  if (!timeout_running_) {
    timeout_timer_.cancel();
    return;
  }
  const int64_t now = timeout_timer_.now();
  const uint64_t wait = 4 * character_ns();
  timeout_at_ = now + static_cast<int64_t>(wait);
  set_after(timeout_timer_, now, wait);
}

void Serial16550::timeout() {
  std::lock_guard guard(lock_);
  const int64_t now = timeout_timer_.now();
  if (!timeout_running_) return;
  if (now < timeout_at_) {
    set_after(timeout_timer_, now, elapsed(now, timeout_at_));
    return;
  }
  timeout_running_ = false;
  timeout_pending_ = true;
  update_irq();
}

// --- bytes -----------------------------------------------------------------------------------------------------------

void Serial16550::transmit() {
  const size_t taken = chardev_.write(std::span(transmit_fifo_.data).first(transmit_fifo_.count));
  if (taken == 0) return;
  transmit_fifo_.drop(taken);
  if (transmit_fifo_.count == 0) thre_pending_ = true;
}

void Serial16550::writable() {
  std::lock_guard guard(lock_);
  if (transmit_fifo_.count == 0) return;
  transmit();
  update_irq();
}

void Serial16550::received(uint8_t byte) {
  if (!receive_fifo_.push(byte, depth())) line_errors_ |= OE;
  timeout_pending_ = false;
  restart_timeout();
  update_irq();
}

size_t Serial16550::receive_room() const {
  if (loopback()) return 0;  // the receiver is off the line: what comes waits in the chardev
  return depth() - std::min<size_t>(depth(), receive_fifo_.count);
}

size_t Serial16550::can_receive() {
  std::lock_guard guard(lock_);
  return receive_room();
}

// Between can_receive() and this a vCPU may have taken room away; then the overrun is real.
void Serial16550::receive(std::span<const uint8_t> bytes) {
  std::lock_guard guard(lock_);
  for (const uint8_t byte : bytes) received(byte);
}

void Serial16550::receive_break() {
  std::lock_guard guard(lock_);
  if (loopback()) return;
  line_errors_ |= BI;
  received(0);  // "only one zero character is loaded into the FIFO"
}

}  // namespace skerry::devices
