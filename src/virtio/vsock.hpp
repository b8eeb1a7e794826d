// The socket device (virtio 1.2, 5.10): stream sockets between programs of the guest and of the host.
//
// The host's side is unix sockets, as with other VMMs. A host program connects to PATH, writes "CONNECT PORT\n" and
// reads "OK HOSTPORT\n" when the guest has accepted. A program of the guest that connects to CID 2, port P, reaches the
// unix socket PATH_P, which a host program listens on; connecting there is another process's work (net::PortDialer).
//
// Connections do not outlive the process: after a restore the guest is told that they are gone (5.10.6.6.1).
//
// Threads: everything on the loop's thread; the configuration space never changes.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/deferred.hpp"
#include "base/fd.hpp"
#include "net/port_dialer.hpp"
#include "virtio/activation.hpp"
#include "virtio/device.hpp"
#include "virtio/vsock_packet.hpp"
#include "virtio/vsock_stream.hpp"

namespace skerry::virtio {

// The host's side.
struct VsockHost {
  // Makes the socket PATH and listens there; starts what connects to the others. Before the sandbox closes.
  static Result<VsockHost> open(const std::string& path);

  std::string path;
  UniqueFd listener;
  net::PortDialer dialer;
};

class Vsock final : public Device {
 public:
  static constexpr size_t kMaxConnections = 128;

  // `guest_cid` is 3 or more.
  Vsock(std::string name, EventLoop& loop, memory::GuestMemory& memory, uint32_t guest_cid, VsockHost host);
  ~Vsock() override;

  DeviceId id() const override { return DeviceId::kVsock; }
  uint32_t pci_class() const override { return 0x078000; }  // communication controller, other
  uint64_t features() const override;
  std::vector<uint16_t> queue_sizes() const override;
  uint32_t config_size() const override { return sizeof guest_cid_; }
  void read_config(uint32_t offset, std::span<uint8_t> to) override;
  void activate(uint64_t features, std::span<Queue> queues, Transport& transport) override;
  void notified(unsigned index) override;
  void deactivate() override;
  void quiesce(std::function<void()> at_rest) override;
  void resume() override;
  void describe(state::Fields& fields) override;

  size_t connections() const { return connections_.size(); }

 private:
  struct Connection {
    VsockStream stream;
    std::optional<uint32_t> watched;  // epoll events; nothing: not registered
    bool queued = false;              // in ready_
  };
  // Who has connected to PATH and not yet said to which port.
  struct Caller {
    UniqueFd fd;
    std::string line;
  };
  struct Reset {
    uint64_t from_cid;
    uint32_t from_port, to_port;
    uint16_t type;
  };

  void watch_host();
  void forget_host();
  void watch_listener();
  void forget_listener();
  void accept_caller();
  void hear_caller(int fd);
  void watch_caller(int fd);
  void call_guest(UniqueFd fd, uint32_t port);
  uint32_t free_host_port(uint32_t guest_port);

  void serve_transmit();
  void packet(const Chain& chain);
  void answer(const VsockHeader& header, const Chain& chain, VsockKey key, Connection& connection);
  void connect_host(const VsockHeader& header, VsockKey key);
  void host_answers(UniqueFd connected);
  std::optional<VsockHeader>* request_of(VsockKey key);
  void reset_sender(const VsockHeader& header);

  void serve_receive();
  bool find_room(const Chain& chain);
  uint32_t fill(const Chain& chain);
  uint32_t fill_reset(const Chain& chain);
  void send_event();

  bool make_room();
  Connection& add(VsockKey key, UniqueFd fd, bool established);
  void end(VsockKey key, bool tell_guest);
  void end_all();
  void host_event(VsockKey key, uint32_t events);
  // After anything has happened to a connection: ends it, or has it served and watched.
  void settle(VsockKey key);
  void watch(VsockKey key, Connection& connection, std::optional<uint32_t> events);

  const uint64_t guest_cid_;
  VsockHost host_;
  bool listening_ = false;
  // The guest's requests that the dialer has not answered; an empty place is one that the guest waits for no more.
  std::deque<std::optional<VsockHeader>> dialled_;

  Activation active_;
  Deferred work_later_;
  std::map<VsockKey, Connection> connections_;
  std::deque<VsockKey> ready_;   // connections that may have a packet for the guest
  std::deque<Reset> resets_;     // what is no connection is to be told so
  bool transmit_waits_ = false;  // until resets_ is shorter
  std::map<int, Caller> callers_;
  std::vector<iovec> room_;  // of the packet that is being filled

  bool reset_due_ = false;  // VIRTIO_VSOCK_EVENT_TRANSPORT_RESET
  uint32_t next_host_port_ = 0;
};

}  // namespace skerry::virtio
