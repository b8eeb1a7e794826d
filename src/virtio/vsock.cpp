#include "virtio/vsock.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/log.hpp"
#include "base/units.hpp"
#include "base/unix_socket.hpp"

namespace skerry::virtio {

namespace {
constexpr uint64_t VIRTIO_VSOCK_F_STREAM = bit(0);                       // virtio 1.2, 5.10.3
constexpr uint32_t VIRTIO_VSOCK_EVENT_TRANSPORT_RESET = 0;               // 5.10.6.6.1
enum QueueIndex : unsigned { kReceive = 0, kTransmit = 1, kEvent = 2 };  // 5.10.2

constexpr uint16_t kQueueSize = 256, kEventQueueSize = 16;
constexpr unsigned kPacketsAtOnce = 128;  // then the loop's other work has its turn
constexpr size_t kMaxResets = 64, kMaxCallers = 16;
constexpr int kBacklog = 16;
// The host's ports of connections that the host asks for; the guest's own are elsewhere.
constexpr uint32_t kFirstHostPort = 0x4000'0000, kHostPorts = 0x4000'0000;
constexpr std::string_view kConnect = "CONNECT ";
constexpr size_t kMaxLine = kConnect.size() + 11;

std::optional<uint32_t> port_asked_for(std::string_view line) {
  if (!line.starts_with(kConnect)) return std::nullopt;
  line.remove_prefix(kConnect.size());
  if (line.ends_with('\r')) line.remove_suffix(1);
  uint32_t port = 0;
  const auto parsed = std::from_chars(line.data(), line.data() + line.size(), port);
  if (line.empty() || parsed.ec != std::errc() || parsed.ptr != line.data() + line.size()) return std::nullopt;
  return port;
}
}  // namespace

Result<VsockHost> VsockHost::open(const std::string& path) {
  const std::string what = fmt::format("vsock '{}'", path);
  auto dialer = net::PortDialer::start(path);
  if (!dialer) return std::move(dialer).error().in(what);
  auto listener = listen_unix(what, path, kBacklog);
  if (!listener) return std::move(listener).error();
  return VsockHost{path, std::move(*listener), std::move(*dialer)};
}

// --- life ------------------------------------------------------------------------------------------------------------

Vsock::Vsock(std::string name, EventLoop& loop, memory::GuestMemory& memory, uint32_t guest_cid, VsockHost host)
    : Device(std::move(name), loop, memory),
      guest_cid_(guest_cid),
      host_(std::move(host)),
      work_later_(loop, [this] {
        serve_transmit();
        serve_receive();
      }) {}

Vsock::~Vsock() {
  forget_host();
  end_all();
  ::unlink(host_.path.c_str());
}

uint64_t Vsock::features() const { return VIRTIO_VSOCK_F_STREAM; }

std::vector<uint16_t> Vsock::queue_sizes() const { return {kQueueSize, kQueueSize, kEventQueueSize}; }

void Vsock::read_config(uint32_t offset, std::span<uint8_t> to) {
  std::memcpy(to.data(), reinterpret_cast<const uint8_t*>(&guest_cid_) + offset, to.size());
}

void Vsock::activate(uint64_t features, std::span<Queue> queues, Transport& transport) {
  if (active_.begin(features, queues, transport)) {
    end_all();  // in this process they may be there still
    reset_due_ = true;
  }
  watch_host();
  send_event();
}

void Vsock::deactivate() {
  forget_host();
  end_all();
  transmit_waits_ = reset_due_ = false;
  active_.end();
}

// What comes in from the host waits in its sockets.
void Vsock::quiesce(std::function<void()> at_rest) {
  forget_host();
  for (auto& [key, connection] : connections_) watch(key, connection, std::nullopt);
  for (const auto& [fd, caller] : callers_) loop_.remove(fd);
  active_.quiesce();
  at_rest();
}

void Vsock::resume() {
  active_.resume();
  if (!active_.active()) return;
  for (const auto& [fd, caller] : callers_) watch_caller(fd);
  std::vector<VsockKey> keys;
  for (const auto& [key, connection] : connections_) keys.push_back(key);
  for (const VsockKey& key : keys) settle(key);
  watch_host();
  work_later_.schedule();
}

void Vsock::describe(state::Fields& fields) {
  active_.described();
  fields.field("reset_due", reset_due_);
  fields.field("next_host_port", next_host_port_, state::up_to(kHostPorts - 1));
}

void Vsock::watch_host() {
  watch_listener();
  auto watched = host_.dialer.watch(loop_, [this](UniqueFd connected) { host_answers(std::move(connected)); });
  if (!watched) log::warn("vsock '{}': {}", host_.path, watched.error().message());
}

void Vsock::forget_host() {
  forget_listener();
  host_.dialer.forget(loop_);
}

// --- connections asked for by the host -------------------------------------------------------------------------------

void Vsock::watch_listener() {
  if (listening_ || callers_.size() >= kMaxCallers) return;
  if (auto added = loop_.add(host_.listener.get(), EPOLLIN, [this](uint32_t) { accept_caller(); }); !added)
    log::warn("vsock '{}': {}", host_.path, added.error().message());
  else
    listening_ = true;
}

void Vsock::forget_listener() {
  if (std::exchange(listening_, false)) loop_.remove(host_.listener.get());
}

void Vsock::accept_caller() {
  UniqueFd fd(::accept4(host_.listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd) return;
  const int number = fd.get();
  callers_[number] = {std::move(fd), {}};
  watch_caller(number);
  if (callers_.size() >= kMaxCallers) forget_listener();  // the others wait in the kernel
}

void Vsock::watch_caller(int fd) {
  if (auto added = loop_.add(fd, EPOLLIN, [this, fd](uint32_t) { hear_caller(fd); }); !added)
    log::warn("vsock '{}': {}", host_.path, added.error().message());
}

// Byte by byte: what follows the line is the guest's.
void Vsock::hear_caller(int number) {
  const auto found = callers_.find(number);
  if (found == callers_.end()) return;
  Caller& caller = found->second;
  char next = 0;
  ssize_t got = 0;
  while ((got = ::recv(number, &next, 1, MSG_DONTWAIT)) == 1 && next != '\n' && caller.line.size() < kMaxLine)
    caller.line.push_back(next);
  if (got < 0 && errno == EAGAIN) return;
  const auto port = got == 1 && next == '\n' ? port_asked_for(caller.line) : std::nullopt;
  UniqueFd fd = std::move(caller.fd);
  loop_.remove(number);
  callers_.erase(found);
  watch_listener();
  if (port) call_guest(std::move(fd), *port);  // else it is not one of ours: it sees the end
}

void Vsock::call_guest(UniqueFd fd, uint32_t port) {
  if (!active_.working() || !make_room()) return;
  const VsockKey key{port, free_host_port(port)};
  add(key, std::move(fd), false);
  settle(key);
  serve_receive();
}

uint32_t Vsock::free_host_port(uint32_t guest_port) {
  for (;;) {  // there are fewer connections than ports
    const uint32_t port = kFirstHostPort + next_host_port_;
    next_host_port_ = (next_host_port_ + 1) % kHostPorts;
    if (!connections_.contains({guest_port, port})) return port;
  }
}

// --- connections in general ------------------------------------------------------------------------------------------

// Where all places are taken, one of which only the guest's last word is missing gives way.
bool Vsock::make_room() {
  if (connections_.size() < kMaxConnections) return true;
  for (const auto& [key, connection] : connections_) {
    if (!connection.stream.waits_for_guest()) continue;
    end(VsockKey(key), true);
    return true;
  }
  return false;
}

Vsock::Connection& Vsock::add(VsockKey key, UniqueFd fd, bool established) {
  return connections_.emplace(key, Connection{VsockStream(std::move(fd), established), std::nullopt, false})
      .first->second;
}

void Vsock::end(VsockKey key, bool tell_guest) {
  const auto found = connections_.find(key);
  Connection& connection = found->second;
  if (tell_guest && connection.stream.asked())
    resets_.push_back({kVsockHostCid, key.host_port, key.guest_port, VIRTIO_VSOCK_TYPE_STREAM});
  watch(key, connection, std::nullopt);
  if (connection.queued) std::erase(ready_, key);
  connections_.erase(found);
}

void Vsock::end_all() {
  for (auto& [key, connection] : connections_) watch(key, connection, std::nullopt);
  connections_.clear();
  ready_.clear();
  resets_.clear();
  for (const auto& [fd, caller] : callers_) loop_.remove(fd);
  callers_.clear();
  for (auto& request : dialled_) request.reset();  // they will be answered nevertheless
}

void Vsock::settle(VsockKey key) {
  const auto found = connections_.find(key);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  if (connection.stream.failed() || connection.stream.over()) return end(key, true);
  if (connection.stream.has_packet() && !std::exchange(connection.queued, true)) ready_.push_back(key);
  watch(key, connection, connection.stream.wanted_events());
}

void Vsock::watch(VsockKey key, Connection& connection, std::optional<uint32_t> events) {
  if (connection.watched == events) return;
  const int fd = connection.stream.fd();
  if (!events) {
    loop_.remove(fd);
  } else if (connection.watched) {
    loop_.modify(fd, *events);
  } else if (auto added = loop_.add(fd, *events, [this, key](uint32_t ready) { host_event(key, ready); }); !added) {
    log::warn("vsock '{}': {}", host_.path, added.error().message());
    return;
  }
  connection.watched = events;
}

void Vsock::host_event(VsockKey key, uint32_t events) {
  const auto found = connections_.find(key);
  if (found == connections_.end()) return;
  if (!active_.working()) return end_all();  // the driver has broken the device
  found->second.stream.host_ready(events & EPOLLIN);
  settle(key);
  serve_receive();
}

// --- from the guest --------------------------------------------------------------------------------------------------

void Vsock::notified(unsigned index) {
  if (index == kReceive)
    serve_receive();
  else if (index == kTransmit)
    serve_transmit();
  else if (index == kEvent)
    send_event();
}

void Vsock::serve_transmit() {
  for (unsigned left = kPacketsAtOnce;; --left) {
    if (left == 0) {
      work_later_.schedule();
      break;
    }
    // A guest that takes no answers gets no more questions answered (5.10.6.1).
    transmit_waits_ = resets_.size() >= kMaxResets;
    if (transmit_waits_) break;
    const auto chain = active_.pop(kTransmit);
    if (!chain) {
      if (active_.more_after_enabling(kTransmit)) continue;
      break;
    }
    packet(*chain);
    active_.queue(kTransmit).push(*chain, 0);
  }
  active_.interrupt(kTransmit);
  serve_receive();
}

void Vsock::packet(const Chain& chain) {
  VsockHeader header{};
  if (chain.read(memory_, 0, {reinterpret_cast<uint8_t*>(&header), sizeof header}) != sizeof header) return;
  if (header.src_cid != guest_cid_) return;
  if (header.dst_cid != kVsockHostCid || header.type != VIRTIO_VSOCK_TYPE_STREAM) return reset_sender(header);
  const VsockKey key{header.src_port, header.dst_port};
  const auto found = connections_.find(key);
  if (found != connections_.end())
    answer(header, chain, key, found->second);
  else if (header.op == VIRTIO_VSOCK_OP_REQUEST)
    connect_host(header, key);
  else if (auto* request = request_of(key); request && header.op == VIRTIO_VSOCK_OP_RST)
    request->reset();  // the guest has given up
  else
    reset_sender(header);
}

void Vsock::answer(const VsockHeader& header, const Chain& chain, VsockKey key, Connection& connection) {
  VsockStream& stream = connection.stream;
  stream.take_credit(header);
  bool right = stream.established();
  switch (header.op) {
    case VIRTIO_VSOCK_OP_RESPONSE:
      right = !stream.established() && stream.asked() && stream.establish(key.host_port);
      break;
    case VIRTIO_VSOCK_OP_RST:
      return end(key, false);
    case VIRTIO_VSOCK_OP_SHUTDOWN:
      if (right) stream.guest_shuts_down(static_cast<uint8_t>(header.flags));
      break;
    case VIRTIO_VSOCK_OP_RW:
      right = right && stream.take_payload(memory_, chain, header);
      break;
    case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
      break;
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
      stream.credit_wanted();
      break;
    default:  // a second REQUEST too
      right = false;
  }
  if (!right) return end(key, true);
  settle(key);
}

void Vsock::connect_host(const VsockHeader& header, VsockKey key) {
  if (request_of(key) || !host_.dialer.ask(key.host_port)) return reset_sender(header);
  dialled_.push_back(header);
}

// The oldest of those that are dialled.
void Vsock::host_answers(UniqueFd connected) {
  const auto header = dialled_.front();
  dialled_.pop_front();
  if (!header || !active_.working()) return;
  const VsockKey key{header->src_port, header->dst_port};
  if (!connected || connections_.contains(key) || !make_room()) {
    reset_sender(*header);
  } else {
    add(key, std::move(connected), true).stream.take_credit(*header);
    settle(key);
  }
  serve_receive();
}

std::optional<VsockHeader>* Vsock::request_of(VsockKey key) {
  const auto found = std::find_if(dialled_.begin(), dialled_.end(), [key](const auto& request) {
    return request && VsockKey{request->src_port, request->dst_port} == key;
  });
  return found == dialled_.end() ? nullptr : &*found;
}

void Vsock::reset_sender(const VsockHeader& header) {
  if (header.op == VIRTIO_VSOCK_OP_RST) return;
  resets_.push_back({header.dst_cid, header.dst_port, header.src_port, header.type});
}

// --- to the guest ----------------------------------------------------------------------------------------------------

void Vsock::serve_receive() {
  for (unsigned left = kPacketsAtOnce; !ready_.empty() || !resets_.empty(); --left) {
    if (left == 0) {
      work_later_.schedule();
      break;
    }
    auto chain = active_.pop(kReceive);
    if (!chain && active_.more_after_enabling(kReceive)) chain = active_.pop(kReceive);
    if (!chain) break;
    if (!find_room(*chain)) {
      active_.queue(kReceive).push(*chain, 0);
      continue;
    }
    const uint32_t written = fill(*chain);
    if (written > 0)
      active_.queue(kReceive).push(*chain, written);
    else
      active_.queue(kReceive).unpop(*chain);
  }
  active_.interrupt(kReceive);
  if (transmit_waits_ && resets_.size() < kMaxResets) work_later_.schedule();
}

// Where a payload can go. False if there is no place for any: such a buffer would wait for ever.
bool Vsock::find_room(const Chain& chain) {
  room_.clear();
  uint64_t skip = sizeof(VsockHeader);
  for (const Buffer& buffer : chain.writable) {
    const uint64_t before = std::min<uint64_t>(skip, buffer.length);
    if (before < buffer.length) memory_.host_ranges(buffer.address + before, buffer.length - before, true, room_);
    skip -= before;
  }
  return !room_.empty();
}

// Puts the next packet into the buffer; 0 if there was none after all.
uint32_t Vsock::fill(const Chain& chain) {
  if (!resets_.empty()) return fill_reset(chain);
  while (!ready_.empty()) {
    const VsockKey key = ready_.front();  // each has its turn
    ready_.pop_front();
    Connection& connection = connections_.at(key);
    connection.queued = false;
    VsockHeader header{};
    header.src_cid = kVsockHostCid;
    header.dst_cid = guest_cid_;
    header.src_port = key.host_port;
    header.dst_port = key.guest_port;
    header.type = VIRTIO_VSOCK_TYPE_STREAM;
    const bool filled = connection.stream.next_packet(room_, header);
    settle(key);
    if (!filled) continue;
    chain.write(memory_, 0, {reinterpret_cast<const uint8_t*>(&header), sizeof header});
    uint64_t left = sizeof header + header.len;
    for (const Buffer& buffer : chain.writable) {  // what the kernel wrote there
      const uint64_t here = std::min<uint64_t>(left, buffer.length);
      memory_.written(buffer.address, here);
      left -= here;
    }
    return static_cast<uint32_t>(sizeof header + header.len);
  }
  return resets_.empty() ? 0 : fill_reset(chain);
}

uint32_t Vsock::fill_reset(const Chain& chain) {
  const Reset reset = resets_.front();
  resets_.pop_front();
  VsockHeader header{};
  header.src_cid = reset.from_cid;
  header.dst_cid = guest_cid_;
  header.src_port = reset.from_port;
  header.dst_port = reset.to_port;
  header.type = reset.type;
  header.op = VIRTIO_VSOCK_OP_RST;
  return static_cast<uint32_t>(chain.write(memory_, 0, {reinterpret_cast<const uint8_t*>(&header), sizeof header}));
}

void Vsock::send_event() {
  if (!reset_due_) return;
  const auto chain = active_.pop(kEvent);
  if (!chain) return;
  const uint32_t id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET;
  const size_t written = chain->write(memory_, 0, {reinterpret_cast<const uint8_t*>(&id), sizeof id});
  active_.queue(kEvent).push(*chain, static_cast<uint32_t>(written));
  active_.interrupt(kEvent);
  reset_due_ = false;
}

}  // namespace skerry::virtio
