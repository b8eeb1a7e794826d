#include "devices/fw_cfg.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.hpp"
#include "base/units.hpp"

namespace skerry::devices {

namespace {

// The selector's bit 14 asks for writing through the data port, which is no more; it does not belong to the key.
constexpr uint16_t FW_CFG_WRITE_CHANNEL = 0x4000;
// FW_CFG_ID.
constexpr uint8_t FW_CFG_VERSION = 1 << 0, FW_CFG_VERSION_DMA = 1 << 1;
// FWCfgDmaAccess::control.
enum DmaControl : uint32_t {
  FW_CFG_DMA_CTL_ERROR = 1 << 0,
  FW_CFG_DMA_CTL_READ = 1 << 1,
  FW_CFG_DMA_CTL_SKIP = 1 << 2,
  FW_CFG_DMA_CTL_SELECT = 1 << 3,
  FW_CFG_DMA_CTL_WRITE = 1 << 4,
};
constexpr unsigned kSelectShift = 16;
constexpr uint64_t FW_CFG_DMA_SIGNATURE = 0x51454d5520434647;  // "QEMU CFG", in the order of bytes

// FWCfgFile: big-endian size and key, two reserved bytes, and the name.
constexpr size_t kDirectoryEntry = 64, kNameOffset = 8;

void append_big_endian(std::vector<uint8_t>& to, uint64_t value, unsigned size) {
  for (unsigned i = size; i-- > 0;) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

bool legal_name(std::string_view name) {
  const auto graphic = [](char c) { return c > ' ' && c < 0x7f; };
  return !name.empty() && name.size() <= FwCfg::kMaxName && std::all_of(name.begin(), name.end(), graphic);
}

}  // namespace

FwCfg::FwCfg(memory::GuestMemory& memory)
    : memory_(memory),
      selector_window_(
          2, [this](uint64_t offset, unsigned size) { return offset == 1 && size == 1 ? read_data() : 0; },
          [this](uint64_t offset, unsigned size, uint64_t value) {
            if (offset == 0) write_selector(size, value);
          }),
      dma_window_(
          4,
          [](uint64_t offset, unsigned size) {
            const uint64_t bytes = __builtin_bswap64(FW_CFG_DMA_SIGNATURE) >> (8 * offset);
            return bytes & (size == 4 ? 0xffff'ffff : bit(8 * size) - 1);
          },
          [this](uint64_t offset, unsigned size, uint64_t value) {
            write_dma(offset, size, static_cast<uint32_t>(value));
          }) {
  items_[FW_CFG_SIGNATURE].content = {'Q', 'E', 'M', 'U'};
  items_[FW_CFG_ID].content = {FW_CFG_VERSION | FW_CFG_VERSION_DMA, 0, 0, 0};
  make_directory();
}

Result<void> FwCfg::attach(bus::AddressSpace& pio) {
  if (auto added = pio.add(kSelectorPort, 2, selector_window_, "fw-cfg"); !added) return added;
  return pio.add(kDmaPort, 8, dma_window_, "fw-cfg");
}

// --- content ---------------------------------------------------------------------------------------------------------

Result<void> FwCfg::add(uint16_t key, Item item) {
  if (item.content.size() > kMaxItemSize)
    return error("fw-cfg: item {:#x} has {}; an item has at most {}", key, format_size(item.content.size()),
                 format_size(kMaxItemSize));
  if ((key & FW_CFG_WRITE_CHANNEL) || !items_.try_emplace(key, std::move(item)).second)
    return error("fw-cfg: item {:#x} cannot be added: the number is taken, or no item's", key);
  return ok();
}

Result<void> FwCfg::add_item(uint16_t key, std::vector<uint8_t> content) {
  if (key >= FW_CFG_FILE_FIRST && key < FW_CFG_FILE_FIRST + kMaxFiles)
    return error("fw-cfg: item {:#x} cannot be added: that number is a file's", key);
  Item item;
  item.content = std::move(content);
  return add(key, std::move(item));
}

Result<uint16_t> FwCfg::add_file_item(std::string_view name, Item item) {
  if (!legal_name(name))
    return error("fw-cfg: '{}' cannot be a file's name: it has 1 to {} printable ASCII characters", name, kMaxName);
  if (find_file(name)) return error("fw-cfg: there is a file '{}' already", name);
  if (next_file_ == FW_CFG_FILE_FIRST + kMaxFiles)
    return error("fw-cfg: no room for the file '{}': there are {} already", name, kMaxFiles);
  item.file = name;
  if (auto added = add(next_file_, std::move(item)); !added) return std::move(added).error().in(name);
  make_directory();
  return next_file_++;
}

Result<void> FwCfg::add_file(std::string_view name, std::vector<uint8_t> content) {
  Item item;
  item.content = std::move(content);
  auto key = add_file_item(name, std::move(item));
  return key ? ok() : std::move(key).error();
}

Result<void> FwCfg::add_writable_file(std::string_view name, std::vector<uint8_t> content, Written written) {
  Item item;
  item.initial = content;
  item.content = std::move(content);
  item.writable = true;
  item.written = std::move(written);
  auto key = add_file_item(name, std::move(item));
  return key ? ok() : std::move(key).error();
}

Result<void> FwCfg::replace_file(std::string_view name, std::vector<uint8_t> content) {
  std::lock_guard guard(lock_);
  Item* item = find_file(name);
  if (!item || item->writable || item->content.size() != content.size())
    return error("fw-cfg: the file '{}' cannot be replaced: it is not there, has another size, or is the guest's",
                 name);
  item->content = std::move(content);
  return ok();
}

FwCfg::Item* FwCfg::find_file(std::string_view name) {
  const auto found =
      std::find_if(items_.begin(), items_.end(), [&](const auto& item) { return item.second.file == name; });
  return found == items_.end() ? nullptr : &found->second;
}

void FwCfg::make_directory() {
  std::vector<uint8_t> directory;
  uint32_t files = 0;
  append_big_endian(directory, 0, 4);
  for (const auto& [key, item] : items_) {
    if (item.file.empty()) continue;
    const size_t start = directory.size();
    append_big_endian(directory, item.content.size(), 4);
    append_big_endian(directory, key, 2);
    directory.resize(start + kDirectoryEntry);
    std::copy(item.file.begin(), item.file.end(), directory.begin() + static_cast<ptrdiff_t>(start + kNameOffset));
    ++files;
  }
  const uint32_t count = __builtin_bswap32(files);
  std::memcpy(directory.data(), &count, sizeof count);
  items_[FW_CFG_FILE_DIR].content = std::move(directory);
}

// --- life ------------------------------------------------------------------------------------------------------------

void FwCfg::reset() {
  std::lock_guard guard(lock_);
  selector_ = 0;
  offset_ = dma_high_ = 0;
  for (auto& [key, item] : items_)
    if (item.writable) item.content = item.initial;
}

// What the guest cannot write is made anew from the VM's description.
void FwCfg::describe(state::Fields& fields) {
  fields.field("selector", selector_, state::in_mask(static_cast<uint16_t>(~FW_CFG_WRITE_CHANNEL)));
  fields.field("offset", offset_);
  fields.field("dma_high", dma_high_);
  fields.group("written", [&] {
    for (auto& [key, item] : items_)
      if (item.writable) fields.bytes(item.file, item.content);
  });
}

// --- registers -------------------------------------------------------------------------------------------------------

void FwCfg::write_selector(unsigned size, uint64_t value) {
  if (size != 2) return;
  std::lock_guard guard(lock_);
  select(static_cast<uint16_t>(value));
}

uint64_t FwCfg::read_data() {
  std::lock_guard guard(lock_);
  const auto left = rest();
  if (left.empty()) return 0;
  ++offset_;
  return left.front();
}

// "A write to the least significant half triggers an operation"; "the value for the register is 0 ... after an
// operation".
void FwCfg::write_dma(uint64_t offset, unsigned size, uint32_t value) {
  if (size != 4 || offset % 4 != 0) return;
  const uint32_t half = __builtin_bswap32(value);
  std::vector<uint8_t> content;
  Written tell;
  {
    std::lock_guard guard(lock_);
    if (offset == 0) {
      dma_high_ = half;
      return;
    }
    run_dma(uint64_t{std::exchange(dma_high_, 0)} << 32 | half);
    if (const Item* item = std::exchange(written_, nullptr); item && item->written) {
      content = item->content;
      tell = item->written;
    }
  }
  if (tell) tell(content);
}

void FwCfg::select(uint16_t key) {
  selector_ = static_cast<uint16_t>(key & ~FW_CFG_WRITE_CHANNEL);
  offset_ = 0;
}

FwCfg::Item* FwCfg::selected() {
  const auto found = items_.find(selector_);
  return found == items_.end() ? nullptr : &found->second;
}

std::span<const uint8_t> FwCfg::rest() {
  const Item* item = selected();
  if (!item || offset_ >= item->content.size()) return {};
  return std::span(item->content).subspan(offset_);
}

// --- DMA -------------------------------------------------------------------------------------------------------------

void FwCfg::run_dma(uint64_t address) {
  DmaAccess access;
  if (!memory_.read(address, std::as_writable_bytes(std::span(&access, 1)))) {
    log::debug(log::Category::kDevice, "fw-cfg: no FWCfgDmaAccess can be read at {:#x}", address);
    return;
  }
  access.control = __builtin_bswap32(access.control);
  access.length = __builtin_bswap32(access.length);
  access.address = __builtin_bswap64(access.address);
  const bool good = transfer(access);
  if (!good)
    log::debug(log::Category::kDevice, "fw-cfg: refused: item {:#x}, control {:#x}, {} bytes at {:#x}", selector_,
               access.control, access.length, access.address);
  const uint32_t result = __builtin_bswap32(good ? 0u : uint32_t{FW_CFG_DMA_CTL_ERROR});
  (void)memory_.write(address, std::as_bytes(std::span(&result, 1)));  // of ROM: whoever put it there knows
}

bool FwCfg::transfer(const DmaAccess& access) {
  if (access.control & FW_CFG_DMA_CTL_SELECT) select(static_cast<uint16_t>(access.control >> kSelectShift));
  if (access.control & FW_CFG_DMA_CTL_READ) return read(access.address, access.length);
  if (access.control & FW_CFG_DMA_CTL_WRITE) return write(access.address, access.length);
  if (access.control & FW_CFG_DMA_CTL_SKIP)
    offset_ += static_cast<uint32_t>(std::min<uint64_t>(access.length, rest().size()));
  return true;
}

// Beyond the item's end, and of items that are not there, zeroes are read.
bool FwCfg::read(uint64_t address, uint32_t length) {
  if (length > kMaxTransfer || address + length < address) return false;
  const auto have = rest();
  const auto from_item = have.first(std::min<size_t>(have.size(), length));
  if (!from_item.empty() && !memory_.write(address, std::as_bytes(from_item))) return false;
  offset_ += static_cast<uint32_t>(from_item.size());
  const uint64_t zeroes = length - from_item.size();
  return zeroes == 0 || memory_.fill(address + from_item.size(), zeroes, 0);
}

bool FwCfg::write(uint64_t address, uint32_t length) {
  Item* item = selected();
  if (!item || !item->writable || offset_ > item->content.size() || length > item->content.size() - offset_)
    return false;
  const auto to = std::span(item->content).subspan(offset_, length);
  if (length > 0 && !memory_.read(address, std::as_writable_bytes(to))) return false;
  offset_ += length;
  written_ = item;
  return true;
}

}  // namespace skerry::devices
