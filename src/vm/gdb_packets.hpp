// Framing of gdb's remote serial protocol ("Overview" in gdb's manual, appendix "GDB Remote Serial Protocol").
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace skerry::vm {

// Cuts the debugger's bytes into packets, whatever they are. Memory is bounded by kMaxPacket.
class GdbPacketReader {
 public:
  static constexpr size_t kMaxPacket = 16384;  // told to gdb as PacketSize

  enum class Kind : uint8_t {
    kPacket,     // `payload`, still with binary escapes
    kInterrupt,  // Ctrl-C
    kCorrupt,    // a wrong checksum: to be answered with '-'
    kTooLong,
    kNak,        // '-': the last answer is to be sent again
  };
  struct Item {
    Kind kind;
    std::string payload;
  };
  // Takes bytes from the front of `bytes`, up to the end of the first item; nothing when it takes all of them.
  std::optional<Item> next(std::string_view& bytes);

 private:
  enum class State : uint8_t { kIdle, kPayload, kChecksumHigh, kChecksumLow };
  std::optional<Item> take(char byte);
  std::optional<Item> finish(char low_digit);

  State state_ = State::kIdle;
  std::string payload_;
  uint8_t sum_ = 0;
  char high_digit_ = 0;
  bool too_long_ = false;
};

// "$payload#xx". The payload is escaped where the protocol needs it.
std::string gdb_frame(std::string_view payload);

std::string gdb_unescape(std::string_view binary);  // undoes "}x"

std::string to_hex(std::span<const uint8_t> bytes);
std::string to_hex(std::string_view text);
// Nothing when `text` is not an even number of hexadecimal digits.
std::optional<std::string> from_hex(std::string_view text);

// Takes a hexadecimal number from the front; nothing when there is none or it needs more than 64 bits.
std::optional<uint64_t> take_hex(std::string_view& text);
// Takes `prefix` from the front of `text` if it is there.
bool take(std::string_view& text, std::string_view prefix);

}  // namespace skerry::vm
