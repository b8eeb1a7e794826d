// Whose files are whose on both sides of a share.
//
// A server that runs as root passes the guest's numbers through, and what the guest's users create is theirs. One that runs as an
// ordinary user can own files only as that user: those are the guest's root's, all others are nobody's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace skerry::share {

class Owners {
 public:
  static constexpr uint32_t kNobody = 65534;

  // As root: all as they are. The process has CAP_SETUID, CAP_SETGID and CAP_DAC_OVERRIDE.
  static Owners unchanged() { return Owners(true, 0, 0); }
  // Only these are known, as the guest's 0.
  static Owners of_one(uid_t user, gid_t group) { return Owners(false, user, group); }

  bool are_unchanged() const { return unchanged_; }
  uint32_t user_for_guest(uid_t user) const { return unchanged_ ? user : user == user_ ? 0 : kNobody; }
  uint32_t group_for_guest(gid_t group) const { return unchanged_ ? group : group == group_ ? 0 : kNobody; }
  // None: the guest cannot give a file to them.
  std::optional<uid_t> user_of_guest(uint32_t user) const;
  std::optional<gid_t> group_of_guest(uint32_t group) const;
  // What the guest may have a file's mode become. Programs that run as their owner, whoever starts them, would lend the user's
  // rights to other users of the host.
  mode_t mode_of_guest(uint32_t mode) const;

 private:
  Owners(bool unchanged, uid_t user, gid_t group) : unchanged_(unchanged), user_(user), group_(group) {}
  bool unchanged_;
  uid_t user_;
  gid_t group_;
};

// While it lives, what this thread creates is that user's and group's of the guest. With Owners that are unchanged only; otherwise
// it does nothing.
class Creator {
 public:
  Creator(const Owners& owners, uint32_t user, uint32_t group);
  ~Creator();
  Creator(const Creator&) = delete;
  Creator& operator=(const Creator&) = delete;

  bool worked() const { return worked_; }  // otherwise nothing may be created

 private:
  const bool changed_;
  bool worked_ = true;
};

}  // namespace skerry::share
