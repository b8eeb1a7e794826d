#include "machine/acpi/aml.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>

namespace skerry::machine::aml {

namespace {

// Opcodes and prefixes, ACPI 6.4, table 20.1.
constexpr uint8_t kZeroOp = 0x00, kOneOp = 0x01, kNameOp = 0x08, kBytePrefix = 0x0a, kWordPrefix = 0x0b;
constexpr uint8_t kDWordPrefix = 0x0c, kStringPrefix = 0x0d, kQWordPrefix = 0x0e, kScopeOp = 0x10, kBufferOp = 0x11;
constexpr uint8_t kPackageOp = 0x12, kDualNamePrefix = 0x2e, kMultiNamePrefix = 0x2f, kExtOpPrefix = 0x5b;
constexpr uint8_t kDeviceOp = 0x82;

// Resource data types, 6.4.2 and 6.4.3: a small one has its length in its first byte.
constexpr uint8_t kIrqNoFlags = 0x22, kIoPort = 0x47, kEndTag = 0x79, kMemory32Fixed = 0x86;
constexpr uint8_t kDecode16 = 1, kReadWrite = 1;

void append(Bytes& to, const Bytes& from) { std::copy(from.begin(), from.end(), std::back_inserter(to)); }

void append_little_endian(Bytes& to, uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

// PkgLength (20.2.4) counts itself. Its first byte says how many bytes follow it.
Bytes with_length(const Bytes& content) {
  Bytes result;
  const size_t short_form = content.size() + 1;
  if (short_form < 0x40) {
    result.push_back(static_cast<uint8_t>(short_form));
  } else {
    unsigned more = 1;
    while (content.size() + 1 + more >= size_t{1} << (4 + 8 * more)) ++more;
    assert(more <= 3);
    const size_t length = content.size() + 1 + more;
    result.push_back(static_cast<uint8_t>(more << 6 | (length & 0xf)));
    append_little_endian(result, length >> 4, more);
  }
  append(result, content);
  return result;
}

// NameString (20.2.2).
Bytes name_string(std::string_view path) {
  Bytes result, segments;
  if (path.starts_with('\\')) {
    result.push_back('\\');
    path.remove_prefix(1);
  }
  unsigned count = 0;
  while (!path.empty()) {
    const size_t dot = path.find('.');
    const std::string_view segment = path.substr(0, dot);
    assert(!segment.empty() && segment.size() <= 4);
    for (size_t i = 0; i < 4; ++i)
      segments.push_back(i < segment.size() ? static_cast<uint8_t>(segment[i]) : uint8_t{'_'});
    ++count;
    path = dot == path.npos ? std::string_view() : path.substr(dot + 1);
  }
  if (count == 0) result.push_back(0);  // NullName
  if (count == 2) result.push_back(kDualNamePrefix);
  if (count > 2) {
    result.push_back(kMultiNamePrefix);
    result.push_back(static_cast<uint8_t>(count));
  }
  append(result, segments);
  return result;
}

}  // namespace

Bytes cat(std::initializer_list<Bytes> terms) {
  Bytes result;
  for (const Bytes& term : terms) append(result, term);
  return result;
}

Bytes integer(uint64_t value) {
  if (value == 0) return {kZeroOp};
  if (value == 1) return {kOneOp};
  Bytes result;
  if (value <= 0xff) {
    result.push_back(kBytePrefix);
    append_little_endian(result, value, 1);
  } else if (value <= 0xffff) {
    result.push_back(kWordPrefix);
    append_little_endian(result, value, 2);
  } else if (value <= 0xffff'ffff) {
    result.push_back(kDWordPrefix);
    append_little_endian(result, value, 4);
  } else {
    result.push_back(kQWordPrefix);
    append_little_endian(result, value, 8);
  }
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

Bytes package(std::initializer_list<Bytes> elements) {
  Bytes content{static_cast<uint8_t>(elements.size())};
  append(content, cat(elements));
  return cat({{kPackageOp}, with_length(content)});
}

Bytes buffer(const Bytes& content) { return cat({{kBufferOp}, with_length(cat({integer(content.size()), content}))}); }

Bytes name(std::string_view path, const Bytes& object) { return cat({{kNameOp}, name_string(path), object}); }

Bytes scope(std::string_view path, const Bytes& terms) {
  return cat({{kScopeOp}, with_length(cat({name_string(path), terms}))});
}

Bytes device(std::string_view path, const Bytes& terms) {
  return cat({{kExtOpPrefix, kDeviceOp}, with_length(cat({name_string(path), terms}))});
}

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

Bytes resource_template(const Bytes& descriptors) {
  return buffer(cat({descriptors, {kEndTag, 0}}));  // a checksum of 0 is taken as right
}

}  // namespace skerry::machine::aml
