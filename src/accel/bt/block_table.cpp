#include "accel/bt/block_table.hpp"

#include <sys/mman.h>

#include <new>

namespace skerry::accel::bt {

BlockTable::BlockTable() {
  constexpr size_t kCount = size_t{kPages} * kPerPage;
  void* const at = ::mmap(nullptr, kCount * sizeof(Chain), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  static_assert(Chain::is_always_lock_free && sizeof(Chain) == sizeof(Block*));  // zeroes are empty chains
  chains_ = {static_cast<Chain*>(at), kCount};
}

BlockTable::~BlockTable() { ::munmap(chains_.data(), chains_.size_bytes()); }

BlockTable::Chain& BlockTable::chain(const std::byte* page, unsigned offset, Mode mode, Entry entry) {
  const uint64_t hash = (reinterpret_cast<uintptr_t>(page) / memory::kPageSize * 0x9e3779b97f4a7c15u) >> 32;
  const unsigned in_page = offset ^ offset >> 6 ^ mode.bits() ^ static_cast<unsigned>(entry) * 21;
  return chains_[hash % kPages * kPerPage + in_page % kPerPage];
}

Block* BlockTable::find(const std::byte* page, unsigned offset, Mode mode, Entry entry) {
  for (Block* block = chain(page, offset, mode, entry).load(std::memory_order_acquire); block;
       block = block->next.load(std::memory_order_acquire))
    if (block->page == page && block->offset == offset && block->mode == mode && block->entry == entry) return block;
  return nullptr;
}

void BlockTable::add(Block& block) {
  Chain& head = chain(block.page, block.offset, block.mode, block.entry);
  block.next.store(head.load(std::memory_order_relaxed), std::memory_order_relaxed);
  head.store(&block, std::memory_order_release);
}

void BlockTable::remove(Block& block) {
  Chain* link = &chain(block.page, block.offset, block.mode, block.entry);
  while (link->load(std::memory_order_relaxed) != &block) link = &link->load(std::memory_order_relaxed)->next;
  link->store(block.next.load(std::memory_order_relaxed), std::memory_order_release);
}

void BlockTable::clear() { ::madvise(chains_.data(), chains_.size_bytes(), MADV_DONTNEED); }

}  // namespace skerry::accel::bt
