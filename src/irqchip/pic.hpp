// Two cascaded 8259A interrupt controllers with the edge/level registers of the PC chipsets.
//
// Ports 0x20/0x21 (master), 0xa0/0xa1 (slave), 0x4d0/0x4d1 (ELCR). Any thread may call any member. Its lock is taken
// after a device's and before a LAPIC's: INTR is driven with the lock held.
//
// As on the chipsets, ICW1.LTIM is ignored in favour of the ELCR. Unlike a real 8259A, an edge stays latched when its
// line falls before the acknowledge, so that a pulse is never lost.
#pragma once

#include <functional>
#include <mutex>

#include "base/result.hpp"
#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "irqchip/apic_message.hpp"

namespace skerry::irqchip {

class Pic final : public bus::Device, public ExtIntSource {
 public:
  // `intr` is the master's INT output: LINT0 of the processors.
  explicit Pic(std::function<void(bool level)> intr);

  Result<void> attach(bus::AddressSpace& pio);
  void set_irq(unsigned irq, bool level);  // IRQ 0..15; 2 is the cascade and ignored
  // The two INTA cycles: the vector; IRQ 7's (or 15's) when nothing is pending any more.
  int acknowledge() override;

  std::string_view name() const override { return "pic"; }
  void reset() override;
  void describe(state::Fields& fields) override;
  void restored() override;

 private:
  // Where the chip is in its initialization sequence.
  enum class Init : uint8_t { kDone, kIcw2, kIcw3, kIcw4 };

  struct Chip {
    uint8_t lines = 0;  // the inputs' levels
    uint8_t irr = 0, isr = 0;
    uint8_t imr = 0xff;           // nothing interrupts before the chip is programmed
    uint8_t elcr = 0;             // 1: level-triggered
    uint8_t icw2 = 0;             // vector base, bits 7:3
    uint8_t lowest_priority = 7;  // the rotation: this input has the lowest priority, the next one the highest
    Init init = Init::kDone;
    bool single = false;        // ICW1.SNGL: no ICW3 follows
    bool icw4_follows = false;  // ICW1.IC4
    bool auto_eoi = false, rotate_on_auto_eoi = false;
    bool special_fully_nested = false;
    bool special_mask = false;
    bool read_isr = false;  // OCW3: reads of the first port give ISR instead of IRR
    bool poll = false;      // OCW3.P: the next read is an acknowledge

    int highest(uint8_t of) const;
    int pending(bool master) const;
    void set_line(unsigned input, bool level);
    void acknowledge(unsigned input);
    void write_icw1(uint8_t value);
    void write_ocw2(uint8_t value);
    void write_ocw3(uint8_t value);
    void write_data(uint8_t value);
    void end_of_interrupt(int input, bool rotate);
    void reset();
    void describe(state::Fields& fields, bool master);
  };

  struct ChipPorts final : bus::IoHandler {
    ChipPorts(Pic& owner, unsigned which) : pic(owner), index(which) {}
    uint64_t io_read(uint64_t offset, unsigned size) override;
    void io_write(uint64_t offset, unsigned size, uint64_t value) override;
    unsigned widest_access() const override { return 1; }
    Pic& pic;
    unsigned index;
  };
  struct ElcrPorts final : bus::IoHandler {
    explicit ElcrPorts(Pic& owner) : pic(owner) {}
    uint64_t io_read(uint64_t offset, unsigned size) override;
    void io_write(uint64_t offset, unsigned size, uint64_t value) override;
    unsigned widest_access() const override { return 1; }
    Pic& pic;
  };

  void update();  // the cascade and INTR, from the chips' states
  uint8_t read_chip(unsigned index, unsigned port);
  void write_elcr(unsigned index, uint8_t value);

  std::function<void(bool)> intr_;
  std::mutex lock_;
  Chip chips_[2];
  bool intr_level_ = false;
  ChipPorts master_ports_{*this, 0}, slave_ports_{*this, 1};
  ElcrPorts elcr_ports_{*this};
};

}  // namespace skerry::irqchip
