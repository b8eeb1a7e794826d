// An interrupter: an event ring, and the interrupts that tell of it (4.9.4 and 4.17).
//
// Registers are accessed with the controller's lock held. Events are put in turns of the loop, without it. What the ring has
// no room for waits here; the controller begins nothing new meanwhile, so that few events ever do.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "base/event_loop.hpp"
#include "devices/usb/xhci_ring.hpp"
#include "state/fields.hpp"

namespace skerry::devices::usb::xhci {

class EventRing {
 public:
  // What the controller is to its interrupters.
  struct Controller {
    EventLoop& loop;
    memory::GuestMemory& memory;
    std::mutex& lock;
    std::function<void(unsigned number)> interrupt;  // pending() has become true; with the lock held
    std::function<void()> line;                      // pending() may have changed; with the lock held
    std::function<void(const char* why)> broken;     // the ring is none; in a turn of the loop, without the lock
  };
  EventRing(unsigned number, const Controller& controller);

  // With the lock held.
  uint32_t read(uint32_t offset) const;
  // True: there may be room for events that wait.
  bool write(uint32_t offset, uint32_t value);
  bool pending() const { return pending_ && enabled_; }  // IP and IE
  void taken() { pending_ = false; }                     // by a message
  void reset();
  void restored();  // after describe() has loaded a state

  // In a turn of the loop.
  void put(const Trb& event, bool quietly = false);
  void flush();
  bool backed_up() const { return !waiting_.empty(); }

  void describe(state::Fields& fields);

 private:
  struct Segment {
    memory::Gpa base;
    uint32_t size;  // TRBs
  };
  struct Waiting {
    Trb event;
    bool quietly;
  };
  struct Position {
    uint32_t segment = 0, index = 0;
    bool cycle = true;
  };
  static constexpr size_t kMostWaiting = 2 << 20;  // bytes of a file

  bool has_table();
  Position after(Position position) const;
  memory::Gpa address(Position position) const { return segments_[position.segment].base + uint64_t{position.index} * kTrbSize; }
  bool store(Trb event);
  void raise();  // with the lock held
  void fire();
  void moderated();
  void describe_waiting(state::Fields& fields);

  const unsigned number_;
  const Controller controller_;
  Timer timer_;

  // With the lock held.
  bool pending_ = false, enabled_ = false, busy_ = false;  // IP, IE, Event Handler Busy
  uint32_t moderation_ = kDefaultModeration, segment_count_ = 0;
  uint64_t table_ = 0, dequeue_ = 0;  // ERSTBA, ERDP
  int64_t next_at_ = 0;               // of the VM's clock: no interrupt before
  bool held_back_ = false;            // until then
  bool begins_ = false;               // ERSTBA was written: the ring begins anew
  bool full_ = false;                 // something waits for ERDP to move
  memory::Gpa enqueue_ = 0;           // where the next event goes

  // The loop's.
  std::vector<Segment> segments_;  // as the table says; derived
  Position position_;
  std::deque<Waiting> waiting_;
};

}  // namespace skerry::devices::usb::xhci
