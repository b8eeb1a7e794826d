// RFC 6143, 7.7.1
#include "display/rfb/encoder.hpp"
#include "display/rfb/protocol.hpp"

namespace skerry::display::rfb {

namespace {

class Raw final : public Encoder {
 public:
  int32_t number() const override { return encoding::kRaw; }
  bool encode(const Picture& picture, const PixelWriter& writer, Bytes& to) override {
    writer.pixels(to, picture.pixels);
    return true;
  }
};

}  // namespace

std::unique_ptr<Encoder> raw_encoder() { return std::make_unique<Raw>(); }

}  // namespace skerry::display::rfb
