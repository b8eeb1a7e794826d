// One range of a device's registers, for devices that have several.
#pragma once

#include <functional>

#include "bus/address_space.hpp"

namespace skerry::devices {

class IoWindow final : public bus::IoHandler {
 public:
  using Read = std::function<uint64_t(uint64_t offset, unsigned size)>;
  using Write = std::function<void(uint64_t offset, unsigned size, uint64_t value)>;
  IoWindow(unsigned widest_access, Read read, Write write)
      : widest_access_(widest_access), read_(std::move(read)), write_(std::move(write)) {}

  uint64_t io_read(uint64_t offset, unsigned size) override { return read_(offset, size); }
  void io_write(uint64_t offset, unsigned size, uint64_t value) override { write_(offset, size, value); }
  unsigned widest_access() const override { return widest_access_; }

 private:
  unsigned widest_access_;
  Read read_;
  Write write_;
};

}  // namespace skerry::devices
