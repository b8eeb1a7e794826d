// Why an image cannot be opened, in words that say what to do about it.
#pragma once

#include <string>

#include "base/result.hpp"

namespace skerry::block {

// open(2) of `path`, for writing too if `writes`, has failed with `number`. Does not name the image itself.
Error open_failure(const std::string& path, bool writes, int number);

}  // namespace skerry::block
