#include "display/deflater.hpp"

#include <algorithm>

namespace skerry::display {

namespace {

constexpr size_t kStep = 16 * 1024;

}  // namespace

Deflater::~Deflater() {
  if (begun_) ::deflateEnd(&stream_);
}

bool Deflater::write(std::span<const uint8_t> data, std::vector<uint8_t>& to, int flush) {
  if (!begun_ && ::deflateInit(&stream_, level_) != Z_OK) return false;
  begun_ = true;
  stream_.next_in = const_cast<uint8_t*>(data.data());
  stream_.avail_in = static_cast<uInt>(data.size());
  do {
    // Written in place; it is done when there is room left over.
    const size_t size = to.size();
    to.resize(size + std::max(kStep, data.size() / 8));
    stream_.next_out = to.data() + size;
    stream_.avail_out = static_cast<uInt>(to.size() - size);
    const int result = ::deflate(&stream_, flush);
    to.resize(to.size() - stream_.avail_out);
    if (result == Z_STREAM_ERROR) return false;
    if (result == Z_BUF_ERROR || result == Z_STREAM_END) break;  // there was nothing left to do
  } while (stream_.avail_in != 0 || stream_.avail_out == 0);
  return true;
}

}  // namespace skerry::display
