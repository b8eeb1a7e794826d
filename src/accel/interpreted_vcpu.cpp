#include "accel/interpreted_vcpu.hpp"

#include <algorithm>

namespace skerry::accel {

namespace {

// Calls `access` for each part of a range that is in one page; false if a part is not mapped or cannot be accessed.
template <typename Access>
bool by_page(Vcpu& vcpu, uint64_t address, size_t size, Access access) {
  for (size_t done = 0; done < size;) {
    const auto gpa = vcpu.translate(address + done);
    const size_t part = std::min<size_t>(size - done, memory::kPageSize - ((address + done) & memory::kPageMask));
    if (!gpa || !access(*gpa, done, part)) return false;
    done += part;
  }
  return true;
}

}  // namespace

Exit exit_of(x86::StopReason reason) {
  switch (reason) {
    case x86::StopReason::kKicked: return Exit::kKicked;
    case x86::StopReason::kHalted: return Exit::kHalted;
    case x86::StopReason::kTripleFault: return Exit::kTripleFault;
    case x86::StopReason::kBreakpoint: return Exit::kBreakpoint;
    case x86::StopReason::kWatchpoint: return Exit::kWatchpoint;
    case x86::StopReason::kStepped: return Exit::kStepped;
  }
  return Exit::kKicked;
}

void InterpretedVcpu::request_interrupt(bool level) {
  if (level)
    interpreter_.set_request(x86::request::kInterrupt);
  else
    interpreter_.clear_request(x86::request::kInterrupt);
}

void InterpretedVcpu::set_nmi_waits(bool waits) {
  if (waits)
    interpreter_.set_request(x86::request::kNmi);
  else
    interpreter_.clear_request(x86::request::kNmi);
}

void InterpretedVcpu::set_smi_waits(bool waits) {
  if (waits)
    interpreter_.set_request(x86::request::kSmi);
  else
    interpreter_.clear_request(x86::request::kSmi);
}

std::optional<uint64_t> InterpretedVcpu::translate(uint64_t linear) {
  uint64_t gpa = 0;
  if (!x86::probe(interpreter_.memory, interpreter_.state, linear, gpa)) return std::nullopt;
  return gpa;
}

bool InterpretedVcpu::read_linear(uint64_t address, std::span<std::byte> to) {
  return by_page(*this, address, to.size(), [&](uint64_t gpa, size_t done, size_t part) {
    return interpreter_.memory.read(gpa, to.subspan(done, part), x86::view_of(interpreter_.state));
  });
}

bool InterpretedVcpu::write_linear(uint64_t address, std::span<const std::byte> from) {
  return by_page(*this, address, from.size(), [&](uint64_t gpa, size_t done, size_t part) {
    return interpreter_.memory.write(gpa, from.subspan(done, part), x86::view_of(interpreter_.state));
  });
}

void InterpretedVcpu::set_debug(const DebugControls& controls) {
  std::vector<x86::WatchRange> ranges;
  for (const Watchpoint& watch : controls.watchpoints)
    ranges.push_back({watch.address, watch.length, watch.on_read, watch.on_write});
  interpreter_.set_debug(controls.breakpoints, std::move(ranges));
}

}  // namespace skerry::accel
