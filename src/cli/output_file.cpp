#include "cli/output_file.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace skerry::cli {

Result<OutputFile> OutputFile::create(std::string path, bool replace) {
  struct stat about {};
  if (::lstat(path.c_str(), &about) == 0) {
    if (!S_ISREG(about.st_mode)) return error("'{}': something that is no regular file is there; use another name", path);
    if (!replace) return error("'{}': exists already; use another name, or --force to replace it", path);
  }
  OutputFile output(std::move(path), replace);
  output.temporary_ = output.path_ + ".XXXXXX";
  output.file_ = UniqueFd(::mkostemp(output.temporary_.data(), O_CLOEXEC));  // for its owner only: it holds secrets
  if (!output.file_) {
    const int why = errno;
    output.temporary_.clear();
    return errno_error(why, fmt::format("'{}': cannot create a file there", output.path_));
  }
  return output;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      replace_(other.replace_),
      file_(std::move(other.file_)) {}

OutputFile::~OutputFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<void> OutputFile::commit() {
  if (::fsync(file_.get()) != 0) return errno_error(errno, fmt::format("'{}': cannot bring it to the disk", path_));
  if (auto renamed = rename(); !renamed) return renamed;
  temporary_.clear();
  sync_folder();
  return ok();
}

Result<void> OutputFile::rename() const {
  if (replace_) {
    if (::rename(temporary_.c_str(), path_.c_str()) == 0) return ok();
    return errno_error(errno, fmt::format("'{}': cannot give the file its name", path_));
  }
  int failed = ::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE);
  if (failed && (errno == EINVAL || errno == ENOSYS)) {  // a file system that cannot: a link does not replace either
    failed = ::link(temporary_.c_str(), path_.c_str());
    if (!failed) ::unlink(temporary_.c_str());
  }
  if (!failed) return ok();
  return errno_error(errno, fmt::format("'{}': cannot give the file its name", path_));
}

// So that the name survives a crash too. Where a folder cannot be synced, there is nothing better.
void OutputFile::sync_folder() const {
  const size_t slash = path_.rfind('/');
  const std::string folder = slash == path_.npos ? "." : path_.substr(0, slash + 1);
  const UniqueFd open(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (open) ::fsync(open.get());
}

}  // namespace skerry::cli
