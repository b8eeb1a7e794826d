#include "state/stream.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace skerry::state {

void Saver::header(char tag, std::string_view name) {
  assert(name.size() < 256);
  data_.push_back(static_cast<uint8_t>(tag));
  data_.push_back(static_cast<uint8_t>(name.size()));
  data_.insert(data_.end(), name.begin(), name.end());
}

void Saver::scalar(std::string_view name, unsigned size, uint64_t& value, Legal) {
  header('s', name);
  data_.push_back(static_cast<uint8_t>(size));
  for (unsigned i = 0; i < size; ++i) data_.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void Saver::bytes(std::string_view name, std::span<uint8_t> value) {
  header('b', name);
  for (unsigned i = 0; i < 4; ++i) data_.push_back(static_cast<uint8_t>(value.size() >> (8 * i)));
  data_.insert(data_.end(), value.begin(), value.end());
}

void Saver::blob(std::string_view name, std::vector<uint8_t>& value, size_t) { bytes(name, value); }

void Saver::group(std::string_view name, const std::function<void()>& describe) {
  header('g', name);
  describe();
  header('e', name);
}

bool Saver::later(std::string_view name, bool needed, const std::function<void()>& describe) {
  if (needed) group(name, describe);
  return needed;
}

void Loader::fail(std::string_view name, std::string_view why) {
  if (failure_.empty()) failure_ = fmt::format("state field '{}{}': {}", path_, name, why);
}

bool Loader::take(size_t size, const uint8_t*& from) {
  if (!failure_.empty()) return false;
  if (data_.size() - at_ < size) return false;
  from = data_.data() + at_;
  at_ += size;
  return true;
}

bool Loader::header(char tag, std::string_view name) {
  const uint8_t* from = nullptr;
  if (!take(2, from)) {
    fail(name, "the state ends before it");
    return false;
  }
  const char found_tag = static_cast<char>(from[0]);
  const size_t length = from[1];
  if (!take(length, from)) {
    fail(name, "the state ends inside its name");
    return false;
  }
  const std::string_view found(reinterpret_cast<const char*>(from), length);
  if (found_tag != tag || found != name) {
    // What is in a file may be anything, and goes to a terminal.
    const bool printable = std::all_of(found.begin(), found.end(), [](char c) { return c > ' ' && c < 0x7f; });
    fail(name, printable ? fmt::format("found '{:.64}' in its place", found) : "found something else in its place");
    return false;
  }
  return true;
}

void Loader::scalar(std::string_view name, unsigned size, uint64_t& value, Legal legal) {
  if (!header('s', name)) return;
  const uint8_t* from = nullptr;
  if (!take(1, from) || *from != size || !take(size, from)) return fail(name, "has another size");
  uint64_t loaded = 0;
  for (unsigned i = 0; i < size; ++i) loaded |= uint64_t{from[i]} << (8 * i);
  if (!legal.allows(loaded)) return fail(name, fmt::format("the value {:#x} is not legal", loaded));
  value = loaded;
}

void Loader::bytes(std::string_view name, std::span<uint8_t> value) {
  std::vector<uint8_t> loaded;
  blob(name, loaded, value.size());
  if (!failure_.empty()) return;
  if (loaded.size() != value.size()) return fail(name, "has another length");
  std::copy(loaded.begin(), loaded.end(), value.begin());
}

void Loader::blob(std::string_view name, std::vector<uint8_t>& value, size_t max_size) {
  if (!header('b', name)) return;
  const uint8_t* from = nullptr;
  if (!take(4, from)) return fail(name, "the state ends inside it");
  const uint32_t length = from[0] | from[1] << 8 | from[2] << 16 | uint32_t{from[3]} << 24;
  if (length > max_size) return fail(name, "is too long");
  if (!take(length, from)) return fail(name, "the state ends inside it");
  value.assign(from, from + length);
}

void Loader::group(std::string_view name, const std::function<void()>& describe) {
  if (!header('g', name)) return;
  const size_t outer = path_.size();
  path_.append(name).append(".");
  describe();
  path_.resize(outer);
  if (failure_.empty()) header('e', name);
}

bool Loader::is_next(char tag, std::string_view name) const {
  const std::span<const uint8_t> rest = data_.subspan(at_);
  return rest.size() >= 2 + name.size() && rest[0] == static_cast<uint8_t>(tag) && rest[1] == name.size() &&
         std::equal(name.begin(), name.end(), rest.begin() + 2);
}

bool Loader::later(std::string_view name, bool, const std::function<void()>& describe) {
  if (!failure_.empty() || !is_next('g', name)) return false;
  group(name, describe);
  return true;
}

Result<void> Loader::finish() {
  if (failure_.empty() && at_ != data_.size()) fail("", "more state follows than is known here");
  if (!failure_.empty()) return Error(failure_);
  return ok();
}

Result<std::vector<std::string>> group_names(std::span<const uint8_t> data) {
  const Error malformed("the state is malformed");
  std::vector<std::string> names;
  size_t depth = 0, at = 0;
  const auto take = [&](size_t size) -> const uint8_t* {
    if (data.size() - at < size) return nullptr;
    at += size;
    return data.data() + at - size;
  };
  while (at < data.size()) {
    const uint8_t* header = take(2);
    const uint8_t* name = header ? take(header[1]) : nullptr;
    if (!name) return malformed;
    const uint8_t* size = nullptr;
    switch (static_cast<char>(header[0])) {
      case 'g':
        if (depth++ > 0) break;
        names.emplace_back(reinterpret_cast<const char*>(name), header[1]);
        if (!std::ranges::all_of(names.back(), [](char c) { return c > ' ' && c <= '~'; })) return malformed;  // they are shown
        break;
      case 'e':
        if (depth-- == 0) return malformed;
        break;
      case 's':
        if (!(size = take(1)) || !take(*size)) return malformed;
        break;
      case 'b':
        if (!(size = take(4)) || !take(size[0] | size[1] << 8 | size[2] << 16 | uint32_t{size[3]} << 24)) return malformed;
        break;
      default:
        return malformed;
    }
  }
  if (depth != 0) return malformed;
  return names;
}

void Randomizer::scalar(std::string_view, unsigned size, uint64_t& value, Legal legal) {
  const uint64_t width = size == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * size)) - 1;
  const uint64_t max = std::min(legal.max, width);
  for (;;) {
    uint64_t candidate = random_() & legal.mask & width;
    const uint64_t span = max - legal.min;
    if (span != ~uint64_t{0} && (candidate < legal.min || candidate > max))
      candidate = legal.min + random_() % (span + 1);
    if (legal.allows(candidate)) {
      value = candidate;
      return;
    }
  }
}

void Randomizer::bytes(std::string_view, std::span<uint8_t> value) {
  for (auto& byte : value) byte = static_cast<uint8_t>(random_());
}

void Randomizer::blob(std::string_view, std::vector<uint8_t>& value, size_t max_size) {
  value.resize(random_() % (max_size + 1));
  for (auto& byte : value) byte = static_cast<uint8_t>(random_());
}

void Randomizer::group(std::string_view, const std::function<void()>& describe) { describe(); }

bool Randomizer::later(std::string_view, bool, const std::function<void()>& describe) {
  describe();
  return true;
}

}  // namespace skerry::state
