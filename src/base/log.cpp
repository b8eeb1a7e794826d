#include "base/log.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <string>

namespace skerry::log {

namespace {
constexpr std::array<std::string_view, static_cast<size_t>(Category::kCount)> kCategoryNames = {
    "cpu", "msr", "memory", "io", "irq", "timer", "device", "debugcon", "load", "vm", "qmp", "gdb", "accel", "display"};

// One writev a line, so that lines of several threads do not mix. A full or closed standard error loses the line:
// the VM must not stop for its log.
void write_parts(std::string_view a, std::string_view b, std::string_view c) {
  const std::array<iovec, 3> parts = {iovec{const_cast<char*>(a.data()), a.size()},
                                      iovec{const_cast<char*>(b.data()), b.size()},
                                      iovec{const_cast<char*>(c.data()), c.size()}};
  [[maybe_unused]] const ssize_t written = ::writev(STDERR_FILENO, parts.data(), parts.size());
}
}  // namespace

std::atomic<uint32_t> enabled_categories{0};

std::vector<std::string_view> category_names() { return {kCategoryNames.begin(), kCategoryNames.end()}; }

Result<void> enable(std::string_view list) {
  uint32_t mask = 0;
  while (!list.empty()) {
    const size_t comma = list.find(',');
    const std::string_view name = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    if (name == "all") {
      mask |= (1u << kCategoryNames.size()) - 1;
      continue;
    }
    size_t index = 0;
    while (index < kCategoryNames.size() && kCategoryNames[index] != name) ++index;
    if (index == kCategoryNames.size())
      return error("unknown debug category '{}'; there are: all, {}", name, fmt::join(kCategoryNames, ", "));
    mask |= 1u << index;
  }
  enabled_categories.fetch_or(mask, std::memory_order_relaxed);
  return ok();
}

void write_line(std::string_view level, std::string_view text) {
  write_parts(std::string("skerry: ").append(level), text, "\n");
}

void write_debug(Category category, std::string_view text) {
  write_parts(fmt::format("[{}] ", kCategoryNames[static_cast<size_t>(category)]), text, "\n");
}

void write_raw(std::string_view bytes) { write_parts(bytes, "", ""); }

}  // namespace skerry::log
