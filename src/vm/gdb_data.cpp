// Registers, memory, breakpoints: what the gdb stub reads and changes of a halted VM.
#include <algorithm>
#include <array>

#include "vm/gdb_stub.hpp"

namespace skerry::vm {

namespace {
constexpr std::string_view kFault = "E0e", kInvalid = "E16", kFull = "E1c", kOk = "OK";
constexpr size_t kMaxMemory = GdbPacketReader::kMaxPacket / 2 - 16;  // two digits a byte in an answer
constexpr uint64_t kMaxWatchLength = 4096;
constexpr uint64_t kPage = 4096;

std::span<std::byte> bytes_of(std::string& text) { return std::as_writable_bytes(std::span(text.data(), text.size())); }

// "ADDRESS,LENGTH"
struct Range {
  uint64_t address, length;
};
std::optional<Range> take_range(std::string_view& text) {
  const auto address = take_hex(text);
  if (!address || !take(text, ",")) return std::nullopt;
  const auto length = take_hex(text);
  if (!length) return std::nullopt;
  return Range{*address, *length};
}
}  // namespace

std::string GdbStub::read_registers() {
  std::vector<uint8_t> all(registers().total_size());
  size_t at = 0;
  for (size_t i = 0; i < registers().count(); ++i) {
    registers().read(target_.state(current_), i, std::span(all).subspan(at, registers().size(i)));
    at += registers().size(i);
  }
  return to_hex(all);
}

// A register that may not be written keeps its value: gdb writes all of them when it means one.
std::string GdbStub::write_registers(std::string_view hex) {
  const auto all = from_hex(hex);
  if (!all) return std::string(kInvalid);
  x86::CpuState state = target_.state(current_);
  const std::span from(reinterpret_cast<const uint8_t*>(all->data()), all->size());
  size_t at = 0;
  for (size_t i = 0; i < registers().count() && at + registers().size(i) <= from.size(); ++i) {
    (void)registers().write(state, i, from.subspan(at, registers().size(i)));
    at += registers().size(i);
  }
  target_.set_state(current_, state);
  return std::string(kOk);
}

std::string GdbStub::read_register(std::string_view packet) {
  const auto number = take_hex(packet);
  if (!number || *number >= registers().count()) return std::string(kInvalid);
  std::array<uint8_t, 16> value{};
  registers().read(target_.state(current_), *number, value);
  return to_hex(std::span(value).first(registers().size(*number)));
}

std::string GdbStub::write_register(std::string_view packet) {
  const auto number = take_hex(packet);
  if (!number || *number >= registers().count() || !take(packet, "=")) return std::string(kInvalid);
  const auto value = from_hex(packet);
  if (!value || value->size() != registers().size(*number)) return std::string(kInvalid);
  x86::CpuState state = target_.state(current_);
  if (!registers().write(state, *number, {reinterpret_cast<const uint8_t*>(value->data()), value->size()}))
    return std::string(kInvalid);
  target_.set_state(current_, state);
  return std::string(kOk);
}

// Gives what can be read before the first page that is not mapped.
std::string GdbStub::read_memory(std::string_view packet) {
  const auto range = take_range(packet);
  if (!range) return std::string(kInvalid);
  std::string bytes(std::min<uint64_t>(range->length, kMaxMemory), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const uint64_t address = range->address + done;
    const size_t part = std::min<size_t>(bytes.size() - done, kPage - address % kPage);
    if (!target_.read_memory(current_, address, bytes_of(bytes).subspan(done, part))) break;
    done += part;
  }
  if (done == 0 && range->length != 0) return std::string(kFault);
  return to_hex(std::string_view(bytes).substr(0, done));
}

std::string GdbStub::write_memory(std::string_view packet, bool binary) {
  const auto range = take_range(packet);
  if (!range || !take(packet, ":")) return std::string(kInvalid);
  std::optional<std::string> bytes = binary ? gdb_unescape(packet) : from_hex(packet);
  if (!bytes || bytes->size() != range->length) return std::string(kInvalid);
  if (bytes->empty()) return std::string(kOk);  // gdb asks whether 'X' is known
  const bool good = target_.write_memory(current_, range->address, bytes_of(*bytes));
  return std::string(good ? kOk : kFault);
}

// "TYPE,ADDRESS,KIND": the kind of a watchpoint is its length; conditions after ';' are gdb's own to evaluate.
std::string GdbStub::change_breakpoint(std::string_view packet, bool insert) {
  if (packet.size() < 2 || packet[0] < '0' || packet[0] > '4') return "";
  const char type = packet[0];
  packet.remove_prefix(1);
  if (!take(packet, ",")) return std::string(kInvalid);
  const auto range = take_range(packet);
  const bool watch = type >= '2';
  if (!range || (watch && (range->length == 0 || range->length > kMaxWatchLength))) return std::string(kInvalid);
  const Breakpoint wanted{type, range->address, watch ? range->length : 1};
  const auto found = std::find(breakpoints_.begin(), breakpoints_.end(), wanted);
  if (insert == (found != breakpoints_.end())) return std::string(kOk);  // repeated packets are harmless
  if (insert) {
    const auto alike = std::count_if(breakpoints_.begin(), breakpoints_.end(),
                                     [&](const Breakpoint& b) { return (b.type >= '2') == watch; });
    if (static_cast<size_t>(alike) >= (watch ? kMaxWatchpoints : kMaxBreakpoints)) return std::string(kFull);
    breakpoints_.push_back(wanted);
  } else {
    breakpoints_.erase(found);
  }
  apply_breakpoints();
  return std::string(kOk);
}

void GdbStub::apply_breakpoints() {
  accel::DebugControls controls;
  for (const Breakpoint& b : breakpoints_) {
    if (b.type < '2')
      controls.breakpoints.push_back(b.address);
    else
      controls.watchpoints.push_back({b.address, b.length, b.type != '2', b.type != '3'});
  }
  target_.set_debug(controls);
}

}  // namespace skerry::vm
