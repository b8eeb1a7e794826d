#include "devices/ata/ahci_port.hpp"

#include <bit>
#include <utility>

#include "base/log.hpp"

namespace skerry::devices::ata::ahci {

namespace {
constexpr unsigned kMostAtOnce = 2 * kSlots;  // commands, before the loop goes on with others;
constexpr size_t kMostRegions = 16 * 1024;    // likewise, all of them together
constexpr uint8_t kReadQueued = 0x60, kWriteQueued = 0x61;
constexpr uint32_t kTaskBusy = status::BSY | status::DRQ;
constexpr unsigned kLeastFisDwords = 2, kMostFisDwords = 16;  // CFL (4.2.2)

uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }
uint64_t with_low(uint64_t old, uint32_t value, uint32_t mask) { return (old & ~uint64_t{0} << 32) | (value & mask); }
uint64_t with_high(uint64_t old, uint32_t value) { return low(old) | uint64_t{value} << 32; }

// PxSIG: LBA in the high three bytes, count in the low (3.3.9).
uint32_t packed(const TaskFile& signature) {
  return static_cast<uint32_t>(signature.lba & 0xff'ffff) << 8 | (signature.count & 0xff);
}
bool is_queued(uint8_t code) { return code == kReadQueued || code == kWriteQueued; }
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

void Port::plug_in(std::unique_ptr<Device> device) {
  device_ = std::move(device);
  reset();
}

void Port::reset() {
  if (device_) device_->reset(Device::Reset::kPowerOn);
  power_on();
}

void Port::power_on() {
  list_ = received_ = 0;
  interrupts_ = ie_ = command_ = 0;
  slot_ = 0;
  signature_ = kNoSignature;
  control_ = active_ = issued_ = fetched_ = done_ = 0;
  fatal_ = soft_reset_ = busy_ = false;
  wanted_ = Wanted::kNone;
  signature_wanted_ = device_ != nullptr;
  errors_ = device_ ? serr::kSet : 0;
  task_file_ = device_ ? status::BSY : kNoDevice;  // until the signature has been received (10.1.1)
}

void Port::describe(state::Fields& fields) {
  fields.field("list", list_, state::in_mask(~uint64_t{0} << 32 | kListMask));
  fields.field("received", received_, state::in_mask(~uint64_t{0} << 32 | kFisMask));
  fields.field("interrupts", interrupts_, state::in_mask(interrupt::kCleared));
  fields.field("interrupt_enable", ie_, state::in_mask(interrupt::kEnable));
  fields.field("command", command_, state::in_mask(cmd::kKept));
  fields.field("slot", slot_, state::up_to(kSlots - 1));
  fields.field("task_file", task_file_);
  fields.field("signature", signature_);
  fields.field("control", control_, state::in_mask(kControlMask));
  fields.field("errors", errors_, state::in_mask(serr::kSet));
  fields.field("active", active_);
  fields.field("issued", issued_);
  fields.field("fatal", fatal_);
  fields.field("signature_wanted", signature_wanted_);
  fields.field("soft_reset", soft_reset_);
  fields.field("wanted", wanted_, state::up_to(static_cast<uint8_t>(Wanted::kHardReset)));
  if (device_) fields.group("device", [&] { device_->describe(fields); });
}

// --- registers -------------------------------------------------------------------------------------------------------

uint32_t Port::interrupts() const {
  return interrupts_ | (errors_ & serr::X ? interrupt::PCS : 0) | (errors_ & serr::N ? interrupt::PRCS : 0);
}

uint32_t Port::read(uint32_t offset) const {
  switch (offset) {
    case PxCLB: return low(list_);
    case PxCLBU: return high(list_);
    case PxFB: return low(received_);
    case PxFBU: return high(received_);
    case PxIS: return interrupts();
    case PxIE: return ie_;
    case PxCMD: {
      // What is under way still writes to guest memory: the engines run on until it has ended.
      const uint32_t running = (under_way_ > 0 || (command_ & cmd::ST) ? cmd::CR : 0) |
                               (under_way_ > 0 || (command_ & cmd::FRE) ? cmd::FR : 0);
      return command_ | cmd::SUD | cmd::POD | running | uint32_t{slot_} << cmd::kSlotShift;
    }
    case PxTFD: return task_file_;
    case PxSIG: return signature_;
    case PxSSTS: return link_up() ? kLinkUp : (control_ & kDetect) == kDetectOffline ? kLinkOffline : 0;
    case PxSCTL: return control_;
    case PxSERR: return errors_;
    case PxSACT: return active_;
    case PxCI: return issued_;
    default: return 0;
  }
}

bool Port::write(uint32_t offset, uint32_t value) {
  switch (offset) {
    case PxCLB: list_ = with_low(list_, value, kListMask); return false;
    case PxCLBU: list_ = with_high(list_, value); return false;
    case PxFB: received_ = with_low(received_, value, kFisMask); return false;
    case PxFBU: received_ = with_high(received_, value); return false;
    case PxIS: interrupts_ &= ~value; break;
    case PxIE: ie_ = value & interrupt::kEnable; break;
    case PxCMD: write_command(value); return true;
    case PxSCTL: write_control(value); return true;
    case PxSERR: errors_ &= ~value; break;
    case PxSACT:
      if (command_ & cmd::ST) active_ |= value;
      return false;
    case PxCI:
      if (command_ & cmd::ST) issued_ |= value;
      return true;
    default: return false;
  }
  controller_.changed();
  return false;
}

void Port::write_command(uint32_t value) {
  if ((command_ & cmd::ST) && !(value & cmd::ST)) stop();
  command_ = value & cmd::kKept;
  if ((value & cmd::CLO) && !(value & cmd::ST)) task_file_ &= static_cast<uint16_t>(~kTaskBusy);
}

// 3.3.11: COMRESET while DET is 1; the link comes up when it is 0 again.
void Port::write_control(uint32_t value) {
  const uint32_t before = control_ & kDetect;
  control_ = value & kControlMask;
  const uint32_t now = control_ & kDetect;
  if (!device_ || now == before) return;
  stop();
  soft_reset_ = signature_wanted_ = false;
  wanted_ = now == 0 ? Wanted::kHardReset : Wanted::kNone;
  task_file_ = now == 0 ? status::BSY : kNoDevice;
}

// What is under way is nobody's from now on.
void Port::new_epoch() {
  ++epoch_;
  stale_ = under_way_;
  fetched_ = done_ = 0;
  busy_ = false;
}

// 5.3.2.2, P:NotRunning.
void Port::stop() {
  new_epoch();
  issued_ = active_ = 0;
  slot_ = 0;
  fatal_ = false;
}

void Port::abandon() {
  stop();
  command_ = 0;
}

// --- the engine ------------------------------------------------------------------------------------------------------

void Port::serve() {
  if (serving_) return;  // who serves looks again
  serving_ = true;
  bool more = true;
  regions_ = 0;
  for (unsigned count = 0; more && count < kMostAtOnce && regions_ < kMostRegions; ++count) {
    const auto next = do_what_is_wanted() ? std::nullopt : take();
    more = next.has_value();
    if (next) spawn(run(*next));
  }
  serving_ = false;
  if (more) controller_.loop.post([this] { serve(); });
}

// Resets, and the signature after them. True: they have to wait.
bool Port::do_what_is_wanted() {
  bool signature = false;
  {
    std::lock_guard guard(controller_.lock);
    if (!controller_.may_begin() || stale_ > 0) return true;
    if (wanted_ != Wanted::kNone && device_) {
      const bool hard = std::exchange(wanted_, Wanted::kNone) == Wanted::kHardReset;
      device_->reset(hard ? Device::Reset::kHardware : Device::Reset::kSoftware);
      if (hard) errors_ |= serr::kSet;
      signature_wanted_ = true;
      controller_.changed();
    }
    signature = signature_wanted_ && link_up() && (command_ & cmd::FRE);
  }
  if (signature) give_signature();
  return false;
}

// The register FIS after a reset (5.3.1, 10.1.1), which does not interrupt.
void Port::give_signature() {
  const TaskFile task = device_->signature();
  uint64_t epoch = 0;
  memory::Gpa area = 0;
  {
    std::lock_guard guard(controller_.lock);
    epoch = epoch_;
    area = received_;
    ++under_way_;  // memory is written to
  }
  receive(area, kRegisterAt, register_fis(task, false));
  {
    std::lock_guard guard(controller_.lock);
    if (current(epoch) && wanted_ == Wanted::kNone) {
      signature_wanted_ = false;
      set_task(task);
      signature_ = packed(task);
    }
  }
  leave(1);
}

std::optional<Port::Run> Port::take() {
  std::lock_guard guard(controller_.lock);
  const uint32_t waiting = issued_ & ~fetched_;
  if (waiting == 0 || !(command_ & cmd::ST) || !(command_ & cmd::FRE) || !link_up()) return std::nullopt;
  if (fatal_ || busy_ || signature_wanted_ || (task_file_ & kTaskBusy)) return std::nullopt;
  // The next after the one before, so that none waits for ever.
  const unsigned after = (slot_ + 1u) % kSlots;
  const auto slot = (static_cast<unsigned>(std::countr_zero(std::rotr(waiting, static_cast<int>(after)))) + after) % kSlots;
  slot_ = static_cast<uint8_t>(slot);
  fetched_ |= 1u << slot;
  busy_ = true;
  task_file_ |= status::BSY;
  ++under_way_;
  return Run{slot, epoch_, list_, received_};
}

Task<void> Port::run(Run run) {
  CommandReader reader(controller_.memory, run.list, run.slot);
  if (!reader.read()) co_return fail(run, interrupt::HBFS, "its command list or table is not in memory");
  const unsigned dwords = reader.header().fis_dwords();
  if (dwords < kLeastFisDwords || dwords > kMostFisDwords || reader.fis().bytes[0] != kHostToDevice)
    co_return fail(run, interrupt::IFS, "it sends a FIS that is none of a host");
  if (!reader.fis().is_command()) co_return control(run, reader.fis());
  TaskFile task = reader.fis().task();
  bool good = true;
  Command command = begin(reader, task, good);
  if (!good) co_return fail(run, interrupt::HBFS, "its packet is not in memory");
  if (command.queued && !task.failed()) accepted(run);
  Regions regions;
  if (!task.failed() && (command.to_host() || command.from_host()))
    if (!co_await move(reader, command, task, regions)) co_return fail(run, interrupt::HBFS, "its data is not in memory");
  if (!task.failed()) co_await device_->finish(command, task);
  if (command.queued)
    complete_queued(run, command, task);
  else
    complete(run, reader, command, task, regions);
}

Command Port::begin(const CommandReader& reader, TaskFile& task, bool& good) {
  bool alone = false;
  {
    std::lock_guard guard(controller_.lock);
    alone = under_way_ == 1;
  }
  // While queued commands are under way there may be no others (ACS-3, 4.15.1). Nor is there anything else in a soft reset.
  if ((!alone && !is_queued(task.command)) || soft_reset_) {
    task.fail(error::ABRT);
    return {};
  }
  Command command = device_->begin(task);
  if (command.work != Command::Work::kPacket) return command;
  if (!(reader.header().flags & header::A)) {  // no packet is sent
    task.fail(error::ABRT);
    return {};
  }
  Packet packet;
  good = reader.read_packet(packet);
  return good ? device_->begin_packet(packet, task) : Command{};
}

// False: a region is not memory.
Task<bool> Port::move(const CommandReader& reader, Command& command, TaskFile& task, Regions& regions) {
  const bool good = reader.read_regions(command.size, command.to_host(), regions);
  regions_ += regions.regions.size();
  if (!good) co_return false;
  if (command.from_host() && regions.size < command.size) {  // the device waits for the rest, in vain
    task.fail(error::ABRT);
    co_return true;
  }
  co_await device_->move(command, 0, regions.host, task);
  if (command.to_host()) regions.written(controller_.memory);  // even of what has failed a part may be there
  co_return true;
}

// Device control: SRST is set by one FIS and cleared by another, and then the device is reset (10.4.1).
void Port::control(const Run& run, const HostFis& fis) {
  {
    std::lock_guard guard(controller_.lock);
    if (current(run.epoch)) {
      const bool ends = soft_reset_ && !fis.resets();
      soft_reset_ = fis.resets();
      issued_ &= ~(1u << run.slot);
      task_file_ &= static_cast<uint16_t>(~kTaskBusy);
      fetched_ &= ~(1u << run.slot);
      busy_ = false;
      if (ends) {
        new_epoch();
        active_ = 0;
        wanted_ = Wanted::kSoftReset;
        task_file_ |= status::BSY;
      }
    }
  }
  leave(1);
}

// A queued command is with the device: the next one may come.
void Port::accepted(const Run& run) {
  std::lock_guard guard(controller_.lock);
  if (!current(run.epoch)) return;
  issued_ &= ~(1u << run.slot);
  fetched_ &= ~(1u << run.slot);
  busy_ = false;
  task_file_ &= static_cast<uint16_t>(~kTaskBusy);
}

// --- answers ---------------------------------------------------------------------------------------------------------

std::optional<memory::Gpa> Port::receive_area(uint64_t epoch) {
  std::lock_guard guard(controller_.lock);
  if (!current(epoch) || fatal_) return std::nullopt;
  return received_;
}

void Port::receive(memory::Gpa area, unsigned at, std::span<const uint8_t> fis) {
  controller_.memory.write(area + at, std::as_bytes(fis));
}

void Port::complete(const Run& run, const CommandReader& reader, const Command& command, const TaskFile& task,
                    const Regions& regions) {
  const auto area = receive_area(run.epoch);
  if (!area) return leave(1);
  controller_.memory.store<uint32_t>(reader.byte_count_at(), static_cast<uint32_t>(task.failed() ? 0 : regions.size));
  // Data that a host gets by PIO is announced block by block, of which the last is told. With it the command is over, unless it
  // is a packet's (Serial ATA 3.2, 11.7 and 11.10).
  const bool by_pio = command.to_host() && !command.dma && !task.failed(), registers = !by_pio || command.packet;
  if (by_pio) receive(*area, kPioSetupAt, pio_setup_fis(task, static_cast<uint16_t>(command.block), true, true));
  if (registers) receive(*area, kRegisterAt, register_fis(task, true));
  {
    std::lock_guard guard(controller_.lock);
    if (current(run.epoch)) {
      busy_ = false;
      set_task(task);
      interrupts_ |= (by_pio ? interrupt::PSS : 0) | (registers ? interrupt::DHRS : 0);
      if (regions.interrupts) interrupts_ |= interrupt::DPS;
      if (command.to_host() && regions.size < command.size && !task.failed()) interrupts_ |= interrupt::OFS;
      if (task.failed()) {
        interrupts_ |= interrupt::TFES;
        fatal_ = true;
      } else {
        issued_ &= ~(1u << run.slot);
        fetched_ &= ~(1u << run.slot);
      }
      controller_.changed();
    }
  }
  leave(1);
}

// What has gone well is told at the end of the turn, together with others.
void Port::complete_queued(const Run& run, const Command& command, const TaskFile& task) {
  if (!task.failed()) {
    {
      std::lock_guard guard(controller_.lock);
      ++untold_;
      if (current(run.epoch) && !fatal_) done_ |= 1u << command.tag;
    }
    if (!std::exchange(telling_, true)) controller_.loop.post([this] { tell(); });
    return;
  }
  if (untold_ > 0) tell();
  const auto area = receive_area(run.epoch);
  if (!area) return leave(1);
  receive(*area, kSetBitsAt, set_bits_fis(task, 0));
  {
    std::lock_guard guard(controller_.lock);
    if (current(run.epoch)) {
      busy_ = false;
      set_task(task);
      interrupts_ |= interrupt::SDBS | interrupt::TFES;
      fatal_ = true;  // the others are aborted (ACS-3, 4.15.7); PxSACT keeps them
      controller_.changed();
    }
  }
  leave(1);
}

void Port::tell() {
  telling_ = false;
  TaskFile task;
  task.succeed();
  uint32_t done = 0;
  uint64_t epoch = 0;
  memory::Gpa area = 0;
  {
    std::lock_guard guard(controller_.lock);
    done = std::exchange(done_, 0);
    epoch = epoch_;
    area = received_;
    if (fatal_) done = 0;
  }
  if (done != 0) receive(area, kSetBitsAt, set_bits_fis(task, done));
  unsigned runs = 0;
  {
    std::lock_guard guard(controller_.lock);
    runs = std::exchange(untold_, 0);
    if (current(epoch) && done != 0) {
      active_ &= ~done;
      if (!busy_) set_task(task);
      interrupts_ |= interrupt::SDBS;
      controller_.changed();
    }
  }
  if (runs > 0) leave(runs);
}

// What cannot be told to the device: the engine stands still until the driver stops it (6.2.2).
void Port::fail(const Run& run, uint32_t interrupt, const char* why) {
  if (!std::exchange(warned_, true)) log::warn("{}: the port stops until the guest resets it: {}", name_, why);
  {
    std::lock_guard guard(controller_.lock);
    if (current(run.epoch)) {
      busy_ = false;
      fatal_ = true;
      task_file_ &= static_cast<uint16_t>(~kTaskBusy);
      interrupts_ |= interrupt;
      controller_.changed();
    }
  }
  leave(1);
}

void Port::leave(unsigned runs) {
  bool idle = false;
  {
    std::lock_guard guard(controller_.lock);
    under_way_ -= runs;
    stale_ -= std::min(stale_, runs);
    idle = under_way_ == 0;
    // A command that the driver has given up ends in the device all the same.
    if (idle && !busy_ && wanted_ == Wanted::kNone && !signature_wanted_ && link_up())
      task_file_ &= static_cast<uint16_t>(~status::BSY);
  }
  serve();
  if (idle) controller_.drained();
}

}  // namespace skerry::devices::ata::ahci
