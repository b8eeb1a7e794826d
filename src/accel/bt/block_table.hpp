// Which blocks there are, by what they are known by.
#pragma once

#include <atomic>
#include <span>

#include "accel/bt/block.hpp"

namespace skerry::accel::bt {

// Any thread may look; who changes it has the engine's lock. The chains of a page's blocks are beside each other: what runs in a page
// finds them in the cache, and what is not in use takes no memory.
class BlockTable {
 public:
  BlockTable();
  ~BlockTable();
  BlockTable(const BlockTable&) = delete;
  BlockTable& operator=(const BlockTable&) = delete;

  Block* find(const std::byte* page, unsigned offset, Mode mode, Entry entry);  // null: there is none
  void add(Block& block);
  void remove(Block& block);
  void clear();  // while nobody looks

 private:
  static constexpr unsigned kPages = 1 << 14, kPerPage = 1 << 6;  // chains
  using Chain = std::atomic<Block*>;
  Chain& chain(const std::byte* page, unsigned offset, Mode mode, Entry entry);

  std::span<Chain> chains_;
};

}  // namespace skerry::accel::bt
