#include "devices/ata/ide_channel.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"

namespace skerry::devices::ata {

namespace {
// The command block (ATA/ATAPI-7 vol. 2, table 9).
enum Register : unsigned { kData, kFeatureError, kCount, kLbaLow, kLbaMid, kLbaHigh, kDevice, kCommandStatus };
constexpr uint8_t kInterruptDisable = 1 << 1, kSoftReset = 1 << 2, kHighOrder = 1 << 7;  // of device control
constexpr uint8_t kDeviceReset = 0x08, kDiagnostic = 0x90;
constexpr uint32_t kBufferSize = 64 * 1024;  // whole blocks of a disk
constexpr uint8_t kFloating = 0xff;          // what is read where no device is

// Registers of two bytes: what is written goes into the low one, and that into the high one.
uint16_t pushed(uint16_t old, uint8_t value) { return static_cast<uint16_t>(old << 8 | value); }
uint64_t pushed_lba(uint64_t lba, unsigned index, uint8_t value) {
  const uint64_t before = lba >> (8 * index) & 0xff;
  lba &= ~(uint64_t{0xff} << (8 * index) | uint64_t{0xff} << (24 + 8 * index));
  return lba | uint64_t{value} << (8 * index) | before << (24 + 8 * index);
}
// A block of a packet command has an even size, unless it is the last (ATA/ATAPI-7 vol. 2, 11.8).
uint32_t packet_limit(const TaskFile& task) {
  const auto limit = static_cast<uint32_t>(task.lba >> 8 & 0xfffe);
  return limit ? limit : 0xfffe;
}
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

void IdeChannel::plug_in(unsigned drive, std::unique_ptr<Device> device) {
  drives_[drive].device = std::move(device);
  reset();
}

void IdeChannel::reset() {
  ++epoch_;
  phase_ = Phase::kIdle;
  command_ = {};
  buffer_.clear();
  done_ = limit_ = position_ = block_end_ = 0;
  control_ = 0;
  bus_master_.reset();
  for (Drive& drive : drives_)
    if (drive.device) drive.device->reset(Device::Reset::kPowerOn);
  give_signatures();
  line_ = false;
}

void IdeChannel::describe(state::Fields& fields) {
  fields.field("selected", selected_, state::up_to(1));
  fields.field("control", control_, state::in_mask(kInterruptDisable | kSoftReset | kHighOrder));
  fields.field("phase", phase_, state::up_to(static_cast<uint8_t>(Phase::kReset)));
  fields.group("command", [&] { command_.describe(fields); });
  fields.field("done", done_);
  fields.field("limit", limit_, state::up_to(0xfffe));
  fields.blob("buffer", buffer_, kBufferSize);
  fields.field("position", position_);
  fields.field("block_end", block_end_);
  fields.group("bus_master", [&] { bus_master_.describe(fields); });
  fields.list("drives", drives_.size(), [&](size_t i) {
    fields.group("drive", [&] {
      drives_[i].task.describe(fields);
      fields.field("interrupts", drives_[i].interrupts);
      if (drives_[i].device) fields.group("device", [&] { drives_[i].device->describe(fields); });
    });
  });
}

// A phase that does not fit to the rest of the state is none: nobody's, but somebody may have made it.
void IdeChannel::restored() {
  const bool in = command_.to_host(), out = command_.from_host();
  const bool block = position_ <= block_end_ && block_end_ <= buffer_.size();
  bool fits = selected().device != nullptr && done_ <= command_.size;
  switch (phase_) {
    case Phase::kIdle: case Phase::kBegin: case Phase::kReset: break;
    case Phase::kPacketOut: case Phase::kPacketGiven: fits &= block && block_end_ == kPacketSize; break;
    case Phase::kDataIn: fits &= in && block && done_ >= buffer_.size(); break;
    case Phase::kFill: fits &= in && command_.block > 0; break;
    case Phase::kDataOut: case Phase::kDrain:
      fits &= out && block && block_end_ == buffer_.size() && block_end_ > 0 && done_ + block_end_ <= command_.size;
      break;
    case Phase::kDma: fits &= in || out; break;
  }
  if (command_.work == Command::Work::kTake && command_.size > Command::kMostData) fits = false;
  if (command_.packet ? limit_ == 0 : command_.block == 0) fits &= phase_ <= Phase::kPacketGiven || phase_ >= Phase::kDma;
  if (!fits && phase_ != Phase::kIdle && phase_ != Phase::kReset) {
    log::warn("{}: a command of the saved state makes no sense, and is dropped", name_);
    phase_ = Phase::kIdle;
  }
  line_ = false;
  update_line();
}

// --- registers -------------------------------------------------------------------------------------------------------

// BSY and DRQ follow from the phase.
uint8_t IdeChannel::status() const {
  if (!present()) return kFloating;
  if (!selected().device) return 0;  // the other one answers for it (ATA/ATAPI-7 vol. 2, 5.16)
  if ((control_ & kSoftReset) || phase_ == Phase::kReset) return status::BSY;
  const uint8_t quiet = selected().task.status & static_cast<uint8_t>(~(status::BSY | status::DRQ));
  switch (phase_) {
    case Phase::kIdle: return quiet;
    case Phase::kPacketOut: case Phase::kDataIn: case Phase::kDataOut: return quiet | status::DRQ;
    case Phase::kDma: return quiet | status::DRQ;
    default: return status::BSY;
  }
}

void IdeChannel::set_interrupt(Drive& drive, bool on) {
  drive.interrupts = on;
  update_line();
}

// Only the device that is selected drives the line.
void IdeChannel::update_line() {
  const bool level = selected().interrupts && !(control_ & kInterruptDisable);
  if (std::exchange(line_, level) == level) return;
  if (level) bus_master_.interrupt();
  irq_.set(level);
}

uint8_t IdeChannel::read(unsigned offset, bool& for_loop) {
  if (!present()) return kFloating;
  if (offset == kData) return static_cast<uint8_t>(read_data(for_loop));
  if (offset == kCommandStatus) {
    const uint8_t value = status();
    set_interrupt(selected(), false);
    return value;
  }
  if (!selected().device) return 0;
  const TaskFile& task = selected().task;
  const unsigned high = control_ & kHighOrder ? 1 : 0;
  switch (offset) {
    case kFeatureError: return task.error;
    case kCount: return static_cast<uint8_t>(task.count >> (8 * high));
    case kDevice: return static_cast<uint8_t>((task.device & ~device::DEV) | 0xa0 | (selected_ ? device::DEV : 0));
    default: return static_cast<uint8_t>(task.lba >> (8 * (offset - kLbaLow) + 24 * high));
  }
}

// Both devices have what is written, but for commands.
bool IdeChannel::write(unsigned offset, uint8_t value) {
  if (!present()) return false;
  if (offset == kCommandStatus) return write_command(value);
  control_ &= static_cast<uint8_t>(~kHighOrder);
  const uint8_t now = status();
  if (now != kFloating && (now & (status::BSY | status::DRQ))) return false;  // the registers are the device's
  for (Drive& drive : drives_) {
    TaskFile& task = drive.task;
    switch (offset) {
      case kFeatureError: task.feature = pushed(task.feature, value); break;
      case kCount: task.count = pushed(task.count, value); break;
      case kLbaLow: case kLbaMid: case kLbaHigh: task.lba = pushed_lba(task.lba, offset - kLbaLow, value); break;
      case kDevice: task.device = value; break;
      default: break;
    }
  }
  if (offset != kDevice) return false;
  selected_ = value & device::DEV ? 1 : 0;
  update_line();
  return false;
}

bool IdeChannel::write_command(uint8_t code) {
  Drive& drive = selected();
  if (!drive.device || (control_ & kSoftReset) || phase_ == Phase::kReset) return false;
  const bool aborts = code == kDeviceReset && drive.device->is_packet_device();
  if (phase_ != Phase::kIdle && !aborts) return false;
  if (aborts) ++epoch_;  // what is under way ends unseen
  drive.task.command = code;
  set_interrupt(drive, false);
  phase_ = Phase::kBegin;
  return true;
}

bool IdeChannel::write_control(uint8_t value) {
  const bool was = control_ & kSoftReset, is = value & kSoftReset;
  control_ = value & (kInterruptDisable | kSoftReset | kHighOrder);
  update_line();
  if (!present() || was == is) return false;
  ++epoch_;
  phase_ = is ? Phase::kIdle : Phase::kReset;
  for (Drive& drive : drives_) drive.interrupts = false;
  update_line();
  return !is;
}

// As after a reset or a diagnostic, which are of both devices.
void IdeChannel::give_signatures() {
  for (Drive& drive : drives_) {
    drive.task = drive.device ? drive.device->signature() : TaskFile{};
    drive.interrupts = false;
  }
  selected_ = 0;
}

// --- data by PIO -----------------------------------------------------------------------------------------------------

uint16_t IdeChannel::read_data(bool& for_loop) {
  if (!present()) return kFloating << 8 | kFloating;
  if (phase_ != Phase::kDataIn || position_ >= block_end_) return 0;
  uint16_t value = buffer_[position_++];
  if (position_ < block_end_) value |= static_cast<uint16_t>(buffer_[position_++] << 8);  // else the last byte of an odd answer
  if (position_ == block_end_) for_loop |= block_ends();
  return value;
}

bool IdeChannel::write_data(uint16_t value) {
  if ((phase_ != Phase::kDataOut && phase_ != Phase::kPacketOut) || position_ >= block_end_) return false;
  buffer_[position_++] = static_cast<uint8_t>(value);
  if (position_ < block_end_) buffer_[position_++] = static_cast<uint8_t>(value >> 8);
  return position_ == block_end_ && block_ends();
}

// The host has taken or given a block.
bool IdeChannel::block_ends() {
  if (phase_ == Phase::kPacketOut || phase_ == Phase::kDataOut) {
    phase_ = phase_ == Phase::kPacketOut ? Phase::kPacketGiven : Phase::kDrain;
    return true;
  }
  if (position_ < buffer_.size()) {
    next_block(selected());
    return false;
  }
  if (done_ < command_.size || command_.packet) {  // after the data of a packet command comes its end
    phase_ = Phase::kFill;
    return true;
  }
  phase_ = Phase::kIdle;  // of others there is none (11.5)
  return false;
}

// The host is to take what comes next in the buffer.
void IdeChannel::next_block(Drive& drive) {
  const uint32_t left = static_cast<uint32_t>(buffer_.size()) - position_;
  const uint32_t most = command_.packet ? limit_ : command_.block;
  block_end_ = position_ + std::min(left, most);
  if (command_.packet) {
    drive.task.count = reason::IO;
    drive.task.lba = (drive.task.lba & 0xff) | uint64_t{block_end_ - position_} << 8;
  }
  phase_ = Phase::kDataIn;
  set_interrupt(drive, true);
}

// --- the loop --------------------------------------------------------------------------------------------------------

bool IdeChannel::loop_is_wanted() const {
  switch (phase_) {
    case Phase::kBegin: case Phase::kPacketGiven: case Phase::kFill: case Phase::kDrain: case Phase::kReset: return true;
    case Phase::kDma: return bus_master_.started() && bus_master_.active() && controller_.may_master();
    default: return false;
  }
}

void IdeChannel::serve() {
  std::unique_lock guard(controller_.lock);
  if (running_ || !controller_.may_begin() || !loop_is_wanted() || do_reset()) return;
  running_ = true;
  Drive& drive = selected();
  const Step now{epoch_, phase_, &drive, drive.task, bus_master_.table(), bus_master_.to_memory()};
  guard.unlock();
  spawn(step(now));
}

// Soft reset, and the diagnostic, which is one too. True: that was it.
bool IdeChannel::do_reset() {
  const bool diagnostic = phase_ == Phase::kBegin && selected().task.command == kDiagnostic;
  if (phase_ != Phase::kReset && !diagnostic) return false;
  for (Drive& drive : drives_)
    if (drive.device && !diagnostic) drive.device->reset(Device::Reset::kSoftware);
  give_signatures();
  phase_ = Phase::kIdle;
  if (diagnostic) set_interrupt(selected().device ? selected() : drives_[1], true);
  return true;
}

// command_ and buffer_ are the loop's in these phases; the registers are changed by change().
Task<void> IdeChannel::step(Step now) {
  switch (now.phase) {
    case Phase::kBegin: co_await begin(now); break;
    case Phase::kPacketGiven: {
      Packet packet{};
      std::copy_n(buffer_.begin(), std::min(buffer_.size(), packet.size()), packet.begin());
      command_ = now.drive->device->begin_packet(packet, now.task);
      co_await go_on(now);
      break;
    }
    case Phase::kFill: co_await fill(now); break;
    case Phase::kDrain: co_await drain(now); break;
    case Phase::kDma: co_await dma(now); break;
    default: break;
  }
  leave();
}

// Does `what` to the registers, unless a reset has come in between.
template <typename Change>
void IdeChannel::change(const Step& step, Change what) {
  std::lock_guard guard(controller_.lock);
  if (step.epoch != epoch_) return;
  step.drive->task = step.task;
  what();
}

void IdeChannel::leave() {
  {
    std::lock_guard guard(controller_.lock);
    running_ = false;
  }
  serve();
  controller_.drained();
}

Task<void> IdeChannel::begin(Step& step) {
  command_ = step.drive->device->begin(step.task);
  done_ = 0;
  if (command_.work != Command::Work::kPacket) {
    co_await go_on(step);
    co_return;
  }
  limit_ = packet_limit(step.task);
  change(step, [&] {
    buffer_.assign(kPacketSize, 0);
    position_ = 0;
    block_end_ = kPacketSize;
    phase_ = Phase::kPacketOut;
  });
}

// It is known what the command is.
Task<void> IdeChannel::go_on(Step& step) {
  done_ = 0;
  buffer_.clear();
  position_ = block_end_ = 0;
  if (step.task.failed() || (!command_.to_host() && !command_.from_host())) {
    co_await end(step);
  } else if (command_.dma) {
    change(step, [&] { phase_ = Phase::kDma; });
  } else if (command_.to_host()) {
    co_await fill(step);
  } else {
    change(step, [&] {
      buffer_.assign(std::min(command_.block, command_.size), 0);
      block_end_ = static_cast<uint32_t>(buffer_.size());
      phase_ = Phase::kDataOut;
    });
  }
}

Task<void> IdeChannel::fill(Step& step) {
  const uint32_t here = std::min(command_.size - done_, kBufferSize);
  if (here == 0) {
    co_await end(step);
    co_return;
  }
  buffer_.assign(here, 0);
  const iovec where{buffer_.data(), here};
  co_await step.drive->device->move(command_, done_, std::span(&where, 1), step.task);
  if (step.task.failed()) {
    co_await end(step);
    co_return;
  }
  done_ += here;
  position_ = 0;
  change(step, [&] { next_block(*step.drive); });
}

Task<void> IdeChannel::drain(Step& step) {
  const iovec where{buffer_.data(), block_end_};
  co_await step.drive->device->move(command_, done_, std::span(&where, 1), step.task);
  done_ += block_end_;
  if (step.task.failed() || done_ >= command_.size) {
    co_await end(step);
    co_return;
  }
  change(step, [&] {
    buffer_.assign(std::min(command_.block, command_.size - done_), 0);
    position_ = 0;
    block_end_ = static_cast<uint32_t>(buffer_.size());
    phase_ = Phase::kDataOut;
    set_interrupt(*step.drive, true);
  });
}

// A table that holds less than the command's data is followed by another, when the host starts it.
Task<void> IdeChannel::dma(Step& step) {
  Regions regions;
  bool ends = false;
  const bool right = step.to_memory == command_.to_host();
  if (!right || !BusMaster::read_regions(controller_.memory, step.table, command_.size - done_, command_.to_host(), regions, ends)) {
    step.task.fail(error::ABRT);
    change(step, [&] { bus_master_.failed(); });
    co_await end(step);
    co_return;
  }
  co_await step.drive->device->move(command_, done_, regions.host, step.task);
  if (command_.to_host()) regions.written(controller_.memory);
  done_ += static_cast<uint32_t>(regions.size);
  if (ends || done_ < command_.size) change(step, [&] { bus_master_.exhausted(); });
  if (step.task.failed() || done_ >= command_.size) co_await end(step);
}

Task<void> IdeChannel::end(Step& step) {
  if (!step.task.failed()) co_await step.drive->device->finish(command_, step.task);
  if (command_.packet && step.task.failed()) step.task.count = reason::CD | reason::IO;
  change(step, [&] {
    phase_ = Phase::kIdle;
    set_interrupt(*step.drive, true);
  });
}

}  // namespace skerry::devices::ata
