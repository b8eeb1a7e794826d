#include "accel/bt/lockstep.hpp"

#include <cstring>

#include "base/log.hpp"

namespace skerry::accel::bt {

using namespace x86;

namespace {

constexpr std::array kNames = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                               "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

std::string listing(std::span<const uint8_t> bytes, CodeSize size, uint64_t at) {
  std::string text;
  for (size_t done = 0; done < bytes.size();) {
    Decoded decoded;
    const auto rest = bytes.subspan(done);
    const bool good = decode(rest, size, decoded) == DecodeStatus::kOk;
    const size_t length = good ? decoded.instruction.length : 1;
    text += fmt::format("    {:x}  {:<30}  {}\n", at + done, fmt::format("{:02x}", fmt::join(rest.first(length), "")),
                        good ? disassemble(rest, size, at + done) : "(bad)");
    done += length;
  }
  return text;
}

}  // namespace

Lockstep::Snapshot Lockstep::take(bool vectors) const {
  Snapshot s;
  std::copy(std::begin(state_.gpr), std::end(state_.gpr), s.gpr);
  s.rip = state_.rip;
  s.rflags = state_.rflags;
  s.mxcsr = state_.mxcsr;
  if (vectors) std::copy_n(state_.vector.begin(), 16, s.vector.begin());
  return s;
}

void Lockstep::put_back(const Snapshot& s, bool vectors) {
  std::copy(std::begin(s.gpr), std::end(s.gpr), state_.gpr);
  state_.rip = s.rip;
  state_.rflags = s.rflags;
  state_.mxcsr = s.mxcsr;
  if (vectors) std::copy_n(s.vector.begin(), 16, state_.vector.begin());
}

bool Lockstep::expect(const Block& block) {
  before_ = take(block.vectors);
  trial_.pages.clear();
  trial_.impossible = false;
  bool done = true;
  in_.begin_trial(trial_);
  for (unsigned n = 0; done && n < block.instructions; ++n) {
    Flow flow = Flow::kRepeat;
    while (flow == Flow::kRepeat && !trial_.impossible) flow = in_.try_one();
    done = flow == Flow::kNext && !trial_.impossible;
  }
  in_.end_trial();
  after_ = take(block.vectors);
  written_.resize(trial_.pages.size());
  for (size_t n = 0; n < trial_.pages.size(); ++n) {
    std::memcpy(written_[n].data(), trial_.pages[n].host, memory::kPageSize);
    std::memcpy(trial_.pages[n].host, trial_.pages[n].content.data(), memory::kPageSize);
  }
  put_back(before_, block.vectors);
  return done;
}

std::string Lockstep::differences(const Snapshot& now, const Block& block) const {
  std::string text;
  const auto differ = [&](std::string_view what, uint64_t expected, uint64_t actual) {
    if (expected != actual) text += fmt::format("    {:8} interpreter {:#x}, translator {:#x}\n", what, expected, actual);
  };
  const uint64_t mask = block.mode.code64() ? ~uint64_t{0} : 0xffffffff;
  for (unsigned n = 0; n < 16; ++n) differ(kNames[n], after_.gpr[n] & mask, now.gpr[n] & mask);
  differ("rip", after_.rip, now.rip);
  differ("rflags", after_.rflags & ~block.undefined_flags, now.rflags & ~block.undefined_flags);
  if (!block.vectors) return text;
  differ("mxcsr", after_.mxcsr, now.mxcsr);
  for (unsigned n = 0; n < 16; ++n)
    if (after_.vector[n].bytes != now.vector[n].bytes)
      text += fmt::format("    ymm{}\n      interpreter {:02x}\n      translator  {:02x}\n", n,
                          fmt::join(std::span(after_.vector[n].bytes).first(32), ""),
                          fmt::join(std::span(now.vector[n].bytes).first(32), ""));
  return text;
}

unsigned Lockstep::left_to_do(const Block& block) const {
  const std::span<const uint8_t> page(reinterpret_cast<const uint8_t*>(block.page), memory::kPageSize);
  size_t at = block.offset;
  for (unsigned n = 0; n < block.instructions; ++n) {
    if (before_.rip + (at - block.offset) == state_.rip) return block.instructions - n;
    Decoded decoded;
    if (decode(page.subspan(at), block.mode.code_size(), decoded) != DecodeStatus::kOk) break;
    at += decoded.instruction.length;
  }
  return 0;
}

bool Lockstep::compare(const Block& block, const uint8_t* code) {
  std::string text = differences(take(block.vectors), block);
  for (size_t n = 0; n < written_.size(); ++n) {
    const auto* actual = trial_.pages[n].host;
    if (std::memcmp(actual, written_[n].data(), memory::kPageSize) == 0) continue;
    for (size_t at = 0; at < memory::kPageSize; ++at) {
      if (actual[at] == written_[n][at]) continue;
      text += fmt::format("    page {} of host memory, offset {:#x}: interpreter {:02x}, translator {:02x}\n", n, at,
                          static_cast<unsigned>(written_[n][at]), static_cast<unsigned>(actual[at]));
      break;
    }
  }
  if (text.empty()) return true;
  log::failure("lockstep: the translation of the block at {:#x} differs", before_.rip);
  const auto* guest = reinterpret_cast<const uint8_t*>(block.page) + block.offset;
  std::string report = "  guest:\n" + listing({guest, block.length}, block.mode.code_size(), before_.rip);
  report += "  began with:\n";
  for (unsigned n = 0; n < 16; ++n) report += fmt::format("    {:8} {:#x}\n", kNames[n], before_.gpr[n]);
  report += fmt::format("    {:8} {:#x}\n", "rflags", before_.rflags);
  report += "  differences:\n" + text;
  report += "  host:\n" + listing({code, block.code_size}, CodeSize::k64, reinterpret_cast<uintptr_t>(code));
  log::write_raw(report);
  return false;
}

}  // namespace skerry::accel::bt
