// A byte stream between a device of the guest (a serial port) and something on the host (a terminal, a file, a socket).
//
// Opening may fail, with a message for a person, and needs the file system; starting only needs the descriptors that
// are open by then, so that the process can lock itself up in its sandbox between the two.
//
// Threads: write() and receive_ready() may be called from any thread, with the device's lock held: they take only the
// stream's own leaf lock, never call back, and never block. Everything else belongs to the event loop's thread. The
// frontend's functions are called on that thread with no lock held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/event_loop.hpp"
#include "base/result.hpp"

namespace skerry::chardev {

// The device's side. Functions left empty: a device that takes no input, and one that never waits for room.
struct Frontend {
  std::function<size_t()> can_receive;                    // how many bytes the device takes now
  std::function<void(std::span<const uint8_t>)> receive;  // at most as many as can_receive() just said
  std::function<void()> writable;                         // write() took less than it was given; there is room again
  std::function<void()> receive_break;                    // the person asked for a line break (Ctrl-A b)
  // Whether somebody is at the other end: told once after both connect() and start(), and when it changes.
  std::function<void(bool)> connected;
};

class Chardev {
 public:
  virtual ~Chardev() = default;

  // Connects the device; an empty Frontend takes it off again, and must be given before the device is destroyed.
  virtual void connect(Frontend frontend) = 0;
  // Begins to move bytes. Output written before waits in the buffer.
  virtual Result<void> start(EventLoop& loop) = 0;

  // Takes what there is room for and says how much that was. When it is less than all of `bytes`, the rest is the
  // caller's to keep, and Frontend::writable tells when to try again.
  virtual size_t write(std::span<const uint8_t> bytes) = 0;
  // The device, having said 0 to can_receive(), takes bytes again.
  virtual void receive_ready() = 0;

  // At the end of a VM: writes out what is buffered, for as long as the other side keeps reading, but not for longer
  // than `limit_ms`. On the loop's thread, or after its end.
  virtual void flush(int limit_ms) = 0;
};

enum class Kind : uint8_t { kNone, kStdio, kPty, kFile, kUnix };

// What the option says: "stdio", "pty", "file:PATH", "unix:PATH", "none".
struct Spec {
  Kind kind = Kind::kNone;
  std::string path;  // of kFile and kUnix
};
Result<Spec> parse_chardev(std::string_view text);

struct OpenOptions {
  std::function<void()> quit;  // stdio: Ctrl-A x was typed. On the loop's thread
};
// Opening stdio makes the process ignore SIGPIPE: the end of the reader of its output must not be the end of the VM.
// A program that may be started without standard input or output opens /dev/null in their place before anything else,
// as otherwise the next file it opens would be taken for them.
Result<std::unique_ptr<Chardev>> open_chardev(const Spec& spec, OpenOptions options = {});

}  // namespace skerry::chardev
