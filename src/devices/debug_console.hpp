// The debug consoles of firmware: port 0xe9 (Bochs) and port 0x402 (SeaBIOS, OVMF). What is written there goes to the
// log, line by line, under the category "debugcon".
#pragma once

#include <array>
#include <functional>
#include <mutex>
#include <string_view>
#include <vector>

#include "bus/device.hpp"
#include "devices/io_window.hpp"

namespace skerry::devices {

class DebugConsole final : public bus::Device {
 public:
  static constexpr uint16_t kBochsPort = 0xe9, kFirmwarePort = 0x402;
  static constexpr uint8_t kPresent = 0xe9;  // what both ports read as, so that guests can find them
  static constexpr size_t kLongestLine = 512;

  // `write_line` gets each line, with its newline; called from any vCPU thread with no lock held. By default the log.
  explicit DebugConsole(std::function<void(std::string_view line)> write_line = {});
  Result<void> attach(bus::AddressSpace& pio);

  std::string_view name() const override { return "debug-console"; }
  void reset() override;
  void describe(state::Fields& fields) override;

 private:
  void put(unsigned console, uint8_t byte);

  std::function<void(std::string_view)> write_line_;
  std::mutex lock_;
  std::array<std::vector<uint8_t>, 2> lines_;  // so far, of each port
  IoWindow bochs_, firmware_;
};

}  // namespace skerry::devices
