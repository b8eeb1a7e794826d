// A raw image: byte n of the disk is byte n of a file or a block device.
//
// docs/storage.md says what each cache mode promises. Thread: as Node says; open() on any, before the loop runs. It is
// destroyed when no request is under way, before its Aio.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "block/aio.hpp"
#include "block/aligned_buffer.hpp"
#include "block/direct_io.hpp"
#include "block/image_file.hpp"
#include "block/node.hpp"

namespace skerry::block {

// Those of QEMU.
enum class Cache : uint8_t {
  kWriteback,     // the host's page cache; flush() writes it out
  kNone,          // past the page cache; flush() empties the disk's own cache
  kWritethrough,  // the page cache for reads; each write is on the disk before it ends
  kDirectsync,    // past the page cache, and each write is on the disk before it ends
  kUnsafe,        // the page cache; flush() does nothing
};

struct RawFileOptions {
  bool read_only = false;
  Cache cache = Cache::kWriteback;
};

class RawFile final : public Node {
 public:
  // Opens and locks the image and registers it with `aio`. Before the sandbox closes; needs no rights later. The error
  // names the disk, and says why and what to do.
  static Result<std::unique_ptr<RawFile>> open(Aio& aio, const std::string& path, RawFileOptions options);
  ~RawFile() override;

  uint64_t size() const override { return image_.size; }
  bool read_only() const override { return options_.read_only; }
  Limits limits() const override;
  Task<Errno> read(uint64_t offset, std::span<const iovec> to) override;
  Task<Errno> write(uint64_t offset, std::span<const iovec> from, bool fua) override;
  Task<Errno> flush() override;
  Task<Errno> discard(uint64_t offset, uint64_t length) override;
  Task<Errno> write_zeroes(uint64_t offset, uint64_t length, bool may_unmap) override;

 private:
  RawFile(Aio& aio, std::string path, RawFileOptions options, ImageFile image);
  Errno check(uint64_t offset, uint64_t length, bool writes) const;
  Task<Errno> store(uint64_t offset, std::span<const iovec> from, bool durable);
  Task<Errno> allocate(int mode, uint64_t offset, uint64_t length);
  Task<Errno> zero_without_writing(uint64_t offset, uint64_t length, bool may_unmap);
  Task<Errno> write_zero_bytes(uint64_t offset, uint64_t length);

  Aio& aio_;
  const std::string path_;
  const RawFileOptions options_;
  const ImageFile image_;
  const bool each_write_durable_;
  unsigned file_ = 0;
  std::optional<DirectIo> direct_;
  AlignedBuffer zeroes_;
  // What this file cannot do, learnt when it was asked to.
  bool no_discard_ = false, no_punch_ = false, no_zero_range_ = false;
  Errno flush_failure_ = 0;
};

}  // namespace skerry::block
