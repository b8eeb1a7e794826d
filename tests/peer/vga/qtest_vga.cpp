// Our VGA, driven by lines on standard input as QEMU's machines are by its protocol "qtest", as far as a VGA needs it; and
// "screendump FILE", which writes what the monitor shows as a portable pixmap.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "devices/vga/vga_core.hpp"

namespace skerry::devices::vga {
namespace {

constexpr uint64_t kWindow = 0xa0000, kFrameBuffer = 0xe0000000;
constexpr uint64_t kDispiIndex = 0x1ce, kDispiData = 0x1cf;

class Machine {
 public:
  std::string answer(const std::string& line) {
    std::istringstream words(line);
    std::string command, first, second, third;
    words >> command >> first >> second >> third;
    const uint64_t at = std::strtoull(first.c_str(), nullptr, 0), value = std::strtoull(second.c_str(), nullptr, 0);
    if (command == "outb") return core_.write_port(static_cast<uint16_t>(at), static_cast<uint8_t>(value)), "OK";
    if (command == "inb") return number(core_.read_port(static_cast<uint16_t>(at)));
    if (command == "outw" && at == kDispiIndex) return index_ = static_cast<uint16_t>(value), "OK";
    if (command == "outw" && at == kDispiData) return core_.write_dispi(index_, static_cast<uint16_t>(value)), "OK";
    if (command == "inw" && at == kDispiData) return number(core_.read_dispi(index_));
    if (command == "outl") return "OK";  // PCI configuration: there is none here
    if (command == "readb") return number(read(at));
    if (command == "writeb") return write(at, static_cast<uint8_t>(value)), "OK";
    if (command == "write") return write_many(at, value, third), "OK";
    if (command == "screendump") return dump(first), "OK";
    return "FAIL";
  }

 private:
  static std::string number(uint64_t value) {
    char text[24];
    std::snprintf(text, sizeof text, "OK 0x%016llx", static_cast<unsigned long long>(value));
    return text;
  }
  uint8_t read(uint64_t at) {
    if (at >= kFrameBuffer) return static_cast<uint8_t>(vram_[(at - kFrameBuffer) % vram_.size()]);
    return static_cast<uint8_t>(core_.read_window(at - kWindow, 1));
  }
  void write(uint64_t at, uint8_t value) {
    if (at >= kFrameBuffer)
      vram_[(at - kFrameBuffer) % vram_.size()] = std::byte{value};
    else
      core_.write_window(at - kWindow, 1, value);
  }
  // `bytes` is 0x and two digits for each.
  void write_many(uint64_t at, uint64_t count, const std::string& bytes) {
    for (size_t i = 0; i < count && 4 + 2 * i <= bytes.size(); ++i)
      write(at + i, static_cast<uint8_t>(std::stoul(bytes.substr(2 + 2 * i, 2), nullptr, 16)));
  }
  void dump(const std::string& path) {
    core_.draw(*screen_, 0);
    const display::Screen::Size size = screen_->size();
    std::ofstream file(path, std::ios::binary);
    file << "P6\n" << size.width << ' ' << size.height << "\n255\n";
    std::vector<uint32_t> row(size.width);
    for (uint32_t y = 0; y < size.height; ++y) {
      screen_->read({0, y, size.width, 1}, row, false);
      for (const uint32_t pixel : row)
        for (const unsigned shift : {16, 8, 0}) file.put(static_cast<char>(pixel >> shift));
    }
  }

  std::vector<uint64_t> memory_ = std::vector<uint64_t>((16 << 20) / 8);
  std::span<std::byte> vram_ = std::as_writable_bytes(std::span(memory_));
  VgaCore core_{vram_};
  std::unique_ptr<display::Screen> screen_ = display::Screen::create({640, 480}).value();
  uint16_t index_ = 0;
};

}  // namespace
}  // namespace skerry::devices::vga

int main() {
  skerry::devices::vga::Machine machine;
  for (std::string line; std::getline(std::cin, line);) std::cout << machine.answer(line) << std::endl;
}
