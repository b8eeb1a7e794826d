// What the guest has opened. Thread-compatible.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>

#include "base/fd.hpp"

namespace skerry::share {

struct Handle {
  UniqueFd fd;
  bool folder;
  uint64_t position = 0;  // of a folder: where its descriptor stands, a cookie of its file system
};

class HandleTable {
 public:
  explicit HandleTable(size_t most) : most_(most) {}

  bool full() const { return handles_.size() >= most_; }
  uint64_t add(UniqueFd fd, bool folder) {  // there is room
    handles_.emplace(next_, Handle{std::move(fd), folder});
    return next_++;
  }
  // Null: there is no such one, or it is of the other kind.
  Handle* find(uint64_t id, bool folder) {
    const auto found = handles_.find(id);
    return found == handles_.end() || found->second.folder != folder ? nullptr : &found->second;
  }
  void remove(uint64_t id) { handles_.erase(id); }
  void clear() { handles_.clear(); }
  size_t size() const { return handles_.size(); }

 private:
  const size_t most_;
  std::unordered_map<uint64_t, Handle> handles_;
  uint64_t next_ = 1;
};

}  // namespace skerry::share
