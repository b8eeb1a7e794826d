#include "doctor/checks.hpp"

#include <set>

#include "unit/doctor/fake_host.hpp"

namespace skerry::doctor {
namespace {

using ::testing::Test;
using Laptop = DoctorTest;

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

#define EXPECT_HAS(text, part) EXPECT_PRED2(has, text, part)

TEST_F(Laptop, HasNothingToDo) {
  for (const Check& check : examined())
    EXPECT_EQ(check.finding.status, Status::kOk)
        << check.id << ": " << check.finding.found << ": " << check.finding.remedy;
  EXPECT_HAS(found("processor.model").finding.found, "i7-1165G7 @ 2.80GHz (GenuineIntel)");
  EXPECT_EQ(found("processor.virtualization").finding.found, "VT-x (vmx)");
  EXPECT_EQ(found("kvm.modules").finding.found, "kvm_intel");
  EXPECT_EQ(found("kvm.device").finding.found, "/dev/kvm");
  EXPECT_EQ(found("devices.iommu").finding.found, "3 groups");
}

TEST_F(Laptop, EveryCheckHasItsOwnIdAndItsRemedyWhereOneIsNeeded) {
  const auto sound = [&](const char* what) {
    std::set<std::string> ids;
    for (const Check& check : examined()) {
      EXPECT_TRUE(ids.insert(check.id).second) << check.id << " twice, " << what;
      EXPECT_FALSE(check.group.empty() || check.title.empty() || check.finding.found.empty())
          << check.id << ", " << what;
      EXPECT_EQ(check.finding.remedy.empty(), check.finding.status == Status::kOk) << check.id << ", " << what;
      for (const char c : check.finding.found + check.finding.remedy) EXPECT_TRUE(c >= ' ' && c <= '~') << check.id;
    }
  };
  sound("laptop");
  // One file after the other is taken away, then replaced by what it should not hold.
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root_))
    if (entry.is_regular_file()) files.push_back(entry.path().string().substr(root_.size()));
  EXPECT_GT(files.size(), 30u);
  for (const std::string& file : files) {
    remove(file);
    sound(("without " + file).c_str());
    folder(file);
    sound(("a folder for " + file).c_str());
    for (const std::string& content :
         {std::string(), std::string(200'000, '\xff'), std::string(5000, '\n'),
          std::string("\0\033[2J:::/../..\n0::/../../..\nflags\n", 33), std::string("-1 [ ]"),
          std::string("18446744073709551615\nMemAvailable: 18446744073709551615 kB\nMemTotal: 1")}) {
      put(file, content);
      sound(("odd content in " + file).c_str());
    }
    laptop();
  }
}

TEST_F(Laptop, WithNothingAtAll) {
  std::filesystem::remove_all(root_);
  system_ = FakeSystem();
  system_.folder = "";
  const auto checks = examined();
  EXPECT_GT(checks.size(), 20u);
  EXPECT_HAS(found("memory.free").finding.found, "not known: there is no '/proc/meminfo'");
  EXPECT_EQ(found("skerry.programs").finding.status, Status::kMissing);
  EXPECT_EQ(found("firmware.seabios").finding.status, Status::kMissing);
  EXPECT_HAS(found("processor.model").finding.found, "unknown");
}

TEST_F(Laptop, WithoutWhatSkerryNeeds) {
  EXPECT_EQ(summary_of(examined()).missing, 0u);
  remove("/opt/skerry/skerry-net");
  EXPECT_EQ(found("skerry.programs").finding.found, "skerry-net cannot be run from '/opt/skerry'");
  system_.code_memory = "cannot map executable memory";
  EXPECT_HAS(found("skerry.translator").finding.remedy, "memfd_noexec");
  system_.seccomp = EINVAL;
  EXPECT_HAS(found("isolation.seccomp").finding.remedy, "CONFIG_SECCOMP_FILTER");
  remove("/usr/share/seabios");
  EXPECT_HAS(found("firmware.seabios").finding.remedy, "apt install seabios");
  EXPECT_EQ(summary_of(examined()).missing, 4u);
  put("/usr/share/seabios/bios-256k.bin", "no power of two");
  EXPECT_EQ(found("firmware.seabios").finding.status, Status::kMissing);
  remove("/usr/share/OVMF");
  EXPECT_HAS(found("firmware.ovmf").finding.remedy, "apt install ovmf");
}

TEST_F(Laptop, UserNamespacesConfineSharedFoldersOrLandlockDoes) {
  EXPECT_EQ(found("isolation.namespaces").finding.status, Status::kOk);
  put("/proc/sys/kernel/unprivileged_userns_clone", "0\n");
  EXPECT_EQ(found("isolation.namespaces").finding.status, Status::kWarning);
  EXPECT_HAS(found("isolation.namespaces").finding.remedy, "sysctl kernel.unprivileged_userns_clone=1");
  put("/sys/kernel/security/lsm", "capability,landlock,yama\n");
  EXPECT_EQ(found("isolation.namespaces").finding.status, Status::kOk);
  EXPECT_HAS(found("isolation.namespaces").finding.found, "under Landlock");
}

// Processor

TEST_F(Laptop, AmdHasItsOwnNames) {
  system_.text_in(0, "AuthenticAMD", true);
  system_.leaves[1].ecx = 0;
  system_.leaves[0x80000001].ecx = 1 << 2;
  put("/proc/cpuinfo", "flags\t\t: fpu svm\n");
  EXPECT_EQ(found("processor.virtualization").finding.found, "AMD-V (svm)");
  remove("/sys/module/kvm_intel");
  remove("/sys/class/misc/kvm");
  EXPECT_HAS(found("kvm.device").finding.remedy, "modprobe kvm_amd");
  put("/sys/module/kvm_amd/parameters/nested", "0\n");
  put("/sys/module/kvm_amd/parameters/npt", "N\n");
  EXPECT_HAS(found("kvm.nesting").finding.remedy, "options kvm_amd nested=1");
  EXPECT_HAS(found("kvm.paging").finding.remedy, "options kvm_amd npt=1");
}

TEST_F(Laptop, WhereTheFirmwareHasLockedIt) {
  put("/proc/cpuinfo", "flags\t\t: fpu tsc\n");
  const Check check = found("processor.virtualization");
  EXPECT_EQ(check.finding.status, Status::kWarning);
  EXPECT_HAS(check.finding.found, "the firmware has locked it");
  EXPECT_HAS(check.finding.remedy, "Intel Virtualization Technology");
}

TEST_F(Laptop, ThatIsAVmItself) {
  EXPECT_EQ(found("processor.hypervisor").finding.found, "none: this is no VM, or one that does not tell");
  no_hardware();
  system_.leaves[1].ecx = 1u << 31;
  system_.text_in(0x40000000, "KVMKVMKVM\0\0", false);
  EXPECT_EQ(found("processor.hypervisor").finding.found, "this is a VM of KVM (\"KVMKVMKVM\")");
  EXPECT_HAS(found("processor.virtualization").finding.remedy, "nested=1");
  system_.text_in(0x40000000, "\033]0;what\a\a\a\a", false);
  EXPECT_EQ(found("processor.hypervisor").finding.found, "this is a VM of an unknown hypervisor (\"?]0;what????\")");
}

TEST_F(Laptop, WithASlowClock) {
  put("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n");
  EXPECT_HAS(found("processor.clock").finding.found, "'hpet'");
  EXPECT_HAS(found("processor.clock").finding.remedy, "tsc=reliable");
}

TEST_F(Laptop, WithAnOpenVulnerability) {
  put("/sys/devices/system/cpu/vulnerabilities/mds", "Vulnerable: Clear CPU buffers attempted, no microcode\n");
  EXPECT_HAS(found("processor.vulnerabilities").finding.found, "not mitigated: mds;");
  EXPECT_HAS(found("processor.vulnerabilities").finding.remedy, "intel-microcode");
}

// KVM

TEST_F(Laptop, WithoutKvmsModule) {
  remove("/dev/kvm");
  remove("/sys/class/misc/kvm");
  remove("/sys/module/kvm_intel");
  EXPECT_HAS(found("kvm.modules").finding.remedy, "modprobe kvm_intel");
  EXPECT_HAS(found("kvm.device").finding.found, "there is no /dev/kvm");
  EXPECT_HAS(found("kvm.device").finding.remedy, "modprobe kvm_intel");
  for (const char* id : {"kvm.api", "kvm.vm", "kvm.nesting", "kvm.capabilities"}) EXPECT_TRUE(left_out(id)) << id;
  put("/dev/kvm", "");  // as it is made at start, whatever is loaded
  EXPECT_HAS(found("kvm.device").finding.found, "no driver behind it: kvm_intel is not loaded");
  EXPECT_TRUE(system_.opened.empty() || system_.opened != std::vector<std::string>{"/dev/kvm"});
  remove("/proc/modules");
  EXPECT_HAS(found("kvm.device").finding.remedy, "use a kernel with CONFIG_KVM_INTEL");
}

TEST_F(Laptop, WhatHasNoDriverIsNotOpened) {
  for (const char* name : {"kvm", "tun", "vhost-net", "vhost-vsock"}) remove(std::string("/sys/class/misc/") + name);
  EXPECT_HAS(found("network.tun").finding.found, "the module tun is not loaded yet");
  EXPECT_TRUE(system_.opened.empty());
}

TEST_F(Laptop, WithoutTheRightToUseKvm) {
  closed("/dev/kvm");
  system_.kvm.open_error = EACCES;
  const Check check = found("kvm.device");
  EXPECT_EQ(check.finding.status, Status::kWarning);
  EXPECT_HAS(check.finding.remedy, "usermod -aG kvm joe");
  EXPECT_TRUE(left_out("kvm.capabilities"));
  system_.me.listed_groups = {test_group()};
  EXPECT_HAS(found("kvm.device").finding.remedy, "log out and in again");
  // Without a group that may.
  ::chmod((root_ + "/dev/kvm").c_str(), 0600);
  EXPECT_HAS(found("kvm.device").finding.remedy, "setfacl -m u:joe:rw /dev/kvm");
}

TEST_F(Laptop, WhoseContainerHasNoKvm) {
  put("/.dockerenv", "");
  remove("/dev/kvm");
  EXPECT_HAS(found("kvm.device").finding.remedy, "docker run --device /dev/kvm");
  put("/dev/kvm", "", 0666);
  system_.devices["/dev/kvm"] = EPERM;  // the container's rules of devices
  system_.kvm.open_error = EPERM;
  EXPECT_HAS(found("kvm.device").finding.remedy, "docker run --device /dev/kvm");
}

TEST_F(Laptop, WithAnotherHypervisorAtWork) {
  system_.kvm.create_error = EBUSY;
  EXPECT_HAS(found("kvm.vm").finding.found, "another hypervisor holds VT-x");
  EXPECT_HAS(found("kvm.vm").finding.remedy, "vboxdrv");
  for (const int failure : {EIO, EOPNOTSUPP, ENOMEM, EINVAL}) {
    system_.kvm.create_error = failure;
    EXPECT_EQ(found("kvm.vm").finding.status, Status::kWarning);
  }
}

TEST_F(Laptop, WithAnOddApiVersion) {
  system_.kvm.api_version = 11;
  EXPECT_HAS(found("kvm.api").finding.found, "version 11");
}

TEST_F(Laptop, WithoutHardwareIsNoError) {
  no_hardware();
  remove("/dev/kvm");
  remove("/sys/class/misc/kvm");
  const auto checks = examined();
  EXPECT_EQ(summary_of(checks).missing, 0u);
  EXPECT_EQ(summary_of(checks).warnings, 1u);
  EXPECT_HAS(found("processor.virtualization").finding.found, "--accel bt");
  for (const char* id : {"kvm.modules", "kvm.device"}) {
    EXPECT_EQ(found(id).finding.status, Status::kOk);
    EXPECT_HAS(found(id).finding.found, "--accel auto takes the translator bt");
  }
}

TEST_F(Laptop, WithKvmPvm) {
  no_hardware();
  folder("/sys/module/kvm_pvm");
  EXPECT_HAS(found("kvm.modules").finding.found, "kvm_pvm, which needs no VT-x");
  EXPECT_EQ(found("kvm.device").finding.status, Status::kOk);
  EXPECT_HAS(found("kvm.device").finding.found, "no VT-x or AMD-V behind it");
  EXPECT_EQ(found("kvm.vm").finding.status, Status::kOk);
  EXPECT_TRUE(left_out("kvm.nesting"));
  closed("/dev/kvm");
  EXPECT_EQ(found("kvm.device").finding.found,
            "/dev/kvm, not for this process and with no VT-x or AMD-V behind it; --accel auto takes the translator bt");
  EXPECT_EQ(summary_of(examined()).missing, 0u);
}

TEST_F(Laptop, WithAnOldKvm) {
  system_.capability = 0;
  const Check irqfd = found("kvm.capability.irqfd"), exits = found("kvm.capability.immediate-exit");
  EXPECT_TRUE(irqfd.detail);
  EXPECT_EQ(irqfd.title, "KVM_CAP_IRQFD");
  EXPECT_HAS(irqfd.finding.found, "not there: interrupts of devices have to be sent by a call");
  EXPECT_HAS(irqfd.finding.remedy, "Linux 6.1.0-50-amd64");
  EXPECT_HAS(exits.finding.found, "required by --accel kvm");
  EXPECT_HAS(found("kvm.capability.tsc-control").finding.remedy, "use a processor whose VT-x");
  system_.capability = 5;
  EXPECT_HAS(found("kvm.capability.nr-memslots").finding.found, "only 5");
  EXPECT_EQ(found("kvm.capability.irqfd").finding.found, "there: 5");
  EXPECT_EQ(summary_of(examined()).missing, 0u);
}

TEST_F(Laptop, KvmIsAskedOnce) {
  (void)examined();
  EXPECT_EQ(std::count(system_.opened.begin(), system_.opened.end(), "/dev/kvm"), 2);  // opened, and asked
}

// Memory and storage

TEST_F(Laptop, WithLittleMemory) {
  put("/proc/meminfo", "MemTotal: 2000000 kB\nMemAvailable: 500000 kB\n");
  EXPECT_HAS(found("memory.free").finding.found, "488 MiB of 1953 MiB available");
  laptop();
  const std::string cgroup = "/sys/fs/cgroup/user.slice/run.scope";
  put(cgroup + "/memory.max", "536870912\n");
  put(cgroup + "/memory.current", "436870912\n");
  EXPECT_HAS(found("memory.free").finding.found, "95 MiB of them to this cgroup");
  EXPECT_EQ(found("memory.free").finding.status, Status::kWarning);
  put(cgroup + "/memory.max", "max\n");
  EXPECT_EQ(found("memory.free").finding.status, Status::kOk);
}

TEST_F(Laptop, ThatPromisesNoMemoryItLacks) {
  put("/proc/sys/vm/overcommit_memory", "2\n");
  put("/proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 8000000 kB\nCommitLimit: 4096 kB\nCommitted_AS: 1024 kB\n");
  EXPECT_HAS(found("memory.overcommit").finding.found, "3 MiB left");
  EXPECT_HAS(found("memory.overcommit").finding.remedy, "sysctl vm.overcommit_memory=0");
}

TEST_F(Laptop, PagesOfEverySize) {
  put("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always within_size advise [never] deny force\n");
  EXPECT_HAS(found("memory.transparent-pages").finding.found, "shmem_enabled=never");
  put("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512\n");
  put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "500\n");
  EXPECT_EQ(found("memory.huge-pages-2m").finding.found, "512 set aside, 500 of them free");
  remove("/sys/kernel/mm/hugepages/hugepages-1048576kB");
  EXPECT_HAS(found("memory.huge-pages-1g").finding.found, "no pages of 1 GiB");
  put("/sys/kernel/mm/ksm/run", "1\n");
  put("/sys/kernel/mm/ksm/pages_sharing", "77\n");
  EXPECT_EQ(found("memory.ksm").finding.found, "on, saves 77 pages");
}

TEST_F(Laptop, WhatIsRefusedToThisUser) {
  system_.userfaultfd = EPERM;
  put("/proc/sys/vm/unprivileged_userfaultfd", "0\n");
  EXPECT_HAS(found("memory.userfaultfd").finding.remedy, "sysctl vm.unprivileged_userfaultfd=1");
  put("/dev/userfaultfd", "", 0600);
  EXPECT_EQ(found("memory.userfaultfd").finding.found, "there by /dev/userfaultfd");
  system_.userfaultfd = ENOSYS;
  EXPECT_HAS(found("memory.userfaultfd").finding.remedy, "CONFIG_USERFAULTFD");
  system_.io_uring = EPERM;
  EXPECT_HAS(found("storage.io-uring").finding.remedy, "seccomp profile");
  put("/proc/sys/kernel/io_uring_disabled", "2\n");
  EXPECT_HAS(found("storage.io-uring").finding.remedy, "sysctl kernel.io_uring_disabled=0");
  remove("/proc/sys/kernel/io_uring_disabled");
  for (const auto& [failure, remedy] :
       {std::pair{ENOSYS, "CONFIG_IO_URING"}, {ENOMEM, "ulimit -l"}, {EINVAL, "dmesg"}}) {
    system_.io_uring = failure;
    EXPECT_HAS(found("storage.io-uring").finding.remedy, remedy);
  }
  system_.files = 256;
  EXPECT_HAS(found("storage.open-files").finding.remedy, "ulimit -n 1024");
}

// Devices

TEST_F(Laptop, WithoutAnIommu) {
  remove("/sys/kernel/iommu_groups");
  EXPECT_TRUE(left_out("devices.vfio"));
  EXPECT_HAS(found("devices.iommu").finding.remedy, "\"VT-d\" in the firmware's setup");
  put("/sys/firmware/acpi/tables/DMAR", "");
  EXPECT_EQ(found("devices.iommu").finding.remedy.substr(0, 33), "kernel parameter intel_iommu=on, ");
  system_.text_in(0, "AuthenticAMD", true);
  EXPECT_HAS(found("devices.iommu").finding.remedy, "amd_iommu=off");
  system_.leaves[1].ecx = 1u << 31;
  EXPECT_HAS(found("devices.iommu").finding.remedy, "give this VM an IOMMU");
}

TEST_F(Laptop, WithoutVfio) {
  remove("/sys/bus/pci/drivers/vfio-pci");
  EXPECT_HAS(found("devices.vfio").finding.remedy, "modprobe vfio-pci");
}

TEST_F(Laptop, WithoutSwtpm) {
  EXPECT_EQ(found("devices.swtpm").finding.found, "/usr/bin/swtpm");
  remove("/usr/bin/swtpm");
  EXPECT_HAS(found("devices.swtpm").finding.remedy, "apt install swtpm");
}

// Control groups

TEST_F(Laptop, WhoseCgroupLacksControllers) {
  const std::string cgroup = "/sys/fs/cgroup/user.slice/run.scope";
  EXPECT_EQ(found("isolation.cgroup").finding.found,
            "version 2; controllers: cpuset, cpu, io, memory, pids; '/user.slice/run.scope' is delegated to this user");
  put(cgroup + "/cgroup.controllers", "memory pids\n");
  EXPECT_HAS(found("isolation.cgroup").finding.found, "lacking: cpu, cpuset, io");
  EXPECT_HAS(found("isolation.cgroup").finding.remedy, "Delegate=cpu cpuset io memory pids");
  put(cgroup + "/cgroup.controllers", "cpuset cpu io memory pids\n");
  remove(cgroup + "/cgroup.procs");
  EXPECT_HAS(found("isolation.cgroup").finding.found, "is not delegated");
  EXPECT_HAS(found("isolation.cgroup").finding.remedy, "systemd-run --user --scope -p Delegate=yes");
}

TEST_F(Laptop, WithTheFirstVersionOfCgroups) {
  remove("/sys/fs/cgroup");
  put("/proc/self/cgroup",
      "9:name=systemd:/\n7:blkio:/\n5:devices:/\n4:memory:/a\n3:cpuset:/\n2:cpu,cpuacct:/\n1:pids:/\n0::/\n");
  put("/sys/fs/cgroup/memory/a/cgroup.procs", "");
  put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
  put("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "4096\n");
  const Check check = found("isolation.cgroup");
  EXPECT_EQ(
      check.finding.found,
      "version 1; controllers: blkio, devices, memory, cpuset, cpu, cpuacct, pids; '/a' is delegated to this user");
  EXPECT_HAS(check.finding.remedy, "systemd.unified_cgroup_hierarchy=1");
  EXPECT_EQ(found("memory.free").finding.status, Status::kOk);
}

TEST_F(Laptop, WhoseContainerHidesItsCgroup) {
  put("/proc/self/cgroup", "0::/../../outside\n");
  put("/sys/fs/cgroup/cgroup.procs", "");
  put("/sys/fs/cgroup/cgroup.subtree_control", "");
  EXPECT_EQ(found("isolation.cgroup").finding.status, Status::kOk);
}

TEST_F(Laptop, InAContainerWithoutSys) {
  put("/run/.containerenv", "");
  remove("/sys");
  const auto checks = examined();
  EXPECT_EQ(summary_of(checks).missing, 0u);
  EXPECT_HAS(found("kvm.modules").finding.found, "not known: there is no '/sys/module'");
  EXPECT_HAS(found("kvm.modules").finding.remedy, "outside of the container");
  EXPECT_EQ(found("kvm.device").finding.status, Status::kOk);  // it answers all the same
  EXPECT_EQ(found("kvm.vm").finding.status, Status::kOk);
}

}  // namespace
}  // namespace skerry::doctor
