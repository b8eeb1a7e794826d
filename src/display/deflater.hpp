// A zlib stream (RFC 1950) that is written to.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <span>
#include <vector>

namespace skerry::display {

// Takes about 256 KiB from the first write on.
class Deflater {
 public:
  explicit Deflater(int level) : level_(level) {}  // 0 to 9
  ~Deflater();
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  // Appends to `to` what `data` becomes: with Z_SYNC_FLUSH all of it, with Z_NO_FLUSH perhaps some of it later, with
  // Z_FINISH the end of the stream too. False: there is no memory; the stream cannot be used any more.
  bool write(std::span<const uint8_t> data, std::vector<uint8_t>& to, int flush);

 private:
  z_stream stream_{};
  int level_;
  bool begun_ = false;
};

}  // namespace skerry::display
