#include "doctor/system.hpp"

#include <cpuid.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pwd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

#include "accel/bt/code_cache.hpp"
#include "accel/kvm/capabilities.hpp"
#include "accel/kvm/linux_kvm.hpp"
#include "base/fd.hpp"
#include "base/units.hpp"
#include "doctor/run_program.hpp"

namespace skerry::doctor {

namespace {

constexpr size_t kNameBuffer = 16384;
constexpr int kMaxGroups = 65536;  // Linux's own limit, NGROUPS_MAX

// errno, where a descriptor was not to be had.
int error_of(long descriptor) {
  if (descriptor < 0) return errno;
  ::close(static_cast<int>(descriptor));
  return 0;
}

std::vector<gid_t> process_groups() {
  std::vector<gid_t> groups(kMaxGroups);
  const int count = ::getgroups(kMaxGroups, groups.data());
  groups.resize(count < 0 ? 0 : static_cast<size_t>(count));
  groups.push_back(::getegid());
  return groups;
}

std::vector<gid_t> groups_of(const passwd& entry) {
  int count = kMaxGroups;
  std::vector<gid_t> groups(kMaxGroups);
  if (::getgrouplist(entry.pw_name, entry.pw_gid, groups.data(), &count) < 0) count = 0;
  groups.resize(static_cast<size_t>(count));
  return groups;
}

// A signal that comes meanwhile makes the kernel begin anew.
UniqueFd create_vm(int kvm) {
  int fd;
  do fd = ::ioctl(kvm, KVM_CREATE_VM, 0UL);
  while (fd < 0 && errno == EINTR);
  return UniqueFd(fd);
}

class ThisSystem final : public System {
 public:
  x86::CpuidResult cpuid(uint32_t leaf, uint32_t subleaf) const override {
    x86::CpuidResult result;
    __cpuid_count(leaf, subleaf, result.eax, result.ebx, result.ecx, result.edx);
    return result;
  }

  KvmAnswer ask_kvm() const override {
    KvmAnswer answer;
    const UniqueFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
    if (!kvm) {
      answer.open_error = errno;
      return answer;
    }
    answer.api_version = ::ioctl(kvm.get(), KVM_GET_API_VERSION, 0UL);
    const UniqueFd vm = create_vm(kvm.get());
    if (!vm) answer.create_error = errno;
    // A VM knows best what it can do; without one, the kernel says what most can.
    for (const accel::kvm::Capability& capability : accel::kvm::capabilities())
      answer.capabilities.push_back(
          ::ioctl(vm ? vm.get() : kvm.get(), KVM_CHECK_EXTENSION, static_cast<unsigned long>(capability.number)));
    return answer;
  }

  int open_device(const std::string& path) const override {
    return error_of(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  }
  int make_io_uring() const override {
    io_uring_params parameters{};
    return error_of(::syscall(SYS_io_uring_setup, 1, &parameters));
  }
  int make_userfaultfd() const override { return error_of(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)); }
  int use_seccomp_filters() const override {
    // Only asks; a filter could not be taken away again.
    const uint32_t action = SECCOMP_RET_KILL_PROCESS;
    return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 ? 0 : errno;
  }
  Result<void> make_code_memory() const override {
    const auto cache = accel::bt::CodeCache::create(64 * KiB);
    return cache ? ok() : Result<void>(cache.error());
  }

  uint64_t open_files_limit() const override {
    rlimit limit{};
    return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
  }
  User user() const override {
    User user{::geteuid(), fmt::format("{}", ::geteuid()), process_groups(), {}};
    std::vector<char> buffer(kNameBuffer);
    passwd entry{};
    passwd* found = nullptr;
    if (::getpwuid_r(user.id, &entry, buffer.data(), buffer.size(), &found) != 0 || !found) return user;
    user.name = entry.pw_name;
    user.listed_groups = groups_of(entry);
    return user;
  }
  std::string group_name(gid_t group) const override {
    std::vector<char> buffer(kNameBuffer);
    ::group entry{};
    ::group* found = nullptr;
    if (::getgrgid_r(group, &entry, buffer.data(), buffer.size(), &found) == 0 && found) return entry.gr_name;
    return fmt::format("{}", group);
  }
  Result<std::string> program_folder() const override {
    std::array<char, PATH_MAX> self{};
    const ssize_t size = ::readlink("/proc/self/exe", self.data(), self.size() - 1);
    if (size <= 0) return errno_error(errno, "cannot read the link '/proc/self/exe'");
    std::string path(self.data(), static_cast<size_t>(size));
    path.resize(path.rfind('/'));
    return path;
  }
  Result<ProgramResult> run(const std::vector<std::string>& command, int milliseconds) const override {
    return run_program(command, milliseconds);
  }
};

}  // namespace

std::unique_ptr<System> this_system() { return std::make_unique<ThisSystem>(); }

}  // namespace skerry::doctor
