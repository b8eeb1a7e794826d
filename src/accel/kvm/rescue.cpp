#include "accel/kvm/rescue.hpp"

#include <algorithm>
#include <vector>

#include "base/log.hpp"

namespace skerry::accel::kvm {

uint64_t Rescue::begin(int64_t now) {
  const bool short_visit = now - in_kvm_since_ < kShortVisit;
  stretch_ = short_visit ? std::min(2 * stretch_, kLongestStretch) : std::max<uint64_t>(stretch_ / 2, 1);
  return stretch_;
}

void Rescue::ended(int64_t now) { in_kvm_since_ = now; }

void Rescue::count(std::span<const uint8_t> bytes, x86::CodeSize size, uint64_t rip) {
  x86::Decoded decoded;
  const bool known = x86::decode(bytes, size, decoded) == x86::DecodeStatus::kOk;
  const std::string kind = known ? ZydisMnemonicGetString(decoded.instruction.mnemonic) : "(bad)";
  ++total_;
  if (kinds_[kind]++ == 0)
    log::info("kvm: vCPU {}: KVM cannot execute '{}' at {:#x}; the interpreter does it", vcpu_,
              x86::disassemble(bytes, size, rip), rip);
}

std::string Rescue::summary() const {
  if (total_ == 0) return {};
  std::vector<std::pair<uint64_t, std::string_view>> order;
  for (const auto& [kind, count] : kinds_) order.emplace_back(count, kind);
  std::ranges::sort(order, std::greater());
  std::string text = fmt::format("{} rescues:", total_);
  for (const auto& [count, kind] : order) text += fmt::format("{} {} {}", &count == &order[0].first ? "" : ",", count, kind);
  return text;
}

}  // namespace skerry::accel::kvm
