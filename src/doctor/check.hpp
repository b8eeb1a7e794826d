// What a check of the host comes to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace skerry::doctor {

enum class Status : uint8_t {
  kOk,
  kWarning,  // VMs run; something is slower, less safe or not to be had
  kMissing,  // what no VM, or no VM with a disk, runs without
};

std::string_view name_of(Status status);  // "ok", "warning", "missing"

// `remedy` is what a person types or changes; it is empty exactly where the status is kOk.
struct Finding {
  Status status = Status::kOk;
  std::string found, remedy;
};

inline Finding fine(std::string found) { return {Status::kOk, std::move(found), ""}; }
inline Finding warning(std::string found, std::string remedy) {
  return {Status::kWarning, std::move(found), std::move(remedy)};
}
inline Finding missing(std::string found, std::string remedy) {
  return {Status::kMissing, std::move(found), std::move(remedy)};
}

struct Check {
  std::string id, group, title;
  Finding finding;
  bool detail = false;  // one of many of its kind: worth a person's line only where it is not ok
};

}  // namespace skerry::doctor
