// ECMA-119 (ISO 9660), its supplement Joliet, and on the side of ECMA-119 the Rock Ridge protocol (SUSP and RRIP 1.09).
#include "machine/iso_image.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string>

namespace skerry::machine {

namespace {

constexpr uint32_t kSector = 2048;
constexpr uint8_t kFlagDirectory = 2;  // ECMA-119, 9.1.6
// Where things are. Each of them takes one sector, and the files follow.
enum Sector : uint32_t {
  kPrimary = 16,  // ECMA-119, 6.2.1: the 16 before it are the system's
  kSupplementary,
  kTerminator,
  kPathTableL,
  kPathTableM,
  kJolietPathTableL,
  kJolietPathTableM,
  kRoot,
  kRootContinuation,  // of the root's own Rock Ridge fields
  kJolietRoot,
  kFirstFile
};

// Bytes of the image in the making; ECMA-119, 7 names the number formats.
class Bytes {
 public:
  size_t size() const { return bytes_.size(); }
  const std::vector<uint8_t>& get() const { return bytes_; }
  void u8(uint8_t value) { bytes_.push_back(value); }
  void little16(uint16_t value) { number(value, 2, false); }
  void big16(uint16_t value) { number(value, 2, true); }
  void little32(uint32_t value) { number(value, 4, false); }
  void big32(uint32_t value) { number(value, 4, true); }
  void both16(uint16_t value) {  // 7.2.3
    little16(value);
    big16(value);
  }
  void both32(uint32_t value) {  // 7.3.3
    little32(value);
    big32(value);
  }
  void text(std::string_view value) { bytes_.insert(bytes_.end(), value.begin(), value.end()); }
  void fill(size_t count, uint8_t value) { bytes_.insert(bytes_.end(), count, value); }
  // The bytes of another, after a length byte that counts itself.
  void counted(const Bytes& other) {
    u8(static_cast<uint8_t>(other.size() + 1));
    bytes_.insert(bytes_.end(), other.bytes_.begin(), other.bytes_.end());
  }

 private:
  void number(uint32_t value, unsigned size, bool big) {
    for (unsigned i = 0; i < size; ++i) u8(static_cast<uint8_t>(value >> 8 * (big ? size - 1 - i : i)));
  }
  std::vector<uint8_t> bytes_;
};

// ECMA-119, 9.1.5: years since 1900, month, day, hour, minute, second, zone. The first instant of 2000, in UTC.
constexpr std::string_view kRecordTime("\x64\x01\x01\x00\x00\x00\x00", 7);
constexpr std::string_view kVolumeTime("2000010100000000\x00", 17);  // 8.4.26.1
constexpr std::string_view kNoTime("0000000000000000\x00", 17);

// UCS-2, big endian (Joliet, "SVD Escape Sequences Field"), of ASCII.
std::string ucs2(std::string_view ascii) {
  std::string wide;
  for (const char c : ascii) {
    wide += '\0';
    wide += c;
  }
  return wide;
}

// ---- Rock Ridge. Each field: two letters, its length, its version, what it says (SUSP, 4).

void susp_field(Bytes& to, std::string_view name, uint8_t version, const Bytes& data) {
  to.text(name);
  to.u8(static_cast<uint8_t>(4 + data.size()));
  to.u8(version);
  to.text({reinterpret_cast<const char*>(data.get().data()), data.size()});
}

// RRIP, 4.1.1 and 4.1.6: mode, links, owner; times. Everything is root's, and readable.
void posix_fields(Bytes& to, bool directory) {
  constexpr uint32_t kDirectoryMode = 0040555, kFileMode = 0100444;
  Bytes px;
  px.both32(directory ? kDirectoryMode : kFileMode);
  px.both32(directory ? 2 : 1);
  px.both32(0);
  px.both32(0);
  susp_field(to, "PX", 1, px);
  constexpr uint8_t kModify = 2, kAccess = 4, kAttributes = 8;
  Bytes tf;
  tf.u8(kModify | kAccess | kAttributes);
  for (int i = 0; i < 3; ++i) tf.text(kRecordTime);
  susp_field(to, "TF", 1, tf);
}

// RRIP, 4.3: what says that the image has these fields. Too long for a record, so a CE field leads to it.
Bytes extension_reference() {
  constexpr std::string_view kId = "RRIP_1991A";
  constexpr std::string_view kDescription =
      "THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS";
  constexpr std::string_view kSource =
      "PLEASE CONTACT DISC PUBLISHER FOR SPECIFICATION SOURCE.  SEE PUBLISHER IDENTIFIER IN PRIMARY VOLUME DESCRIPTOR FOR "
      "CONTACT INFORMATION.";
  Bytes er;
  for (const std::string_view part : {kId, kDescription, kSource}) er.u8(static_cast<uint8_t>(part.size()));
  er.u8(1);  // version of the extension
  for (const std::string_view part : {kId, kDescription, kSource}) er.text(part);
  Bytes field;
  susp_field(field, "ER", 1, er);
  return field;
}

Bytes root_fields(bool itself) {
  Bytes fields;
  if (itself) {
    Bytes sp;
    sp.text("\xbe\xef");  // SUSP, 5.3
    sp.u8(0);
    susp_field(fields, "SP", 1, sp);
  }
  posix_fields(fields, true);
  if (itself) {
    Bytes ce;  // SUSP, 5.1: sector, offset in it, length
    ce.both32(kRootContinuation);
    ce.both32(0);
    ce.both32(static_cast<uint32_t>(extension_reference().size()));
    susp_field(fields, "CE", 1, ce);
  }
  return fields;
}

Bytes file_fields(std::string_view name) {
  Bytes fields, nm;
  nm.u8(0);  // no flags
  nm.text(name);
  susp_field(fields, "NM", 1, nm);
  posix_fields(fields, false);
  return fields;
}

// ---- ECMA-119

struct Extent {
  uint32_t sector, size;  // size in bytes
};

// ECMA-119, 9.1. `system_use` are Rock Ridge's fields.
void directory_record(Bytes& to, Extent extent, uint8_t flags, std::string_view name, const Bytes& system_use = {}) {
  Bytes record;
  record.u8(0);  // no extended attributes
  record.both32(extent.sector);
  record.both32(extent.size);
  record.text(kRecordTime);
  record.u8(flags);
  record.u8(0);  // not interleaved
  record.u8(0);
  record.both16(1);  // volume of the set
  record.u8(static_cast<uint8_t>(name.size()));
  record.text(name);
  if (name.size() % 2 == 0) record.u8(0);  // 9.1.12: fields after the name begin at even offsets
  record.text({reinterpret_cast<const char*>(system_use.get().data()), system_use.size()});
  if (record.size() % 2 == 0) record.u8(0);  // with the length byte: records are of even length
  assert(record.size() < 255);
  to.counted(record);
}

// 6.8.2.2: the names of a folder itself and of the one above it.
constexpr std::string_view kItself("\x00", 1), kParent("\x01", 1);

Bytes root_directory(std::span<const IsoFile> files, std::span<const Extent> extents) {
  const Extent root{kRoot, kSector};
  Bytes directory;
  directory_record(directory, root, kFlagDirectory, kItself, root_fields(true));
  directory_record(directory, root, kFlagDirectory, kParent, root_fields(false));
  for (size_t i = 0; i < files.size(); ++i)
    directory_record(directory, extents[i], 0, files[i].iso_name, file_fields(files[i].name));
  return directory;
}

Bytes joliet_directory(std::span<const IsoFile> files, std::span<const Extent> extents) {
  const Extent root{kJolietRoot, kSector};
  Bytes directory;
  directory_record(directory, root, kFlagDirectory, kItself);
  directory_record(directory, root, kFlagDirectory, kParent);
  for (size_t i = 0; i < files.size(); ++i)
    directory_record(directory, extents[i], 0, ucs2(std::string(files[i].name) + ";1"));
  return directory;
}

// 9.4: one folder, the root, which is its own parent.
Bytes path_table(uint32_t root, bool big) {
  Bytes table;
  table.u8(1);  // length of the name
  table.u8(0);
  if (big) {
    table.big32(root);
    table.big16(1);  // number of its parent
  } else {
    table.little32(root);
    table.little16(1);
  }
  table.text(kItself);
  table.u8(0);
  return table;
}

// 8.4 and 8.5, the primary and the supplementary volume descriptor: they differ in where things are and how text is coded.
Bytes volume_descriptor(std::string_view volume, uint32_t sectors, bool joliet) {
  const auto text = [&](Bytes& to, std::string_view ascii, size_t width) {
    std::string value = joliet ? ucs2(ascii) : std::string(ascii);
    while (value.size() + 1 < width) value += joliet ? std::string_view("\0 ", 2) : std::string_view(" ");
    value.resize(width, joliet ? '\0' : ' ');
    to.text(value);
  };
  Bytes d;
  d.u8(joliet ? 2 : 1);  // type, 8.1.1
  d.text("CD001");
  d.u8(1);  // version
  d.u8(0);
  text(d, "", 32);  // system
  text(d, volume, 32);
  d.fill(8, 0);
  d.both32(sectors);
  if (joliet) d.text("%/E");  // 8.5.6: UCS-2 level 3
  d.fill(joliet ? 29 : 32, 0);
  d.both16(1);  // volumes of the set
  d.both16(1);  // number of this one
  d.both16(kSector);
  d.both32(static_cast<uint32_t>(path_table(0, false).size()));
  d.little32(joliet ? kJolietPathTableL : kPathTableL);
  d.little32(0);  // no second copy
  d.big32(joliet ? kJolietPathTableM : kPathTableM);
  d.big32(0);
  directory_record(d, {joliet ? kJolietRoot : kRoot, kSector}, kFlagDirectory, kItself);
  text(d, "", 128);         // volume set
  text(d, "", 128);         // publisher
  text(d, "", 128);         // preparer
  text(d, "SKERRY", 128);   // application
  text(d, "", 37);          // copyright, abstract and bibliography files
  text(d, "", 37);
  text(d, "", 37);
  d.text(kVolumeTime);  // creation
  d.text(kVolumeTime);  // modification
  d.text(kNoTime);      // expiration
  d.text(kVolumeTime);  // effective from
  d.u8(1);              // version of the file structure
  return d;
}

class Image {
 public:
  explicit Image(uint32_t sectors) : bytes_(size_t{sectors} * kSector) {}
  void put(uint32_t sector, std::string_view content) {
    if (!content.empty()) std::memcpy(&bytes_[size_t{sector} * kSector], content.data(), content.size());
  }
  void put(uint32_t sector, const Bytes& content) {
    assert(content.size() <= kSector);
    put(sector, {reinterpret_cast<const char*>(content.get().data()), content.size()});
  }
  std::vector<uint8_t> take() { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace

std::vector<uint8_t> make_iso_image(std::string_view volume, std::span<const IsoFile> files) {
  std::vector<Extent> extents;
  uint32_t sectors = kFirstFile;
  for (const IsoFile& file : files) {
    extents.push_back({sectors, static_cast<uint32_t>(file.content.size())});
    // An empty file has one too: no extent lies beyond the end.
    sectors += std::max<uint32_t>(1, static_cast<uint32_t>((file.content.size() + kSector - 1) / kSector));
  }
  Image image(sectors);
  image.put(kPrimary, volume_descriptor(volume, sectors, false));
  image.put(kSupplementary, volume_descriptor(volume, sectors, true));
  image.put(kTerminator, std::string_view("\xff" "CD001\x01", 7));  // 8.3
  image.put(kPathTableL, path_table(kRoot, false));
  image.put(kPathTableM, path_table(kRoot, true));
  image.put(kJolietPathTableL, path_table(kJolietRoot, false));
  image.put(kJolietPathTableM, path_table(kJolietRoot, true));
  image.put(kRoot, root_directory(files, extents));
  image.put(kRootContinuation, extension_reference());
  image.put(kJolietRoot, joliet_directory(files, extents));
  for (size_t i = 0; i < files.size(); ++i) image.put(extents[i].sector, files[i].content);
  return image.take();
}

}  // namespace skerry::machine
