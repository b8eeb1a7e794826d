// A folder that is shared, beside one that is not, and a guest's kernel that asks for what it likes.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "share/file_system.hpp"

namespace skerry::share::test {

using Bytes = std::vector<uint8_t>;

inline Bytes bytes_of(std::string_view text, bool terminated = false) {
  Bytes bytes(text.begin(), text.end());
  if (terminated) bytes.push_back(0);
  return bytes;
}
template <typename T>
Bytes bytes_of_value(const T& value) {
  const auto* first = reinterpret_cast<const uint8_t*>(&value);
  return {first, first + sizeof value};
}

// ROOT/share is shared; ROOT/outside must never be seen or changed.
struct Folders {
  Folders() {
    char name[] = "/tmp/skerry-share-XXXXXX";
    root = ::mkdtemp(name);
    std::filesystem::create_directory(share());
    std::filesystem::create_directory(root + "/outside");
    write("/outside/canary", "alive");
    std::filesystem::create_symlink("../outside", share() + "/to-folder");
    std::filesystem::create_symlink("../outside/canary", share() + "/to-file");
    std::filesystem::create_symlink(root + "/outside", share() + "/absolute");
    std::filesystem::create_symlink("/", share() + "/to-root");
    before = listing();
  }
  ~Folders() { std::filesystem::remove_all(root); }
  std::string share() const { return root + "/share"; }
  void write(const std::string& path, std::string_view text) const { std::ofstream(root + path) << text; }
  std::string read(const std::string& path) const {
    std::stringstream text;
    text << std::ifstream(root + path).rdbuf();
    return text.str();
  }
  // What is outside, with what tells of a change.
  std::string listing() const {
    std::string all;
    for (const char* path : {"/outside", "/outside/canary"}) {
      struct stat about{};
      if (::lstat((root + path).c_str(), &about) != 0) return "gone";
      all += fmt::format("{} {:o} {} {} {} {}.{};", path, about.st_mode, about.st_uid, about.st_gid, about.st_nlink, about.st_mtim.tv_sec,
                         about.st_mtim.tv_nsec);
    }
    for (const auto& entry : std::filesystem::directory_iterator(root + "/outside")) all += entry.path().filename().string();
    return all + read("/outside/canary");
  }
  void expect_outside_untouched() const { EXPECT_EQ(listing(), before); }

  std::string root, before;
};

struct Reply {
  int error;
  Bytes bytes;
  template <typename T>
  T as() const {
    EXPECT_EQ(error, 0);
    EXPECT_EQ(bytes.size(), sizeof(T));
    T value{};
    std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
    return value;
  }
  std::string text() const { return {bytes.begin(), bytes.end()}; }
};

class FuseRig {
 public:
  static constexpr size_t kRoom = 1 << 20;

  explicit FuseRig(FileSystem::Options options = {false, Owners::of_one(::geteuid(), ::getegid()), 1000, 100})
      : files(*FileSystem::create(UniqueFd(::open(folders.share().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
                                  UniqueFd(::open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC)), options)),
        umask_(::umask(0)) {
    begin();
  }
  ~FuseRig() { ::umask(umask_); }

  Reply ask_raw(const Bytes& request, size_t room = kRoom) {
    Bytes answer(room, 0xaa);
    const std::span<const uint8_t> all(request);
    const Outcome outcome = files.serve(all.first(std::min(all.size(), FileSystem::kMostParsed)), all, answer);
    EXPECT_LE(outcome.size, room);
    EXPECT_GE(outcome.error, 0);
    answer.resize(outcome.error ? 0 : outcome.size);
    return {outcome.error, answer};
  }
  template <typename... Parts>
  Reply ask(uint32_t opcode, uint64_t node, const Parts&... parts) {
    Bytes request(sizeof(fuse_in_header));
    (request.insert(request.end(), parts.begin(), parts.end()), ...);
    fuse_in_header header{};
    header.len = static_cast<uint32_t>(request.size());
    header.opcode = opcode;
    header.nodeid = node;
    header.uid = uid;
    header.gid = gid;
    std::memcpy(request.data(), &header, sizeof header);
    return ask_raw(request);
  }
  template <typename In, typename... Parts>
  Reply ask_in(uint32_t opcode, uint64_t node, const In& in, const Parts&... parts) {
    return ask(opcode, node, bytes_of_value(in), parts...);
  }

  void begin() {
    fuse_init_in in{};
    in.major = FUSE_KERNEL_VERSION;
    in.minor = 36;
    in.flags = ~0u;
    init = ask_in(FUSE_INIT, 0, in).as<fuse_init_out>();
  }
  Reply look_up(uint64_t folder, std::string_view name) { return ask(FUSE_LOOKUP, folder, bytes_of(name, true)); }
  uint64_t node(std::string_view name, uint64_t folder = FUSE_ROOT_ID) { return look_up(folder, name).as<fuse_entry_out>().nodeid; }
  fuse_attr attributes(uint64_t id) { return ask_in(FUSE_GETATTR, id, fuse_getattr_in{}).as<fuse_attr_out>().attr; }
  Reply create(std::string_view name, uint32_t mode = 0644, uint32_t flags = O_RDWR, uint64_t folder = FUSE_ROOT_ID) {
    return ask_in(FUSE_CREATE, folder, fuse_create_in{flags, mode, 0, 0}, bytes_of(name, true));
  }
  struct Created {
    fuse_entry_out entry;
    fuse_open_out open;
  };
  uint64_t handle(uint64_t id, uint32_t flags) { return ask_in(FUSE_OPEN, id, fuse_open_in{flags, 0}).as<fuse_open_out>().fh; }
  Reply write(uint64_t id, uint64_t fh, uint64_t offset, std::string_view data, uint32_t flags = O_RDWR) {
    fuse_write_in in{};
    in.fh = fh;
    in.offset = offset;
    in.size = static_cast<uint32_t>(data.size());
    in.flags = flags;
    return ask_in(FUSE_WRITE, id, in, bytes_of(data));
  }
  Reply read(uint64_t id, uint64_t fh, uint64_t offset, uint32_t size, uint32_t opcode = FUSE_READ) {
    fuse_read_in in{};
    in.fh = fh;
    in.offset = offset;
    in.size = size;
    return ask_in(opcode, id, in);
  }
  Reply set(uint64_t id, const fuse_setattr_in& in) { return ask_in(FUSE_SETATTR, id, in); }

  Folders folders;
  FileSystem files;
  fuse_init_out init{};
  uint32_t uid = 0, gid = 0;

 private:
  mode_t umask_;
};

}  // namespace skerry::share::test
