#include "machine/firmware_image.hpp"

#include <unistd.h>

#include <bit>
#include <cerrno>

#include "machine/loader/input_file.hpp"

namespace skerry::machine {

Result<FirmwareImage> FirmwareImage::load(const std::string& given, std::string_view usual) {
  FirmwareImage image;
  image.path_ = given.empty() ? std::string(usual) : given;
  if (::access(image.path_.c_str(), F_OK) != 0)
    return error("firmware: there is no '{}'; install the Debian package seabios, {}", image.path_,
                 given.empty() ? "or give a firmware file" : "which is used when none is named, or name one that is there");
  auto file = InputFile::open("firmware", image.path_);
  if (!file) return std::move(file).error();
  const uint64_t size = file->size();
  if (!std::has_single_bit(size) || size < kMinSize || size > kMaxSize)
    return error("{}: has {}; a BIOS image has a power of two from {} to {}", file->label(), format_size(size),
                 format_size(kMinSize), format_size(kMaxSize));
  image.content_.resize(size);
  if (auto good = file->read(0, std::as_writable_bytes(std::span(image.content_))); !good)
    return std::move(good).error();
  return image;
}

}  // namespace skerry::machine
