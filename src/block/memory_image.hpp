// A read-only image whose bytes are in the memory of this process: what is made for a VM and is in no file.
#pragma once

#include <vector>

#include "block/node.hpp"

namespace skerry::block {

// Reads end at once. Writes, discards and zeroes are refused with EPERM.
class MemoryImage final : public Node {
 public:
  explicit MemoryImage(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {}

  uint64_t size() const override { return bytes_.size(); }
  bool read_only() const override { return true; }
  Task<Errno> read(uint64_t offset, std::span<const iovec> to) override;
  Task<Errno> write(uint64_t offset, std::span<const iovec> from, bool fua) override;
  Task<Errno> flush() override;
  Task<Errno> discard(uint64_t offset, uint64_t length) override;
  Task<Errno> write_zeroes(uint64_t offset, uint64_t length, bool may_unmap) override;

 private:
  const std::vector<uint8_t> bytes_;
};

}  // namespace skerry::block
