#include "base/result.hpp"

#include <system_error>

namespace skerry {

Error errno_error(int saved_errno, std::string_view doing) {
  return error("{}: {}", doing, std::generic_category().message(saved_errno));
}

}  // namespace skerry
