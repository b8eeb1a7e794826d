// The self-describing field stream: everything that a save file or a migration carries passes through it.
//
// A device describes each of its fields once, by name and legal range, in one function; saving, loading, and the state
// test (random legal values) are visitors of that description. A loader checks every value against its range: the
// stream may come from an attacker.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace skerry::state {

// Which values of a field are legal: min..max, and no bit outside `mask`.
struct Legal {
  uint64_t min = 0;
  uint64_t max = ~uint64_t{0};
  uint64_t mask = ~uint64_t{0};
  constexpr bool allows(uint64_t value) const { return value >= min && value <= max && (value & ~mask) == 0; }
};
constexpr Legal any() { return {}; }
constexpr Legal up_to(uint64_t max) { return {0, max, ~uint64_t{0}}; }
constexpr Legal in_mask(uint64_t mask) { return {0, ~uint64_t{0}, mask}; }

// The visitor. Implementations: Saver, Loader, Randomizer (state/stream.hpp).
class Fields {
 public:
  virtual ~Fields() = default;

  // An integer, enumeration or bool. Enumerations give their legal range.
  template <typename T>
    requires std::integral<T> || std::is_enum_v<T>
  void field(std::string_view name, T& value, Legal legal = any()) {
    if constexpr (std::is_same_v<T, bool>) legal = up_to(1);
    uint64_t wide = 0;
    if constexpr (std::is_same_v<T, bool>)
      wide = value ? 1 : 0;
    else
      wide = static_cast<std::make_unsigned_t<T>>(value);  // of an enumeration: of its underlying type
    scalar(name, sizeof(T), wide, legal);
    value = static_cast<T>(wide);
  }
  // A fixed array of integers.
  template <typename T, size_t N>
  void field(std::string_view name, std::array<T, N>& values, Legal legal = any()) {
    list(name, N, [&](size_t i) { field("", values[i], legal); });
  }
  template <typename T, size_t N>
  void field(std::string_view name, T (&values)[N], Legal legal = any()) {
    list(name, N, [&](size_t i) { field("", values[i], legal); });
  }
  // A fixed number of bytes.
  virtual void bytes(std::string_view name, std::span<uint8_t> value) = 0;
  // A byte string of at most `max_size`.
  virtual void blob(std::string_view name, std::vector<uint8_t>& value, size_t max_size) = 0;
  // Fields that belong together.
  virtual void group(std::string_view name, const std::function<void()>& describe) = 0;
  // A group that came after the first files were written. It is written only where it is `needed`, so that readers of before
  // take what does without. False: it is not in what is read, and what it describes has to become what it was before.
  [[nodiscard]] virtual bool later(std::string_view name, bool needed, const std::function<void()>& describe) = 0;
  // A fixed number of like elements.
  void list(std::string_view name, size_t count, const std::function<void(size_t)>& describe) {
    group(name, [&] {
      for (size_t i = 0; i < count; ++i) describe(i);
    });
  }

 protected:
  virtual void scalar(std::string_view name, unsigned size, uint64_t& value, Legal legal) = 0;
};

}  // namespace skerry::state
