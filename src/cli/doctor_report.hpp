// What `skerry doctor` prints.
#pragma once

#include <string>
#include <vector>

#include "doctor/checks.hpp"

namespace skerry::cli {

struct DoctorStyle {
  bool verbose = false;  // details that are ok, too
  bool colours = false;
};

// For a person: by group, a line each, and below it what to do.
std::string doctor_text(const std::vector<doctor::Check>& checks, const DoctorStyle& style);

// For programs:
// {"version":1,"summary":{"ok":n,"warning":n,"missing":n},"checks":[{"id","group","title","status","found",
// "remedy"}]}, without the remedy where a check is ok. Members may be added, none is taken away in version 1.
std::string doctor_json(const std::vector<doctor::Check>& checks);

}  // namespace skerry::cli
