// Input and output through io_uring, io_uring(7).
//
// A ring is a way around a seccomp filter: its operations are executed by the kernel unseen. So it is made disabled and
// restricted before it is enabled (io_uring_register(2), IORING_REGISTER_RESTRICTIONS): to the operations below, and to
// registered files. A process that has been taken over can do nothing with it that the filter does not allow as well.
#include <fcntl.h>
#include <liburing.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <vector>

#include "base/log.hpp"
#include "base/units.hpp"
#include "block/aio_driver.hpp"
#include "block/iovec.hpp"

namespace skerry::block {

namespace {

constexpr unsigned kEntries = 256;
constexpr unsigned kReapedAtOnce = 64;

class UringDriver final : public AioDriver {
 public:
  explicit UringDriver(EventLoop& loop) : loop_(loop) {}
  ~UringDriver() override;

  Result<void> open(unsigned workers);
  const char* name() const override { return "io_uring"; }
  Result<void> add_file(unsigned slot, int fd) override;
  void remove_file(unsigned slot) override;
  bool begin(AioRequest& request) override;

 private:
  Result<void> restrict_and_enable();
  bool prepare(const AioRequest& request);
  void ask_for_turn_end();
  void turn_end();
  bool submit();
  void give_up(int error);
  void reap();

  EventLoop& loop_;
  io_uring ring_{};
  bool open_ = false, watched_ = false;
  bool turn_end_asked_ = false;
  int broken_ = 0;          // the errno with which the kernel refused to take anything more
  AioRequestList waiting_;  // for a free entry, in order
  PageCache page_cache_;
};

UringDriver::~UringDriver() {
  if (watched_) loop_.remove(ring_.ring_fd);
  if (open_) ::io_uring_queue_exit(&ring_);
}

Result<void> UringDriver::open(unsigned workers) {
  // Completions interrupt nothing: they are looked for when the kernel is entered, which the loop does anyway.
  for (const unsigned flags : {IORING_SETUP_COOP_TASKRUN, 0U}) {
    io_uring_params parameters{};
    parameters.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CLAMP | flags;
    const int made = ::io_uring_queue_init_params(kEntries, &ring_, &parameters);
    open_ = made == 0;
    if (open_) break;
    if (made != -EINVAL || flags == 0) return errno_error(-made, "cannot set up io_uring");
  }
  const unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE;
  if ((ring_.features & needed) != needed)
    return error("io_uring of this kernel is too old; Linux 5.10 has what is needed");
  // Bounded work (files) and unbounded work (sockets), of which there is none.
  std::array<unsigned, 2> most{workers, 1};
  (void)::io_uring_register_iowq_max_workers(&ring_, most.data());  // Linux 5.15
  if (auto done = restrict_and_enable(); !done) return done;
  if (auto added = loop_.add(ring_.ring_fd, EPOLLIN, [this](uint32_t) { reap(); }); !added) return added;
  watched_ = true;
  return ok();
}

io_uring_restriction allow_operation(uint8_t operation) {
  io_uring_restriction rule{};
  rule.opcode = IORING_RESTRICTION_SQE_OP;
  rule.sqe_op = operation;
  return rule;
}

Result<void> UringDriver::restrict_and_enable() {
  std::array<int, kMaxFiles> none;
  none.fill(-1);
  if (const int result = ::io_uring_register_files(&ring_, none.data(), none.size()); result < 0)
    return errno_error(-result, "cannot register files with io_uring");

  std::vector<io_uring_restriction> rules;
  for (const uint8_t operation : {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE})
    rules.push_back(allow_operation(operation));
  io_uring_restriction fixed_files{};
  fixed_files.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
  fixed_files.sqe_flags = IOSQE_FIXED_FILE;
  rules.push_back(fixed_files);
  io_uring_restriction update{};
  update.opcode = IORING_RESTRICTION_REGISTER_OP;
  update.register_op = IORING_REGISTER_FILES_UPDATE;
  rules.push_back(update);
  // By number: liburing 2.3 declares functions for these two but does not have them.
  const auto call = [&](unsigned operation, void* argument, unsigned count) {
    return ::io_uring_register(static_cast<unsigned>(ring_.ring_fd), operation, argument, count);
  };
  if (const int result = call(IORING_REGISTER_RESTRICTIONS, rules.data(), static_cast<unsigned>(rules.size()));
      result < 0)
    return errno_error(-result, "cannot restrict io_uring");
  if (const int result = call(IORING_REGISTER_ENABLE_RINGS, nullptr, 0); result < 0)
    return errno_error(-result, "cannot enable io_uring");
  return ok();
}

Result<void> UringDriver::add_file(unsigned slot, int fd) {
  const int result = ::io_uring_register_files_update(&ring_, slot, &fd, 1);
  if (result < 0) return errno_error(-result, "cannot register a file with io_uring");
  page_cache_.add_file(slot, fd);
  return ok();
}

void UringDriver::remove_file(unsigned slot) {
  const int none = -1;
  (void)::io_uring_register_files_update(&ring_, slot, &none, 1);
}

bool UringDriver::prepare(const AioRequest& request) {
  io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
  if (!sqe) return false;
  const int file = static_cast<int>(request.file);
  switch (request.op) {
    case AioRequest::Op::kRead:
      ::io_uring_prep_readv(sqe, file, request.buffers, request.count, request.offset);
      break;
    case AioRequest::Op::kWrite:
      ::io_uring_prep_writev2(sqe, file, request.buffers, request.count, request.offset,
                              request.durable ? RWF_DSYNC : 0);
      break;
    case AioRequest::Op::kSync:
      ::io_uring_prep_fsync(sqe, file, IORING_FSYNC_DATASYNC);
      break;
    case AioRequest::Op::kAllocate:
    case AioRequest::Op::kDiscard:  // comes here never: it has no operation of its own
      ::io_uring_prep_fallocate(sqe, file, request.mode, static_cast<off_t>(request.offset),
                                static_cast<off_t>(request.length));
      break;
  }
  sqe->flags |= IOSQE_FIXED_FILE;
  ::io_uring_sqe_set_data(sqe, const_cast<AioRequest*>(&request));
  return true;
}

// The ring is entered on the loop's thread only: completions come to the thread that asked, when it is in the kernel.
bool UringDriver::begin(AioRequest& request) {
  const bool borrowed = loop_.turn_is_borrowed();
  if (borrowed && length_of({request.buffers, request.count}) <= PageCache::kShort && page_cache_.read(request)) return true;
  if (page_cache_.write(request, borrowed)) return true;
  if (broken_ || request.op == AioRequest::Op::kDiscard) {
    request.result = broken_ ? -broken_ : -EOPNOTSUPP;
    return true;
  }
  page_cache_.began(request);
  if (!waiting_.empty() || !prepare(request)) waiting_.push(request);
  ask_for_turn_end();
  return false;
}

void UringDriver::ask_for_turn_end() {
  if (turn_end_asked_) return;
  turn_end_asked_ = true;
  loop_.at_turn_end([this] { turn_end(); });
}

// All of a turn in one system call. What the page cache has is there when it returns.
void UringDriver::turn_end() {
  turn_end_asked_ = false;
  bool more = submit();
  while (more && !waiting_.empty()) {
    while (!waiting_.empty() && prepare(*waiting_.front())) waiting_.pop();
    more = submit();
  }
  // The kernel is short of something for now; completions give it back.
  if (!more && !broken_) ask_for_turn_end();
  reap();
}

// False: not all has been taken.
bool UringDriver::submit() {
  while (::io_uring_sq_ready(&ring_) != 0) {
    const int result = ::io_uring_submit(&ring_);
    if (result >= 0 || result == -EINTR) continue;
    if (result != -EAGAIN && result != -EBUSY && result != -ENOMEM) give_up(-result);
    return false;
  }
  return true;
}

// The kernel takes nothing any more, for a reason that does not pass: what it has not taken fails.
void UringDriver::give_up(int error) {
  broken_ = error;
  log::failure("io_uring takes no more requests ({}); the disks fail", errno_error(error, "submitting").message());
  std::vector<AioRequest*> refused;
  const unsigned end = ring_.sq.sqe_tail, mask = *ring_.sq.kring_mask;
  for (unsigned entry = io_uring_smp_load_acquire(ring_.sq.khead); entry != end; ++entry)
    refused.push_back(reinterpret_cast<AioRequest*>(ring_.sq.sqes[entry & mask].user_data));
  while (AioRequest* request = waiting_.pop()) refused.push_back(request);
  for (AioRequest* request : refused) {
    request->result = -error;
    page_cache_.ended(*request);
    request->waiter.resume();
  }
}

void UringDriver::reap() {
  std::array<io_uring_cqe*, kReapedAtOnce> entries;
  std::array<AioRequest*, kReapedAtOnce> ended;
  while (const unsigned count = ::io_uring_peek_batch_cqe(&ring_, entries.data(), entries.size())) {
    for (unsigned i = 0; i < count; ++i) {
      ended[i] = static_cast<AioRequest*>(::io_uring_cqe_get_data(entries[i]));
      ended[i]->result = entries[i]->res;
      page_cache_.ended(*ended[i]);
    }
    ::io_uring_cq_advance(&ring_, count);
    // Their frames may go, and new requests come.
    for (unsigned i = 0; i < count; ++i) ended[i]->waiter.resume();
  }
}

}  // namespace

Result<std::unique_ptr<AioDriver>> make_uring_driver(EventLoop& loop, unsigned workers) {
  auto driver = std::make_unique<UringDriver>(loop);
  if (auto opened = driver->open(workers); !opened) return std::move(opened).error();
  return std::unique_ptr<AioDriver>(std::move(driver));
}

}  // namespace skerry::block
