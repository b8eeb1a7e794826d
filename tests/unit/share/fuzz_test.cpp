// A guest's kernel that asks for anything, of a folder with symbolic links that lead out of it: the server survives, holds on to no
// more than it says, and nothing outside is ever seen or changed. tests/fuzz/fuse/run gives it longer.
#include <signal.h>
#include <sys/resource.h>

#include <map>
#include <set>

#include "unit/devices/fuzz_sessions.hpp"
#include "unit/share/fuse_rig.hpp"

namespace skerry::share::test {
namespace {

using skerry::test::Random;

constexpr size_t kMostNodes = 40, kMostHandles = 12;
constexpr unsigned kSteps = 400;

// The fixed part of each request; its first word is a handle where one is wanted.
const std::map<uint32_t, size_t> kSizes = {
    {FUSE_LOOKUP, 0},         {FUSE_FORGET, 8},        {FUSE_GETATTR, 16},    {FUSE_SETATTR, 88},   {FUSE_READLINK, 0},
    {FUSE_SYMLINK, 0},        {FUSE_MKNOD, 16},        {FUSE_MKDIR, 8},       {FUSE_UNLINK, 0},     {FUSE_RMDIR, 0},
    {FUSE_RENAME, 8},         {FUSE_LINK, 8},          {FUSE_OPEN, 8},        {FUSE_READ, 40},      {FUSE_WRITE, 40},
    {FUSE_STATFS, 0},         {FUSE_RELEASE, 24},      {FUSE_FSYNC, 16},      {FUSE_SETXATTR, 8},   {FUSE_GETXATTR, 8},
    {FUSE_LISTXATTR, 8},      {FUSE_REMOVEXATTR, 0},   {FUSE_FLUSH, 24},      {FUSE_INIT, 64},      {FUSE_OPENDIR, 8},
    {FUSE_READDIR, 40},       {FUSE_RELEASEDIR, 24},   {FUSE_FSYNCDIR, 16},   {FUSE_CREATE, 16},    {FUSE_INTERRUPT, 8},
    {FUSE_DESTROY, 0},        {FUSE_BATCH_FORGET, 24}, {FUSE_FALLOCATE, 32},  {FUSE_READDIRPLUS, 40}, {FUSE_RENAME2, 16},
    {FUSE_LSEEK, 24},         {FUSE_COPY_FILE_RANGE, 56}, {FUSE_GETLK, 48},   {FUSE_IOCTL, 32},
};
constexpr const char* kNames[] = {"a",         "b",       "c",        "d",      "folder",       "file",    "to-folder", "to-file",
                                  "absolute",  "to-root", "..",       ".",      "",             "a/b",     "../outside", "canary",
                                  "outside",   "/",       "user.one", "user.",  "security.capability", "proc", "../../outside/canary"};

// A limit of file sizes, so that nothing fills the disk; what goes beyond it is an error.
struct SmallFiles {
  SmallFiles() {
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit small{1 << 20, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
    handler = ::signal(SIGXFSZ, SIG_IGN);
  }
  ~SmallFiles() {
    ::setrlimit(RLIMIT_FSIZE, &before);
    ::signal(SIGXFSZ, handler);
  }
  rlimit before{};
  sighandler_t handler;
};

class Session {
 public:
  explicit Session(Random& random)
      : random_(random), rig_({random() % 8 == 0,
                               ::geteuid() == 0 && random() % 2 ? Owners::unchanged() : Owners::of_one(::geteuid(), ::getegid()), kMostNodes,
                               kMostHandles}) {
    struct stat about{};
    for (const char* path : {"", "/outside", "/outside/canary"}) {
      ::lstat((rig_.folders.root + path).c_str(), &about);
      forbidden_.insert({about.st_dev, about.st_ino});
    }
    device_ = about.st_dev;
  }

  void run() {
    for (unsigned step = 0; step < kSteps && !::testing::Test::HasFailure(); ++step) {
      const uint32_t opcode = choose_opcode();
      const Bytes request = make(opcode);
      const size_t room = random_() % 8 == 0 ? random_() % 300 : random_() % 20'000;
      learn(opcode, rig_.ask_raw(request, room));
      EXPECT_LE(rig_.files.nodes(), kMostNodes + 1);
      EXPECT_LE(rig_.files.handles(), kMostHandles);
    }
    rig_.folders.expect_outside_untouched();
  }

 private:
  uint32_t choose_opcode() {
    const auto at = static_cast<ptrdiff_t>(random_() % kSizes.size());
    const uint32_t opcode = std::next(kSizes.begin(), at)->first;
    const bool slow = opcode == FUSE_FSYNC || opcode == FUSE_FSYNCDIR || opcode == FUSE_INIT || opcode == FUSE_DESTROY;
    if (slow && random_() % 32) return FUSE_LOOKUP;
    return random_() % 64 ? opcode : static_cast<uint32_t>(random_() % 60 == FUSE_SYNCFS ? 0 : random_() % 50);
  }
  uint64_t pick(const std::vector<uint64_t>& known) {
    if (known.empty() || random_() % 16 == 0) return random_() % 2 ? random_() % 100 : random_();
    return known[random_() % known.size()];
  }
  uint64_t word() {
    switch (random_() % 8) {
      case 0: return random_();
      case 1: return pick(nodes_);
      case 2: return pick(handles_);
      case 3: return uint64_t{1} << random_() % 64;
      case 4: return random_() % 512 | (random_() % 16) << 12 | (random_() % 8) << 32;  // modes and flags
      case 5: return (random_() % 0x200) << 32 | random_() % 0x2000;
      default: return random_() % 5000;
    }
  }
  Bytes make(uint32_t opcode) {
    fuse_in_header header{};
    header.opcode = opcode;
    header.nodeid = random_() % 4 ? pick(nodes_) : FUSE_ROOT_ID;
    header.uid = static_cast<uint32_t>(random_() % 4 ? random_() % 2 * 1000 : random_());
    header.gid = static_cast<uint32_t>(random_() % 4 ? random_() % 2 * 1000 : random_());
    Bytes request = bytes_of_value(header);
    const auto known = kSizes.find(opcode);
    const size_t fixed = known == kSizes.end() ? random_() % 64 : known->second;
    for (size_t at = 0; at < fixed; at += 8) {
      const uint64_t value = at == 0 && fixed >= 16 && random_() % 8 ? pick(handles_) : word();
      const Bytes bytes = bytes_of_value(value);
      request.insert(request.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(std::min<size_t>(8, fixed - at)));
    }
    if (opcode == FUSE_INIT) {
      const std::array<uint32_t, 2> version{7, 38};
      std::memcpy(request.data() + sizeof header, &version, sizeof version);
    }
    for (uint64_t n = random_() % 3; n > 0; --n) {
      const char* name = kNames[random_() % std::size(kNames)];
      request.insert(request.end(), name, name + std::strlen(name) + (random_() % 32 ? 1 : 0));
    }
    if (random_() % 8 == 0) request.resize(request.size() + random_() % 300'000, static_cast<uint8_t>(random_()));
    if (random_() % 16 == 0) request.resize(random_() % (request.size() + 1));
    return request;
  }
  void learn(uint32_t opcode, const Reply& reply) {
    const bool entered = opcode == FUSE_LOOKUP || opcode == FUSE_CREATE || opcode == FUSE_MKDIR || opcode == FUSE_MKNOD ||
                         opcode == FUSE_SYMLINK || opcode == FUSE_LINK;
    if (entered && reply.bytes.size() >= sizeof(fuse_entry_out)) {
      fuse_entry_out entry;
      std::memcpy(&entry, reply.bytes.data(), sizeof entry);
      EXPECT_FALSE(forbidden_.count({device_, entry.attr.ino})) << "it is outside";
      nodes_.push_back(entry.nodeid);
    }
    const size_t at = opcode == FUSE_CREATE ? sizeof(fuse_entry_out) : 0;
    if ((opcode == FUSE_OPEN || opcode == FUSE_OPENDIR || opcode == FUSE_CREATE) && reply.bytes.size() >= at + sizeof(fuse_open_out)) {
      fuse_open_out open;
      std::memcpy(&open, reply.bytes.data() + at, sizeof open);
      handles_.push_back(open.fh);
    }
    if (opcode == FUSE_READ) {
      EXPECT_EQ(reply.text().find("alive"), std::string::npos) << "it has read the canary";
    }
    if (nodes_.size() > 60) nodes_.erase(nodes_.begin());
    if (handles_.size() > 20) handles_.erase(handles_.begin());
  }

  Random& random_;
  FuseRig rig_;
  std::set<std::pair<dev_t, ino_t>> forbidden_;
  dev_t device_ = 0;
  std::vector<uint64_t> nodes_, handles_;
};

TEST(FuseFuzz, NothingOutsideIsReached) {
  const SmallFiles limit;
  skerry::test::sessions("fuse", [](Random& random) { Session(random).run(); });
}

}  // namespace
}  // namespace skerry::share::test
