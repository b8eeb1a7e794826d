// Errors as values. A function that can fail at run time returns Result<T>; what cannot happen is an assertion.
#pragma once

#include <fmt/format.h>

#include <cassert>
#include <string>
#include <utility>
#include <variant>

namespace skerry {

// A failure told to a person: what was being done, to what, why it failed, what can be done about it.
class [[nodiscard]] Error {
 public:
  explicit Error(std::string message) : message_(std::move(message)) {}
  const std::string& message() const { return message_; }
  // Puts what the caller was doing in front: "disk 'a.img': cannot open: ...".
  Error in(std::string_view doing) && { return Error(fmt::format("{}: {}", doing, message_)); }

 private:
  std::string message_;
};

template <typename... Args>
Error error(fmt::format_string<Args...> format, Args&&... args) {
  return Error(fmt::format(format, std::forward<Args>(args)...));
}

// An Error that ends with the text of `saved_errno`, such as "cannot open 'x': Permission denied".
Error errno_error(int saved_errno, std::string_view doing);

// Either a T or an Error. Test with operator bool before value(); value() of a failure is a programming error.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
  Result(Error failure) : content_(std::in_place_index<1>, std::move(failure)) {}

  explicit operator bool() const { return content_.index() == 0; }
  T& value() & { assert(*this); return *std::get_if<0>(&content_); }
  const T& value() const& { assert(*this); return *std::get_if<0>(&content_); }
  T&& value() && { assert(*this); return std::move(*std::get_if<0>(&content_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const& { return *std::get_if<1>(&content_); }
  Error&& error() && { return std::move(*std::get_if<1>(&content_)); }

 private:
  std::variant<T, Error> content_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error failure) : failure_(std::move(failure)), ok_(false) {}
  explicit operator bool() const { return ok_; }
  const Error& error() const& { return failure_; }
  Error&& error() && { return std::move(failure_); }

 private:
  Error failure_{std::string()};
  bool ok_ = true;
};

inline Result<void> ok() { return {}; }

}  // namespace skerry
