// A host that is made up: files in a temporary folder, and answers to all else.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "accel/kvm/capabilities.hpp"
#include "doctor/checks.hpp"
#include "doctor/kvm_capabilities.hpp"

namespace skerry::doctor {

// A group that a file can be given, and that is not root's.
inline gid_t test_group() { return ::geteuid() == 0 ? 36 : ::getegid(); }

class FakeSystem final : public System {
 public:
  std::map<uint32_t, x86::CpuidResult> leaves;
  KvmAnswer kvm{0, 12, 0, {}};
  int capability = 1000;               // the answer for each, unless `kvm` has them
  std::map<std::string, int> devices;  // the error of opening each
  int io_uring = 0, userfaultfd = 0, seccomp = 0;
  std::string code_memory;  // the failure
  uint64_t files = 1024;
  User me{1000, "joe", {99999}, {99999}};
  std::string folder = "/opt/skerry";
  std::map<std::string, ProgramResult> programs;  // by the words of the command
  mutable std::vector<std::string> ran, opened;

  x86::CpuidResult cpuid(uint32_t leaf, uint32_t) const override {
    return leaves.contains(leaf) ? leaves.at(leaf) : x86::CpuidResult{};
  }
  KvmAnswer ask_kvm() const override {
    opened.emplace_back("/dev/kvm");
    KvmAnswer answer = kvm;
    if (answer.capabilities.empty() && answer.open_error == 0)
      answer.capabilities.assign(accel::kvm::capabilities().size(), capability);
    return answer;
  }
  int open_device(const std::string& path) const override {
    opened.push_back(path);
    return devices.contains(path) ? devices.at(path) : 0;
  }
  int make_io_uring() const override { return io_uring; }
  int make_userfaultfd() const override { return userfaultfd; }
  int use_seccomp_filters() const override { return seccomp; }
  Result<void> make_code_memory() const override {
    return code_memory.empty() ? ok() : Result<void>(Error(code_memory));
  }
  uint64_t open_files_limit() const override { return files; }
  User user() const override { return me; }
  std::string group_name(gid_t group) const override {
    return group == test_group() ? "kvm" : fmt::format("{}", group);
  }
  Result<std::string> program_folder() const override { return folder; }
  Result<ProgramResult> run(const std::vector<std::string>& command, int) const override {
    const std::string words = fmt::format("{}", fmt::join(command, " "));
    ran.push_back(words);
    if (!programs.contains(words)) return error("'{}' did not end within 1500 ms and was ended", command[0]);
    return programs.at(words);
  }

  void text_in(uint32_t leaf, const char* words, bool vendor_order) {
    auto& r = leaves[leaf];
    uint32_t parts[3];
    std::memcpy(parts, words, sizeof parts);
    r.ebx = parts[0];
    r.ecx = parts[vendor_order ? 2 : 1];
    r.edx = parts[vendor_order ? 1 : 2];
  }
};

// Fresh for each test, and gone with it. It begins as a laptop on which all is well.
class DoctorTest : public ::testing::Test {
 protected:
  DoctorTest() {
    std::string name = ::testing::TempDir() + "skerry-doctor-XXXXXX";
    root_ = ::mkdtemp(name.data());
    laptop();
  }
  ~DoctorTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  void put(const std::string& path, const std::string& content, int mode = 0644) {
    const std::string whole = root_ + path;
    std::filesystem::create_directories(std::filesystem::path(whole).parent_path());
    std::filesystem::remove_all(whole);
    std::ofstream(whole, std::ios::binary) << content;
    std::filesystem::permissions(whole, static_cast<std::filesystem::perms>(mode));
  }
  void folder(const std::string& path) { std::filesystem::create_directories(root_ + path); }
  void remove(const std::string& path) { std::filesystem::remove_all(root_ + path); }

  Host host() const { return Host(system_, root_); }
  std::vector<Check> examined() const { return examine(host()); }
  // The check of that id; a failure of the test and an empty one if it was left out.
  Check found(const std::string& id) const {
    for (Check& check : examined())
      if (check.id == id) return check;
    ADD_FAILURE() << "there is no check " << id;
    return {};
  }
  bool left_out(const std::string& id) const {
    for (const Check& check : examined())
      if (check.id == id) return false;
    return true;
  }

  void laptop() {
    system_.leaves[0] = {22, 0, 0, 0};
    system_.text_in(0, "GenuineIntel", true);
    system_.leaves[1].ecx = 1 << 5;
    system_.leaves[0x80000000].eax = 0x80000008;
    const char brand[49] = "Intel(R) Core(TM) i7-1165G7 @ 2.80GHz\0\0\0\0\0\0\0\0\0\0\0";
    for (uint32_t i = 0; i < 3; ++i) std::memcpy(&system_.leaves[0x80000002 + i], brand + 16 * i, 16);
    put("/opt/skerry/skerry-vm", "", 0755);
    put("/opt/skerry/skerry-net", "", 0755);
    put("/opt/skerry/skerry-fs", "", 0755);
    put("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vmx tsc\n");
    folder("/proc/self");
    put("/proc/modules", "kvm_intel 1 0 - Live 0\n");
    put("/proc/self/cgroup", "0::/user.slice/run.scope\n");
    put("/proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n");
    put("/proc/sys/vm/overcommit_memory", "0\n");
    put("/proc/sys/kernel/osrelease", "6.1.0-50-amd64\n");
    put("/proc/sys/net/ipv4/ip_forward", "0\n");
    put("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
    put("/sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n");
    put("/sys/devices/system/cpu/vulnerabilities/spectre_v2", "Mitigation: IBRS\n");
    put("/sys/module/kvm_intel/parameters/nested", "Y\n");
    put("/sys/module/kvm_intel/parameters/ept", "Y\n");
    for (const char* name : {"kvm", "tun", "vhost-net", "vhost-vsock"}) folder(std::string("/sys/class/misc/") + name);
    for (const char* path : {"/dev/kvm", "/dev/net/tun", "/dev/vhost-net", "/dev/vhost-vsock", "/dev/vfio/vfio"})
      put(path, "", 0660);
    folder("/sys/class/net/lo");
    folder("/sys/kernel/mm");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    put("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always [within_size] advise never deny force\n");
    for (const char* size : {"hugepages-2048kB", "hugepages-1048576kB"})
      for (const char* name : {"nr", "free"})
        put(fmt::format("/sys/kernel/mm/hugepages/{}/{}_hugepages", size, name), "0\n");
    put("/sys/kernel/mm/ksm/run", "0\n");
    for (const char* group : {"0", "1", "2"}) folder(std::string("/sys/kernel/iommu_groups/") + group);
    folder("/sys/bus/pci/drivers/vfio-pci");
    put("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids\n");
    const std::string cgroup = "/sys/fs/cgroup/user.slice/run.scope";
    put(cgroup + "/cgroup.controllers", "cpuset cpu io memory pids\n");
    put(cgroup + "/cgroup.procs", "");
    put(cgroup + "/cgroup.subtree_control", "");
    put("/usr/sbin/dnsmasq", "", 0755);
    put("/usr/bin/swtpm", "", 0755);
    put("/usr/share/seabios/bios-256k.bin", std::string(256 * 1024, 'b'));
    put("/usr/share/OVMF/OVMF_CODE_4M.fd", "");
    put("/usr/share/OVMF/OVMF_VARS_4M.fd", "");
  }
  // One that this user may not open, as far as the kernel says so.
  void closed(const std::string& path) {
    system_.devices[path] = EACCES;
    put(path, "", 0660);
    ASSERT_EQ(::chown((root_ + path).c_str(), static_cast<uid_t>(-1), test_group()), 0);
  }
  void no_hardware() {
    system_.leaves[1].ecx = 0;
    remove("/sys/module/kvm_intel");
    put("/proc/cpuinfo", "flags\t\t: fpu tsc\n");
  }
  void bridge(const std::string& name, const std::string& port = "") {
    folder("/sys/class/net/" + name + "/bridge");
    folder("/sys/class/net/" + name + "/brif");
    if (port.empty()) return;
    folder("/sys/class/net/" + name + "/brif/" + port);
    folder("/sys/class/net/" + port + "/device");
  }

  FakeSystem system_;
  std::string root_;
};

}  // namespace skerry::doctor
