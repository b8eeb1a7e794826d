// The numbers of RFB: RFC 6143, and for what is not in it the community's rfbproto (github.com/rfbproto/rfbproto), whose
// chapters are meant by "rfbproto".
#pragma once

#include <cstdint>

namespace skerry::display::rfb {

// RFC 6143, 7.1.2; rfbproto, "Security Types"
enum class SecurityType : uint8_t { kInvalid = 0, kNone = 1, kVncAuthentication = 2, kVeNCrypt = 19 };

// rfbproto, "VeNCrypt"
enum class VencryptSubtype : uint32_t {
  kTlsNone = 257,
  kTlsVnc = 258,
  kX509None = 260,
  kX509Vnc = 261,
  kX509Plain = 262,
};

// RFC 6143, 7.5; rfbproto, "Client to Server Messages"
enum class ClientMessage : uint8_t {
  kSetPixelFormat = 0,
  kSetEncodings = 2,
  kFramebufferUpdateRequest = 3,
  kKeyEvent = 4,
  kPointerEvent = 5,
  kClientCutText = 6,
  kSetDesktopSize = 251,
  kQemu = 255,
};
constexpr uint8_t kQemuExtendedKeyEvent = 0, kQemuAudio = 1;  // submessages of kQemu

constexpr uint8_t kFramebufferUpdate = 0;    // RFC 6143, 7.6.1
constexpr uint8_t kQemuServerMessage = 255;  // rfbproto, "QEMU Server Message"

// Operations of rfbproto, "QEMU Audio Client Message" and "QEMU Audio Server Message".
namespace audio_client {
constexpr uint16_t kEnable = 0, kDisable = 1, kSetFormat = 2;
}  // namespace audio_client
namespace audio_server {
constexpr uint16_t kEnd = 0, kBegin = 1, kData = 2;
}  // namespace audio_server

// RFC 6143, 7.7 and 7.8; rfbproto, "Encodings" and "Pseudo-encodings"
namespace encoding {
constexpr int32_t kRaw = 0, kCopyRect = 1, kTight = 7, kZrle = 16;
constexpr int32_t kQualityLevel0 = -32, kQualityLevel9 = -23;
constexpr int32_t kCompressionLevel0 = -256, kCompressionLevel9 = -247;
constexpr int32_t kDesktopSize = -223, kLastRect = -224, kCursor = -239;
constexpr int32_t kQemuPointerMotionChange = -257, kQemuExtendedKeyEvent = -258, kQemuAudio = -259, kQemuLedState = -261;
constexpr int32_t kDesktopName = -307, kExtendedDesktopSize = -308;
}  // namespace encoding

// The reason and the result in an ExtendedDesktopSize rectangle; rfbproto, "ExtendedDesktopSize Pseudo-encoding".
constexpr uint16_t kResizedByServer = 0, kResizedByThisClient = 1;
constexpr uint16_t kResized = 0, kResizeProhibited = 1, kResizeForwarded = 4;

}  // namespace skerry::display::rfb
