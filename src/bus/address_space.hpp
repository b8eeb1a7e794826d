// Port and memory-mapped address spaces: which device answers where.
//
// Lookups take no lock. Ranges are added only while no vCPU runs, but for the movable ones, which replace_movable() puts
// elsewhere at any time.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace skerry::bus {

// A place where a write does nothing but signal an event descriptor. It may be done there by who executes the guest, without
// a call of the handler; so a handler that is called has to do the same.
struct Doorbell {
  uint64_t offset;                // in the handler's range; of one that was placed, the address
  unsigned size;                  // of the access, in bytes; others are the handler's
  std::optional<uint64_t> value;  // of the access; none: any
  int fd;                         // an eventfd, which outlives the address space's use
  bool operator==(const Doorbell&) const = default;
};

// Told where the doorbells are, all of them, whenever one moves. With no lock of the address space's held.
class DoorbellListener {
 public:
  virtual ~DoorbellListener() = default;
  virtual void place_doorbells(std::span<const Doorbell> doorbells) = 0;
};

// A device's registers in one range. Called from any vCPU thread, several at once. `offset` is from the start of the
// range; an access lies inside the range; `size` is 1, 2, 4 or 8. A read gives the value in the low bytes.
class IoHandler {
 public:
  virtual ~IoHandler() = default;
  virtual uint64_t io_read(uint64_t offset, unsigned size) = 0;
  virtual void io_write(uint64_t offset, unsigned size, uint64_t value) = 0;
  // Wider accesses are split into ones of this size; 1 for the 8-bit devices of the ISA bus.
  virtual unsigned widest_access() const { return 8; }
  // They do not change. Only those of movable ranges are used.
  virtual std::span<const Doorbell> doorbells() const { return {}; }
};

class AddressSpace {
 public:
  // `name` is for messages ("port", "memory"); `unclaimed` accesses are logged under the io category.
  // What is not claimed is looked for in the one `behind`, if there is one, which outlives this.
  explicit AddressSpace(std::string name, AddressSpace* behind = nullptr) : name_(std::move(name)), behind_(behind) {}

  // `handler` must outlive the space. Fails on overlap.
  Result<void> add(uint64_t base, uint64_t size, IoHandler& handler, std::string owner);
  struct Movable {
    uint64_t base, size;
    IoHandler* handler;
  };
  static constexpr size_t kMaxMovable = 256;
  // The ranges that move while the guest runs (PCI BARs), all of them anew; one caller at a time. What overlaps a range
  // of add(), or one that is before it in the list, is left out. A lookup that is under way may still find the old place.
  void replace_movable(std::span<const Movable> ranges);
  // `listener` may be null. Not while ranges move.
  void set_doorbell_listener(DoorbellListener* listener);
  // Splits accesses that reach past a range into bytes. Where nothing is, reads give all ones and writes are dropped.
  uint64_t read(uint64_t address, unsigned size);
  void write(uint64_t address, unsigned size, uint64_t value);

 private:
  struct Range {
    uint64_t base, size;
    IoHandler* handler;
    std::string owner;
  };
  struct MovableSlot {
    std::atomic<uint64_t> base{0}, size{0};
    std::atomic<IoHandler*> handler{nullptr};
  };
  std::optional<Movable> find(uint64_t address) const;
  std::optional<Movable> find_movable(uint64_t address) const;
  void place_doorbells();

  std::string name_;
  AddressSpace* const behind_;
  std::vector<Range> ranges_;  // sorted by base
  // A sequence lock: odd while it is being changed; who has read slots under two different values reads again.
  std::atomic<uint32_t> movable_sequence_{0};
  std::atomic<size_t> movable_count_{0};
  std::array<MovableSlot, kMaxMovable> movable_;
  DoorbellListener* doorbell_listener_ = nullptr;
};

}  // namespace skerry::bus
