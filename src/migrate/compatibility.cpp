#include "migrate/compatibility.hpp"

#include <time.h>

#include <algorithm>

#include "x86/cpu_features.hpp"

namespace skerry::migrate {

namespace {

constexpr size_t kMaxName = 64, kMaxFeatures = 8 * 1024;

uint64_t time_of_day() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void describe_text(state::Fields& fields, std::string_view name, std::string& text, size_t max_size) {
  std::vector<uint8_t> bytes(text.begin(), text.end());
  fields.blob(name, bytes, max_size);
  text.assign(bytes.begin(), bytes.end());
}

// Text of a file, for a message.
std::string printable(std::string text) {
  for (char& c : text)
    if (c < ' ' || c > '~') c = '?';
  return text;
}

}  // namespace

void MachineFacts::describe(state::Fields& fields) {
  std::string features = fmt::format("{}", fmt::join(cpu_features, " "));
  describe_text(fields, "accelerator", accelerator, kMaxName);
  describe_text(fields, "cpu_vendor", cpu_vendor, kMaxName);
  fields.field("cpu_signature", cpu_signature);
  describe_text(fields, "cpu_features", features, kMaxFeatures);
  fields.field("tsc_hz", tsc_hz, state::Legal{.min = 1, .max = uint64_t{1} << 40});
  fields.field("saved_at", saved_at, state::up_to(uint64_t{1} << 62));
  cpu_features.clear();
  for (size_t at = 0; at < features.size();) {
    const size_t end = std::min(features.find(' ', at), features.size());
    if (end > at) cpu_features.push_back(printable(features.substr(at, end - at)));
    at = end + 1;
  }
}

MachineFacts facts_of(const x86::CpuModel& model, std::string_view accelerator) {
  MachineFacts facts;
  facts.accelerator = accelerator;
  facts.cpu_vendor = model.vendor();
  facts.cpu_signature = model.signature();
  for (const x86::Feature& feature : x86::known_features())
    if (model.has_feature(feature)) facts.cpu_features.emplace_back(feature.name);
  facts.tsc_hz = model.tsc_hz();
  facts.saved_at = time_of_day();
  return facts;
}

Result<void> check_compatible(const MachineFacts& saved, const MachineFacts& here) {
  if (saved.cpu_vendor != here.cpu_vendor)
    return error("the guest runs on a processor of '{}', and this one is of '{}'; restore it on a host like that on which "
                 "it was saved, or start VMs with --cpu x86-64-v2 to move them between both",
                 printable(saved.cpu_vendor), here.cpu_vendor);
  std::vector<std::string> missing;
  for (const std::string& feature : saved.cpu_features)
    if (std::find(here.cpu_features.begin(), here.cpu_features.end(), feature) == here.cpu_features.end())
      missing.push_back(feature);
  if (!missing.empty())
    return error("the guest's processor has features that there are not here: {:.200}; restore it on a host that has them",
                 fmt::format("{}", fmt::join(missing, " ")));
  if (saved.tsc_hz != here.tsc_hz)
    return error("the guest's time-stamp counter ran at {} Hz, and this machine's is described with {} Hz", saved.tsc_hz,
                 here.tsc_hz);
  return ok();
}

}  // namespace skerry::migrate
