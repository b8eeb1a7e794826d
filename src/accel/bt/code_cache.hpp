// Memory for translated code, mapped twice: writable here, executable there, and never both at one address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/result.hpp"

namespace skerry::accel::bt {

class CodeCache {
 public:
  static Result<std::unique_ptr<CodeCache>> create(size_t size);
  ~CodeCache();
  CodeCache(const CodeCache&) = delete;
  CodeCache& operator=(const CodeCache&) = delete;

  uint8_t* writable() const { return writable_; }
  size_t size() const { return size_; }
  // The memory of [from, to), in bytes from the beginning, goes back to the host, until it is written again.
  void give_back(size_t from, size_t to);
  // Where what is written at `place` is executed.
  const uint8_t* executable(const uint8_t* place) const { return executable_ + (place - writable_); }
  bool contains(const void* executable) const {
    return static_cast<size_t>(static_cast<const uint8_t*>(executable) - executable_) < size_;
  }

 private:
  CodeCache(uint8_t* writable, uint8_t* executable, size_t size)
      : writable_(writable), executable_(executable), size_(size) {}
  uint8_t* writable_;
  uint8_t* executable_;
  size_t size_;
};

}  // namespace skerry::accel::bt
