// "file:PATH": output goes into a file, which is emptied first; there is no input.
#include <fcntl.h>
#include <signal.h>

#include <cerrno>

#include "chardev/backends.hpp"
#include "chardev/stream.hpp"

namespace skerry::chardev {

namespace {
class File final : public Stream {
 public:
  explicit File(UniqueFd fd) : Stream(0, WhenFull::kBackPressure) { set_output(HostFd::owned(std::move(fd))); }
};
}  // namespace

Result<std::unique_ptr<Chardev>> open_file(const std::string& path) {
  ::signal(SIGPIPE, SIG_IGN);  // PATH may be a named pipe
  // O_NONBLOCK for those: opening one without a reader fails (ENXIO) instead of waiting.
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666));
  if (!fd && errno == ENXIO) return error("console file '{}': nobody reads that pipe; start its reader first", path);
  if (!fd) return errno_error(errno, fmt::format("console file '{}': cannot open it for writing", path));
  return std::unique_ptr<Chardev>(std::make_unique<File>(std::move(fd)));
}

}  // namespace skerry::chardev
