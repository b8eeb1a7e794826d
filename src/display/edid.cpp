#include "display/edid.hpp"

#include <algorithm>
#include <numeric>
#include <span>
#include <string_view>

namespace skerry::display {

namespace {

using Edid = std::array<uint8_t, kEdidSize>;

// Where things are: 3.1.
constexpr size_t kVendor = 8, kProduct = 10, kYear = 17, kVersion = 18, kRevision = 19, kInput = 20, kWidth = 21, kHeight = 22;
constexpr size_t kGamma = 23, kFeatures = 24, kColours = 25, kEstablished = 35, kStandard = 38, kDescriptors = 54, kChecksum = 127;
constexpr size_t kDescriptorSize = 18, kMostStandard = 8;

constexpr std::array<uint8_t, 8> kHeader = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0};
constexpr std::string_view kVendorLetters = "SKR";
constexpr uint16_t kFirstYear = 1990, kMade = 2026;
constexpr uint8_t kDigital8Bits = 0xa0;         // 3.6.1: digital, 8 bits a colour, by no particular cable
constexpr uint8_t kGamma22 = 120;               // 2.2, as 100 * gamma - 100
constexpr uint8_t kSrgb = 4, kNativeFirst = 2;  // 3.6.4: colours are sRGB's; the first timing is what it likes best
// 3.7, of sRGB: low bits, then red, green, blue, white.
constexpr std::array<uint8_t, 10> kSrgbColours = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
// 3.8, all at 60 Hz: 640 x 480 and 800 x 600, 1024 x 768.
constexpr std::array<uint8_t, 3> kEstablishedTimings = {0x21, 0x08, 0x00};
// 3.9, all at 60 Hz.
enum Aspect : uint8_t { k16To10 = 0, k4To3 = 1, k5To4 = 2, k16To9 = 3 };
struct StandardTiming {
  uint32_t width;
  Aspect aspect;
};
constexpr std::array<StandardTiming, kMostStandard> kStandardTimings = {
    {{1280, k16To9}, {1280, k16To10}, {1280, k5To4}, {1440, k16To10}, {1600, k4To3}, {1680, k16To10}, {1920, k16To9}, {1920, k16To10}}};
// 3.10.3
constexpr uint8_t kProductName = 0xfc, kDummy = 0x10;
constexpr std::string_view kName = "Skerry";
constexpr size_t kText = 5, kTextSize = 13;

// Nobody has to draw it: what is not picture is as short as monitors without a tube have it (VESA CVT 1.2, reduced blanking),
// the refresh rate 60 Hz, or as high as can be told.
constexpr uint32_t kHorizontalBlank = 160, kHorizontalFront = 48, kHorizontalSync = 32;
constexpr uint32_t kVerticalBlank = 40, kVerticalFront = 3, kVerticalSync = 6;
constexpr uint32_t kRefresh = 60, kClockUnit = 10'000, kMaxClock = 0xffff;  // Hz; Hz; of its unit
constexpr uint8_t kDigitalSync = 0x1a;                                      // separate; horizontal positive, vertical negative

uint8_t low(uint32_t value) { return static_cast<uint8_t>(value); }
// Four upper bits of two numbers of 12.
uint8_t highs(uint32_t a, uint32_t b) { return static_cast<uint8_t>((a >> 8 & 15) << 4 | (b >> 8 & 15)); }
uint32_t millimetres(uint32_t pixels) { return (pixels * 254 + 480) / 960; }  // at 96 to the inch

// 3.10.2
void put_timing(std::span<uint8_t> to, Screen::Size size) {
  const uint64_t pixels = uint64_t{size.width + kHorizontalBlank} * (size.height + kVerticalBlank);
  const auto clock = static_cast<uint32_t>(std::clamp<uint64_t>(pixels * kRefresh / kClockUnit, 1, kMaxClock));
  const uint32_t width = millimetres(size.width), height = millimetres(size.height);
  const std::array<uint8_t, kDescriptorSize> timing = {low(clock),
                                                       low(clock >> 8),
                                                       low(size.width),
                                                       low(kHorizontalBlank),
                                                       highs(size.width, kHorizontalBlank),
                                                       low(size.height),
                                                       low(kVerticalBlank),
                                                       highs(size.height, kVerticalBlank),
                                                       low(kHorizontalFront),
                                                       low(kHorizontalSync),
                                                       low(kVerticalFront << 4 | kVerticalSync),
                                                       0,  // upper bits of these four
                                                       low(width),
                                                       low(height),
                                                       highs(width, height),
                                                       0,  // no borders
                                                       0,
                                                       kDigitalSync};
  std::ranges::copy(timing, to.begin());
}

void put_name(std::span<uint8_t> to) {
  to[3] = kProductName;
  std::ranges::fill(to.subspan(kText, kTextSize), ' ');
  std::ranges::copy(kName, to.begin() + kText);
  to[kText + kName.size()] = '\n';
}

}  // namespace

std::array<uint8_t, kEdidSize> make_edid(Screen::Size preferred) {
  const Screen::Size size = {std::clamp(preferred.width, 1u, kMaxEdidSide), std::clamp(preferred.height, 1u, kMaxEdidSide)};
  Edid edid{};
  std::ranges::copy(kHeader, edid.begin());
  uint32_t vendor = 0;
  for (const char letter : kVendorLetters) vendor = vendor << 5 | static_cast<uint32_t>(letter - 'A' + 1);
  edid[kVendor] = low(vendor >> 8);
  edid[kVendor + 1] = low(vendor);
  edid[kProduct] = 1;
  edid[kYear] = kMade - kFirstYear;
  edid[kVersion] = 1;
  edid[kRevision] = 4;
  edid[kInput] = kDigital8Bits;
  edid[kWidth] = low(millimetres(size.width) / 10);  // in centimetres
  edid[kHeight] = low(millimetres(size.height) / 10);
  edid[kGamma] = kGamma22;
  edid[kFeatures] = kSrgb | kNativeFirst;
  std::ranges::copy(kSrgbColours, edid.begin() + kColours);
  std::ranges::copy(kEstablishedTimings, edid.begin() + kEstablished);
  for (size_t i = 0; i < kMostStandard; ++i) {
    edid[kStandard + 2 * i] = low(kStandardTimings[i].width / 8 - 31);
    edid[kStandard + 2 * i + 1] = low(uint32_t{kStandardTimings[i].aspect} << 6);  // and how far above 60 Hz
  }
  const std::span all(edid);
  put_timing(all.subspan(kDescriptors, kDescriptorSize), size);
  put_name(all.subspan(kDescriptors + kDescriptorSize, kDescriptorSize));
  for (const size_t number : {size_t{2}, size_t{3}}) edid[kDescriptors + number * kDescriptorSize + 3] = kDummy;
  edid[kChecksum] = low(0u - std::accumulate(edid.begin(), edid.end() - 1, 0u));  // all bytes make 0
  return edid;
}

}  // namespace skerry::display
