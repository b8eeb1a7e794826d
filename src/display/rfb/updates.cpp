#include "display/rfb/updates.hpp"

#include <algorithm>
#include <utility>

#include "display/rfb/protocol.hpp"

namespace skerry::display::rfb {

namespace {

constexpr size_t kFewRects = 16;    // of an update that is to be short
constexpr uint8_t kVisible = 0x80;  // a cursor's pixel is seen or not: at least half of it

void put_rect(Bytes& out, const Rect& rect, int32_t number) {
  put_u16(out, rect.x);
  put_u16(out, rect.y);
  put_u16(out, rect.width);
  put_u16(out, rect.height);
  put_u32(out, static_cast<uint32_t>(number));
}

void put_header(Bytes& out, uint32_t rects) {
  put_u8(out, kFramebufferUpdate);
  put_u8(out, 0);
  put_u16(out, rects);
}

// In parts that an encoder takes: whole tiles, as the rectangle has them.
void split(const Rect& rect, std::vector<Rect>& parts) {
  for (uint32_t y = rect.y; y < rect.bottom(); y += Encoder::kMaxSide)
    for (uint32_t x = rect.x; x < rect.right(); x += Encoder::kMaxSide)
      parts.push_back(intersection({x, y, Encoder::kMaxSide, Encoder::kMaxSide}, rect));
}

// The colour without its multiplication by alpha.
uint32_t opaque_colour(uint32_t argb) {
  const uint32_t alpha = argb >> 24;
  uint32_t colour = 0;
  for (unsigned shift = 0; shift < 24; shift += 8)
    colour |= std::min<uint32_t>((argb >> shift & 0xff) * 255 / alpha, 255) << shift;
  return colour;
}

bool within(int32_t number, int32_t first, int32_t last) { return number >= first && number <= last; }

}  // namespace

// The viewer's order is its preference (RFC 6143, 7.5.2).
Updates::Choice Updates::choose(const std::vector<int32_t>& encodings) {
  Choice choice;
  bool chosen = false;
  for (const int32_t number : encodings) {
    const bool picture = number == encoding::kRaw || number == encoding::kTight || number == encoding::kZrle;
    if (picture && !std::exchange(chosen, true)) choice.encoding = number;
    choice.offers.copy |= number == encoding::kCopyRect;
    choice.offers.cursor |= number == encoding::kCursor;
    choice.offers.size |= number == encoding::kDesktopSize;
    choice.offers.extended_size |= number == encoding::kExtendedDesktopSize;
    choice.offers.pointer |= number == encoding::kQemuPointerMotionChange;
    choice.offers.keys |= number == encoding::kQemuExtendedKeyEvent;
    choice.offers.leds |= number == encoding::kQemuLedState;
    choice.offers.sound |= number == encoding::kQemuAudio;
    choice.offers.name |= number == encoding::kDesktopName;
    if (within(number, encoding::kQualityLevel0, encoding::kQualityLevel9))
      choice.levels.quality = number - encoding::kQualityLevel0;
    if (within(number, encoding::kCompressionLevel0, encoding::kCompressionLevel9))
      choice.levels.compression = number - encoding::kCompressionLevel0;
  }
  return choice;
}

void Updates::set_encodings(const std::vector<int32_t>& encodings) { next_choice_ = choose(encodings); }

void Updates::choose_encoder(int32_t number) {
  encoder_ = raw_.get();
  if (number == encoding::kZrle) {
    if (!zrle_) zrle_ = zrle_encoder();
    encoder_ = zrle_.get();
  }
  if (number == encoding::kTight) {
    if (!tight_) tight_ = tight_encoder();
    encoder_ = tight_.get();
  }
}

void Updates::apply_choices() {
  if (next_format_) writer_ = PixelWriter(*std::exchange(next_format_, {}));
  if (!next_choice_) return;
  const Choice choice = *std::exchange(next_choice_, {});
  choose_encoder(choice.encoding);
  if (tight_) tight_->set_levels(choice.levels);
  const Offers before = std::exchange(offers_, choice.offers);
  keys_ |= offers_.keys && !before.keys;
  sound_ |= facts_.sound && offers_.sound && !before.sound;
  pointer_ = offers_.pointer;
  leds_ = offers_.leds && facts_.leds.known;
  if (!offers_.pointer) told_movements_ = false;
  if (!before.extended_size) size_announced_ = false;
  view_.can(offers_.copy, offers_.cursor);
}

void Updates::request(bool incremental, const Rect& wanted) {
  if (!incremental) view_.forget(wanted);
  wanted_ = requested_ ? bounding(wanted_, wanted) : wanted;
  requested_ = true;
}

Updates::Step Updates::step(Bytes& out) {
  if (in_update()) return next_rect(out);
  if (!requested_) return Step::kNothing;
  return begin(out);
}

Updates::Step Updates::begin(Bytes& out) {
  apply_choices();
  leaves_rest_ = false;
  if (put_size(view_.screen_size(), out)) {
    requested_ = false;
    return Step::kSent;
  }
  const ScreenView::News news = view_.take(wanted_);
  rects_.clear();
  next_ = 0;
  for (const Rect& rect : news.rects) split(rect, rects_);
  // What is not read is there again when the view is asked for news the next time.
  leaves_rest_ = short_ && rects_.size() > kFewRects;
  if (leaves_rest_) rects_.resize(kFewRects);
  Bytes facts;
  const uint32_t others = put_facts(facts, news) + static_cast<uint32_t>(news.copies.size());
  if (others == 0 && rects_.empty()) return Step::kNothing;
  requested_ = false;
  put_header(out, others + static_cast<uint32_t>(rects_.size()));
  put_bytes(out, facts);
  for (const ScreenView::Copy& copy : news.copies) {
    put_rect(out, copy.to, encoding::kCopyRect);
    put_u16(out, copy.from_x);
    put_u16(out, copy.from_y);
  }
  return Step::kSent;
}

// A new size comes in an update of its own (RFC 6143, 7.8.2: nothing may follow it there). One that a viewer cannot be told
// is not: it sees what fits, and black where there is nothing.
bool Updates::put_size(Screen::Size size, Bytes& out) {
  const bool resized = size != viewer_size() && (offers_.size || offers_.extended_size);
  const bool announce = offers_.extended_size && !size_announced_;
  const std::optional<bool> asked = std::exchange(size_answer_, std::nullopt);
  const bool answer = asked && offers_.extended_size && !resized;
  if (!resized && !announce && !answer) return false;
  view_.set_size(size);
  put_header(out, 1);
  if (!offers_.extended_size) {
    put_rect(out, size.rect(), encoding::kDesktopSize);
    return true;
  }
  size_announced_ = true;
  const uint32_t reason = answer ? kResizedByThisClient : kResizedByServer;
  const uint32_t result = !answer ? kResized : *asked ? kResizeForwarded : kResizeProhibited;
  put_rect(out, {reason, result, size.width, size.height}, encoding::kExtendedDesktopSize);
  put_u32(out, 1u << 24);  // one screen, and padding
  put_u32(out, 0);         // its number, place, size and flags
  put_u32(out, 0);
  put_u16(out, size.width);
  put_u16(out, size.height);
  put_u32(out, 0);
  return true;
}

// Appends rectangles with what is not a picture of the screen, and returns how many.
uint32_t Updates::put_facts(Bytes& out, const ScreenView::News& news) {
  uint32_t count = 0;
  const Rect size = viewer_size().rect();
  if (news.cursor_changed && offers_.cursor) {
    put_cursor(out, news.cursor.get());
    ++count;
  }
  if (std::exchange(keys_, false)) {
    put_rect(out, size, encoding::kQemuExtendedKeyEvent);
    ++count;
  }
  if (std::exchange(sound_, false)) {
    put_rect(out, {}, encoding::kQemuAudio);
    ++count;
  }
  if (std::exchange(pointer_, false)) {
    told_movements_ = !facts_.absolute;
    put_rect(out, {facts_.absolute ? 1u : 0u, 0, size.width, size.height}, encoding::kQemuPointerMotionChange);
    ++count;
  }
  if (std::exchange(leds_, false)) {
    const Leds& shown = facts_.leds.shown;
    put_rect(out, {0, 0, 1, 1}, encoding::kQemuLedState);
    put_u8(out, (shown.scroll ? 1u : 0u) | (shown.num ? 2u : 0u) | (shown.caps ? 4u : 0u));
    ++count;
  }
  if (std::exchange(name_, false)) {
    put_rect(out, {}, encoding::kDesktopName);
    put_u32(out, static_cast<uint32_t>(facts_.name.size()));
    out.insert(out.end(), facts_.name.begin(), facts_.name.end());
    ++count;
  }
  return count;
}

// RFC 6143, 7.8.1: pixels, and a mask with a bit for each.
void Updates::put_cursor(Bytes& out, const Cursor* cursor) {
  if (!cursor) return put_rect(out, {}, encoding::kCursor);
  put_rect(out, {cursor->hot_x, cursor->hot_y, cursor->width, cursor->height}, encoding::kCursor);
  for (const uint32_t argb : cursor->argb)
    writer_.pixel(out, argb >> 24 >= kVisible ? opaque_colour(argb) : 0);
  for (uint32_t y = 0; y < cursor->height; ++y) {
    for (uint32_t x = 0; x < cursor->width; x += 8) {
      unsigned byte = 0;
      for (uint32_t bit = x; bit < std::min(x + 8, cursor->width); ++bit)
        byte |= (cursor->argb[size_t{y} * cursor->width + bit] >> 24 >= kVisible ? 1u : 0u) << (7 - bit % 8);
      put_u8(out, byte);
    }
  }
}

Updates::Step Updates::next_rect(Bytes& out) {
  const Rect rect = rects_[next_++];
  pixels_.resize(size_t{Encoder::kMaxSide} * Encoder::kMaxSide);
  const std::span pixels = std::span(pixels_).first(rect.area());
  view_.read(rect, pixels);
  put_rect(out, rect, encoder_->number());
  return encoder_->encode({pixels, rect.width, rect.height}, writer_, out) ? Step::kSent : Step::kFailed;
}

}  // namespace skerry::display::rfb
