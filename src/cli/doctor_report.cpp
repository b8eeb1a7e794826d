#include "cli/doctor_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>

namespace skerry::cli {

namespace {

using doctor::Check;
using doctor::Status;

constexpr std::string_view kPlain = "\033[0m", kBold = "\033[1m";

std::string_view colour_of(Status status) {
  switch (status) {
    case Status::kOk:
      return "\033[32m";
    case Status::kWarning:
      return "\033[33m";
    default:
      return "\033[31m";
  }
}

// Padded before it is coloured: escape sequences have no width.
std::string coloured(const std::string& text, std::string_view colour, bool on) {
  return on ? fmt::format("{}{}{}", colour, text, kPlain) : text;
}

std::string verdict(const doctor::Summary& summary) {
  const std::string counts = fmt::format("{} ok, {} warning{}, {} missing", summary.ok, summary.warnings,
                                         summary.warnings == 1 ? "" : "s", summary.missing);
  if (summary.missing != 0) return counts + ": Skerry does not run here as it should";
  return counts + ": Skerry runs VMs here";
}

}  // namespace

std::string doctor_text(const std::vector<Check>& checks, const DoctorStyle& style) {
  const auto shown = [&](const Check& check) {
    return style.verbose || !check.detail || check.finding.status != Status::kOk;
  };
  size_t width = 0;
  for (const Check& check : checks)
    if (shown(check)) width = std::max(width, check.title.size());
  std::string text;
  const auto out = std::back_inserter(text);
  std::string_view group;
  for (const Check& check : checks) {
    if (!shown(check)) continue;
    if (check.group != group) {
      fmt::format_to(out, "{}{}\n", group.empty() ? "" : "\n", coloured(check.group, kBold, style.colours));
      group = check.group;
    }
    const auto& [status, found, remedy] = check.finding;
    const std::string name = coloured(fmt::format("{:<7}", name_of(status)), colour_of(status), style.colours);
    fmt::format_to(out, "  {}  {:<{}}  {}\n", name, check.title, width, found);
    if (!remedy.empty()) fmt::format_to(out, "  {:<7}  {:<{}}  to do: {}\n", "", "", width, remedy);
  }
  fmt::format_to(out, "\n{}\n", verdict(doctor::summary_of(checks)));
  return text;
}

std::string doctor_json(const std::vector<Check>& checks) {
  using nlohmann::ordered_json;
  const doctor::Summary summary = doctor::summary_of(checks);
  ordered_json list = ordered_json::array();
  for (const Check& check : checks) {
    ordered_json entry = {{"id", check.id},
                          {"group", check.group},
                          {"title", check.title},
                          {"status", name_of(check.finding.status)},
                          {"found", check.finding.found}};
    if (!check.finding.remedy.empty()) entry["remedy"] = check.finding.remedy;
    list.push_back(std::move(entry));
  }
  const ordered_json all = {
      {"version", 1},
      {"summary", {{"ok", summary.ok}, {"warning", summary.warnings}, {"missing", summary.missing}}},
      {"checks", std::move(list)}};
  // Not by exception where a name of the host is no UTF-8.
  return all.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace skerry::cli
