#include "devices/usb/storage.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "block/iovec.hpp"

namespace skerry::devices::usb {

namespace {
constexpr uint8_t kMassStorage = 0x08, kTransparentScsi = 0x06, kBulkOnly = 0x50;  // BOT, 4.3
constexpr uint8_t kBulkOnlyReset = 0xff, kGetMaxLun = 0xfe;                        // 3.1 and 3.2
constexpr size_t kCommandWrapper = 31, kStatusWrapper = 13;
constexpr uint32_t kCommandSignature = 0x43425355, kStatusSignature = 0x53425355;  // 5.1 and 5.2
constexpr uint8_t kBurst = 15;

uint32_t get32(std::span<const uint8_t> from, size_t at) {
  return from[at] | uint32_t{from[at + 1]} << 8 | uint32_t{from[at + 2]} << 16 | uint32_t{from[at + 3]} << 24;
}
void put32(std::span<uint8_t> to, size_t at, uint32_t value) {
  for (unsigned i = 0; i < 4; ++i) to[at + i] = static_cast<uint8_t>(value >> (8 * i));
}

// USB 3.2, 9.6.7.
Device::Bytes companion() { return {6, SUPERSPEED_ENDPOINT_COMPANION, kBurst, 0, 0, 0}; }

Device::Descriptors descriptors(std::string serial) {
  const auto interface = join({interface_descriptor(2, kMassStorage, kTransparentScsi, kBulkOnly),
                               endpoint_descriptor(Storage::kBulkIn, kBulk, 1024, 0), companion(),
                               endpoint_descriptor(Storage::kBulkOut, kBulk, 1024, 0), companion()});
  // 9.6.2: USB 2.0 extension; SuperSpeed, at that speed only, with no delay to leave U1 and U2.
  const Device::Bytes bos{5, BOS, 22, 0, 2, 7, DEVICE_CAPABILITY, 2, 0, 0, 0, 0, 10, DEVICE_CAPABILITY, 3, 0, 8, 0, 3, 0, 0, 0};
  return {.device = device_descriptor({.usb = 0x0300, .control_packet = 9, .vendor = 0x46f4, .product = 0x0001}),
          .configuration = configuration_descriptor(18, interface),
          .bos = bos,
          .strings = {"Skerry", "USB disk", std::move(serial)}};
}
}  // namespace

Storage::Storage(std::unique_ptr<scsi::Unit> unit, std::string serial)
    : Device(descriptors(std::move(serial))), unit_(std::move(unit)) {}

void Storage::class_reset() {
  ++epoch_;
  phase_ = Phase::kCommand;
  status_ = Status::kPassed;
  tag_ = left_ = moved_ = most_ = residue_ = 0;
  command_ = {};
  unit_->reset();
}

void Storage::describe_class(state::Fields& fields) {
  fields.field("phase", phase_, state::up_to(static_cast<uint8_t>(Phase::kBroken)));
  fields.field("status", status_, state::up_to(static_cast<uint8_t>(Status::kPhaseError)));
  fields.field("tag", tag_);
  fields.field("left", left_);
  fields.field("moved", moved_);
  fields.field("most", most_);
  fields.field("residue", residue_);
  fields.group("command", [&] { command_.describe(fields); });
  fields.group("unit", [&] { unit_->describe(fields); });
  // What a hostile file says is kept inside of the command.
  most_ = std::min(most_, command_.size);
  moved_ = std::min(moved_, most_);
}

bool Storage::class_control(const Setup& setup, Bytes& data) {
  if (setup.kind() != kClass || setup.recipient() != kToInterface || setup.index != 0) return false;
  if (setup.request == kGetMaxLun && setup.to_host()) {
    data = {0};
    return true;
  }
  if (setup.request != kBulkOnlyReset || setup.to_host()) return false;
  // 3.1: the endpoints' halts stay.
  ++epoch_;
  command_ = {};
  left_ = moved_ = most_ = 0;
  enter(Phase::kCommand);
  return true;
}

Task<Transfer> Storage::class_transfer(uint8_t endpoint, std::span<const iovec> data) {
  if (endpoint == kBulkOut) co_return co_await out(data);
  co_return co_await in(data);
}

// What waits at the other endpoint may go on.
void Storage::enter(Phase phase) {
  phase_ = phase;
  ready(phase == Phase::kCommand || phase == Phase::kDataOut ? kBulkOut : kBulkIn);
}

// 6.6.1: what is no command stalls both pipes until a reset recovery.
Transfer Storage::break_off() {
  phase_ = Phase::kBroken;
  halt(kBulkIn);
  halt(kBulkOut);
  ready(kBulkIn);
  return {Transfer::Result::kStall};
}

Task<Transfer> Storage::out(std::span<const iovec> data) {
  const uint64_t length = block::length_of(data);
  if (phase_ == Phase::kCommand) {
    std::array<uint8_t, kCommandWrapper> wrapper;
    if (length != wrapper.size()) co_return break_off();
    block::copy_from(data, 0, wrapper);
    if (get32(wrapper, 0) != kCommandSignature || wrapper[14] == 0 || wrapper[14] > scsi::kMaxCdb) co_return break_off();
    co_await begin(wrapper);
    co_return Transfer{.bytes = length};
  }
  if (phase_ != Phase::kDataOut) co_return Transfer{Transfer::Result::kNotReady};
  if (length > left_) co_return break_off();
  const uint64_t wanted = std::min<uint64_t>(length, command_.from_host() ? most_ - moved_ : 0), epoch = epoch_;
  co_await move(data, wanted);
  if (epoch != epoch_) co_return Transfer{Transfer::Result::kStall};
  left_ -= static_cast<uint32_t>(length);  // what the command does not want is taken all the same
  if (left_ == 0) co_await finish();
  co_return Transfer{.bytes = length};
}

Task<Transfer> Storage::in(std::span<const iovec> data) {
  if (phase_ == Phase::kStatus) co_return give_status(data);
  if (phase_ != Phase::kDataIn) co_return Transfer{Transfer::Result::kNotReady};
  const uint64_t length = block::length_of(data);
  const uint64_t given = std::min<uint64_t>(length, command_.to_host() ? most_ - moved_ : 0);
  const uint64_t epoch = epoch_;
  co_await move(data, given);
  if (epoch != epoch_) co_return Transfer{Transfer::Result::kStall};
  const uint64_t bytes = command_.failed ? 0 : given;
  left_ -= static_cast<uint32_t>(std::min<uint64_t>(bytes, left_));
  if (bytes < length || left_ == 0) co_await finish();  // a short packet ends the phase
  co_return Transfer{.bytes = bytes};
}

// 5.1, and 6.7 for what the host and the unit may not agree on.
Task<void> Storage::begin(std::span<const uint8_t> wrapper) {
  constexpr uint8_t kToHost = 0x80;
  scsi::Cdb cdb{};
  std::copy_n(wrapper.begin() + 15, wrapper[14], cdb.begin());
  tag_ = get32(wrapper, 4);
  left_ = residue_ = get32(wrapper, 8);
  moved_ = most_ = 0;
  const bool in = wrapper[12] & kToHost;
  command_ = wrapper[13] & 0x0f ? scsi::Command{.failed = true} : unit_->begin(cdb);  // there is one unit
  status_ = Status::kPassed;
  const bool has_data = (command_.to_host() || command_.from_host()) && command_.size > 0;
  if (has_data) {
    if (command_.size > left_ || command_.to_host() != in) status_ = Status::kPhaseError;
    if (left_ > 0 && command_.to_host() == in) most_ = std::min(command_.size, left_);
  }
  if (status_ == Status::kPhaseError && command_.from_host()) {  // nothing is written of what is not understood
    most_ = 0;
    command_ = {};
  }
  if (left_ == 0) co_return co_await finish();
  enter(in ? Phase::kDataIn : Phase::kDataOut);
}

Task<void> Storage::move(std::span<const iovec> data, uint64_t length) {
  if (length == 0) co_return;
  const std::vector<iovec> part = block::slice(data, 0, length);
  const uint64_t epoch = epoch_;
  co_await unit_->move(command_, moved_, part);
  if (epoch == epoch_ && !command_.failed) moved_ += static_cast<uint32_t>(length);
}

Task<void> Storage::finish() {
  if (status_ != Status::kPhaseError) {
    const uint64_t epoch = epoch_;
    if (!command_.failed) co_await unit_->finish(command_);
    if (epoch != epoch_) co_return;
    if (command_.failed) status_ = Status::kFailed;
  }
  residue_ -= std::min(residue_, moved_);
  command_ = {};
  moved_ = most_ = 0;
  enter(Phase::kStatus);
}

Transfer Storage::give_status(std::span<const iovec> data) {
  if (block::length_of(data) < kStatusWrapper) return {Transfer::Result::kStall};
  std::array<uint8_t, kStatusWrapper> wrapper{};
  put32(wrapper, 0, kStatusSignature);
  put32(wrapper, 4, tag_);
  put32(wrapper, 8, residue_);
  wrapper[12] = static_cast<uint8_t>(status_);
  block::copy_to(data, 0, wrapper);
  enter(Phase::kCommand);
  return {.bytes = kStatusWrapper};
}

}  // namespace skerry::devices::usb
