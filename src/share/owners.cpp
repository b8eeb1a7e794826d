#include "share/owners.hpp"

#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

namespace skerry::share {

namespace {

// setfsuid() tells no failure, but who it was before.
bool become(uid_t user, gid_t group) {
  ::setfsgid(group);
  ::setfsuid(user);
  constexpr auto kNone = static_cast<uid_t>(-1);
  return ::setfsgid(kNone) == static_cast<int>(group) && ::setfsuid(kNone) == static_cast<int>(user);
}

// setfsuid() to an ordinary user has taken this from what is effective, not from what is permitted. Who may write to which
// folder is for the guest's kernel to say, which knows of groups that the request does not tell.
bool regain_override() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return false;
  auto& word = data[CAP_TO_INDEX(CAP_DAC_OVERRIDE)];
  word.effective |= word.permitted & CAP_TO_MASK(CAP_DAC_OVERRIDE);
  return ::syscall(SYS_capset, &header, data.data()) == 0;
}

}  // namespace

std::optional<uid_t> Owners::user_of_guest(uint32_t user) const {
  if (unchanged_) return user;
  return user == 0 ? std::optional(user_) : std::nullopt;
}

std::optional<gid_t> Owners::group_of_guest(uint32_t group) const {
  if (unchanged_) return group;
  return group == 0 ? std::optional(group_) : std::nullopt;
}

mode_t Owners::mode_of_guest(uint32_t mode) const {
  const auto permissions = static_cast<mode_t>(mode & 07777);
  return unchanged_ || S_ISDIR(mode) ? permissions : permissions & ~static_cast<mode_t>(S_ISUID | S_ISGID);
}

Creator::Creator(const Owners& owners, uint32_t user, uint32_t group)
    : changed_(owners.are_unchanged() && (user != 0 || group != 0)) {
  if (changed_) worked_ = become(user, group) && regain_override();
}

Creator::~Creator() {
  if (changed_) worked_ = become(0, 0);  // brings back what is permitted
}

}  // namespace skerry::share
