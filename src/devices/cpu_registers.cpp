#include "devices/cpu_registers.hpp"

namespace skerry::devices {

namespace {

// "CPU selector", where it is written; "CPU device status"; "Command field", where it is written; "Command data".
constexpr uint64_t kSelector = 0, kStatus = 4, kCommand = 5, kData = 8;
constexpr uint8_t kEnabled = 1;
constexpr uint8_t kNextWithEvent = 0, kArchitectureId = 3;

}  // namespace

CpuRegisters::CpuRegisters(unsigned count)
    : count_(count),
      window_(
          4, [this](uint64_t offset, unsigned) { return read(offset); },
          [this](uint64_t offset, unsigned, uint64_t value) { write(offset, value); }) {}

void CpuRegisters::reset() {
  std::lock_guard guard(lock_);
  selector_ = 0;
  command_ = 0;
}

void CpuRegisters::describe(state::Fields& fields) {
  fields.field("selector", selector_);
  fields.field("command", command_);
}

// What is not there reads as 0, "Command data 2" at the selector's place too: the upper half of an ID.
uint64_t CpuRegisters::read(uint64_t offset) {
  std::lock_guard guard(lock_);
  if (selector_ >= count_) return 0;
  if (offset == kStatus) return kEnabled;
  if (offset != kData) return 0;
  return command_ == kNextWithEvent || command_ == kArchitectureId ? selector_ : 0;
}

void CpuRegisters::write(uint64_t offset, uint64_t value) {
  std::lock_guard guard(lock_);
  if (offset == kSelector) selector_ = static_cast<uint32_t>(value);
  if (offset == kCommand && selector_ < count_) command_ = static_cast<uint8_t>(value);
}

}  // namespace skerry::devices
