// Flash memory that firmware lies in: reads give its bytes, writes are commands. What OVMF keeps its variables in.
//
// JEDEC JESD68 (CFI); Intel/Sharp Extended command set (CFI 0001h), Intel 28F640J3 datasheet, section "Command definitions"; one chip of eight bits.
// In a machine with System Management Mode it is the one of firmware that trusts nobody else: only processors in SMM can give it commands,
// and all others see its bytes, whatever it is at.
//
// OVMF takes it for flash only if CLEAR STATUS leaves 00h, as QEMU's does, where the chip would say 80h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::devices {

class CfiFlash final : public bus::Device, private bus::IoHandler {
 public:
  static constexpr uint64_t kBlock = 4096;  // what is erased at once

  struct Host {
    // Makes every vCPU come to an instruction boundary; any thread, with the device's lock held.
    std::function<void()> kick_all;
    // The bytes at `offset` are now these: to be kept. False: they cannot be kept, which the guest is told. On a vCPU's thread, or
    // at rest, with the device's lock held.
    std::function<bool(uint64_t offset, std::span<const std::byte> bytes)> store;
  };

  // Where the guest's accesses come from: all of them, or those of processors in SMM beside all others'.
  struct Spaces {
    bus::AddressSpace& mmio;
    bus::AddressSpace* smm_mmio = nullptr;  // null: there is no SMM, and everybody may give commands
  };
  // `content`, whole blocks, is at `base` of memory from now on. The name keys the saved state.
  static Result<std::unique_ptr<CfiFlash>> create(std::string name, memory::GuestMemory& memory, Spaces spaces, memory::Gpa base,
                                                  std::span<const uint8_t> content, Host host);

  ~CfiFlash() override { keep(); }

  std::string_view name() const override { return name_; }
  void reset() override;  // the content stays
  void describe(state::Fields& fields) override;
  void restored() override;

 private:
  enum class Reads : uint8_t { kArray, kStatus, kIdentifier, kQuery };
  enum class Expects : uint8_t { kCommand, kData, kConfirmation };

  CfiFlash(std::string name, memory::GuestMemory& memory, memory::Gpa base, uint64_t size, Host host)
      : name_(std::move(name)), memory_(memory), base_(base), size_(size), host_(std::move(host)) {}

  uint64_t io_read(uint64_t offset, unsigned size) override;
  void io_write(uint64_t offset, unsigned size, uint64_t value) override;

  // Of everybody but processors in SMM, where only those may give commands.
  class Onlookers final : public bus::IoHandler {
   public:
    explicit Onlookers(CfiFlash& flash) : flash_(flash) {}
    uint64_t io_read(uint64_t offset, unsigned size) override;
    void io_write(uint64_t, unsigned, uint64_t) override {}

   private:
    CfiFlash& flash_;
  };

  uint8_t byte_at(uint64_t offset) const;
  // With lock_ held.
  uint8_t register_at(uint64_t offset) const;
  void command(uint8_t value);
  void program(uint64_t offset, unsigned size, uint64_t value);
  void erase(uint64_t offset);
  void put(uint64_t offset, std::span<const std::byte> bytes);
  void keep();
  void finish(uint8_t failure);
  void show(Reads what);

  const std::string name_;
  memory::GuestMemory& memory_;
  const memory::Gpa base_;
  const uint64_t size_;
  const Host host_;
  Onlookers onlookers_{*this};
  std::mutex lock_;
  Reads reads_ = Reads::kArray;
  Expects expects_ = Expects::kCommand;
  uint8_t status_;
  uint64_t changed_begin_ = 0, changed_end_ = 0;  // what store() has not been told yet
};

}  // namespace skerry::devices
