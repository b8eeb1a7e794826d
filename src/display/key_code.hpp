// The keys of a PC keyboard by the names of QEMU's QKeyCode, which QMP's `send-key` uses, and their numbers elsewhere.
#pragma once

#include <cstdint>
#include <string_view>

namespace skerry::display {

// X(enumerator, QKeyCode, scan code in the PC's set 1, evdev's number). A scan code 0xe0NN is two bytes, 0xe0 and NN.
// Pause is 0xe046 here, as in RFB, though a keyboard sends e1 1d 45 for it. Where two have the same number, the first is
// found by it. Sources: QEMU's qapi/ui.json, Linux's drivers/input/keyboard/atkbd.c and linux/input-event-codes.h.
#define SKERRY_KEYS(X)                                    \
  X(kEsc, "esc", 0x01, KEY_ESC)                           \
  X(k1, "1", 0x02, KEY_1)                                 \
  X(k2, "2", 0x03, KEY_2)                                 \
  X(k3, "3", 0x04, KEY_3)                                 \
  X(k4, "4", 0x05, KEY_4)                                 \
  X(k5, "5", 0x06, KEY_5)                                 \
  X(k6, "6", 0x07, KEY_6)                                 \
  X(k7, "7", 0x08, KEY_7)                                 \
  X(k8, "8", 0x09, KEY_8)                                 \
  X(k9, "9", 0x0a, KEY_9)                                 \
  X(k0, "0", 0x0b, KEY_0)                                 \
  X(kMinus, "minus", 0x0c, KEY_MINUS)                     \
  X(kEqual, "equal", 0x0d, KEY_EQUAL)                     \
  X(kBackspace, "backspace", 0x0e, KEY_BACKSPACE)         \
  X(kTab, "tab", 0x0f, KEY_TAB)                           \
  X(kQ, "q", 0x10, KEY_Q)                                 \
  X(kW, "w", 0x11, KEY_W)                                 \
  X(kE, "e", 0x12, KEY_E)                                 \
  X(kR, "r", 0x13, KEY_R)                                 \
  X(kT, "t", 0x14, KEY_T)                                 \
  X(kY, "y", 0x15, KEY_Y)                                 \
  X(kU, "u", 0x16, KEY_U)                                 \
  X(kI, "i", 0x17, KEY_I)                                 \
  X(kO, "o", 0x18, KEY_O)                                 \
  X(kP, "p", 0x19, KEY_P)                                 \
  X(kBracketLeft, "bracket_left", 0x1a, KEY_LEFTBRACE)    \
  X(kBracketRight, "bracket_right", 0x1b, KEY_RIGHTBRACE) \
  X(kRet, "ret", 0x1c, KEY_ENTER)                         \
  X(kCtrl, "ctrl", 0x1d, KEY_LEFTCTRL)                    \
  X(kA, "a", 0x1e, KEY_A)                                 \
  X(kS, "s", 0x1f, KEY_S)                                 \
  X(kD, "d", 0x20, KEY_D)                                 \
  X(kF, "f", 0x21, KEY_F)                                 \
  X(kG, "g", 0x22, KEY_G)                                 \
  X(kH, "h", 0x23, KEY_H)                                 \
  X(kJ, "j", 0x24, KEY_J)                                 \
  X(kK, "k", 0x25, KEY_K)                                 \
  X(kL, "l", 0x26, KEY_L)                                 \
  X(kSemicolon, "semicolon", 0x27, KEY_SEMICOLON)         \
  X(kApostrophe, "apostrophe", 0x28, KEY_APOSTROPHE)      \
  X(kGraveAccent, "grave_accent", 0x29, KEY_GRAVE)        \
  X(kShift, "shift", 0x2a, KEY_LEFTSHIFT)                 \
  X(kBackslash, "backslash", 0x2b, KEY_BACKSLASH)         \
  X(kZ, "z", 0x2c, KEY_Z)                                 \
  X(kX, "x", 0x2d, KEY_X)                                 \
  X(kC, "c", 0x2e, KEY_C)                                 \
  X(kV, "v", 0x2f, KEY_V)                                 \
  X(kB, "b", 0x30, KEY_B)                                 \
  X(kN, "n", 0x31, KEY_N)                                 \
  X(kM, "m", 0x32, KEY_M)                                 \
  X(kComma, "comma", 0x33, KEY_COMMA)                     \
  X(kDot, "dot", 0x34, KEY_DOT)                           \
  X(kSlash, "slash", 0x35, KEY_SLASH)                     \
  X(kShiftR, "shift_r", 0x36, KEY_RIGHTSHIFT)             \
  X(kKpMultiply, "kp_multiply", 0x37, KEY_KPASTERISK)     \
  X(kAsterisk, "asterisk", 0x37, KEY_KPASTERISK)          \
  X(kAlt, "alt", 0x38, KEY_LEFTALT)                       \
  X(kSpc, "spc", 0x39, KEY_SPACE)                         \
  X(kCapsLock, "caps_lock", 0x3a, KEY_CAPSLOCK)           \
  X(kF1, "f1", 0x3b, KEY_F1)                              \
  X(kF2, "f2", 0x3c, KEY_F2)                              \
  X(kF3, "f3", 0x3d, KEY_F3)                              \
  X(kF4, "f4", 0x3e, KEY_F4)                              \
  X(kF5, "f5", 0x3f, KEY_F5)                              \
  X(kF6, "f6", 0x40, KEY_F6)                              \
  X(kF7, "f7", 0x41, KEY_F7)                              \
  X(kF8, "f8", 0x42, KEY_F8)                              \
  X(kF9, "f9", 0x43, KEY_F9)                              \
  X(kF10, "f10", 0x44, KEY_F10)                           \
  X(kNumLock, "num_lock", 0x45, KEY_NUMLOCK)              \
  X(kScrollLock, "scroll_lock", 0x46, KEY_SCROLLLOCK)     \
  X(kKp7, "kp_7", 0x47, KEY_KP7)                          \
  X(kKp8, "kp_8", 0x48, KEY_KP8)                          \
  X(kKp9, "kp_9", 0x49, KEY_KP9)                          \
  X(kKpSubtract, "kp_subtract", 0x4a, KEY_KPMINUS)        \
  X(kKp4, "kp_4", 0x4b, KEY_KP4)                          \
  X(kKp5, "kp_5", 0x4c, KEY_KP5)                          \
  X(kKp6, "kp_6", 0x4d, KEY_KP6)                          \
  X(kKpAdd, "kp_add", 0x4e, KEY_KPPLUS)                   \
  X(kKp1, "kp_1", 0x4f, KEY_KP1)                          \
  X(kKp2, "kp_2", 0x50, KEY_KP2)                          \
  X(kKp3, "kp_3", 0x51, KEY_KP3)                          \
  X(kKp0, "kp_0", 0x52, KEY_KP0)                          \
  X(kKpDecimal, "kp_decimal", 0x53, KEY_KPDOT)            \
  X(kPrint, "print", 0xe037, KEY_SYSRQ)                   \
  X(kSysrq, "sysrq", 0x54, KEY_SYSRQ)                     \
  X(kLess, "less", 0x56, KEY_102ND)                       \
  X(kF11, "f11", 0x57, KEY_F11)                           \
  X(kF12, "f12", 0x58, KEY_F12)                           \
  X(kKpEquals, "kp_equals", 0x59, KEY_KPEQUAL)            \
  X(kLf, "lf", 0x5b, KEY_LINEFEED)                        \
  X(kOpen, "open", 0x64, KEY_OPEN)                        \
  X(kPaste, "paste", 0x65, KEY_PASTE)                     \
  X(kKatakanahiragana, "katakanahiragana", 0x70, KEY_KATAKANAHIRAGANA) \
  X(kLang2, "lang2", 0x71, KEY_HANJA)                     \
  X(kLang1, "lang1", 0x72, KEY_HANGEUL)                   \
  X(kRo, "ro", 0x73, KEY_RO)                              \
  X(kHiragana, "hiragana", 0x77, KEY_HIRAGANA)            \
  X(kHenkan, "henkan", 0x79, KEY_HENKAN)                  \
  X(kMuhenkan, "muhenkan", 0x7b, KEY_MUHENKAN)            \
  X(kYen, "yen", 0x7d, KEY_YEN)                           \
  X(kKpComma, "kp_comma", 0x7e, KEY_KPCOMMA)              \
  X(kKpEnter, "kp_enter", 0xe01c, KEY_KPENTER)            \
  X(kCtrlR, "ctrl_r", 0xe01d, KEY_RIGHTCTRL)              \
  X(kKpDivide, "kp_divide", 0xe035, KEY_KPSLASH)          \
  X(kAltR, "alt_r", 0xe038, KEY_RIGHTALT)                 \
  X(kPause, "pause", 0xe046, KEY_PAUSE)                   \
  X(kHome, "home", 0xe047, KEY_HOME)                      \
  X(kUp, "up", 0xe048, KEY_UP)                            \
  X(kPgup, "pgup", 0xe049, KEY_PAGEUP)                    \
  X(kLeft, "left", 0xe04b, KEY_LEFT)                      \
  X(kRight, "right", 0xe04d, KEY_RIGHT)                   \
  X(kEnd, "end", 0xe04f, KEY_END)                         \
  X(kDown, "down", 0xe050, KEY_DOWN)                      \
  X(kPgdn, "pgdn", 0xe051, KEY_PAGEDOWN)                  \
  X(kInsert, "insert", 0xe052, KEY_INSERT)                \
  X(kDelete, "delete", 0xe053, KEY_DELETE)                \
  X(kMetaL, "meta_l", 0xe05b, KEY_LEFTMETA)               \
  X(kMetaR, "meta_r", 0xe05c, KEY_RIGHTMETA)              \
  X(kCompose, "compose", 0xe05d, KEY_COMPOSE)             \
  X(kMenu, "menu", 0xe01e, KEY_MENU)                      \
  X(kStop, "stop", 0xe068, KEY_STOP)                      \
  X(kAgain, "again", 0xe005, KEY_AGAIN)                   \
  X(kProps, "props", 0xe006, KEY_PROPS)                   \
  X(kUndo, "undo", 0xe007, KEY_UNDO)                      \
  X(kFront, "front", 0xe00c, KEY_FRONT)                   \
  X(kCopy, "copy", 0xe078, KEY_COPY)                      \
  X(kFind, "find", 0xe041, KEY_FIND)                      \
  X(kCut, "cut", 0xe03c, KEY_CUT)                         \
  X(kHelp, "help", 0xe075, KEY_HELP)                      \
  X(kPower, "power", 0xe05e, KEY_POWER)                   \
  X(kSleep, "sleep", 0xe05f, KEY_SLEEP)                   \
  X(kWake, "wake", 0xe063, KEY_WAKEUP)                    \
  X(kAudionext, "audionext", 0xe019, KEY_NEXTSONG)        \
  X(kAudioprev, "audioprev", 0xe010, KEY_PREVIOUSSONG)    \
  X(kAudiostop, "audiostop", 0xe024, KEY_STOPCD)          \
  X(kAudioplay, "audioplay", 0xe022, KEY_PLAYPAUSE)       \
  X(kAudiomute, "audiomute", 0xe020, KEY_MUTE)            \
  X(kVolumeup, "volumeup", 0xe030, KEY_VOLUMEUP)          \
  X(kVolumedown, "volumedown", 0xe02e, KEY_VOLUMEDOWN)    \
  X(kMediaselect, "mediaselect", 0xe06d, KEY_MEDIA)       \
  X(kMail, "mail", 0xe06c, KEY_MAIL)                      \
  X(kCalculator, "calculator", 0xe021, KEY_CALC)          \
  X(kComputer, "computer", 0xe06b, KEY_COMPUTER)          \
  X(kAcHome, "ac_home", 0xe032, KEY_HOMEPAGE)             \
  X(kAcBack, "ac_back", 0xe06a, KEY_BACK)                 \
  X(kAcForward, "ac_forward", 0xe069, KEY_FORWARD)        \
  X(kAcRefresh, "ac_refresh", 0xe067, KEY_REFRESH)        \
  X(kAcBookmarks, "ac_bookmarks", 0xe066, KEY_BOOKMARKS)  \
  X(kF13, "f13", 0x5d, KEY_F13)                           \
  X(kF14, "f14", 0x5e, KEY_F14)                           \
  X(kF15, "f15", 0x5f, KEY_F15)                           \
  X(kF16, "f16", 0x55, KEY_F16)                           \
  X(kF17, "f17", 0xe003, KEY_F17)                         \
  X(kF18, "f18", 0xe077, KEY_F18)                         \
  X(kF19, "f19", 0xe004, KEY_F19)                         \
  X(kF20, "f20", 0x5a, KEY_F20)                           \
  X(kF21, "f21", 0x74, KEY_F21)                           \
  X(kF22, "f22", 0xe079, KEY_F22)                         \
  X(kF23, "f23", 0x6d, KEY_F23)                           \
  X(kF24, "f24", 0x6f, KEY_F24)

enum class KeyCode : uint8_t {
  kUnmapped,  // no key
#define SKERRY_KEY(enumerator, name, set1, evdev) enumerator,
  SKERRY_KEYS(SKERRY_KEY)
#undef SKERRY_KEY
  kCount,
};

// By KeyCode, which is a key: never kUnmapped.
std::string_view key_name(KeyCode key);
uint16_t set1_code(KeyCode key);
uint16_t evdev_code(KeyCode key);

// kUnmapped if there is no such key.
KeyCode key_by_name(std::string_view name);
KeyCode key_by_set1(uint16_t code);
KeyCode key_by_evdev(uint16_t code);

// QEMU's numbers of keys, which `send-key` takes and RFB's extended key events have: set 1 in one byte, with bit 7 for
// 0xe0. 0x54 is the key Print, as which viewers mean it.
KeyCode key_by_qnum(uint32_t number);
uint8_t qnum(KeyCode key);

}  // namespace skerry::display
