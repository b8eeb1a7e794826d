#include "machine/firmware_image.hpp"

#include <unistd.h>

#include <cerrno>

#include "machine/loader/input_file.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::machine {

namespace {

constexpr KnownFirmware kKnown[] = {
    {"bios", "/usr/share/seabios/bios-256k.bin", "", "seabios"},
    {"uefi", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd", "ovmf"},
    {"uefi", "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd", "ovmf"},
    {"uefi", "/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd", "ovmf"},
    {"uefi", "/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd", "ovmf"},
    // With Microsoft's keys in the variables: others than Debian and Fedora have none with any keys.
    {"uefi-secure", "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd", "ovmf"},
    {"uefi-secure", "/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd", "ovmf"},
    {"uefi-secure", "/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd", "ovmf"},
};

// The first of that name that is there, or else the first; null: it is no known name.
const KnownFirmware* find_known(std::string_view name) {
  const KnownFirmware* first = nullptr;
  for (const KnownFirmware& known : kKnown) {
    if (known.name != name) continue;
    if (::access(known.path.data(), F_OK) == 0) return &known;
    if (!first) first = &known;
  }
  return first;
}

}  // namespace

std::span<const KnownFirmware> FirmwareImage::known() { return kKnown; }

Result<FirmwareImage> FirmwareImage::load(const std::string& given) {
  FirmwareImage image;
  image.path_ = given;
  if (const KnownFirmware* known = find_known(given.empty() ? kBios : given)) {
    image.path_ = known->path;
    image.variables_ = known->variables;
    if (::access(known->path.data(), F_OK) != 0)
      return error("firmware {}: there is no '{}'; install the Debian package {}, or give a firmware file", known->name, known->path,
                   known->package);
  } else if (::access(given.c_str(), F_OK) != 0) {
    return error("firmware '{}': there is no such file; give one that is there, or bios (Debian's package seabios) or uefi or uefi-secure (its package ovmf)", given);
  }
  auto file = InputFile::open("firmware", image.path_);
  if (!file) return std::move(file).error();
  const uint64_t size = file->size();
  if (size % memory::kPageSize != 0 || size < kMinSize || size > kMaxSize)
    return error("{}: has {}; a firmware image has {} to {}, in whole pages of 4K", file->label(), format_size(size), format_size(kMinSize),
                 format_size(kMaxSize));
  image.content_.resize(size);
  if (auto good = file->read(0, std::as_writable_bytes(std::span(image.content_))); !good)
    return std::move(good).error();
  return image;
}

}  // namespace skerry::machine
