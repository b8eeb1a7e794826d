// The host as the checks see it: its files below a root folder, and what is in no file. All reading is bounded: a file
// may hold anything, or be none.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "doctor/system.hpp"

namespace skerry::doctor {

enum class Presence : uint8_t {
  kThere,
  kAbsent,
  kUnknown,  // a folder on the way may not be entered
};

class Host {
 public:
  static constexpr size_t kMaxText = 64 * 1024;
  static constexpr size_t kMaxLine = 160;
  static constexpr size_t kMaxNames = 4096;

  // `root` stands in front of every path: "" for this host, a folder with a fabricated one in tests. `system` outlives
  // it.
  explicit Host(const System& system, std::string root = "") : system_(system), root_(std::move(root)) {}

  const System& system() const { return system_; }
  // Where a path is, for code that opens files by itself.
  std::string real_path(std::string_view path) const { return root_ + std::string(path); }

  Presence presence(std::string_view path) const;
  bool has(std::string_view path) const { return presence(path) == Presence::kThere; }
  std::optional<struct stat> about(std::string_view path) const;
  // Whether this process may do all of R_OK, W_OK, X_OK.
  bool allows(std::string_view path, int mode) const;

  // The first kMaxText bytes of a regular file, as they are. A failure names the path and the reason.
  Result<std::string> text(std::string_view path) const;
  // Its first line, fit to be shown, without spaces around it.
  Result<std::string> line(std::string_view path) const;
  // Its first line, where that is a number.
  std::optional<uint64_t> number(std::string_view path) const;
  // What is in a folder, sorted, as it is; nothing if it cannot be read.
  std::vector<std::string> names(std::string_view folder) const;

  // The path of a program of the host, or nothing. Where programs of the system are, not where PATH says.
  std::optional<std::string> program(std::string_view name) const;

  // What /dev/kvm says, asked once.
  const KvmAnswer& kvm() const;

 private:
  const System& system_;
  const std::string root_;
  mutable std::optional<KvmAnswer> kvm_;
};

// What a terminal may be sent: others become '?', and what is longer than Host::kMaxLine is cut.
std::string printable(std::string_view text);
// The lines of a text; the parts of one between spaces.
std::vector<std::string_view> lines_of(std::string_view text);
std::vector<std::string_view> words_of(std::string_view text);
// The word in brackets, as in "always [madvise] never", or nothing.
std::string chosen_of(std::string_view text);

}  // namespace skerry::doctor
