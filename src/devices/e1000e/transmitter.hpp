// The sending half of the card (82574 datasheet, 7.2): frames out of guest memory, by legacy and extended descriptors, to the
// backend. A frame is read when its last descriptor is there, and its descriptors are the card's until the backend has taken it.
//
// Registers and state belong to the card's lock; serve() is called on the loop's thread without it, because a backend may call
// the card while it sends.
#pragma once

#include <array>
#include <vector>

#include "devices/e1000e/card.hpp"
#include "devices/e1000e/ring.hpp"
#include "devices/e1000e/transmit_offload.hpp"

namespace skerry::devices::e1000e {

class Transmitter {
 public:
  explicit Transmitter(Card& card);

  // With the lock held.
  bool read(uint32_t offset, uint32_t& value) const;
  bool write(uint32_t offset, uint32_t value);
  bool enabled() const { return control_ & tctl::EN; }

  // Sends at most `most` frames of each queue, fewer if they are cut into many segments; raises the interrupts that are due.
  // True: there is more.
  bool serve(unsigned most);
  // The backend has room again.
  void backend_has_room() { backend_full_ = false; }

  void reset();
  void describe(state::Fields& fields);

 private:
  struct Queue {
    Ring ring;
    OffloadContext context;
    bool discarding = false;      // up to the end of a frame that was too long
    uint32_t segments_sent = 0;   // of the frame at the head, before the backend was full
  };
  // A descriptor's four words (7.2.10 and 7.2.11).
  struct Descriptor {
    uint64_t address = 0;
    uint32_t command = 0, options = 0;
  };
  // What is found from the head of a ring on.
  struct Found {
    enum class Kind : uint8_t { kNothing, kContext, kFrame, kDiscard } kind = Kind::kNothing;
    unsigned descriptors = 0;
    bool ended = true;  // of kDiscard: the frame's last one is among them
    OffloadContext context;
    OffloadRequest request;
    bool tagged = false;
    uint16_t tag = 0;
    size_t size = 0;
  };
  // What serve() has read under the lock.
  struct View {
    Queue queue;
    uint32_t ctrl = 0;
    uint16_t vlan_type = 0;
    bool pads = false;
  };
  enum class Sent : uint8_t { kYes, kNothing, kFull };

  Sent send_next(unsigned index, uint32_t& due);
  bool look(unsigned index, View& view);
  Found find(const Queue& queue);
  static OffloadContext context_of(const Descriptor& descriptor);
  void begin_frame(const Descriptor& descriptor, Found& found) const;
  bool gather(const Descriptor& descriptor, Found& found);
  bool transmit(const View& view, Found& found, uint32_t& segments_sent);
  bool transmit_segments(std::span<uint8_t> frame, const net::FrameHeader& header, uint32_t& segments_sent);
  void note_write_back(memory::Gpa at, const Descriptor& descriptor);
  void finish(unsigned index, const View& view, const Found& found, uint32_t& due);
  void count_sent(std::span<const uint8_t> frame, const net::FrameHeader& header);

  Card& card_;
  uint32_t control_ = 0;  // TCTL
  std::array<Queue, kQueues> queues_;

  // The loop's.
  bool backend_full_ = false;
  const net::Offloads offloads_;  // the backend's
  std::vector<uint8_t> frame_;
  std::vector<uint8_t> segment_;
  struct WriteBack {
    memory::Gpa at;
    uint32_t value;
    bool asked;
  };
  std::vector<WriteBack> write_backs_;
  struct {
    uint64_t frames = 0, octets = 0;
    std::array<uint8_t, 6> start{};
    bool failed_segmentation = false, segmented = false;
  } counted_;
};

}  // namespace skerry::devices::e1000e
