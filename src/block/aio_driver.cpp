#include "block/aio_driver.hpp"

#include <fcntl.h>

#include <cerrno>

namespace skerry::block {

bool CachedReads::read(AioRequest& request) {
  if (request.op != AioRequest::Op::kRead || !request.may_complete || unknown_[request.file]) return false;
  const ssize_t got = ::preadv2(request.fd, request.buffers, static_cast<int>(request.count),
                                static_cast<off_t>(request.offset), RWF_NOWAIT);
  if (got < 0) {
    if (errno == EOPNOTSUPP) unknown_[request.file] = true;
    return false;
  }
  request.result = static_cast<int>(got);
  return true;
}

}  // namespace skerry::block
