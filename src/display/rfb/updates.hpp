// What one viewer is sent: the updates it asks for (RFC 6143, 7.6.1), composed rectangle by rectangle, so that neither a
// large screen nor a slow viewer makes the output grow.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "display/rfb/encoder.hpp"
#include "display/rfb/keyboard.hpp"
#include "display/rfb/pixel_format.hpp"
#include "display/screen.hpp"

namespace skerry::display::rfb {

// What viewers are told besides pictures. The server's, for all of them.
struct GuestFacts {
  std::string name;
  GuestLeds leds;
  bool absolute = true;  // the guest's pointing device wants positions
  bool sound = false;    // there is some to be heard
};

class Updates {
 public:
  Updates(Screen& screen, const GuestFacts& facts) : view_(screen), facts_(facts) {}

  // The format and encodings hold from the next update on.
  void set_format(const PixelFormat& format) { next_format_ = format; }
  void set_encodings(const std::vector<int32_t>& encodings);
  // Asked for again before it was answered: both become one.
  void request(bool incremental, const Rect& wanted);
  // The viewer asks for another size: it will be told whether the guest has been asked, or that it may not.
  void ask_for_size(Screen::Size size) { size_answer_ = view_.ask_for_size(size); }

  void name_changed() { name_ = offers_.name; }
  void leds_changed() { leds_ = offers_.leds; }
  void pointer_changed() { pointer_ = offers_.pointer; }
  // Updates that begin from now on have a few rectangles only, and the rest is left for those that follow: a sound is waiting.
  void keep_short(bool is_short) { short_ = is_short; }

  int32_t encoding() const { return encoder_->number(); }
  bool wants_pixels() const { return requested_; }
  // Whether the update that began last was kept short, so that the next one is due at once.
  bool leaves_rest() const { return leaves_rest_; }
  bool in_update() const { return next_ < rects_.size(); }
  // Whether the viewer has been told that movements of the pointer are wanted.
  bool sends_movements() const { return told_movements_; }
  // What the viewer takes for the size of the screen.
  Screen::Size viewer_size() const { return view_.viewer_size(); }

  enum class Step : uint8_t { kSent, kNothing, kFailed };
  // Appends the next rectangle of an update, or begins one if the viewer wants it and there is something new. At most
  // about 600 KiB at a time. kFailed: there is no memory.
  Step step(Bytes& out);

 private:
  // The pseudo-encodings that the viewer has listed.
  struct Offers {
    bool copy = false, cursor = false, size = false, extended_size = false, pointer = false, keys = false;
    bool leds = false, name = false, sound = false;
  };
  struct Choice {
    Offers offers;
    int32_t encoding = 0;
    TightLevels levels;
  };
  static Choice choose(const std::vector<int32_t>& encodings);
  void apply_choices();
  void choose_encoder(int32_t number);

  Step begin(Bytes& out);
  bool put_size(Screen::Size size, Bytes& out);
  uint32_t put_facts(Bytes& out, const ScreenView::News& news);
  void put_cursor(Bytes& out, const Cursor* cursor);
  Step next_rect(Bytes& out);

  ScreenView view_;
  const GuestFacts& facts_;
  std::optional<PixelFormat> next_format_;
  PixelWriter writer_{PixelFormat()};
  std::optional<Choice> next_choice_;
  Offers offers_;
  std::unique_ptr<Encoder> raw_ = raw_encoder(), zrle_;
  std::unique_ptr<TightEncoder> tight_;
  Encoder* encoder_ = raw_.get();

  bool requested_ = false;
  Rect wanted_;
  // To be told with the next update.
  bool keys_ = false, pointer_ = false, leds_ = false, name_ = false, sound_ = false;
  bool size_announced_ = false;
  std::optional<bool> size_answer_;  // to what the viewer asked for: whether the guest has been asked
  bool told_movements_ = false;
  bool short_ = false, leaves_rest_ = false;

  std::vector<Rect> rects_;  // of the update under way
  size_t next_ = 0;
  std::vector<uint32_t> pixels_;
};

}  // namespace skerry::display::rfb
