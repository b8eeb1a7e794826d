#include "display/rfb/audio.hpp"

#include "display/rfb/protocol.hpp"

namespace skerry::display::rfb {

namespace {

constexpr uint32_t kMsAtOnce = 20;  // of a sound
constexpr size_t kHeader = 8;       // bytes of a message with data
constexpr size_t kMostSampleSize = 4;

// With what a resampler may have more than the time says: a frame of the slowest rate.
static_assert((size_t{sound::Format::kMostRate} * kMsAtOnce / 1000 +
               sound::Format::kMostRate / sound::Format::kLeastRate + 1) *
                      sound::Format::kMostChannels * kMostSampleSize +
                  3 * kHeader <=
              Audio::kMostAtOnce);

void put_operation(Bytes& out, uint16_t operation) {
  put_u8(out, kQemuServerMessage);
  put_u8(out, kQemuAudio);
  put_u16(out, operation);
}

size_t size_of(SampleFormat format) { return size_t{1} << static_cast<unsigned>(format) / 2; }
bool is_signed(SampleFormat format) { return static_cast<unsigned>(format) % 2 != 0; }

}  // namespace

void put_samples(Bytes& out, std::span<const int16_t> samples, SampleFormat format) {
  const size_t size = size_of(format);
  const uint32_t zero = is_signed(format) ? 0 : 0x8000'0000;
  size_t at = out.size();
  out.resize(at + samples.size() * size);
  for (const int16_t sample : samples) {
    const uint32_t value = (static_cast<uint32_t>(sample) << 16 ^ zero) >> (32 - 8 * size);
    for (size_t n = 0; n < size; ++n) out[at++] = static_cast<uint8_t>(value >> 8 * n);
  }
}

// --- what the viewer says --------------------------------------------------------------------------------------------

Result<size_t> Audio::message_size(std::span<const uint8_t> in) {
  if (in.size() < 4) return size_t{4};
  switch (get_u16(in, 2)) {
    case audio_client::kEnable:
    case audio_client::kDisable:
      return size_t{4};
    case audio_client::kSetFormat:
      return size_t{10};
    default:
      return error("it sent operation {} of QEMU's message about sound, which is none", get_u16(in, 2));
  }
}

Result<void> Audio::message(std::span<const uint8_t> message) {
  if (!outlet_) return error("it sent QEMU's message about sound, which was not offered");
  const uint16_t operation = get_u16(message, 2);
  if (operation == audio_client::kSetFormat) return set_format(message);
  operation == audio_client::kEnable ? enable() : disable();
  return ok();
}

Result<void> Audio::set_format(std::span<const uint8_t> message) {
  const uint8_t samples = message[4], channels = message[5];
  const uint32_t rate = get_u32(message, 6);
  if (samples > static_cast<uint8_t>(SampleFormat::kS32) || channels == 0 || channels > sound::Format::kMostChannels ||
      rate < sound::Format::kLeastRate || rate > sound::Format::kMostRate)
    return error("it wants sound in format {}, {} channels, {} Hz; there are 0 to 5, 1 or 2, {} to {}", samples,
                 channels, rate, sound::Format::kLeastRate, sound::Format::kMostRate);
  sample_format_ = static_cast<SampleFormat>(samples);
  format_ = {rate, channels};
  resampler_.reset();
  return ok();
}

void Audio::enable() {
  if (queue_) return;
  if (told_) told_ = kOfAnotherQueue;
  queue_ = std::make_unique<sound::Queue>(wake_);
  outlet_->add(*queue_);
}

void Audio::disable() {
  if (!queue_) return;
  outlet_->remove(*queue_);
  queue_.reset();
}

// --- what it is told -------------------------------------------------------------------------------------------------

void Audio::begin(const sound::Queue::Piece& piece, Bytes& out) {
  if (told_) end(out);
  put_operation(out, audio_server::kBegin);
  told_ = piece.sound;
}

void Audio::end(Bytes& out) {
  put_operation(out, audio_server::kEnd);
  told_.reset();
  resampler_.reset();
}

bool Audio::put(Bytes& out) {
  if (!queue_) {
    if (!told_) return false;
    end(out);
    return true;
  }
  const auto piece = queue_->take(kMsAtOnce);
  if (!piece) return false;
  if (told_ != piece->sound) begin(*piece, out);
  if (!resampler_) resampler_.emplace(piece->format, format_);
  samples_.clear();
  resampler_->convert(piece->samples, samples_);
  if (!samples_.empty()) {
    put_operation(out, audio_server::kData);
    put_u32(out, static_cast<uint32_t>(samples_.size() * size_of(sample_format_)));
    put_samples(out, samples_, sample_format_);
  }
  if (piece->ends) end(out);
  return true;
}

}  // namespace skerry::display::rfb
