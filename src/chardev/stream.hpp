// What all byte streams have in common: the output buffer, the input backlog, and the event loop's interest in both.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "base/units.hpp"
#include "chardev/byte_queue.hpp"
#include "chardev/chardev.hpp"
#include "chardev/host_fd.hpp"

namespace skerry::chardev {

constexpr size_t kOutputBuffer = 1 * MiB;

class Stream : public Chardev {
 public:
  ~Stream() override;
  void connect(Frontend frontend) final;
  Result<void> start(EventLoop& loop) override;
  size_t write(std::span<const uint8_t> bytes) final;
  void receive_ready() final;
  void flush(int limit_ms) final;

 protected:
  // What becomes of output that the host does not take.
  enum class WhenFull : uint8_t {
    kBackPressure,  // the device waits: a slow pipe loses nothing
    kDropOldest,    // nobody may be there: the guest goes on, and who comes later sees the latest output
  };
  Stream(size_t input_backlog, WhenFull when_full) : input_(input_backlog), when_full_(when_full) {}

  // All of these on the loop's thread, or before start().
  void set_input(HostFd fd) { input_fd_ = std::move(fd); }
  void set_output(HostFd fd) { output_fd_ = std::move(fd); }
  void set_when_full(WhenFull when_full);
  void open_both(HostFd fd);  // one descriptor for input and output, watched from now on if started
  void close_both();          // keeps what is buffered
  bool started() const { return loop_ != nullptr; }
  EventLoop& loop() { return *loop_; }
  // Runs `work` on the loop's thread unless this object is gone by then.
  void post(std::function<void()> work);
  const Frontend& frontend() const { return frontend_; }

  // Whether somebody is at the other end; tells the device after it has changed.
  virtual bool has_peer() const { return true; }
  void tell_connected() {
    if (frontend_.connected) frontend_.connected(has_peer());
  }

  // Bytes from the host on their way to the device; what is left of them in `bytes` goes on.
  virtual void filter(std::vector<uint8_t>& bytes) { (void)bytes; }
  // The other side is gone: end of file on the input, or an error. By default the direction just ends.
  virtual void input_ended() { input_fd_.close(); }
  virtual void output_ended(int error);

 private:
  // One descriptor of the loop, with the events wanted of it now. None wanted means not registered at all: a
  // descriptor that is hung up would call back for ever.
  struct Watch {
    int fd = -1;
    uint32_t events = 0;
    bool always_ready = false;  // epoll refuses regular files and /dev/null
  };
  HostFd& reading() { return input_fd_ ? input_fd_ : both_fd_; }
  HostFd& writing() { return output_fd_ ? output_fd_ : both_fd_; }
  void update_watches();
  void want(Watch& watch, int fd, uint32_t events);
  void forget(Watch& watch);
  void greet();
  void handle(uint32_t events);
  void read_some();
  void deliver();
  void write_some();
  bool refill_in_flight();
  bool output_pending();
  void tell_writable();

  // Only on the loop's thread.
  EventLoop* loop_ = nullptr;
  HostFd input_fd_, output_fd_, both_fd_;
  Watch input_watch_, output_watch_;
  Frontend frontend_;
  ByteQueue input_;
  std::vector<uint8_t> in_flight_;  // taken from output_, being written
  size_t in_flight_done_ = 0;
  bool continue_posted_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);

  std::atomic<bool> input_waits_{false};  // the device refused input_; receive_ready() posts deliver()

  std::mutex lock_;  // a leaf lock, for what follows
  EventLoop* loop_for_writers_ = nullptr;
  ByteQueue output_{kOutputBuffer};
  WhenFull when_full_;
  bool write_posted_ = false;
  bool writer_waits_ = false;
  bool discard_ = false;
};

}  // namespace skerry::chardev
