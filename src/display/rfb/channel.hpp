// A non-blocking stream of bytes to a viewer: its socket, or TLS on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace skerry::display::rfb {

class Channel {
 public:
  // Instead of a number of bytes.
  static constexpr ptrdiff_t kNotNow = -1;
  static constexpr ptrdiff_t kGone = -2;  // the viewer has ended the connection, or broken it

  virtual ~Channel() = default;
  // How many bytes were moved (never 0), or one of the above. After kNotNow write() is given the same bytes again, perhaps
  // with more behind them.
  virtual ptrdiff_t read(std::span<uint8_t> to) = 0;
  virtual ptrdiff_t write(std::span<const uint8_t> from) = 0;
  // Whether read() has something although the socket has not.
  virtual bool has_more() const { return false; }
};

// The socket itself, which stays the caller's and outlives it.
std::unique_ptr<Channel> plain_channel(int socket);

}  // namespace skerry::display::rfb
