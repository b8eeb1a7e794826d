// What turns a rectangle of pixels into bytes for a viewer. One viewer's, as compressed streams go on from rectangle to
// rectangle.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "display/rfb/pixel_format.hpp"
#include "display/rfb/wire.hpp"

namespace skerry::display::rfb {

struct Picture {
  std::span<const uint32_t> pixels;  // 0x00RRGGBB, width * height of them
  uint32_t width, height;
};

class Encoder {
 public:
  // The largest picture given to encode().
  static constexpr uint32_t kMaxSide = 256;

  virtual ~Encoder() = default;
  virtual int32_t number() const = 0;
  // Appends what follows a rectangle's header. False: there is no memory, and the encoder cannot be used any more.
  virtual bool encode(const Picture& picture, const PixelWriter& writer, Bytes& to) = 0;
};

std::unique_ptr<Encoder> raw_encoder();
std::unique_ptr<Encoder> zrle_encoder();

// What the viewer asked for with pseudo-encodings: 0 to 9. A quality allows losses (JPEG); -1: none.
struct TightLevels {
  int quality = -1;
  int compression = 2;
};
class TightEncoder : public Encoder {
 public:
  // The compression of a stream that has begun stays.
  virtual void set_levels(TightLevels levels) = 0;
};
std::unique_ptr<TightEncoder> tight_encoder();

}  // namespace skerry::display::rfb
