// Zeroed memory whose address is a multiple of a power of two, for O_DIRECT.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "base/units.hpp"

namespace skerry::block {

class AlignedBuffer {
 public:
  AlignedBuffer(size_t size, size_t alignment)
      : size_(align_up(size, alignment)), memory_(static_cast<uint8_t*>(std::aligned_alloc(alignment, size_))) {
    if (!memory_) throw std::bad_alloc();  // as operator new does: the program ends with a message
    std::memset(memory_.get(), 0, size_);
  }
  std::span<uint8_t> bytes() { return {memory_.get(), size_}; }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  size_t size_;
  std::unique_ptr<uint8_t, Free> memory_;
};

}  // namespace skerry::block
