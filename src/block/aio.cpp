#include "block/aio.hpp"

#include <limits.h>

#include <cerrno>
#include <vector>

#include "base/log.hpp"
#include "block/iovec.hpp"

namespace skerry::block {

namespace {

// The kernel may say EINTR or EAGAIN; one that says so for ever does not get us to ask for ever.
constexpr unsigned kMostTries = 1000;

bool worth_another_try(int result, unsigned& tries) {
  return (result == -EINTR || result == -EAGAIN) && ++tries < kMostTries;
}

// The buffers of a transfer that may be done in several pieces.
class Transfer {
 public:
  explicit Transfer(std::span<const iovec> all) : all_(all), rest_(all), length_(length_of(all)) {
    if (all.size() <= IOV_MAX) return;
    pieces_ = slice(all, 0, length_);  // without empty ones, so that next() is never nothing
    rest_ = pieces_;
  }

  uint64_t left() const { return length_ - done_; }
  uint64_t done() const { return done_; }
  std::span<const iovec> next() const { return rest_.first(std::min<size_t>(rest_.size(), IOV_MAX)); }
  void advance(uint64_t bytes) {
    done_ += bytes;
    if (left() == 0) return;
    pieces_ = slice(all_, done_, left());
    rest_ = pieces_;
  }
  void rest_is_zero() {
    fill_zeroes(all_, done_, left());
    done_ = length_;
  }

 private:
  const std::span<const iovec> all_;
  std::span<const iovec> rest_;
  std::vector<iovec> pieces_;  // what rest_ shows, where it is not the end of all_
  const uint64_t length_;
  uint64_t done_ = 0;
};

}  // namespace

// Awaits one request.
class Aio::Once {
 public:
  Once(AioDriver& driver, AioRequest& request) : driver_(driver), request_(request) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> waiter) {
    request_.waiter = waiter;
    return !driver_.begin(request_);
  }
  int await_resume() const noexcept { return request_.result; }

 private:
  AioDriver& driver_;
  AioRequest& request_;
};

Result<std::unique_ptr<Aio>> Aio::create(EventLoop& loop, AioOptions options) {
  std::unique_ptr<Aio> aio(new Aio(loop));
  if (options.driver != AioOptions::Driver::kThreads) {
    auto uring = make_uring_driver(loop, options.threads);
    if (uring) {
      aio->main_ = std::move(*uring);
      return aio;
    }
    if (options.driver == AioOptions::Driver::kUring) return std::move(uring).error();
    log::debug(log::Category::kDevice, "disks: {}; threads do the work instead", uring.error().message());
  }
  aio->main_ = make_thread_driver(loop, options.threads);
  return aio;
}

Aio::~Aio() = default;

void Aio::start() {
  main_->start();
  if (discards_) discards_->start();
}

Result<unsigned> Aio::add_file(int fd, FileKind kind) {
  for (unsigned slot = 0; slot < files_.size(); ++slot) {
    if (files_[slot].fd >= 0) continue;
    if (auto added = main_->add_file(slot, fd); !added) return std::move(added).error();
    files_[slot] = {fd, kind};
    if (kind.discards && !discards_) discards_ = make_thread_driver(loop_, 1);
    return slot;
  }
  return error("there are {} image files already, which is the most", files_.size());
}

void Aio::remove_file(unsigned file) {
  main_->remove_file(file);
  files_[file] = {};
}

AioRequest Aio::request_for(unsigned file, AioRequest::Op op) const {
  AioRequest request;
  request.op = op;
  request.file = file;
  request.fd = files_[file].fd;
  request.may_complete = files_[file].kind.alignment == 1;
  return request;
}

Task<Errno> Aio::read(unsigned file, uint64_t offset, std::span<const iovec> to) {
  AioRequest request = request_for(file, AioRequest::Op::kRead);
  Transfer transfer(to);
  unsigned tries = 0;
  while (transfer.left() != 0) {
    request.buffers = transfer.next().data();
    request.count = static_cast<unsigned>(transfer.next().size());
    request.offset = offset + transfer.done();
    Once once(*main_, request);
    const int got = co_await once;
    if (got < 0 && !worth_another_try(got, tries)) co_return -got;
    if (got < 0) continue;
    tries = 0;
    transfer.advance(static_cast<uint64_t>(got));
    if (got == 0 || static_cast<uint64_t>(got) % files_[file].kind.alignment != 0) transfer.rest_is_zero();
  }
  co_return 0;
}

Task<Errno> Aio::write(unsigned file, uint64_t offset, std::span<const iovec> from, bool durable) {
  AioRequest request = request_for(file, AioRequest::Op::kWrite);
  request.durable = durable;
  Transfer transfer(from);
  unsigned tries = 0;
  while (transfer.left() != 0) {
    request.buffers = transfer.next().data();
    request.count = static_cast<unsigned>(transfer.next().size());
    request.offset = offset + transfer.done();
    Once once(*main_, request);
    const int put = co_await once;
    if (put < 0 && !worth_another_try(put, tries)) co_return -put;
    if (put == 0) co_return EIO;  // write(2) gives no reason
    if (put < 0) continue;
    tries = 0;
    transfer.advance(static_cast<uint64_t>(put));
  }
  co_return 0;
}

Task<Errno> Aio::until_done(AioRequest request) {
  AioDriver& driver = request.op == AioRequest::Op::kDiscard && discards_ ? *discards_ : *main_;
  for (unsigned tries = 0;;) {
    Once once(driver, request);
    const int result = co_await once;
    if (result >= 0) co_return 0;
    if (!worth_another_try(result, tries)) co_return -result;
  }
}

Task<Errno> Aio::sync(unsigned file) { return until_done(request_for(file, AioRequest::Op::kSync)); }

Task<Errno> Aio::allocate(unsigned file, int mode, uint64_t offset, uint64_t length) {
  AioRequest request = request_for(file, AioRequest::Op::kAllocate);
  request.mode = mode;
  request.offset = offset;
  request.length = length;
  return until_done(request);
}

Task<Errno> Aio::discard(unsigned file, uint64_t offset, uint64_t length) {
  AioRequest request = request_for(file, AioRequest::Op::kDiscard);
  request.offset = offset;
  request.length = length;
  return until_done(request);
}

}  // namespace skerry::block
