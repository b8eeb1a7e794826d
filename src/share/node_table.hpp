// What the guest has looked up: files and folders of the share by the numbers that the guest knows them by, each with a descriptor
// that holds on to the very file. Thread-compatible.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <unordered_map>
#include <utility>

#include "base/fd.hpp"

namespace skerry::share {

struct Node {
  UniqueFd fd;  // O_PATH: stands for the file, reads and writes nothing
  dev_t device;
  ino_t inode;
  mode_t type;       // S_IFMT bits
  uint64_t lookups;  // that the guest has not forgotten
};

class NodeTable {
 public:
  // Of the root, which is always there, and at most `most` others.
  NodeTable(UniqueFd root, const struct stat& about, size_t most);

  // Null: the guest knows no such number.
  Node* find(uint64_t id);
  // The number of the file that `fd` stands for, with one lookup more. 0: there is no room for another.
  uint64_t look_up(UniqueFd fd, const struct stat& about);
  // `count` lookups less; what has none left is forgotten. Other numbers and counts do nothing.
  void forget(uint64_t id, uint64_t count);
  void forget_all();  // but the root
  size_t size() const { return nodes_.size(); }

 private:
  using Key = std::pair<dev_t, ino_t>;  // nobody else's as long as a descriptor holds the file
  const size_t most_;
  std::unordered_map<uint64_t, Node> nodes_;
  std::map<Key, uint64_t> ids_;
  uint64_t next_;  // numbers are never used again
};

}  // namespace skerry::share
