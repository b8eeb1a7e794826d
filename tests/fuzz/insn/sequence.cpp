#include "sequence.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <sstream>
#include <stdexcept>

#include "guest_side.hpp"
#include "random.hpp"
#include "undefined.hpp"
#include "x86/exception.hpp"

namespace skerry::fuzz {

using x86::CodeSize;

namespace {

constexpr std::array<const char*, 16> kNames = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                                "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

// Floating-point values at the edges: zeroes, denormals, the largest, infinities, quiet and signalling NaNs.
constexpr uint32_t kFloats[] = {0, 0x80000000, 1, 0x807fffff, 0x00800000, 0x3f800000, 0xbf800000, 0x3fc00000,
                                0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0x4f000000, 0x33800000};
constexpr uint64_t kDoubles[] = {0, 0x8000000000000000, 1, 0x800fffffffffffff, 0x0010000000000000, 0x3ff0000000000000,
                                 0xbff8000000000000, 0x7fefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000,
                                 0x7ff8000000000000, 0x7ff0000000000001, 0x43e0000000000000, 0x41e0000000000000};

uint64_t memory_word(Random& random) {
  switch (random.below(8)) {
    case 0: return random.pick(kDoubles);
    case 1: return random.pick(kFloats) | static_cast<uint64_t>(random.pick(kFloats)) << 32;
    case 2: return random.below(256);
    case 3: return kDataBase + random.below(kDataSize);
    case 4: return random.next() & 0x0f0f0f0f0f0f0f0f;
    default: return random.next();
  }
}

void fill(Random& random, std::span<uint8_t> to) {
  for (size_t n = 0; n + 8 <= to.size(); n += 8) {
    const uint64_t word = memory_word(random);
    std::memcpy(to.data() + n, &word, 8);
  }
}

// Comparing --------------------------------------------------------------------------------------------------------------

class Differences {
 public:
  Differences(const char* a, const char* b) : a_(a), b_(b) {}
  void number(std::string_view what, uint64_t a, uint64_t b) {
    if (a != b) text_ += fmt::format("  {:<10} {} {:#x}, {} {:#x}\n", what, a_, a, b_, b);
  }
  void bytes(std::string_view what, std::span<const uint8_t> a, std::span<const uint8_t> b) {
    if (std::memcmp(a.data(), b.data(), a.size()) == 0) return;
    text_ += fmt::format("  {:<10} {} {:02x}\n  {:<10} {} {:02x}\n", what, a_, fmt::join(a, ""), "", b_, fmt::join(b, ""));
  }
  void memory(std::string_view what, uint64_t base, std::span<const uint8_t> a, std::span<const uint8_t> b,
              std::span<const Range> ignored) {
    if (std::memcmp(a.data(), b.data(), a.size()) == 0) return;
    unsigned shown = 0;
    for (size_t n = 0; n < a.size() && shown < 64; ++n) {
      bool skip = a[n] == b[n];
      for (const Range& range : ignored) skip |= base + n - range.start < range.size;
      if (skip) continue;
      text_ += fmt::format("  {} {:#x}: {} {:02x}, {} {:02x}\n", what, base + n, a_, a[n], b_, b[n]);
      ++shown;
    }
  }
  std::string take() { return std::move(text_); }

 private:
  const char* a_;
  const char* b_;
  std::string text_;
};

void compare_x87(const x86::X87& a, const x86::X87& b, Differences& out) {
  out.number("fcw", a.fcw, b.fcw);
  out.number("fsw", a.fsw, b.fsw);
  out.number("ftw", a.ftw, b.ftw);
  // AMD's processors store zeroes for them unless an exception is pending (APM vol. 5, FXSAVE). FDP and FOP may then be
  // those of an earlier instruction, and of FIP the upper bits are not the sign's.
  constexpr uint16_t kErrorSummary = 1 << 7;
  if (!processor_of_amd()) {
    out.number("fip", a.fip, b.fip);
    out.number("fdp", a.fdp, b.fdp);
    out.number("fop", a.fop, b.fop);
  } else if (a.fsw & kErrorSummary) {
    constexpr uint64_t kAddress = (uint64_t{1} << 48) - 1;
    out.number("fip", a.fip & kAddress, b.fip & kAddress);
  }
  for (unsigned n = 0; n < 8; ++n) {
    out.number(fmt::format("st{}", n), a.st[n].significand, b.st[n].significand);
    out.number(fmt::format("st{} exp", n), a.st[n].sign_exponent, b.st[n].sign_exponent);
  }
}

// A page fault on an address that no program can have is always reported as one on a present page by Linux (arch/x86/mm/
// fault.c, sanitize_error_code), so that programs learn nothing of its layout.
uint32_t visible_error_code(const Outcome& outcome) {
  constexpr uint64_t kTaskSizeMax = (uint64_t{1} << 47) - kPage;
  const bool hidden = outcome.vector == x86::kPageFault && outcome.cr2 >= kTaskSizeMax;
  return hidden ? outcome.error_code | x86::pf::kPresent : outcome.error_code;
}

void compare_exception(const std::vector<Step>& steps, const Outcome& a, const Outcome& b, Differences& out) {
  const auto of_access = [](uint8_t vector) { return vector == x86::kPageFault || vector == x86::kAlignmentCheck; };
  if (accesses_in_any_order(steps, a) && of_access(a.vector) && of_access(b.vector)) return;
  out.number("vector", a.vector, b.vector);
  if (a.vector != b.vector) return;
  out.number("error", visible_error_code(a), visible_error_code(b));
  if (a.vector == x86::kPageFault) out.number("cr2", a.cr2, b.cr2);
}

uint64_t undefined_at(const std::vector<Step>& steps, uint64_t rip) {
  uint64_t everywhere = 0;
  for (const Step& step : steps) {
    if (step.rip == rip) return step.undefined;
    everywhere |= step.undefined;
  }
  return everywhere;  // it jumped out of the sequence, from somewhere
}

// Text ---------------------------------------------------------------------------------------------------------------------

std::string hex(std::span<const uint8_t> bytes) { return fmt::format("{:02x}", fmt::join(bytes, "")); }

std::vector<uint8_t> unhex(const std::string& text) {
  std::vector<uint8_t> bytes;
  for (size_t n = 0; n + 1 < text.size(); n += 2)
    bytes.push_back(static_cast<uint8_t>(std::stoul(text.substr(n, 2), nullptr, 16)));
  return bytes;
}

}  // namespace

void fill_memory(uint64_t seed, std::span<uint8_t> data, std::span<uint8_t> stack) {
  Random random(seed);
  fill(random, data);
  fill(random, stack);
}

std::string listing(const Case& test) {
  std::string text;
  for (size_t at = 0; at < test.code.size();) {
    x86::Decoded decoded;
    const std::span<const uint8_t> rest = std::span(test.code).subspan(at);
    unsigned length = 1;
    if (x86::decode(rest, test.mode, decoded) == x86::DecodeStatus::kOk) length = decoded.instruction.length;
    const uint64_t rip = test.registers.rip + at;
    text += fmt::format("  {:x}  {:<30}  {}\n", rip, hex(rest.first(length)), x86::disassemble(rest, test.mode, rip));
    at += length;
  }
  return text;
}

std::string difference(const Case& test, const Outcome& a, const Outcome& b) {
  const std::vector<Step> steps = analyse(test);
  if (is_open(steps, a)) return "";
  Differences out("native", "engine");
  if (!limit_is_open(test, a, b)) compare_exception(steps, a, b, out);
  const Registers &x = a.registers, &y = b.registers;
  const bool wide = test.mode == CodeSize::k64;
  for (unsigned n = 0; n < (wide ? 16 : 8); ++n) {
    const uint64_t mask = ~undefined_bits(steps, a, n) & (wide ? ~uint64_t{0} : 0xffffffff);
    out.number(kNames[n], x.gpr[n] & mask, y.gpr[n] & mask);
  }
  out.number("rip", x.rip, y.rip);
  // RF is set in the image that a fault pushes; Linux's handlers give it back as they like.
  const uint64_t ignored = undefined_at(steps, x.rip) | x86::flags::kRf;
  out.number("rflags", x.rflags & ~ignored, y.rflags & ~ignored);
  compare_x87(x.x87, y.x87, out);
  out.number("mxcsr", x.mxcsr, y.mxcsr);
  for (unsigned n = 0; n < (wide ? 16 : 8); ++n) out.bytes(fmt::format("ymm{}", n), x.ymm[n], y.ymm[n]);
  const std::vector<Range> open = undefined_memory(steps, a);
  out.memory("data", kDataBase, a.data, b.data, open);
  out.memory("stack", kStackBase, a.stack, b.stack, open);
  std::string text = out.take();
  if (!text.empty()) text = fmt::format("  ended by #{} error {:#x} at {:x}\n{}", a.vector, a.error_code, x.rip, text);
  return text;
}

std::string to_text(const Case& test) {
  const Registers& r = test.registers;
  std::string text = fmt::format("mode {}\ncode {}\nmemory {:x}\nrip {:x}\nrflags {:x}\nmxcsr {:x}\n",
                                 test.mode == CodeSize::k64 ? 64 : 32, hex(test.code), test.memory_seed, r.rip, r.rflags,
                                 r.mxcsr);
  for (unsigned n = 0; n < 16; ++n) text += fmt::format("{} {:x}\n", kNames[n], r.gpr[n]);
  text += fmt::format("fcw {:x}\nfsw {:x}\nftw {:x}\n", r.x87.fcw, r.x87.fsw, r.x87.ftw);
  for (unsigned n = 0; n < 8; ++n)
    text += fmt::format("st{} {:04x}{:016x}\n", n, r.x87.st[n].sign_exponent, r.x87.st[n].significand);
  for (unsigned n = 0; n < 16; ++n) text += fmt::format("ymm{} {}\n", n, hex(r.ymm[n]));
  std::istringstream lines(listing(test));
  for (std::string line; std::getline(lines, line);) text += "#" + line + "\n";
  return text;
}

Case from_text(const std::string& text) {
  Case test;
  Registers& r = test.registers;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t space = line.find(' ');
    if (space == std::string::npos) throw std::runtime_error("no value in: " + line);
    const std::string key = line.substr(0, space), value = line.substr(space + 1);
    const auto number = [&] { return std::stoull(value, nullptr, 16); };
    const auto name = std::find(kNames.begin(), kNames.end(), key);
    if (name != kNames.end()) r.gpr[name - kNames.begin()] = number();
    else if (key == "mode") test.mode = value == "64" ? CodeSize::k64 : CodeSize::k32;
    else if (key == "code") test.code = unhex(value);
    else if (key == "memory") test.memory_seed = number();
    else if (key == "rip") r.rip = number();
    else if (key == "rflags") r.rflags = number();
    else if (key == "mxcsr") r.mxcsr = static_cast<uint32_t>(number());
    else if (key == "fcw") r.x87.fcw = static_cast<uint16_t>(number());
    else if (key == "fsw") r.x87.fsw = static_cast<uint16_t>(number());
    else if (key == "ftw") r.x87.ftw = static_cast<uint8_t>(number());
    else if (key.starts_with("st")) {
      x86::X87::Register& st = r.x87.st.at(std::stoul(key.substr(2)));
      st.sign_exponent = static_cast<uint16_t>(std::stoul(value.substr(0, 4), nullptr, 16));
      st.significand = std::stoull(value.substr(4), nullptr, 16);
    } else if (key.starts_with("ymm")) {
      const std::vector<uint8_t> bytes = unhex(value);
      if (bytes.size() != 32) throw std::runtime_error("not 32 bytes: " + line);
      std::copy(bytes.begin(), bytes.end(), r.ymm.at(std::stoul(key.substr(3))).begin());
    } else {
      throw std::runtime_error("unknown: " + line);
    }
  }
  return test;
}

}  // namespace skerry::fuzz
