// The numbers are those of X11's keysymdef.h (X Window System Protocol, appendix A); the Latin-1 ones are the characters'.
#include "display/keysym.hpp"

#include <algorithm>
#include <string_view>

namespace skerry::display {

namespace {

// The keys with characters: without shift, with it.
struct CharacterKey {
  char plain, shifted;
  KeyCode key;
};
constexpr CharacterKey kCharacters[] = {
    {'1', '!', KeyCode::k1},          {'2', '@', KeyCode::k2},           {'3', '#', KeyCode::k3},
    {'4', '$', KeyCode::k4},          {'5', '%', KeyCode::k5},           {'6', '^', KeyCode::k6},
    {'7', '&', KeyCode::k7},          {'8', '*', KeyCode::k8},           {'9', '(', KeyCode::k9},
    {'0', ')', KeyCode::k0},          {'-', '_', KeyCode::kMinus},       {'=', '+', KeyCode::kEqual},
    {'[', '{', KeyCode::kBracketLeft}, {']', '}', KeyCode::kBracketRight}, {';', ':', KeyCode::kSemicolon},
    {'\'', '"', KeyCode::kApostrophe}, {'`', '~', KeyCode::kGraveAccent},  {'\\', '|', KeyCode::kBackslash},
    {',', '<', KeyCode::kComma},      {'.', '>', KeyCode::kDot},         {'/', '?', KeyCode::kSlash},
};

constexpr KeyCode kLetters[] = {
    KeyCode::kA, KeyCode::kB, KeyCode::kC, KeyCode::kD, KeyCode::kE, KeyCode::kF, KeyCode::kG, KeyCode::kH, KeyCode::kI,
    KeyCode::kJ, KeyCode::kK, KeyCode::kL, KeyCode::kM, KeyCode::kN, KeyCode::kO, KeyCode::kP, KeyCode::kQ, KeyCode::kR,
    KeyCode::kS, KeyCode::kT, KeyCode::kU, KeyCode::kV, KeyCode::kW, KeyCode::kX, KeyCode::kY, KeyCode::kZ,
};

struct NamedKey {
  uint32_t keysym;
  KeyCode key;
};
constexpr NamedKey kNamed[] = {
    {' ', KeyCode::kSpc},
    {0xfe03, KeyCode::kAltR},  // XK_ISO_Level3_Shift
    {0xfe20, KeyCode::kTab},   // XK_ISO_Left_Tab
    {0xff08, KeyCode::kBackspace},
    {0xff09, KeyCode::kTab},
    {0xff0a, KeyCode::kLf},
    {0xff0d, KeyCode::kRet},
    {0xff13, KeyCode::kPause},
    {0xff14, KeyCode::kScrollLock},
    {0xff15, KeyCode::kSysrq},
    {0xff1b, KeyCode::kEsc},
    {0xff50, KeyCode::kHome},
    {0xff51, KeyCode::kLeft},
    {0xff52, KeyCode::kUp},
    {0xff53, KeyCode::kRight},
    {0xff54, KeyCode::kDown},
    {0xff55, KeyCode::kPgup},
    {0xff56, KeyCode::kPgdn},
    {0xff57, KeyCode::kEnd},
    {0xff61, KeyCode::kPrint},
    {0xff63, KeyCode::kInsert},
    {0xff67, KeyCode::kCompose},  // XK_Menu, which PC keyboards have beside the right Windows key
    {0xff6a, KeyCode::kHelp},
    {0xff6b, KeyCode::kPause},  // XK_Break
    {0xff7e, KeyCode::kAltR},   // XK_Mode_switch
    {0xff7f, KeyCode::kNumLock},
    {0xff8d, KeyCode::kKpEnter},
    // The keypad without and with num lock.
    {0xff95, KeyCode::kKp7},
    {0xff96, KeyCode::kKp4},
    {0xff97, KeyCode::kKp8},
    {0xff98, KeyCode::kKp6},
    {0xff99, KeyCode::kKp2},
    {0xff9a, KeyCode::kKp9},
    {0xff9b, KeyCode::kKp3},
    {0xff9c, KeyCode::kKp1},
    {0xff9d, KeyCode::kKp5},  // XK_KP_Begin
    {0xff9e, KeyCode::kKp0},
    {0xff9f, KeyCode::kKpDecimal},
    {0xffaa, KeyCode::kKpMultiply},
    {0xffab, KeyCode::kKpAdd},
    {0xffac, KeyCode::kKpComma},
    {0xffad, KeyCode::kKpSubtract},
    {0xffae, KeyCode::kKpDecimal},
    {0xffaf, KeyCode::kKpDivide},
    {0xffb0, KeyCode::kKp0},
    {0xffb1, KeyCode::kKp1},
    {0xffb2, KeyCode::kKp2},
    {0xffb3, KeyCode::kKp3},
    {0xffb4, KeyCode::kKp4},
    {0xffb5, KeyCode::kKp5},
    {0xffb6, KeyCode::kKp6},
    {0xffb7, KeyCode::kKp7},
    {0xffb8, KeyCode::kKp8},
    {0xffb9, KeyCode::kKp9},
    {0xffbd, KeyCode::kKpEquals},
    {0xffbe, KeyCode::kF1},
    {0xffbf, KeyCode::kF2},
    {0xffc0, KeyCode::kF3},
    {0xffc1, KeyCode::kF4},
    {0xffc2, KeyCode::kF5},
    {0xffc3, KeyCode::kF6},
    {0xffc4, KeyCode::kF7},
    {0xffc5, KeyCode::kF8},
    {0xffc6, KeyCode::kF9},
    {0xffc7, KeyCode::kF10},
    {0xffc8, KeyCode::kF11},
    {0xffc9, KeyCode::kF12},
    {0xffe1, KeyCode::kShift},
    {0xffe2, KeyCode::kShiftR},
    {0xffe3, KeyCode::kCtrl},
    {0xffe4, KeyCode::kCtrlR},
    {0xffe5, KeyCode::kCapsLock},
    {0xffe7, KeyCode::kMetaL},
    {0xffe8, KeyCode::kMetaR},
    {0xffe9, KeyCode::kAlt},
    {0xffea, KeyCode::kAltR},
    {0xffeb, KeyCode::kMetaL},  // XK_Super_L, which the Windows key means
    {0xffec, KeyCode::kMetaR},
    {0xffff, KeyCode::kDelete},
    {0x1008ff11, KeyCode::kVolumedown},  // XF86keysym.h
    {0x1008ff12, KeyCode::kAudiomute},
    {0x1008ff13, KeyCode::kVolumeup},
    {0x1008ff14, KeyCode::kAudioplay},
    {0x1008ff15, KeyCode::kAudiostop},
    {0x1008ff16, KeyCode::kAudioprev},
    {0x1008ff17, KeyCode::kAudionext},
};
static_assert(std::is_sorted(std::begin(kNamed), std::end(kNamed),
                             [](const NamedKey& a, const NamedKey& b) { return a.keysym < b.keysym; }));

}  // namespace

std::optional<KeysymKey> key_for_keysym(uint32_t keysym) {
  using Shift = KeysymKey::Shift;
  if (keysym >= 'a' && keysym <= 'z') return KeysymKey{kLetters[keysym - 'a'], Shift::kLower};
  if (keysym >= 'A' && keysym <= 'Z') return KeysymKey{kLetters[keysym - 'A'], Shift::kUpper};
  for (const CharacterKey& row : kCharacters) {
    if (keysym == static_cast<uint8_t>(row.plain)) return KeysymKey{row.key, Shift::kWithout};
    if (keysym == static_cast<uint8_t>(row.shifted)) return KeysymKey{row.key, Shift::kWith};
  }
  const auto found = std::lower_bound(std::begin(kNamed), std::end(kNamed), keysym,
                                      [](const NamedKey& row, uint32_t wanted) { return row.keysym < wanted; });
  if (found == std::end(kNamed) || found->keysym != keysym) return std::nullopt;
  return KeysymKey{found->key};
}

}  // namespace skerry::display
