// The file descriptors that a client of the monitor has passed (SCM_RIGHTS, unix(7)), and the names it gave them.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::vm {

// What stands before a descriptor's name where a command takes one instead of a file.
constexpr std::string_view kDescriptor = "fd:";

// Bounded: what is too many is closed. Main thread only.
class QmpDescriptors {
 public:
  static constexpr size_t kMost = 16;

  // Came from the socket, not claimed yet.
  void received(UniqueFd fd) {
    if (unclaimed_.size() < kMost) unclaimed_.push_back(std::move(fd));
  }
  // Gives `name` to the one that was received first; one that had it is closed.
  Result<void> claim(const std::string& name) {
    if (unclaimed_.empty()) return error("No file descriptor supplied via SCM_RIGHTS");
    UniqueFd fd = std::move(unclaimed_.front());
    unclaimed_.pop_front();
    if (!named_.contains(name) && named_.size() == kMost)
      return error("There are {} named file descriptors already; close one by closefd", kMost);
    named_[name] = std::move(fd);
    return ok();
  }
  // It is the caller's from now on, and has no name any more.
  std::optional<UniqueFd> take(const std::string& name) {
    const auto found = named_.find(name);
    if (found == named_.end()) return std::nullopt;
    UniqueFd fd = std::move(found->second);
    named_.erase(found);
    return fd;
  }
  void clear() {
    unclaimed_.clear();
    named_.clear();
  }

 private:
  std::deque<UniqueFd> unclaimed_;
  std::map<std::string, UniqueFd> named_;
};

}  // namespace skerry::vm
