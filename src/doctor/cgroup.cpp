#include "doctor/cgroup.hpp"

#include <algorithm>

namespace skerry::doctor {

namespace {

constexpr std::string_view kRoot = "/sys/fs/cgroup";

// One line of /proc/self/cgroup, cgroups(7): "0::/user.slice", "4:memory:/".
struct Membership {
  std::string_view controllers, path;
};
std::optional<Membership> parse(std::string_view line) {
  const size_t first = line.find(':'), second = line.find(':', first == line.npos ? first : first + 1);
  if (first == line.npos || second == line.npos) return std::nullopt;
  const Membership found{line.substr(first + 1, second - first - 1), line.substr(second + 1)};
  return found.path.starts_with('/') ? std::optional(found) : std::nullopt;
}

// In a container a path may lead out of its namespace or be nowhere: the root of the hierarchy is what it has then.
std::string folder_of(const Host& host, std::string_view hierarchy, std::string_view path) {
  const std::string root(hierarchy), whole = root + std::string(path);
  const bool outside = path.find("/..") != path.npos;
  return path != "/" && !outside && host.has(whole) ? whole : root;
}

void add_controllers(Cgroup& cgroup, std::string_view list) {
  for (size_t from = 0; from <= list.size();) {
    const size_t to = std::min(list.find(',', from), list.size());
    const std::string_view name = list.substr(from, to - from);
    if (!name.empty() && !name.starts_with("name=")) cgroup.controllers.push_back(printable(name));
    from = to + 1;
  }
}

Cgroup unified(const Host& host, std::string_view path) {
  Cgroup cgroup{true, folder_of(host, kRoot, path), printable(path), {}};
  if (const auto controllers = host.line(cgroup.folder + "/cgroup.controllers"))
    for (const std::string_view name : words_of(*controllers)) cgroup.controllers.emplace_back(name);
  return cgroup;
}

Cgroup divided(const Host& host, const std::vector<std::string_view>& lines) {
  Cgroup cgroup;
  for (const std::string_view line : lines) {
    const auto found = parse(line);
    if (!found || found->controllers.empty()) continue;
    add_controllers(cgroup, found->controllers);
    if (found->controllers != "memory") continue;
    cgroup.folder = folder_of(host, fmt::format("{}/memory", kRoot), found->path);
    cgroup.path = printable(found->path);
  }
  return cgroup;
}

}  // namespace

Result<Cgroup> cgroup_of(const Host& host) {
  const auto text = host.text("/proc/self/cgroup");
  if (!text) return text.error();
  const auto lines = lines_of(*text);
  // With both mounted, the second version has no controllers and the first is the one that counts.
  if (host.has(fmt::format("{}/cgroup.controllers", kRoot)))
    for (const std::string_view line : lines)
      if (const auto found = parse(line); found && line.starts_with("0::")) return unified(host, found->path);
  if (lines.empty() || std::none_of(lines.begin(), lines.end(), parse))
    return error("'/proc/self/cgroup' names no cgroup");
  return divided(host, lines);
}

std::optional<uint64_t> memory_left_in_cgroup(const Host& host) {
  const auto cgroup = cgroup_of(host);
  if (!cgroup || cgroup->folder.empty()) return std::nullopt;
  const bool unified = cgroup->unified;
  const auto limit = host.number(cgroup->folder + (unified ? "/memory.max" : "/memory.limit_in_bytes"));
  const auto used = host.number(cgroup->folder + (unified ? "/memory.current" : "/memory.usage_in_bytes"));
  if (!limit || !used) return std::nullopt;  // "max" is no number
  return *limit - std::min(*limit, *used);
}

}  // namespace skerry::doctor
