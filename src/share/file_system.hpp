// A folder of the host as a file system of a guest: answers requests of FUSE (linux/fuse.h, protocol 7.31 and newer).
//
// Whatever a request says, nothing is reached but what the folder holds: each name is one component, looked up in a descriptor of
// its folder without following symbolic links, which are for the guest's kernel to follow among its own files. Attributes and names
// that the guest keeps are believed for a second; data is looked at anew at each open (close-to-open).
//
// Thread-compatible. One request after another; none waits for anything but the host's file system.
#pragma once

#include <dirent.h>
#include <fcntl.h>

#include <span>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "share/handle_table.hpp"
#include "share/node_table.hpp"
#include "share/owners.hpp"
#include "share/request.hpp"

namespace skerry::share {

class FileSystem {
 public:
  struct Options {
    bool read_only = false;
    Owners owners;
    size_t most_nodes, most_handles;  // descriptors that it may hold on to
  };
  // The most of a request but a WRITE's data that is ever looked at: a name and an attribute's value.
  static constexpr size_t kMostParsed = size_t{128} << 10;

  // `root` is an O_PATH descriptor of the folder, `own_descriptors` one of /proc/self/fd. Needs umask 0, to create what the guest says.
  static Result<FileSystem> create(UniqueFd root, UniqueFd own_descriptors, Options options);
  FileSystem(FileSystem&&) = default;

  // Answers the request that is `bytes` (at most kMostParsed of `shared`, which is all of it) into `room`. The request of a guest
  // that wants no answer has none: `room` is empty.
  Outcome serve(std::span<const uint8_t> bytes, std::span<const uint8_t> shared, std::span<uint8_t> room);

  size_t nodes() const { return nodes_.size(); }
  size_t handles() const { return handles_.size(); }

 private:
  // Of the guest's flags of an open, what is passed on. O_APPEND is not, as it would move writes of a mapping's pages, see write();
  // O_DIRECT is about the guest's cache.
  static constexpr int kOpenFlags = O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC;

  using Operation = Outcome (FileSystem::*)(Request&, Answer&);
  struct Entry;  // of the table of operations
  static const Entry* find_entry(uint32_t opcode);

  FileSystem(UniqueFd root, const struct stat& about, UniqueFd own_descriptors, Options options)
      : options_(options), own_descriptors_(std::move(own_descriptors)),
        nodes_(std::move(root), about, options.most_nodes), handles_(options.most_handles) {}

  // file_system.cpp: the session, lookups, attributes
  Outcome init(Request& request, Answer& answer);
  Outcome destroy(Request& request, Answer& answer);
  Outcome look_up(Request& request, Answer& answer);
  Outcome forget(Request& request, Answer& answer);
  Outcome batch_forget(Request& request, Answer& answer);
  Outcome ignore(Request& request, Answer& answer);
  Outcome get_attributes(Request& request, Answer& answer);
  Outcome set_attributes(Request& request, Answer& answer);
  Outcome read_link(Request& request, Answer& answer);
  Outcome statistics(Request& request, Answer& answer);

  // names.cpp: what changes folders
  Outcome make_link(Request& request, Answer& answer);
  Outcome make_symbolic_link(Request& request, Answer& answer);
  Outcome make_node(Request& request, Answer& answer);
  Outcome make_folder(Request& request, Answer& answer);
  Outcome remove_name(Request& request, Answer& answer);
  Outcome remove_folder(Request& request, Answer& answer);
  Outcome rename(Request& request, Answer& answer);
  Outcome rename_with_flags(Request& request, Answer& answer);
  Outcome create_file(Request& request, Answer& answer);

  // files.cpp: what is opened, and the attributes of users
  Outcome open_file(Request& request, Answer& answer);
  Outcome read(Request& request, Answer& answer);
  Outcome write(Request& request, Answer& answer);
  Outcome flush(Request& request, Answer& answer);
  Outcome release(Request& request, Answer& answer);
  Outcome sync_file(Request& request, Answer& answer);
  Outcome sync_all(Request& request, Answer& answer);
  Outcome allocate(Request& request, Answer& answer);
  Outcome seek(Request& request, Answer& answer);
  Outcome copy_range(Request& request, Answer& answer);
  Outcome set_attribute(Request& request, Answer& answer);
  Outcome get_attribute(Request& request, Answer& answer);
  Outcome list_attributes(Request& request, Answer& answer);
  Outcome remove_attribute(Request& request, Answer& answer);

  // directories.cpp
  Outcome open_folder(Request& request, Answer& answer);
  Outcome read_folder(Request& request, Answer& answer);
  Outcome read_folder_with_attributes(Request& request, Answer& answer);
  Outcome sync_folder(Request& request, Answer& answer);
  Outcome list(Request& request, Answer& answer, bool with_attributes);
  bool put_entry(const Node& folder, const dirent64& found, bool with_attributes, Answer& answer);

  // The node that a request is about. Null: the guest does not know it.
  Node* node_of(const Request& request) { return nodes_.find(request.header().nodeid); }
  // A component for a call in a node's folder. Null: there is none, and `outcome` says why.
  static const char* take_name(Request& request, Outcome& outcome);
  // An open descriptor of what a node stands for, which is a regular file or a folder.
  UniqueFd open_node(const Node& node, int flags) const;
  // By /proc/self/fd: the same file as `fd`, opened anew.
  UniqueFd reopen(int fd, int flags) const;

  // What has `name` in `folder` becomes a node, and the entry says which.
  Outcome enter(const Node& folder, const char* name, fuse_entry_out& entry);
  Outcome enter(UniqueFd fd, fuse_entry_out& entry);
  Outcome answer_entry(const Node& folder, const char* name, Answer& answer);
  fuse_attr attributes_of(const struct stat& about) const;
  Outcome change(const Node& node, const fuse_setattr_in& in);
  Outcome change_owner(const Node& node, const fuse_setattr_in& in) const;
  Outcome change_size(const Node& node, const fuse_setattr_in& in);
  Outcome rename_to(Request& request, uint64_t new_folder, unsigned flags);

  Options options_;
  UniqueFd own_descriptors_;  // /proc/self/fd
  NodeTable nodes_;
  HandleTable handles_;
  bool begun_ = false;  // FUSE_INIT has come
};

}  // namespace skerry::share
