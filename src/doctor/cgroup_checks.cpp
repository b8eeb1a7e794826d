// Whether a VM can be given limits by control groups.
#include <unistd.h>

#include <algorithm>

#include "doctor/cgroup.hpp"
#include "doctor/remedies.hpp"
#include "doctor/subjects.hpp"

namespace skerry::doctor {

namespace {

// Of those that Skerry has a use for. Version 2 has no controller of devices: programs of eBPF do that there.
std::vector<std::string> lacking(const Cgroup& cgroup) {
  std::vector<std::string> wanted = {"cpu", "cpuset", "memory", "pids", cgroup.unified ? "io" : "blkio"};
  if (!cgroup.unified) wanted.emplace_back("devices");
  std::erase_if(wanted, [&](const std::string& name) {
    return std::find(cgroup.controllers.begin(), cgroup.controllers.end(), name) != cgroup.controllers.end();
  });
  return wanted;
}

// A cgroup is delegated to whom may move processes within it and hand its controllers on; cgroup v2's documentation.
bool delegated(const Host& host, const Cgroup& cgroup) {
  if (cgroup.folder.empty() || !host.allows(cgroup.folder + "/cgroup.procs", W_OK)) return false;
  return !cgroup.unified || host.allows(cgroup.folder + "/cgroup.subtree_control", W_OK);
}

}  // namespace

std::optional<Finding> check_cgroup(const Host& host) {
  const auto cgroup = cgroup_of(host);
  if (!cgroup) return not_told(host, cgroup.error());
  const auto lacks = lacking(*cgroup);
  const bool ours = delegated(host, *cgroup);
  std::string found =
      fmt::format("version {}; controllers: {}", cgroup->unified ? 2 : 1, fmt::join(cgroup->controllers, ", "));
  if (cgroup->controllers.empty()) found += "none";
  if (!lacks.empty()) found += fmt::format("; lacking: {}", fmt::join(lacks, ", "));
  found += fmt::format("; '{}' is {}delegated to this user", cgroup->path, ours ? "" : "not ");
  if (!cgroup->unified)
    return warning(found,
                   "start with version 2 alone: kernel parameter systemd.unified_cgroup_hierarchy=1 (in "
                   "GRUB_CMDLINE_LINUX of /etc/default/grub, then update-grub and a new start)");
  if (lacks.empty() && ours) return fine(found);
  if (in_container(host))
    return warning(found,
                   "let the container have a cgroup of its own: podman run --cgroups=enabled, or "
                   "docker run --cgroupns=private with --privileged");
  if (!lacks.empty())
    return warning(found,
                   "as root, a file /etc/systemd/system/user@.service.d/skerry.conf with the lines [Service] and "
                   "Delegate=cpu cpuset io memory pids; systemctl daemon-reload; log in anew; then systemd-run --user "
                   "--scope -p Delegate=yes skerry run ...");
  return warning(found, "start VMs in a scope of their own: systemd-run --user --scope -p Delegate=yes skerry run ...");
}

}  // namespace skerry::doctor
