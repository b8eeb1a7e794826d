#include "devices/tpm/crb.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"

namespace skerry::devices::tpm {

namespace {

// PTP 6.5.3, "CRB Interface": the registers of one locality.
enum Register : uint64_t {
  TPM_LOC_STATE = 0x00,
  TPM_LOC_CTRL = 0x08,
  TPM_LOC_STS = 0x0c,
  TPM_CRB_INTF_ID = 0x30,  // 64 bits
  TPM_CRB_CTRL_REQ = 0x40,
  TPM_CRB_CTRL_STS = 0x44,
  TPM_CRB_CTRL_CANCEL = 0x48,
  TPM_CRB_CTRL_START = 0x4c,
  TPM_CRB_CTRL_CMD_SIZE = 0x58,
  TPM_CRB_CTRL_CMD_LADDR = 0x5c,
  TPM_CRB_CTRL_RSP_SIZE = 0x64,
  TPM_CRB_CTRL_RSP_ADDR = 0x68,  // 64 bits
  TPM_CRB_DATA_BUFFER = 0x80,
};
static_assert(TPM_CRB_DATA_BUFFER + kBufferSize == Crb::kSize);

// TPM_LOC_STATE. tpmEstablished is clear once a dynamic launch has been.
constexpr uint32_t kTpmEstablished = 1 << 0, kLocAssigned = 1 << 1, kTpmRegValidSts = 1 << 7;
// TPM_LOC_CTRL
constexpr uint32_t kRequestAccess = 1 << 0, kRelinquish = 1 << 1;
// TPM_LOC_STS
constexpr uint32_t kGranted = 1 << 0;
// TPM_CRB_CTRL_REQ
constexpr uint32_t kCmdReady = 1 << 0, kGoIdle = 1 << 1;
// TPM_CRB_CTRL_STS
constexpr uint32_t kTpmSts = 1 << 0, kTpmIdle = 1 << 1;
// TPM_CRB_CTRL_CANCEL and _START
constexpr uint32_t kInvoke = 1;

// TPM_CRB_INTF_ID: a CRB and no FIFO, of the first version; locality 0 only; transfers of any size up to 64 bytes; locked to the CRB.
constexpr uint32_t kInterfaceTypeCrb = 1, kInterfaceVersionCrb = 1 << 4, kTransferSize64 = 3 << 11, kCapCrb = 1 << 14;
constexpr uint32_t kSelectorCrb = 1 << 17, kSelectorLocked = 1 << 19;
constexpr uint32_t kInterfaceId = kInterfaceTypeCrb | kInterfaceVersionCrb | kTransferSize64 | kCapCrb | kSelectorCrb | kSelectorLocked;
// Its upper half, vendor and device: there is no vendor. IBM's, which stands for TPMs in software.
constexpr uint32_t kVendorAndDevice = 0x1014;

// TPM 2.0 Library, part 2, 6.6.3 and 6.9.
constexpr uint16_t TPM_ST_NO_SESSIONS = 0x8001;
constexpr uint32_t TPM_RC_COMMAND_SIZE = 0x142;

uint32_t big_endian(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

constexpr std::array<uint8_t, kHeaderSize> kWrongSize = {TPM_ST_NO_SESSIONS >> 8,  TPM_ST_NO_SESSIONS & 0xff, 0, 0, 0, kHeaderSize, 0, 0,
                                                         TPM_RC_COMMAND_SIZE >> 8, TPM_RC_COMMAND_SIZE & 0xff};

}  // namespace

Crb::Crb(EventLoop& loop, Backend& backend) : loop_(loop), backend_(backend) {
  backend_.connect({.answered = [this](std::span<const uint8_t> response) { answered(response); },
                    .failed = [this](const std::string& why) { backend_failed(why); }});
}

void Crb::reset() {
  {
    std::lock_guard guard(lock_);
    granted_ = executing_ = cancel_ = false;
    idle_ = true;
    failed_ = backend_.failed();
    buffer_.fill(0);
    ++command_;
    state_ = {};
  }
  backend_.power_cycle();
}

void Crb::describe(state::Fields& fields) {
  fields.field("granted", granted_);
  fields.field("idle", idle_);
  fields.field("cancel", cancel_);
  fields.field("failed", failed_);
  fields.bytes("buffer", buffer_);
  fields.list("state", state_.blobs.size(), [&](size_t i) {
    fields.field("flags", state_.blobs[i].flags);
    fields.blob("content", state_.blobs[i].content, kMaxBlobSize);
  });
}

// A TPM that has failed before is saved as such.
Result<void> Crb::prepare_save() {
  state_ = {};
  if (backend_.failed()) return ok();
  auto state = backend_.state();
  if (!state) return std::move(state).error();
  state_ = std::move(*state);
  return ok();
}

Result<void> Crb::give_state() {
  if (failed_) return ok();  // until the next reset
  auto given = backend_.power_on(state_);
  state_ = {};
  return given;
}

uint64_t Crb::io_read(uint64_t offset, unsigned size) {
  std::lock_guard guard(lock_);
  uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    const uint64_t at = offset + i;
    const uint8_t byte = at >= TPM_CRB_DATA_BUFFER ? buffer_[at - TPM_CRB_DATA_BUFFER]
                                                   : static_cast<uint8_t>(read_register(at & ~uint64_t{3}) >> at % 4 * 8);
    value |= uint64_t{byte} << i * 8;
  }
  return value;
}

// The buffer does not change under a command. What is to be done in a register is in its first byte.
void Crb::io_write(uint64_t offset, unsigned size, uint64_t value) {
  Action action = Action::kNone;
  uint64_t command = 0;
  {
    std::lock_guard guard(lock_);
    for (unsigned i = 0; i < size; ++i) {
      const uint64_t at = offset + i;
      const auto byte = static_cast<uint8_t>(value >> i * 8);
      if (at >= TPM_CRB_DATA_BUFFER && !executing_)
        buffer_[at - TPM_CRB_DATA_BUFFER] = byte;
      else if (at < TPM_CRB_DATA_BUFFER && at % 4 == 0 && action == Action::kNone)
        action = write_register(at, byte);
    }
    command = command_;
  }
  if (action == Action::kExecute) loop_.post([this, command] { execute(command); });
  if (action == Action::kCancel) loop_.post([this, command] { cancel(command); });
}

uint32_t Crb::read_register(uint64_t offset) const {
  switch (offset) {
    case TPM_LOC_STATE: return kTpmRegValidSts | (granted_ ? kLocAssigned : 0) | (backend_.established() ? 0 : kTpmEstablished);
    case TPM_LOC_STS: return granted_ ? kGranted : 0;
    case TPM_CRB_INTF_ID: return kInterfaceId;
    case TPM_CRB_INTF_ID + 4: return kVendorAndDevice;
    case TPM_CRB_CTRL_STS: return (failed_ ? kTpmSts : 0) | (idle_ ? kTpmIdle : 0);
    case TPM_CRB_CTRL_CANCEL: return cancel_ ? kInvoke : 0;
    case TPM_CRB_CTRL_START: return executing_ ? kInvoke : 0;
    case TPM_CRB_CTRL_CMD_SIZE:
    case TPM_CRB_CTRL_RSP_SIZE: return kBufferSize;
    case TPM_CRB_CTRL_CMD_LADDR:
    case TPM_CRB_CTRL_RSP_ADDR: return static_cast<uint32_t>(kBase + TPM_CRB_DATA_BUFFER);
    default: return 0;  // requests are done at once, and there are no interrupts
  }
}

Crb::Action Crb::write_register(uint64_t offset, uint32_t value) {
  switch (offset) {
    case TPM_LOC_CTRL:
      if (value == kRequestAccess) granted_ = true;
      if (value == kRelinquish) granted_ = false;
      return Action::kNone;
    case TPM_CRB_CTRL_REQ: request_state(value); return Action::kNone;
    case TPM_CRB_CTRL_CANCEL:
      cancel_ = (value & kInvoke) != 0;
      if (!granted_ || !executing_ || !cancel_ || std::exchange(cancel_asked_, true)) return Action::kNone;
      return Action::kCancel;
    case TPM_CRB_CTRL_START: return value & kInvoke ? start() : Action::kNone;
    default: return Action::kNone;
  }
}

// Idle, or ready for a command. A command under way is not disturbed.
void Crb::request_state(uint32_t value) {
  if (!granted_ || executing_) return;
  if (value == kCmdReady) idle_ = false;
  if (value == kGoIdle) idle_ = true;
}

// Another command may follow the last one's answer without anything in between, as Linux sends it, and the first may come without
// cmdReady, as SeaBIOS's does.
Crb::Action Crb::start() {
  if (!granted_ || executing_ || failed_) return Action::kNone;
  idle_ = false;
  const uint32_t size = big_endian(&buffer_[2]);
  if (size < kHeaderSize || size > buffer_.size()) {
    std::copy(kWrongSize.begin(), kWrongSize.end(), buffer_.begin());
    return Action::kNone;
  }
  executing_ = true;
  cancel_asked_ = false;
  ++command_;
  return Action::kExecute;
}

void Crb::execute(uint64_t command) {
  std::vector<uint8_t> bytes;
  {
    std::lock_guard guard(lock_);
    if (command != command_ || !executing_) return;
    bytes.assign(buffer_.begin(), buffer_.begin() + big_endian(&buffer_[2]));
  }
  backend_.execute(std::move(bytes));
}

void Crb::cancel(uint64_t command) {
  {
    std::lock_guard guard(lock_);
    if (command != command_ || !executing_) return;
  }
  backend_.cancel();
}

void Crb::answered(std::span<const uint8_t> response) {
  std::lock_guard guard(lock_);
  if (!executing_) return;
  std::copy(response.begin(), response.end(), buffer_.begin());
  executing_ = false;
}

void Crb::backend_failed(const std::string& why) {
  log::warn("{}; the guest's TPM has failed until the VM is started anew", why);
  std::lock_guard guard(lock_);
  failed_ = true;
  executing_ = false;
}

}  // namespace skerry::devices::tpm
