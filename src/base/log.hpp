// The log of a Skerry program: one line an event, to standard error, under a category that `--debug` switches on.
//
// Warnings and errors are always shown. Debug lines cost one relaxed load where their category is off.
// Every function here may be called from any thread.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace skerry::log {

// What a debug line is about; the names are those of `--debug`. Keep in step with kCategoryNames in log.cpp.
enum class Category : uint8_t {
  kCpu,        // "cpu": exceptions, interrupts, mode changes, unimplemented instructions
  kMsr,        // "msr": unknown model-specific registers
  kMemory,     // "memory": the guest-physical address map
  kIo,         // "io": accesses to ports and addresses where nothing is
  kIrq,        // "irq": PIC, IOAPIC, LAPIC
  kTimer,      // "timer": PIT, HPET, RTC, kvmclock
  kDevice,     // "device": the other devices
  kDebugcon,   // "debugcon": what the guest writes to ports 0xe9 and 0x402
  kLoad,       // "load": kernel, initrd, firmware loading
  kVm,         // "vm": life of the VM: run, stop, reset, shutdown
  kQmp,        // "qmp": the monitor protocol
  kGdb,        // "gdb": the remote debugging protocol
  kAccel,      // "accel": what executes the guest, and why; what it leaves to the interpreter
  kDisplay,    // "display": viewers of the screen
  kCount,
};

// Enables debug lines of the comma-separated categories in `list`; "all" is every one, "help" is refused with the list.
Result<void> enable(std::string_view list);
std::vector<std::string_view> category_names();

extern std::atomic<uint32_t> enabled_categories;

inline bool on(Category category) {
  return enabled_categories.load(std::memory_order_relaxed) >> static_cast<unsigned>(category) & 1;
}

void write_line(std::string_view level, std::string_view text);
void write_debug(Category category, std::string_view text);
// Writes bytes as they are (the guest's debug console).
void write_raw(std::string_view bytes);

template <typename... Args>
void debug(Category category, fmt::format_string<Args...> format, Args&&... args) {
  if (on(category)) write_debug(category, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write_line("", fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  write_line("warning: ", fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void failure(fmt::format_string<Args...> format, Args&&... args) {
  write_line("error: ", fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace skerry::log
