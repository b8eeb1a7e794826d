#include "devices/debug_console.hpp"

#include <string>

#include "base/log.hpp"

namespace skerry::devices {

namespace {
void write_to_log(std::string_view line) {
  if (log::on(log::Category::kDebugcon)) log::write_raw(line);
}
// The log goes to a person's terminal, which the guest must not command.
bool printable(uint8_t byte) { return (byte >= 0x20 && byte != 0x7f) || byte == '\t'; }
}  // namespace

DebugConsole::DebugConsole(std::function<void(std::string_view)> write_line)
    : write_line_(write_line ? std::move(write_line) : write_to_log),
      bochs_(
          1, [](uint64_t, unsigned) { return kPresent; },
          [this](uint64_t, unsigned, uint64_t value) { put(0, static_cast<uint8_t>(value)); }),
      firmware_(
          1, [](uint64_t, unsigned) { return kPresent; },
          [this](uint64_t, unsigned, uint64_t value) { put(1, static_cast<uint8_t>(value)); }) {}

Result<void> DebugConsole::attach(bus::AddressSpace& pio) {
  if (auto added = pio.add(kBochsPort, 1, bochs_, "debug-console"); !added) return added;
  return pio.add(kFirmwarePort, 1, firmware_, "debug-console");
}

void DebugConsole::reset() {
  std::lock_guard guard(lock_);
  for (auto& line : lines_) line.clear();
}

void DebugConsole::describe(state::Fields& fields) {
  fields.list("lines", lines_.size(), [&](size_t i) { fields.blob("line", lines_[i], kLongestLine - 1); });
}

void DebugConsole::put(unsigned console, uint8_t byte) {
  std::string line;
  {
    std::lock_guard guard(lock_);
    auto& pending = lines_[console];
    if (byte != '\n' && printable(byte)) pending.push_back(byte);
    if (byte != '\n' && pending.size() < kLongestLine) return;
    line.assign(pending.begin(), pending.end());
    pending.clear();
  }
  line += '\n';
  write_line_(line);
}

}  // namespace skerry::devices
