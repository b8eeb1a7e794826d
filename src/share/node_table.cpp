#include "share/node_table.hpp"

#include <linux/fuse.h>

#include <algorithm>

namespace skerry::share {

NodeTable::NodeTable(UniqueFd root, const struct stat& about, size_t most) : most_(most), next_(FUSE_ROOT_ID + 1) {
  nodes_.emplace(FUSE_ROOT_ID, Node{std::move(root), about.st_dev, about.st_ino, S_IFDIR, 1});
  ids_.emplace(Key(about.st_dev, about.st_ino), FUSE_ROOT_ID);
}

Node* NodeTable::find(uint64_t id) {
  const auto found = nodes_.find(id);
  return found == nodes_.end() ? nullptr : &found->second;
}

uint64_t NodeTable::look_up(UniqueFd fd, const struct stat& about) {
  const Key key(about.st_dev, about.st_ino);
  if (const auto known = ids_.find(key); known != ids_.end()) {
    ++nodes_.at(known->second).lookups;
    return known->second;
  }
  if (nodes_.size() > most_) return 0;
  const uint64_t id = next_++;
  nodes_.emplace(id, Node{std::move(fd), about.st_dev, about.st_ino, about.st_mode & S_IFMT, 1});
  ids_.emplace(key, id);
  return id;
}

void NodeTable::forget(uint64_t id, uint64_t count) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end() || id == FUSE_ROOT_ID) return;
  Node& node = found->second;
  node.lookups -= std::min(node.lookups, count);
  if (node.lookups > 0) return;
  ids_.erase(Key(node.device, node.inode));
  nodes_.erase(found);
}

void NodeTable::forget_all() {
  std::erase_if(nodes_, [](const auto& entry) { return entry.first != FUSE_ROOT_ID; });
  std::erase_if(ids_, [](const auto& entry) { return entry.second != FUSE_ROOT_ID; });
}

}  // namespace skerry::share
