#include "machine/acpi/aml.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <utility>

namespace skerry::machine::aml {

namespace {

// Opcodes and prefixes, ACPI 6.4, table 20.1.
constexpr uint8_t kZeroOp = 0x00, kOneOp = 0x01, kNameOp = 0x08, kBytePrefix = 0x0a, kWordPrefix = 0x0b;
constexpr uint8_t kDWordPrefix = 0x0c, kStringPrefix = 0x0d, kQWordPrefix = 0x0e, kScopeOp = 0x10, kBufferOp = 0x11;
constexpr uint8_t kPackageOp = 0x12, kDualNamePrefix = 0x2e, kMultiNamePrefix = 0x2f, kExtOpPrefix = 0x5b;
constexpr uint8_t kDeviceOp = 0x82, kOpRegionOp = 0x80, kFieldOp = 0x81;  // after kExtOpPrefix
constexpr uint8_t kMethodOp = 0x14, kLocal0Op = 0x60, kArg0Op = 0x68, kStoreOp = 0x70, kAndOp = 0x7b, kOrOp = 0x7d;
constexpr uint8_t kNotifyOp = 0x86, kIndexOp = 0x88, kCreateDWordFieldOp = 0x8a, kLNotOp = 0x92, kLEqualOp = 0x93;
constexpr uint8_t kIfOp = 0xa0, kElseOp = 0xa1, kReturnOp = 0xa4;
constexpr uint8_t kSerializeFlag = 1 << 3;  // of MethodFlags
constexpr uint8_t kByteAcc = 1;             // of FieldFlags; no lock, other bits are preserved

// Resource data types, 6.4.2 and 6.4.3: a small one has its length in its first byte.
constexpr uint8_t kIrqNoFlags = 0x22, kIoPort = 0x47, kEndTag = 0x79, kMemory32Fixed = 0x86;
constexpr uint8_t kExtendedInterrupt = 0x89, kWordSpace = 0x88, kDWordSpace = 0x87, kQWordSpace = 0x8a;
constexpr uint8_t kDecode16 = 1, kReadWrite = 1;
// 6.4.3.5: types, general flags (not given: positive decode, produced) and type-specific flags of address spaces.
constexpr uint8_t kMemoryRange = 0, kIoRange = 1, kBusNumberRange = 2;
constexpr uint8_t kMinFixed = 1 << 2, kMaxFixed = 1 << 3, kEntireRange = 3;
// 6.4.3.6: consumed, level-triggered, active high, shared.
constexpr uint8_t kConsumer = 1 << 0, kShared = 1 << 3;

void append_little_endian(Bytes& to, uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

size_t total(std::initializer_list<View> parts) {
  size_t size = 0;
  for (const View part : parts) size += part.size();
  return size;
}

// An operation, and the length of what follows (PkgLength, 20.2.4), which counts itself: its first byte says how many bytes of
// it follow.
Bytes sized(std::initializer_list<uint8_t> operation, std::initializer_list<View> content) {
  const size_t size = total(content);
  Bytes result;
  result.reserve(operation.size() + 4 + size);
  result.insert(result.end(), operation);
  if (size + 1 < 0x40) {
    result.push_back(static_cast<uint8_t>(size + 1));
  } else {
    unsigned more = 1;
    while (size + 1 + more >= size_t{1} << (4 + 8 * more)) ++more;
    assert(more <= 3);
    const size_t length = size + 1 + more;
    result.push_back(static_cast<uint8_t>(more << 6 | (length & 0xf)));
    append_little_endian(result, length >> 4, more);
  }
  for (const View part : content) append(result, part);
  return result;
}

// One of a fixed form: its number, then what it is about.
Bytes term(uint8_t operation, std::initializer_list<View> operands) {
  Bytes result;
  result.reserve(1 + total(operands));
  result.push_back(operation);
  for (const View operand : operands) append(result, operand);
  return result;
}

// NameString (20.2.2).
Bytes name_string(std::string_view path) {
  constexpr size_t kSegment = 4;
  const bool from_root = path.starts_with('\\');
  if (from_root) path.remove_prefix(1);
  const size_t count = path.empty() ? 0 : 1 + static_cast<size_t>(std::ranges::count(path, '.'));
  Bytes result;
  result.reserve(3 + kSegment * count);
  if (from_root) result.push_back('\\');
  if (count == 0) result.push_back(0);  // NullName
  if (count == 2) result.push_back(kDualNamePrefix);
  if (count > 2) {
    result.push_back(kMultiNamePrefix);
    result.push_back(static_cast<uint8_t>(count));
  }
  while (!path.empty()) {
    const size_t dot = path.find('.');
    const std::string_view segment = path.substr(0, dot);
    assert(!segment.empty() && segment.size() <= kSegment);
    for (size_t i = 0; i < kSegment; ++i) result.push_back(i < segment.size() ? static_cast<uint8_t>(segment[i]) : uint8_t{'_'});
    path = dot == path.npos ? std::string_view() : path.substr(dot + 1);
  }
  return result;
}

// An Address Space Descriptor of 2, 4 or 8 bytes a field: all of [first, last], untranslated.
Bytes window(uint8_t tag, uint8_t type, uint8_t type_flags, uint64_t first, uint64_t last, unsigned size) {
  const uint8_t flags = kMinFixed | kMaxFixed;
  Bytes content{type, flags, type_flags};
  for (const uint64_t field :
       {uint64_t{0}, first, last, uint64_t{0}, last - first + 1})  // granularity, ..., translation
    append_little_endian(content, field, size);
  Bytes result{tag};
  append_little_endian(result, content.size(), 2);
  append(result, content);
  return result;
}

}  // namespace

void append(Bytes& to, View more) { to.insert(to.end(), more.begin(), more.end()); }

Bytes cat(std::initializer_list<View> terms) {
  Bytes result;
  result.reserve(total(terms));
  for (const View one : terms) append(result, one);
  return result;
}

Bytes integer(uint64_t value) {
  if (value == 0) return {kZeroOp};
  if (value == 1) return {kOneOp};
  const auto [prefix, size] = value <= 0xff          ? std::pair(kBytePrefix, 1u)
                              : value <= 0xffff      ? std::pair(kWordPrefix, 2u)
                              : value <= 0xffff'ffff ? std::pair(kDWordPrefix, 4u)
                                                     : std::pair(kQWordPrefix, 8u);
  Bytes result;
  result.reserve(1 + size);
  result.push_back(prefix);
  append_little_endian(result, value, size);
  return result;
}

Bytes dword(uint32_t value) {
  Bytes result{kDWordPrefix};
  append_little_endian(result, value, 4);
  return result;
}

Bytes string(std::string_view text) {
  Bytes result{kStringPrefix};
  std::copy(text.begin(), text.end(), std::back_inserter(result));
  result.push_back(0);
  return result;
}

Bytes eisa_id(std::string_view id) {
  assert(id.size() == 7);
  uint32_t value = 0;
  for (size_t i = 0; i < 3; ++i) value = value << 5 | static_cast<uint32_t>(id[i] - 0x40);
  for (size_t i = 3; i < 7; ++i)
    value = value << 4 | static_cast<uint32_t>(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
  return integer(__builtin_bswap32(value));
}

Bytes package(std::initializer_list<View> elements) { return package(elements.size(), cat(elements)); }

Bytes package(size_t count, const Bytes& elements) {
  assert(count < 256);
  const auto number = static_cast<uint8_t>(count);
  return sized({kPackageOp}, {View(&number, 1), elements});
}

Bytes buffer(const Bytes& content) { return sized({kBufferOp}, {integer(content.size()), content}); }

Bytes uuid(std::string_view text) {
  // Where the byte of each pair of digits goes: the first three fields are little endian.
  constexpr uint8_t kPlace[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  Bytes bytes(16);
  size_t at = 0;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    if (text[i] == '-') ++i;
    assert(at < bytes.size() && i + 1 < text.size());
    bytes[kPlace[at++]] = static_cast<uint8_t>(digit(text[i]) << 4 | digit(text[i + 1]));
  }
  assert(at == bytes.size());
  return buffer(bytes);
}

Bytes name(std::string_view path, const Bytes& object) { return term(kNameOp, {name_string(path), object}); }

Bytes scope(std::string_view path, const Bytes& terms) {
  return sized({kScopeOp}, {name_string(path), terms});
}

Bytes device(std::string_view path, const Bytes& terms) {
  return sized({kExtOpPrefix, kDeviceOp}, {name_string(path), terms});
}

Bytes path(std::string_view path) { return name_string(path); }

// --- methods ---------------------------------------------------------------------------------------------------------

Bytes method(std::string_view path, unsigned arguments, Serialize serialize, const Bytes& terms) {
  assert(arguments <= 7);
  const auto flags = static_cast<uint8_t>(arguments | (serialize == Serialize::kYes ? kSerializeFlag : 0));
  return sized({kMethodOp}, {name_string(path), View(&flags, 1), terms});
}

Bytes nowhere() { return {0}; }  // NullName
Bytes argument(unsigned number) { return {static_cast<uint8_t>(kArg0Op + number)}; }
Bytes local(unsigned number) { return {static_cast<uint8_t>(kLocal0Op + number)}; }

Bytes if_then(const Bytes& condition, const Bytes& terms) {
  return sized({kIfOp}, {condition, terms});
}

Bytes otherwise(const Bytes& terms) { return sized({kElseOp}, {terms}); }
Bytes return_value(const Bytes& value) { return term(kReturnOp, {value}); }
Bytes store(const Bytes& value, const Bytes& target) { return term(kStoreOp, {value, target}); }
Bytes bit_and(const Bytes& a, const Bytes& b, const Bytes& target) { return term(kAndOp, {a, b, target}); }
Bytes bit_or(const Bytes& a, const Bytes& b, const Bytes& target) { return term(kOrOp, {a, b, target}); }
Bytes equal(const Bytes& a, const Bytes& b) { return term(kLEqualOp, {a, b}); }
Bytes logical_not(const Bytes& value) { return term(kLNotOp, {value}); }

Bytes element(const Bytes& package, unsigned number) { return term(kIndexOp, {package, integer(number), nowhere()}); }

Bytes notify(const Bytes& object, uint8_t event) { return term(kNotifyOp, {object, integer(event)}); }

Bytes dword_field(const Bytes& buffer, unsigned byte, std::string_view name) {
  return term(kCreateDWordFieldOp, {buffer, integer(byte), name_string(name)});
}

Bytes operation_region(std::string_view path, Space space, uint64_t offset, uint64_t length) {
  const auto number = static_cast<uint8_t>(space);
  return cat({Bytes{kExtOpPrefix, kOpRegionOp}, name_string(path), View(&number, 1), integer(offset), integer(length)});
}

Bytes byte_fields(std::string_view region, std::initializer_list<std::string_view> names) {
  Bytes content = name_string(region);
  content.push_back(kByteAcc);
  for (const std::string_view field : names) {
    append(content, name_string(field));
    content.push_back(8);  // bits, as a PkgLength of one byte
  }
  return sized({kExtOpPrefix, kFieldOp}, {content});
}

// --- resources -------------------------------------------------------------------------------------------------------

Bytes io(uint16_t base, uint8_t length) {
  Bytes result{kIoPort, kDecode16};
  append_little_endian(result, base, 2);  // _MIN
  append_little_endian(result, base, 2);  // _MAX
  result.push_back(1);                    // _ALN
  result.push_back(length);
  return result;
}

Bytes irq(unsigned number) {
  assert(number < 16);
  Bytes result{kIrqNoFlags};
  append_little_endian(result, uint64_t{1} << number, 2);
  return result;
}

Bytes memory32_fixed(uint32_t base, uint32_t length) {
  Bytes result{kMemory32Fixed, 9, 0, kReadWrite};
  append_little_endian(result, base, 4);
  append_little_endian(result, length, 4);
  return result;
}

Bytes interrupts(std::initializer_list<uint32_t> numbers) {
  Bytes result{kExtendedInterrupt};
  append_little_endian(result, 2 + 4 * numbers.size(), 2);
  result.push_back(kConsumer | kShared);
  result.push_back(static_cast<uint8_t>(numbers.size()));
  for (const uint32_t number : numbers) append_little_endian(result, number, 4);
  return result;
}

Bytes bus_numbers(uint16_t first, uint16_t last) { return window(kWordSpace, kBusNumberRange, 0, first, last, 2); }
Bytes io_window(uint16_t first, uint16_t last) { return window(kWordSpace, kIoRange, kEntireRange, first, last, 2); }
Bytes memory32_window(uint32_t first, uint32_t last) {
  return window(kDWordSpace, kMemoryRange, kReadWrite, first, last, 4);
}
Bytes memory64_window(uint64_t first, uint64_t last) {
  return window(kQWordSpace, kMemoryRange, kReadWrite, first, last, 8);
}

Bytes resource_template(const Bytes& descriptors) {
  return buffer(cat({descriptors, Bytes{kEndTag, 0}}));  // a checksum of 0 is taken as right
}

}  // namespace skerry::machine::aml
