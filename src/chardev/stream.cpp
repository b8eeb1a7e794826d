#include "chardev/stream.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "base/log.hpp"

namespace skerry::chardev {

namespace {
constexpr size_t kReadAtOnce = 4 * KiB;
constexpr size_t kWriteAtOnce = 16 * KiB;
constexpr int kWritesPerTurn = 4;  // then the loop's other descriptors have their turn
// A writer that was refused is called back at this much room, not for every byte.
constexpr size_t kEnoughRoom = kOutputBuffer / 2;
}  // namespace

Stream::~Stream() {
  forget(input_watch_);
  forget(output_watch_);
}

void Stream::connect(Frontend frontend) {
  frontend_ = std::move(frontend);
  if (started()) post([this] { greet(); });
}

Result<void> Stream::start(EventLoop& loop) {
  loop_ = &loop;
  {
    std::lock_guard guard(lock_);
    loop_for_writers_ = &loop;
  }
  update_watches();
  post([this] {
    greet();
    handle(0);
  });
  return ok();
}

void Stream::greet() {
  tell_connected();
  deliver();
}

void Stream::post(std::function<void()> work) {
  loop_->post([work = std::move(work), alive = std::weak_ptr(alive_)] {
    if (alive.lock()) work();
  });
}

void Stream::set_when_full(WhenFull when_full) {
  std::lock_guard guard(lock_);
  when_full_ = when_full;
}

void Stream::open_both(HostFd fd) {
  both_fd_ = std::move(fd);
  if (started()) {
    update_watches();
    write_some();
  }
}

void Stream::close_both() {
  forget(input_watch_);
  forget(output_watch_);
  both_fd_.close();
}

// --- the loop's interest ---------------------------------------------------------------------------------------------

void Stream::forget(Watch& watch) {
  if (watch.fd >= 0 && watch.events != 0 && !watch.always_ready) loop_->remove(watch.fd);
  watch = {};
}

void Stream::want(Watch& watch, int fd, uint32_t events) {
  if (watch.fd != fd) forget(watch);
  watch.fd = fd;
  if (fd < 0 || watch.events == events) return;
  if (!watch.always_ready) {
    if (events == 0) {
      loop_->remove(fd);
    } else if (watch.events != 0) {
      loop_->modify(fd, events);
    } else if (!loop_->add(fd, events, [this](uint32_t ready) { handle(ready); })) {
      watch.always_ready = true;
    }
  }
  watch.events = events;
}

void Stream::update_watches() {
  if (!started()) return;
  const uint32_t in = reading() && input_.room() > 0 ? uint32_t{EPOLLIN} : 0;
  const uint32_t out = writing() && output_pending() ? uint32_t{EPOLLOUT} : 0;
  if (both_fd_) {
    want(input_watch_, both_fd_.get(), in | out);
  } else {
    want(input_watch_, reading().get(), in);
    want(output_watch_, writing().get(), out);
  }
  // What epoll does not watch is read and written turn by turn instead; input only as fast as the device takes it.
  const bool more_in = input_watch_.always_ready && in && input_.empty();
  const bool more_out = output_watch_.always_ready && out;
  if ((more_in || more_out) && !continue_posted_) {
    continue_posted_ = true;
    post([this] {
      continue_posted_ = false;
      handle(0);
    });
  }
}

void Stream::handle(uint32_t) {
  read_some();
  write_some();
}

// --- host to device --------------------------------------------------------------------------------------------------

void Stream::read_some() {
  HostFd& fd = reading();
  if (fd && input_.room() > 0) {
    std::vector<uint8_t> bytes(std::min(kReadAtOnce, input_.room()));
    const ssize_t got = fd.read(bytes);
    if (got > 0) {
      bytes.resize(static_cast<size_t>(got));
      filter(bytes);
      input_.push(bytes);
    } else if (got != -EAGAIN) {
      forget(input_watch_);
      input_ended();
    }
  }
  deliver();
}

void Stream::deliver() {
  while (!input_.empty()) {
    // In this order: a device that gets room after can_receive() said 0 finds input_waits_ set.
    input_waits_.store(true);
    const size_t room = frontend_.can_receive ? frontend_.can_receive() : 0;
    if (room == 0) break;
    const auto now = input_.front(room);
    const std::vector<uint8_t> bytes(now.begin(), now.end());
    input_.drop(bytes.size());
    frontend_.receive(bytes);
  }
  if (input_.empty()) input_waits_.store(false);
  update_watches();
}

void Stream::receive_ready() {
  if (!input_waits_.exchange(false)) return;
  std::lock_guard guard(lock_);
  if (!loop_for_writers_) return;
  loop_for_writers_->post([this, alive = std::weak_ptr(alive_)] {
    if (alive.lock()) deliver();
  });
}

// --- device to host --------------------------------------------------------------------------------------------------

size_t Stream::write(std::span<const uint8_t> bytes) {
  std::lock_guard guard(lock_);
  if (discard_) return bytes.size();
  size_t taken = bytes.size();
  if (when_full_ == WhenFull::kDropOldest)
    output_.push_dropping_oldest(bytes);
  else
    taken = output_.push(bytes);
  if (taken < bytes.size()) writer_waits_ = true;
  if (loop_for_writers_ && !write_posted_ && !output_.empty()) {
    write_posted_ = true;
    loop_for_writers_->post([this, alive = std::weak_ptr(alive_)] {
      if (alive.lock()) write_some();
    });
  }
  return taken;
}

bool Stream::output_pending() {
  if (in_flight_done_ < in_flight_.size()) return true;
  std::lock_guard guard(lock_);
  return !output_.empty();
}

// Bytes being written are out of the queue, so that the lock is not held during the system call and dropping the
// oldest cannot take them away half written.
bool Stream::refill_in_flight() {
  if (in_flight_done_ < in_flight_.size()) return true;
  std::lock_guard guard(lock_);
  const auto next = output_.front(kWriteAtOnce);
  in_flight_.assign(next.begin(), next.end());
  in_flight_done_ = 0;
  output_.drop(in_flight_.size());
  return !in_flight_.empty();
}

void Stream::write_some() {
  {
    std::lock_guard guard(lock_);
    write_posted_ = false;
  }
  for (int turn = 0; turn < kWritesPerTurn && writing() && refill_in_flight(); ++turn) {
    const ssize_t put = writing().write(std::span(in_flight_).subspan(in_flight_done_));
    if (put == -EAGAIN) break;
    if (put < 0) {
      forget(output_watch_);
      output_ended(static_cast<int>(-put));
      break;
    }
    in_flight_done_ += static_cast<size_t>(put);
  }
  tell_writable();
  update_watches();
}

void Stream::tell_writable() {
  {
    std::lock_guard guard(lock_);
    if (!writer_waits_ || output_.room() < kEnoughRoom) return;
    writer_waits_ = false;
  }
  if (frontend_.writable) frontend_.writable();
}

void Stream::output_ended(int error) {
  if (error != EPIPE)
    log::warn("{}; what the guest writes there is lost from here on", errno_error(error, "cannot write").message());
  output_fd_.close();
  in_flight_.clear();
  in_flight_done_ = 0;
  std::lock_guard guard(lock_);
  discard_ = true;
  output_.drop(output_.size());
}

void Stream::flush(int limit_ms) {
  constexpr int kStalledMs = 200;  // no progress for so long: nobody is reading
  const int64_t end = VmClock::host_now() + int64_t{limit_ms} * 1'000'000;
  while (writing()) {
    if (!refill_in_flight()) {
      tell_writable();  // the device may have kept a few bytes back
      if (!refill_in_flight()) return;
    }
    const ssize_t put = writing().write(std::span(in_flight_).subspan(in_flight_done_));
    if (put > 0) {
      in_flight_done_ += static_cast<size_t>(put);
      continue;
    }
    if (put != -EAGAIN) return;
    const int64_t left_ms = (end - VmClock::host_now()) / 1'000'000;
    if (left_ms <= 0 || !writing().wait_writable(static_cast<int>(std::min<int64_t>(left_ms, kStalledMs)))) return;
  }
}

}  // namespace skerry::chardev
