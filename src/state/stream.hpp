// The visitors of a state description: write it, read it back, fill it with random legal values.
//
// Stream format, little endian: for each field  u8 tag ('s' scalar, 'b' bytes, 'g' group, 'e' end of group),
// u8 name length, name; then for 's' u8 size and the value in that many bytes, for 'b' u32 length and the bytes.
#pragma once

#include <random>
#include <string>

#include "base/result.hpp"
#include "state/fields.hpp"

namespace skerry::state {

class Saver final : public Fields {
 public:
  void bytes(std::string_view name, std::span<uint8_t> value) override;
  void blob(std::string_view name, std::vector<uint8_t>& value, size_t max_size) override;
  void group(std::string_view name, const std::function<void()>& describe) override;
  bool later(std::string_view name, bool needed, const std::function<void()>& describe) override;
  const std::vector<uint8_t>& data() const { return data_; }

 private:
  void scalar(std::string_view name, unsigned size, uint64_t& value, Legal legal) override;
  void header(char tag, std::string_view name);
  std::vector<uint8_t> data_;
};

// Reads in the order of the description. After the first mismatch every further field keeps its value and finish()
// gives the error, which names the field by its path.
class Loader final : public Fields {
 public:
  explicit Loader(std::span<const uint8_t> data) : data_(data) {}
  void bytes(std::string_view name, std::span<uint8_t> value) override;
  void blob(std::string_view name, std::vector<uint8_t>& value, size_t max_size) override;
  void group(std::string_view name, const std::function<void()>& describe) override;
  bool later(std::string_view name, bool needed, const std::function<void()>& describe) override;
  Result<void> finish();

 private:
  void scalar(std::string_view name, unsigned size, uint64_t& value, Legal legal) override;
  bool header(char tag, std::string_view name);
  bool is_next(char tag, std::string_view name) const;
  bool take(size_t size, const uint8_t*& from);
  void fail(std::string_view name, std::string_view why);

  std::span<const uint8_t> data_;
  size_t at_ = 0;
  std::string path_;
  std::string failure_;
};

// The names of the groups at the top of a saved state, in their order, without loading it: what a state is of. A state
// that is malformed is refused. Time and memory are linear in its size.
Result<std::vector<std::string>> group_names(std::span<const uint8_t> data);

class Randomizer final : public Fields {
 public:
  explicit Randomizer(uint64_t seed) : random_(seed) {}
  void bytes(std::string_view name, std::span<uint8_t> value) override;
  void blob(std::string_view name, std::vector<uint8_t>& value, size_t max_size) override;
  void group(std::string_view name, const std::function<void()>& describe) override;
  bool later(std::string_view name, bool needed, const std::function<void()>& describe) override;

 private:
  void scalar(std::string_view name, unsigned size, uint64_t& value, Legal legal) override;
  std::mt19937_64 random_;
};

}  // namespace skerry::state
