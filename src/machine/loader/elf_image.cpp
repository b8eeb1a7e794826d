#include "machine/loader/elf_image.hpp"

#include <elf.h>

#include <algorithm>
#include <cstring>

#include "base/units.hpp"
#include "machine/loader/kernel.hpp"

namespace skerry::machine {

namespace {

constexpr unsigned kMaxProgramHeaders = 256;
constexpr uint64_t kMaxNotes = 1 * MiB;
constexpr uint64_t kFourGiB = 4 * GiB;

}  // namespace

bool is_elf(std::span<const uint8_t> head) {
  return head.size() >= EI_NIDENT && std::memcmp(head.data(), ELFMAG, SELFMAG) == 0;
}

Result<ElfImage> ElfImage::parse(const InputFile& file) {
  ElfImage image;
  image.file_ = &file;
  const auto ident = file.read_struct<std::array<uint8_t, EI_NIDENT>>(0);
  if (!ident || !is_elf(*ident)) return error("{}: is not an ELF file", file.label());
  if ((*ident)[EI_DATA] != ELFDATA2LSB || ((*ident)[EI_CLASS] != ELFCLASS32 && (*ident)[EI_CLASS] != ELFCLASS64))
    return error("{}: is an ELF file of another architecture; give a kernel for x86", file.label());
  image.is_64_ = (*ident)[EI_CLASS] == ELFCLASS64;
  auto good = image.is_64_ ? image.parse_class<Elf64_Ehdr, Elf64_Phdr>() : image.parse_class<Elf32_Ehdr, Elf32_Phdr>();
  if (!good) return std::move(good).error().in(file.label());
  return image;
}

template <typename Ehdr, typename Phdr>
Result<void> ElfImage::parse_class() {
  const auto header = file_->read_struct<Ehdr>(0);
  if (!header) return error("is a truncated ELF file of {} bytes; fetch it again", file_->size());
  if (header->e_machine != EM_386 && header->e_machine != EM_X86_64)
    return error("is an ELF file for machine {}; give a kernel for x86", header->e_machine);
  if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
    return error("is an ELF file of type {}, not an executable; link it", header->e_type);
  if (header->e_phnum == 0 || header->e_phnum > kMaxProgramHeaders || header->e_phentsize != sizeof(Phdr))
    return error("is a broken ELF file: {} program headers of {} bytes", header->e_phnum, header->e_phentsize);
  entry_ = header->e_entry;
  for (unsigned i = 0; i < header->e_phnum; ++i) {
    const uint64_t at = uint64_t{header->e_phoff} + i * sizeof(Phdr);
    const auto program = at < header->e_phoff ? std::nullopt : file_->read_struct<Phdr>(at);
    if (!program) return error("is a truncated ELF file of {} bytes: program header {} is missing", file_->size(), i);
    if (program->p_type != PT_LOAD && program->p_type != PT_NOTE) continue;
    const Segment segment{program->p_offset, program->p_vaddr, program->p_paddr, program->p_filesz, program->p_memsz};
    if (segment.filesz > file_->size() || segment.offset > file_->size() - segment.filesz)
      return error("is a truncated ELF file of {} bytes: segment {} is at {}, with {} bytes; fetch it again",
                   file_->size(), i, segment.offset, segment.filesz);
    if (program->p_type == PT_NOTE) {
      notes_.push_back(segment);
    } else if (segment.memsz > 0) {
      if (segment.filesz > segment.memsz || segment.paddr + segment.memsz < segment.paddr)
        return error("is a broken ELF file: segment {} has {} bytes at {:#x} but {} in the file", i, segment.memsz,
                     segment.paddr, segment.filesz);
      loads_.push_back(segment);
    }
  }
  if (loads_.empty()) return error("is an ELF file with nothing to load");
  return ok();
}

std::optional<std::vector<uint8_t>> ElfImage::find_note(std::string_view name, uint32_t type) const {
  uint64_t budget = kMaxNotes;
  for (const Segment& segment : notes_) {
    if (segment.filesz > budget) return std::nullopt;
    budget -= segment.filesz;
    const uint64_t end = segment.offset + segment.filesz;
    for (uint64_t at = segment.offset; at + sizeof(Elf64_Nhdr) <= end;) {
      const auto note = file_->read_struct<Elf64_Nhdr>(at);  // the same in both classes
      const uint64_t name_at = at + sizeof(Elf64_Nhdr);
      if (!note) return std::nullopt;
      const uint64_t desc_at = name_at + align_up(note->n_namesz, 4);
      const uint64_t next = desc_at + align_up(note->n_descsz, 4);
      if (desc_at + note->n_descsz > end) break;
      if (note->n_type == type && note->n_namesz == name.size() + 1) {
        std::vector<uint8_t> bytes(name.size() + 1), desc(note->n_descsz);
        if (!file_->read(name_at, std::as_writable_bytes(std::span(bytes))) ||
            !file_->read(desc_at, std::as_writable_bytes(std::span(desc))))
          return std::nullopt;
        if (std::memcmp(bytes.data(), name.data(), name.size()) == 0 && bytes.back() == 0) return desc;
      }
      at = next;
    }
  }
  return std::nullopt;
}

Result<uint64_t> ElfImage::load(LoadContext& context) const {
  uint64_t highest = 0;
  for (size_t i = 0; i < loads_.size(); ++i) {
    const Segment& segment = loads_[i];
    const uint64_t end = segment.paddr + segment.memsz;
    if (end > kFourGiB)
      return error("{}: segment {} at {:#x}-{:#x} reaches above 4 GiB; give it a physical address below",
                   file_->label(), i, segment.paddr, end - 1);
    if (auto good = context.layout.reserve(segment.paddr, segment.memsz, fmt::format("segment {}", i)); !good)
      return std::move(good).error().in(file_->label());
    if (auto good = context.copy(*file_, segment.offset, segment.filesz, segment.paddr); !good)
      return std::move(good).error();
    // Not only at power-on: memory keeps its content over a reset.
    context.memory.fill(segment.paddr + segment.filesz, segment.memsz - segment.filesz, 0);
    highest = std::max(highest, end);
  }
  return highest;
}

bool ElfImage::loads(uint64_t physical) const {
  return std::any_of(loads_.begin(), loads_.end(),
                     [&](const Segment& segment) { return physical - segment.paddr < segment.memsz; });
}

std::optional<uint64_t> ElfImage::to_physical(uint64_t virtual_address) const {
  for (const Segment& segment : loads_)
    if (virtual_address - segment.vaddr < segment.memsz) return virtual_address - segment.vaddr + segment.paddr;
  return std::nullopt;
}

}  // namespace skerry::machine
