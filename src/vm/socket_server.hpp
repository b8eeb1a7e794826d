// A listening socket that serves one client at a time, with bounded buffers. Others wait in the kernel's queue.
//
// Opening needs the file system; everything after start() needs only descriptors. Main thread only.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/event_loop.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::vm {

class SocketServer {
 public:
  // A client that does not read its answers is not read from; one that ignores this much of what it is sent without
  // asking (events) is disconnected.
  static constexpr size_t kStopReading = 256 * 1024, kTooMuch = 4 * 1024 * 1024;

  struct Handler {
    std::function<void()> connected;
    std::function<void(UniqueFd)> descriptor = {};  // passed along with what is received next; empty: closed
    std::function<void(std::string_view)> received;
    std::function<void()> disconnected;
  };

  // `role` is for messages: "--qmp".
  static Result<std::unique_ptr<SocketServer>> listen_unix(std::string_view role, const std::string& path);
  // An empty `host` is 127.0.0.1; port 0 is any free one.
  static Result<std::unique_ptr<SocketServer>> listen_tcp(std::string_view role, const std::string& host, uint16_t port);
  ~SocketServer();

  Result<void> start(EventLoop& loop, Handler handler);
  // Goes out as the client reads it; nowhere when there is no client.
  void send(std::string_view bytes);
  // After the event loop's end: gives the client `limit_ms` to read what is left.
  void flush(int limit_ms);
  bool connected() const { return static_cast<bool>(client_); }
  uint16_t port() const { return port_; }  // of TCP

 private:
  SocketServer(std::string role, UniqueFd listener) : role_(std::move(role)), listener_(std::move(listener)) {}
  void accept_client();
  void client_event(uint32_t events);
  bool read_some();   // false: the client is gone
  void take_descriptors(const msghdr& message);
  bool write_some();  // likewise
  void watch();
  void drop_client();

  const std::string role_;
  UniqueFd listener_;
  UniqueFd client_;
  uint16_t port_ = 0;
  bool tcp_ = false;
  EventLoop* loop_ = nullptr;
  Handler handler_;
  std::string output_;
  bool overflowed_ = false;
};

}  // namespace skerry::vm
