// What the parts of the card have in common. They belong to its lock, which is named where it is not held.
#pragma once

#include <atomic>
#include <mutex>

#include "base/event_loop.hpp"
#include "devices/e1000e/interrupts.hpp"
#include "devices/e1000e/registers.hpp"
#include "devices/e1000e/statistics.hpp"
#include "memory/guest_memory.hpp"
#include "net/backend.hpp"

namespace skerry::devices::e1000e {

struct Card {
  EventLoop& loop;
  memory::GuestMemory& memory;
  net::Backend& backend;
  std::mutex& lock;
  Interrupts& interrupts;
  Statistics& statistics;
  uint32_t ctrl = 0;
  uint16_t vlan_type = 0;  // VET
  std::atomic<bool> master{false};  // the guest lets it access memory

  bool strips_vlans() const { return ctrl & ctrl::VME; }
  bool may_access_memory() const { return master.load(std::memory_order_acquire) && !(ctrl & ctrl::GIO_MASTER_DISABLE); }
};

}  // namespace skerry::devices::e1000e
