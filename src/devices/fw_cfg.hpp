// QEMU's firmware configuration device: what the board tells its firmware, as items by number and files by name.
// QEMU, docs/specs/fw_cfg.
//
// Items and files are added while the board is made. The guest reads them through the data port or by DMA; those that
// are writable it may write, by DMA alone, and never beyond their size.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "bus/device.hpp"
#include "devices/io_window.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::devices {

class FwCfg final : public bus::Device {
 public:
  static constexpr uint16_t kSelectorPort = 0x510, kDataPort = 0x511, kDmaPort = 0x514;
  static constexpr uint16_t kPorts = 12;  // from kSelectorPort on, with the unused ones between

  enum Key : uint16_t {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_IRQ0_OVERRIDE = 0x8002,  // of the architecture
  };
  static constexpr size_t kMaxFiles = 256;
  static constexpr size_t kMaxName = 55;  // with its NUL in FWCfgFile::name
  static constexpr size_t kMaxItemSize = size_t{16} << 20;
  // Of one DMA operation. The specification names no limit; a longer one ends with its error bit set.
  static constexpr uint32_t kMaxTransfer = uint32_t{64} << 20;

  // Gets the whole content of a file after the guest has written to it. On a vCPU thread, with no lock held.
  using Written = std::function<void(std::span<const uint8_t> content)>;

  explicit FwCfg(memory::GuestMemory& memory);
  Result<void> attach(bus::AddressSpace& pio);

  // While the board is made. Fail if there is such an item or file, or if it is too large.
  Result<void> add_item(uint16_t key, std::vector<uint8_t> content);
  Result<void> add_file(std::string_view name, std::vector<uint8_t> content);
  Result<void> add_writable_file(std::string_view name, std::vector<uint8_t> content, Written written);
  // Other content of the same size for a file that the guest cannot write. Any thread.
  Result<void> replace_file(std::string_view name, std::vector<uint8_t> content);

  std::string_view name() const override { return "fw-cfg"; }
  void reset() override;
  void describe(state::Fields& fields) override;

 private:
  struct Item {
    std::vector<uint8_t> content;
    std::vector<uint8_t> initial;  // of a writable one: its content after a reset
    bool writable = false;
    Written written;
    std::string file;  // its name, if it has one
  };
  struct DmaAccess {  // FWCfgDmaAccess
    uint32_t control, length;
    uint64_t address;
  };

  Result<void> add(uint16_t key, Item item);
  Result<uint16_t> add_file_item(std::string_view name, Item item);
  void make_directory();
  Item* find_file(std::string_view name);

  void write_selector(unsigned size, uint64_t value);
  uint64_t read_data();
  void write_dma(uint64_t offset, unsigned size, uint32_t value);
  // With lock_ held.
  void select(uint16_t key);
  Item* selected();
  std::span<const uint8_t> rest();  // of the selected item
  bool transfer(const DmaAccess& access);
  bool read(uint64_t address, uint32_t length);
  bool write(uint64_t address, uint32_t length);
  void run_dma(uint64_t address);

  memory::GuestMemory& memory_;
  std::mutex lock_;
  std::map<uint16_t, Item> items_;
  uint16_t next_file_ = FW_CFG_FILE_FIRST;
  uint16_t selector_ = 0;
  uint32_t offset_ = 0;      // in the selected item
  uint32_t dma_high_ = 0;    // the upper half of the DMA address register
  Item* written_ = nullptr;  // by the operation under way
  IoWindow selector_window_, dma_window_;
};

}  // namespace skerry::devices
