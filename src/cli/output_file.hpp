// A file that gets its name only when it is whole.
#pragma once

#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::cli {

// Until commit() it has a name of its own beside the one that is wanted, and goes away with this object. A crash at any
// moment leaves what was there before, or the new file whole, and at worst the temporary one.
class OutputFile {
 public:
  // `replace`: a regular file of that name may be there; it is replaced at commit().
  static Result<OutputFile> create(std::string path, bool replace);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  const std::string& path() const { return path_; }
  int fd() const { return file_.get(); }
  // Brings the content to the disk, then the name.
  Result<void> commit();

 private:
  OutputFile(std::string path, bool replace) : path_(std::move(path)), replace_(replace) {}
  Result<void> rename() const;
  void sync_folder() const;

  std::string path_, temporary_;
  bool replace_;
  UniqueFd file_;
};

}  // namespace skerry::cli
