#include "machine/loader/kernel.hpp"

#include <algorithm>
#include <cstring>

#include "base/log.hpp"
#include "base/units.hpp"

namespace skerry::machine {

namespace {

constexpr uint64_t kLowMemory = 4 * KiB, kLowMemoryEnd = 640 * KiB;

bool has(std::span<const uint8_t> head, size_t offset, std::string_view magic) {
  return head.size() >= offset + magic.size() && std::memcmp(head.data() + offset, magic.data(), magic.size()) == 0;
}

// What people hand over by mistake, by its first bytes.
std::string_view advice(std::span<const uint8_t> head) {
  if (has(head, 0, "\x1f\x8b")) return "it is compressed by gzip; give the uncompressed file";
  if (has(head, 0,
          "\xfd"
          "7zXZ"))
    return "it is compressed by xz; give the uncompressed file";
  if (has(head, 0, "\x28\xb5\x2f\xfd")) return "it is compressed by zstd; give the uncompressed file";
  if (has(head, 4, "zimg")) return "it is a compressed EFI image of another architecture";
  if (has(head, 56, "ARM\x64")) return "it is a Linux kernel for arm64; give one for x86";
  if (has(head, 0, "QFI\xfb")) return "it is a qcow2 disk image; give a kernel";
  if (has(head, 0, "070701")) return "it is a cpio archive; it may be meant for --initrd";
  if (has(head, 0, "MZ")) return "it is an EFI program without a Linux boot header";
  return "it is neither a Linux bzImage, nor an ELF file with a PVH note, nor a Multiboot kernel";
}

}  // namespace

Result<void> LoadContext::copy(const InputFile& file, uint64_t offset, uint64_t size, uint64_t gpa) {
  std::vector<std::byte> buffer(std::min<uint64_t>(size, 1 * MiB));
  while (size > 0) {
    const std::span part = std::span(buffer).first(std::min<uint64_t>(size, buffer.size()));
    if (auto good = file.read(offset, part); !good) return good;
    if (!memory.write(gpa, part)) return error("{}: {:#x} is no memory", file.label(), gpa);
    offset += part.size();
    gpa += part.size();
    size -= part.size();
  }
  return ok();
}

Result<uint64_t> LoadContext::place_structure(uint64_t size, std::string_view what) {
  if (const auto at = layout.place_low(size, 16, kLowMemory, kLowMemoryEnd, what)) return *at;
  return error("{}: leaves no room below 640 KiB for {} ({})", files.kernel.label(), what, format_size(size));
}

Result<uint64_t> LoadContext::place_string(std::string_view text, std::string_view what) {
  auto at = place_structure(text.size() + 1, what);
  if (!at) return at;
  memory.write(*at, std::as_bytes(std::span(text)));
  put(*at + text.size(), '\0');
  return at;
}

Result<LoadedKernel> load_kernel(LoadContext context) {
  auto head = context.files.kernel.head(kHeadSize);
  if (!head) return std::move(head).error();
  Result<LoadedKernel> loaded = [&]() -> Result<LoadedKernel> {
    if (is_bzimage(*head)) return load_bzimage(context);
    // Multiboot before PVH: a kernel that has both gets what other loaders give it.
    if (is_multiboot(*head)) return load_multiboot(context, *head);
    if (is_elf(*head)) return load_pvh(context);
    return error("{}: is not a kernel: {}", context.files.kernel.label(), advice(*head));
  }();
  if (loaded)
    log::debug(log::Category::kLoad, "{}: {}, entry at {:#x}", context.files.kernel.label(), loaded->description,
               loaded->entry.rip);
  return loaded;
}

}  // namespace skerry::machine
