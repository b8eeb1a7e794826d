// The socket on which viewers are waited for.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::display {

struct RfbListener {
  UniqueFd socket;    // non-blocking
  uint16_t port = 0;  // 0: it is a unix socket

  // `where` as in RfbOptions::listen. What its connections need of socket options is set: they inherit it.
  static Result<RfbListener> open(const std::string& where);
  // A connection and where it comes from; an empty one if there is none.
  UniqueFd accept(std::string& from) const;
};

}  // namespace skerry::display
