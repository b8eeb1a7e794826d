// A file that is parsed for the guest: opened before the process is sandboxed, read afterwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "config/vm_config.hpp"

namespace skerry::machine {

// Read-only and positioned, so reading changes nothing and may be repeated: a reset loads the kernel again. What comes
// through a pipe (`--initrd <(...)`) is kept in memory. Thread-safe after creation.
class InputFile {
 public:
  // `role` is for messages: "kernel", "initrd".
  static Result<InputFile> open(std::string_view role, std::string path);
  static Result<InputFile> adopt(std::string_view role, std::string path, UniqueFd fd);

  const std::string& path() const { return path_; }
  const std::string& label() const { return label_; }  // "kernel '/boot/vmlinuz'", to start a message with
  uint64_t size() const { return size_; }

  // Fills all of `to` from `offset`; the range must lie in the file.
  Result<void> read(uint64_t offset, std::span<std::byte> to) const;
  // A structure at `offset`; nothing when the file ends before its end.
  template <typename T>
  std::optional<T> read_struct(uint64_t offset) const {
    T value;
    if (size_ < sizeof value || offset > size_ - sizeof value) return std::nullopt;
    if (!read(offset, std::as_writable_bytes(std::span(&value, 1)))) return std::nullopt;
    return value;
  }
  // The first bytes, at most `max`.
  Result<std::vector<uint8_t>> head(size_t max) const;

 private:
  InputFile() = default;
  std::string path_, label_;
  UniqueFd fd_;
  uint64_t size_ = 0;
};

// A module of a kernel: its initial ramdisk, or for a Multiboot kernel one of several files with a text for each.
struct Module {
  InputFile file;
  std::string arguments;
};

struct BootFiles {
  InputFile kernel;
  std::vector<Module> modules;
};

// Opens what a configuration names. Kernel::initrd is one file if there is one of exactly that name, else a list.
Result<BootFiles> open_boot_files(const config::Kernel& kernel);

}  // namespace skerry::machine
