// What a controller knows of a device: how a command begins, how its data moves, how it ends.
//
// A controller calls begin() with the registers; for a packet command it fetches the packet and calls begin_packet(). If
// the command has data it calls move() until all of it has moved, in one piece or in several; then finish(). Whenever
// `task` has failed() the command is over. At the end `task` is what the host finds in the registers.
//
// All members are called in turns of the loop of the device's node; describe(), reset() at rest too. Of commands that are
// queued several are under way at a time.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/task.hpp"
#include "devices/ata/task_file.hpp"
#include "state/fields.hpp"

namespace skerry::devices::ata {

constexpr unsigned kPacketSize = 12;
using Packet = std::array<uint8_t, kPacketSize>;

// What of a command a device still has to do, and how its data goes.
struct Command {
  enum class Work : uint8_t {
    kNone,    // all is done: the answer may be told
    kRead,    // the medium's bytes [offset, offset + size)
    kWrite,   // likewise
    kGive,    // `data` is for the host
    kTake,    // `data` comes from the host, for finish()
    kPacket,  // a packet is to come, of kPacketSize bytes
    kFlush,   // of finish()
  };
  static constexpr uint32_t kMostData = 64 * 1024;  // in `data`

  Work work = Work::kNone;
  uint8_t code = 0;  // the command register
  bool dma = false;
  bool queued = false;       // NCQ: `tag` is its number
  bool durable = false;      // of kWrite: forced unit access
  bool packet = false;       // it came as a packet
  uint8_t tag = 0;
  uint32_t size = 0;         // of the data, in bytes
  uint32_t block = 0;        // so much of it a host without DMA gets at a time: DRQ data block
  uint64_t offset = 0;       // in bytes
  std::vector<uint8_t> data;

  bool to_host() const { return work == Work::kRead || work == Work::kGive; }
  bool from_host() const { return work == Work::kWrite || work == Work::kTake; }
  void describe(state::Fields& fields);
};

class Device {
 public:
  virtual ~Device() = default;

  virtual bool is_packet_device() const = 0;
  // Registers after a reset, which tell what kind of device it is (ACS-3, 7.9.4).
  virtual TaskFile signature() const = 0;
  // `task` is the host's, and is answered where the command is done or has failed. Data that comes in or goes out of the
  // medium lies inside of it, when this has not failed.
  virtual Command begin(TaskFile& task) = 0;
  virtual Command begin_packet(const Packet& packet, TaskFile& task);
  // Bytes [done, done + length of `host`) of the command's data, which lie inside of it, to or from `host`.
  virtual Task<void> move(Command& command, uint64_t done, std::span<const iovec> host, TaskFile& task) = 0;
  virtual Task<void> finish(Command& command, TaskFile& task) = 0;

  enum class Reset : uint8_t { kPowerOn, kHardware, kSoftware };
  virtual void reset(Reset kind) = 0;
  // Of the device's own state. What was loaded is safe whatever it is.
  virtual void describe(state::Fields& fields) = 0;

 protected:
  // Of what is in `command.data`.
  static void move_data(Command& command, uint64_t done, std::span<const iovec> host);
};

}  // namespace skerry::devices::ata
