// Opens the file or block device that an image is, and learns what its users have to know.
#pragma once

#include <cstdint>
#include <string>

#include "block/direct_io.hpp"
#include "block/image_lock.hpp"

namespace skerry::block {

struct ImageFile {
  UniqueFd fd;
  ImageLock lock;
  uint64_t size = 0;  // a multiple of 512, and of the alignment if `direct`
  bool device = false;
  uint32_t logical_block = 512;  // of a device
  uint32_t optimal_io = 4096;
  DirectIo::Alignment alignment;  // if `direct`
};

// Before the sandbox closes; the descriptors need no rights later. `direct`: O_DIRECT. Errors do not name the image.
Result<ImageFile> open_image(const std::string& path, bool read_only, bool direct);

}  // namespace skerry::block
