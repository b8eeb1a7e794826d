// Memory for guests: how much, in pages of which size, and what the kernel can do with it.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/units.hpp"
#include "doctor/cgroup.hpp"
#include "doctor/remedies.hpp"
#include "doctor/subjects.hpp"

namespace skerry::doctor {

namespace {

constexpr uint64_t kUsualGuest = 1 * GiB;  // what a VM with a disk has when nothing else is said

// Of /proc/meminfo, in bytes: "MemAvailable:  123 kB".
std::optional<uint64_t> meminfo(std::string_view text, std::string_view name) {
  for (const std::string_view line : lines_of(text)) {
    const auto words = words_of(line);
    if (words.size() < 2 || !words[0].ends_with(':') || words[0].substr(0, words[0].size() - 1) != name) continue;
    const auto value = parse_number(words[1]);
    if (!value || *value > ~uint64_t{0} / KiB) return std::nullopt;
    return *value * KiB;
  }
  return std::nullopt;
}

std::string rounded(uint64_t bytes) { return fmt::format("{} MiB", bytes / MiB); }

Finding huge_pages(const Host& host, std::string_view size, std::string_view folder, std::string_view without) {
  const std::string pool = fmt::format("/sys/kernel/mm/hugepages/{}", folder);
  if (host.presence("/sys/kernel/mm") != Presence::kThere) return not_told(host, error("there is no '/sys/kernel/mm'"));
  if (!host.has(pool)) return fine(fmt::format("no pages of {} on this host: {}", size, without));
  const auto all = host.number(pool + "/nr_hugepages"), free = host.number(pool + "/free_hugepages");
  if (!all || !free) return not_told(host, error("'{}' does not tell its numbers", pool));
  if (*all == 0) return fine(fmt::format("none set aside; guests need none (to have some: {}/nr_hugepages)", pool));
  return fine(fmt::format("{} set aside, {} of them free", *all, *free));
}

}  // namespace

std::optional<Finding> check_free_memory(const Host& host) {
  const auto text = host.text("/proc/meminfo");
  if (!text) return not_told(host, text.error());
  const auto total = meminfo(*text, "MemTotal"), available = meminfo(*text, "MemAvailable");
  if (!total || !available) return not_told(host, error("'/proc/meminfo' has no MemTotal and MemAvailable"));
  std::string found = fmt::format("{} of {} available", rounded(*available), rounded(*total));
  uint64_t room = *available;
  if (const auto limit = memory_left_in_cgroup(host); limit && *limit < room) {
    room = *limit;
    found += fmt::format(", {} of them to this cgroup", rounded(room));
  }
  if (room >= kUsualGuest) return fine(found);
  return warning(
      fmt::format("{}: a VM with a disk has {} unless it is told otherwise", found, format_size(kUsualGuest)),
      "end programs, raise the limit of the cgroup, or give the guest less: skerry run --memory 256M");
}

std::optional<Finding> check_overcommit(const Host& host) {
  const auto mode = host.number("/proc/sys/vm/overcommit_memory");
  if (!mode) return not_told(host, error("'/proc/sys/vm/overcommit_memory' cannot be read"));
  if (*mode == 0) return fine("0: a guest's memory is the host's once it is used");
  if (*mode == 1) return fine("1: memory is promised without limit");
  const auto text = host.text("/proc/meminfo");
  const auto limit = text ? meminfo(*text, "CommitLimit") : std::nullopt;
  const auto used = text ? meminfo(*text, "Committed_AS") : std::nullopt;
  const std::string room = limit && used ? fmt::format(", {} left", rounded(*limit - std::min(*limit, *used))) : "";
  return warning(fmt::format("{}: memory is refused that RAM and swap do not cover{}", *mode, room),
                 "as root: sysctl vm.overcommit_memory=0; at each start: echo vm.overcommit_memory=0 >> "
                 "/etc/sysctl.d/60-skerry.conf");
}

std::optional<Finding> check_transparent_pages(const Host& host) {
  constexpr std::string_view kFolder = "/sys/kernel/mm/transparent_hugepage";
  const auto private_mode = host.line(fmt::format("{}/enabled", kFolder));
  const auto shared_mode = host.line(fmt::format("{}/shmem_enabled", kFolder));
  if (!private_mode) return not_told(host, private_mode.error());
  if (!shared_mode) return not_told(host, shared_mode.error());
  const std::string of_programs = chosen_of(*private_mode), of_guests = chosen_of(*shared_mode);
  const std::string found = fmt::format("enabled={}, shmem_enabled={}", of_programs, of_guests);
  for (const std::string_view good : {"always", "within_size", "force"})
    if (of_guests == good) return fine(found);
  return warning(fmt::format("{}: a guest's RAM, which is shared memory, has pages of 4 KiB only", found),
                 fmt::format("as root, until the next start: echo within_size > {0}/shmem_enabled; for good: a line w "
                             "{0}/shmem_enabled - - - - within_size in /etc/tmpfiles.d/skerry.conf",
                             kFolder));
}

std::optional<Finding> check_huge_pages_2m(const Host& host) {
  return huge_pages(host, "2 MiB", "hugepages-2048kB", "its kernel was built without");
}

std::optional<Finding> check_huge_pages_1g(const Host& host) {
  return huge_pages(host, "1 GiB", "hugepages-1048576kB",
                    "its processor has none (pdpe1gb), or its kernel was built without");
}

std::optional<Finding> check_ksm(const Host& host) {
  if (host.has("/sys/kernel/mm") && host.presence("/sys/kernel/mm/ksm") == Presence::kAbsent)
    return fine("this kernel merges no equal pages (no CONFIG_KSM)");
  const auto run = host.number("/sys/kernel/mm/ksm/run");
  if (!run) return not_told(host, error("'/sys/kernel/mm/ksm/run' cannot be read"));
  if (*run != 1) return fine("off: equal pages are not merged, and guests learn nothing of each other by that");
  const auto sharing = host.number("/sys/kernel/mm/ksm/pages_sharing");
  return fine(fmt::format("on, saves {} pages", sharing.value_or(0)));
}

std::optional<Finding> check_userfaultfd(const Host& host) {
  const int failure = host.system().make_userfaultfd();
  if (failure == 0) return fine("there");
  constexpr std::string_view kLost = "a guest's memory cannot be fetched while it runs";
  if (failure == ENOSYS)
    return warning(fmt::format("not in this kernel, or kept away by a container: {}", kLost),
                   "use a kernel with CONFIG_USERFAULTFD; in a container, a seccomp profile that allows userfaultfd");
  if (host.allows("/dev/userfaultfd", R_OK | W_OK)) return fine("there by /dev/userfaultfd");
  const auto open_to_all = host.number("/proc/sys/vm/unprivileged_userfaultfd");
  if (failure == EPERM && open_to_all && *open_to_all == 0) {
    const std::string found = fmt::format("not for this user (vm.unprivileged_userfaultfd=0): {}", kLost);
    if (host.has("/dev/userfaultfd"))
      return warning(found, fmt::format("as root: setfacl -m u:{}:rw /dev/userfaultfd, or for all users: sysctl "
                                        "vm.unprivileged_userfaultfd=1",
                                        printable(host.system().user().name)));
    return warning(found, "as root: sysctl vm.unprivileged_userfaultfd=1");
  }
  return warning(
      fmt::format("refused ({}): {}", ::strerror(failure), kLost),
      "in a container, use a seccomp profile that allows userfaultfd: docker run --security-opt seccomp=FILE");
}

}  // namespace skerry::doctor
