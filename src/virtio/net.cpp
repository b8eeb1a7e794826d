#include "virtio/net.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

#include "base/log.hpp"
#include "base/units.hpp"

namespace skerry::virtio {

namespace {
// Virtio 1.2, 5.1.3.
constexpr uint64_t VIRTIO_NET_F_CSUM = bit(0), VIRTIO_NET_F_GUEST_CSUM = bit(1),
                   VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = bit(2), VIRTIO_NET_F_MTU = bit(3), VIRTIO_NET_F_MAC = bit(5),
                   VIRTIO_NET_F_GUEST_TSO4 = bit(7), VIRTIO_NET_F_GUEST_TSO6 = bit(8), VIRTIO_NET_F_GUEST_UFO = bit(10),
                   VIRTIO_NET_F_HOST_TSO4 = bit(11), VIRTIO_NET_F_HOST_TSO6 = bit(12), VIRTIO_NET_F_HOST_UFO = bit(14),
                   VIRTIO_NET_F_MRG_RXBUF = bit(15), VIRTIO_NET_F_STATUS = bit(16), VIRTIO_NET_F_CTRL_VQ = bit(17),
                   VIRTIO_NET_F_CTRL_RX = bit(18), VIRTIO_NET_F_CTRL_VLAN = bit(19),
                   VIRTIO_NET_F_CTRL_RX_EXTRA = bit(20), VIRTIO_NET_F_GUEST_ANNOUNCE = bit(21),
                   VIRTIO_NET_F_MQ = bit(22), VIRTIO_NET_F_CTRL_MAC_ADDR = bit(23);
constexpr uint64_t kGuestOffloads =
    VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_UFO;

// 5.1.4.
struct Config {
  Mac mac;
  uint16_t status, max_virtqueue_pairs, mtu;
};
static_assert(sizeof(Config) == 12);
enum Status : uint16_t { VIRTIO_NET_S_LINK_UP = 1, VIRTIO_NET_S_ANNOUNCE = 2 };

// 5.1.6, struct virtio_net_hdr.
struct Header {
  net::FrameHeader frame;
  uint16_t num_buffers;
};
static_assert(sizeof(Header) == 12);

// 5.1.6.5, the control virtqueue.
enum ControlClass : uint8_t {
  VIRTIO_NET_CTRL_RX = 0,
  VIRTIO_NET_CTRL_MAC = 1,
  VIRTIO_NET_CTRL_VLAN = 2,
  VIRTIO_NET_CTRL_ANNOUNCE = 3,
  VIRTIO_NET_CTRL_MQ = 4,
  VIRTIO_NET_CTRL_GUEST_OFFLOADS = 5,
};
constexpr uint8_t VIRTIO_NET_OK = 0, VIRTIO_NET_ERR = 1;
constexpr uint8_t VIRTIO_NET_CTRL_RX_ALLMULTI = 1;  // the last one without CTRL_RX_EXTRA
constexpr uint8_t VIRTIO_NET_CTRL_MAC_TABLE_SET = 0, VIRTIO_NET_CTRL_MAC_ADDR_SET = 1;
constexpr uint8_t VIRTIO_NET_CTRL_VLAN_ADD = 0, VIRTIO_NET_CTRL_VLAN_DEL = 1;
constexpr uint8_t VIRTIO_NET_CTRL_ANNOUNCE_ACK = 0;
constexpr uint8_t VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET = 0;
constexpr uint8_t VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET = 0;
constexpr uint64_t kCommandData = 2;  // after class and command

constexpr uint16_t kQueueSize = 256, kControlQueueSize = 64;
constexpr unsigned kFramesAtOnce = 256;  // of one queue; then the loop's other work has its turn
constexpr unsigned kCommandsAtOnce = 64;
constexpr size_t kMostPieces = 1024;  // of a frame: IOV_MAX of the host
constexpr size_t kEthernetHeader = 14, kTwoVlanTags = 8;
constexpr uint32_t kMacTableEntries = 0x10000;  // more in one command is no driver's mistake

unsigned receive_index(unsigned pair) { return 2 * pair; }
unsigned transmit_index(unsigned pair) { return 2 * pair + 1; }

template <typename T>
bool read_value(const memory::GuestMemory& memory, const Chain& chain, uint64_t offset, T& value) {
  return chain.read(memory, offset, {reinterpret_cast<uint8_t*>(&value), sizeof value}) == sizeof value;
}
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

Net::Net(std::string name, EventLoop& loop, memory::GuestMemory& memory, net::Backend& backend, const Options& options)
    : Device(std::move(name), loop, memory),
      backend_(backend),
      max_pairs_(options.queue_pairs),
      mtu_(backend.mtu()),
      own_mac_(options.mac),
      interrupts_(loop, [this] { interrupt_due(); }),
      work_later_(loop,
                  [this] {
                    transmit_all();
                    serve_control();
                  }),
      mac_(options.mac),
      status_(backend.link_up() ? VIRTIO_NET_S_LINK_UP : 0) {
  assert(max_pairs_ >= 1 && max_pairs_ <= kMaxQueuePairs);
  const net::Offloads offloads = backend.offloads();
  offered_ = VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_MTU | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_CTRL_VQ |
             VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_RX_EXTRA | VIRTIO_NET_F_CTRL_VLAN | VIRTIO_NET_F_CTRL_MAC_ADDR |
             VIRTIO_NET_F_GUEST_ANNOUNCE;
  if (max_pairs_ > 1) offered_ |= VIRTIO_NET_F_MQ;
  if (!offloads.checksum) return;  // segmentation needs it: 5.1.3.1
  offered_ |= VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_CTRL_GUEST_OFFLOADS;
  if (offloads.tso4) offered_ |= VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_GUEST_TSO4;
  if (offloads.tso6) offered_ |= VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_GUEST_TSO6;
  if (offloads.ufo) offered_ |= VIRTIO_NET_F_HOST_UFO | VIRTIO_NET_F_GUEST_UFO;
}

Net::~Net() { stop_backend(); }

std::vector<uint16_t> Net::queue_sizes() const {
  std::vector<uint16_t> sizes(2 * max_pairs_, kQueueSize);
  sizes.push_back(kControlQueueSize);
  return sizes;
}

void Net::activate(uint64_t features, std::span<Queue> queues, Transport& transport) {
  const bool loaded = active_.begin(features & offered_, queues, transport);
  if (!active_.has(VIRTIO_NET_F_MQ)) pairs_ = 1;
  filter_.filter_vlans(active_.has(VIRTIO_NET_F_CTRL_VLAN));
  backend_full_ = waits_for_room_ = false;
  start_backend();
  if (!loaded) return;
  // Where the guest is now, the switches on the way do not know: it says so (5.1.6.5.4). The cable is another, too.
  if (active_.has(VIRTIO_NET_F_GUEST_ANNOUNCE)) set_status(VIRTIO_NET_S_ANNOUNCE, true);
  active_.config_interrupt();
}

void Net::deactivate() {
  stop_backend();
  active_.end();
  for (Held& held : held_) held = {};
  interrupts_due_ = 0;
  backend_full_ = waits_for_room_ = false;
  reset_state();
}

void Net::reset_state() {
  filter_ = {};
  pairs_ = 1;
  offloads_chosen_ = false;
  chosen_offloads_ = 0;
  flows_ = {};
  std::lock_guard guard(lock_);
  mac_ = own_mac_;
  status_ &= VIRTIO_NET_S_LINK_UP;
}

void Net::quiesce(std::function<void()> at_rest) {
  stop_backend();
  if (active_.active()) hold_none();
  interrupt_due();
  active_.quiesce();
  at_rest();
}

void Net::resume() {
  active_.resume();
  if (!active_.active()) return;
  backend_full_ = waits_for_room_ = false;  // both are found out again
  start_backend();
}

void Net::describe(state::Fields& fields) {
  active_.described();
  {
    std::lock_guard guard(lock_);
    fields.bytes("mac", mac_);
    uint16_t announce = status_ & VIRTIO_NET_S_ANNOUNCE;
    fields.field("announce", announce, state::in_mask(VIRTIO_NET_S_ANNOUNCE));
    status_ = static_cast<uint16_t>((status_ & VIRTIO_NET_S_LINK_UP) | announce);
  }
  filter_.describe(fields);
  fields.field("pairs", pairs_, state::Legal{1, max_pairs_, ~uint64_t{0}});
  fields.field("offloads_chosen", offloads_chosen_);
  fields.field("chosen_offloads", chosen_offloads_, state::in_mask(kGuestOffloads));
  fields.field("flows", flows_, state::up_to(kMaxQueuePairs));
}

// --- configuration space ---------------------------------------------------------------------------------------------

uint32_t Net::config_size() const { return sizeof(Config); }

void Net::read_config(uint32_t offset, std::span<uint8_t> to) {
  Config config{};
  {
    std::lock_guard guard(lock_);
    config = {mac_, status_, static_cast<uint16_t>(max_pairs_), mtu_};
  }
  std::memcpy(to.data(), reinterpret_cast<const uint8_t*>(&config) + offset, to.size());
}

void Net::set_status(uint16_t bits, bool on) {
  std::lock_guard guard(lock_);
  status_ = static_cast<uint16_t>(on ? status_ | bits : status_ & ~bits);
}

// --- the backend -----------------------------------------------------------------------------------------------------

void Net::start_backend() {
  if (backend_started_) return;
  tell_offloads();
  if (auto started = backend_.start(loop_, *this); !started) {
    log::warn("{}: {}; the guest sees no cable", name_, started.error().message());
    link_changed(false);
    return;
  }
  backend_started_ = true;
  link_changed(backend_.link_up());
}

void Net::stop_backend() {
  if (std::exchange(backend_started_, false)) backend_.stop();
}

void Net::link_changed(bool up) {
  {
    std::lock_guard guard(lock_);
    if (up == ((status_ & VIRTIO_NET_S_LINK_UP) != 0)) return;
  }
  set_status(VIRTIO_NET_S_LINK_UP, up);
  active_.config_interrupt();
}

// Feature bits; nothing is left to a guest that does not fill in checksums (5.1.3.1).
uint64_t Net::guest_offloads() const {
  const uint64_t wanted = offloads_chosen_ ? chosen_offloads_ : kGuestOffloads;
  if (!(wanted & VIRTIO_NET_F_GUEST_CSUM) || !active_.has(VIRTIO_NET_F_GUEST_CSUM)) return 0;
  uint64_t both = 0;
  for (uint64_t left = wanted; left; left &= left - 1)
    if (const uint64_t one = left & -left; active_.has(one)) both |= one;
  return both;
}

void Net::tell_offloads() {
  const uint64_t on = guest_offloads();
  backend_.set_guest_offloads({.checksum = (on & VIRTIO_NET_F_GUEST_CSUM) != 0,
                               .tso4 = (on & VIRTIO_NET_F_GUEST_TSO4) != 0,
                               .tso6 = (on & VIRTIO_NET_F_GUEST_TSO6) != 0,
                               .ufo = (on & VIRTIO_NET_F_GUEST_UFO) != 0});
}

// --- receiving -------------------------------------------------------------------------------------------------------

bool Net::receive(const net::FrameHeader& header, std::span<const uint8_t> frame) {
  if (!active_.working() || !may_be_received(header, frame.size())) {
    ++counters_.receive_dropped;
    return true;
  }
  if (!filter_.accepts(frame, mac_)) {  // written in turns of this loop only: no lock to read it
    ++counters_.filtered;
    return true;
  }
  const unsigned index = receive_queue(frame);
  switch (find_room(index, sizeof(Header) + frame.size())) {
    case Room::kNotYet:
      waits_for_room_ = true;
      return false;
    case Room::kNever:
      ++counters_.receive_dropped;
      return true;
    case Room::kEnough:
      break;
  }
  deliver(index, header, frame);
  ++counters_.received;
  return true;
}

bool Net::may_be_received(const net::FrameHeader& header, size_t size) const {
  if (size < kEthernetHeader || size > net::kMaxFrame) return false;
  const uint64_t on = guest_offloads();
  if ((header.flags & net::FrameHeader::kNeedsCsum) && !(on & VIRTIO_NET_F_GUEST_CSUM)) return false;
  switch (header.gso_type & ~net::FrameHeader::kGsoEcn) {
    case net::FrameHeader::kGsoNone:
      return true;
    case net::FrameHeader::kGsoTcpv4:
      return on & VIRTIO_NET_F_GUEST_TSO4;
    case net::FrameHeader::kGsoTcpv6:
      return on & VIRTIO_NET_F_GUEST_TSO6;
    case net::FrameHeader::kGsoUdp:
      return on & VIRTIO_NET_F_GUEST_UFO;
    default:
      return false;
  }
}

// 5.1.6.5.5: the queue pair that sent the flow's last frame; before there was one, any, but always the same.
unsigned Net::receive_queue(std::span<const uint8_t> frame) const {
  if (pairs_ == 1) return receive_index(0);
  const uint32_t flow = flow_of(frame.first(std::min(frame.size(), kFlowBytes)));
  const uint8_t last = flows_[flow % kFlows];
  return receive_index(last ? (last - 1u) % pairs_ : flow % pairs_);
}

// Takes buffers from the queue until a frame of `size` bytes, header included, fits into those that are held.
Net::Room Net::find_room(unsigned index, size_t size) {
  if (!active_.has_queue(index)) return Room::kNever;
  Held& held = held_[index / 2];
  const bool mergeable = active_.has(VIRTIO_NET_F_MRG_RXBUF);
  for (;;) {
    if (!held.chains.empty()) {
      const uint64_t first = held.chains.front().writable_size;
      if (first < sizeof(Header)) return Room::kNever;
      if (first >= size || (mergeable && held.room >= size)) return Room::kEnough;
      // All that the queue can have, and still too little.
      if (!mergeable || held.chains.size() >= active_.queue(index).size()) return Room::kNever;
    }
    auto chain = active_.pop(index);
    if (!chain && active_.more_after_enabling(index)) chain = active_.pop(index);
    if (!chain) return active_.working() ? Room::kNotYet : Room::kNever;
    held.room += chain->writable_size;
    held.chains.push_back(*std::move(chain));
  }
}

void Net::deliver(unsigned index, const net::FrameHeader& header, std::span<const uint8_t> frame) {
  Held& held = held_[index / 2];
  const size_t size = sizeof(Header) + frame.size();
  written_.clear();
  for (size_t placed = 0; placed < size;) {
    const uint64_t here = std::min<uint64_t>(size - placed, held.chains[written_.size()].writable_size);
    written_.push_back(static_cast<uint32_t>(here));
    placed += here;
  }
  // Without MRG_RXBUF it is 1 as well: 5.1.6.4.1.
  const Header first{header, static_cast<uint16_t>(written_.size())};
  held.chains[0].write(memory_, 0, {reinterpret_cast<const uint8_t*>(&first), sizeof first});
  size_t done = written_[0] - sizeof(Header);
  held.chains[0].write(memory_, sizeof(Header), frame.first(done));
  for (size_t i = 1; i < written_.size(); ++i) {
    held.chains[i].write(memory_, 0, frame.subspan(done, written_[i]));
    done += written_[i];
  }
  const auto used = static_cast<ptrdiff_t>(written_.size());
  active_.queue(index).push_all(std::span(held.chains).first(written_.size()), written_);
  for (ptrdiff_t i = 0; i < used; ++i) held.room -= held.chains[static_cast<size_t>(i)].writable_size;
  held.chains.erase(held.chains.begin(), held.chains.begin() + used);
  interrupts_due_ |= 1u << index;
  interrupts_.schedule();
}

void Net::interrupt_due() {
  for (uint32_t due = std::exchange(interrupts_due_, 0); due; due &= due - 1)
    active_.interrupt(static_cast<unsigned>(std::countr_zero(due)));
}

// Puts back what is held, the last one first.
void Net::hold_none() {
  for (unsigned pair = 0; pair < max_pairs_; ++pair) {
    Held& held = held_[pair];
    for (; !held.chains.empty(); held.chains.pop_back()) active_.queue(receive_index(pair)).unpop(held.chains.back());
    held = {};
  }
}

// --- sending ---------------------------------------------------------------------------------------------------------

void Net::notified(unsigned index) {
  if (!active_.working()) return;
  if (index == control_queue()) {
    serve_control();
  } else if (index % 2 == 1) {
    transmit(index / 2);
  } else if (active_.has_queue(index)) {
    active_.queue(index).disable_notifications();
    if (std::exchange(waits_for_room_, false)) backend_.card_has_room();
  }
}

void Net::backend_has_room() {
  backend_full_ = false;
  transmit_all();
}

void Net::transmit_all() {
  for (unsigned pair = 0; pair < pairs_; ++pair) transmit(pair);
}

void Net::transmit(unsigned pair) {
  const unsigned index = transmit_index(pair);
  if (pair >= pairs_ || backend_full_ || !active_.working() || !active_.has_queue(index)) return;
  Queue& queue = active_.queue(index);
  queue.disable_notifications();
  for (unsigned left = kFramesAtOnce;; --left) {
    if (left == 0) {
      work_later_.schedule();
      break;
    }
    const auto chain = active_.pop(index);
    if (!chain) {
      if (active_.more_after_enabling(index)) continue;
      break;
    }
    if (!send(pair, *chain)) {
      queue.unpop(*chain);
      backend_full_ = true;
      break;
    }
    queue.push(*chain, 0);
  }
  active_.interrupt(index);
}

// False: the backend has no room for it.
bool Net::send(unsigned pair, const Chain& chain) {
  Header header{};
  const bool whole = read_value(memory_, chain, 0, header);
  const uint64_t size = whole ? chain.readable_size - sizeof header : 0;
  if (size < kEthernetHeader || size > net::kMaxFrame || !may_be_sent(header.frame, size)) {
    ++counters_.send_dropped;
    return true;
  }
  frame_.clear();
  uint64_t skip = sizeof header;
  for (const Buffer& buffer : chain.readable) {
    const uint64_t here = std::min<uint64_t>(skip, buffer.length);
    skip -= here;
    if (here < buffer.length) memory_.host_ranges(buffer.address + here, buffer.length - here, false, frame_);
  }
  if (frame_.size() > kMostPieces) {
    ++counters_.send_dropped;
    return true;
  }
  if (!backend_.send(header.frame, frame_)) return false;
  ++counters_.sent;
  if (pairs_ > 1) {
    std::array<uint8_t, kFlowBytes> start;
    const size_t got = chain.read(memory_, sizeof header, start);
    flows_[flow_of(std::span(start).first(got)) % kFlows] = static_cast<uint8_t>(pair + 1);
  }
  return true;
}

// Keeps of the header what was agreed on (5.1.6.2); false if the frame asks for more.
bool Net::may_be_sent(net::FrameHeader& header, size_t size) const {
  header.flags &= net::FrameHeader::kNeedsCsum;
  header.hdr_len = static_cast<uint16_t>(std::min<size_t>(header.hdr_len, size));  // a hint: 5.1.6.2
  if (header.flags) {
    if (!active_.has(VIRTIO_NET_F_CSUM)) return false;
    if (size_t{header.csum_start} + header.csum_offset + 2 > size) return false;
  } else {
    header.csum_start = header.csum_offset = 0;
  }
  if (header.gso_type == net::FrameHeader::kGsoNone) {
    header.gso_size = header.hdr_len = 0;
    return !active_.has(VIRTIO_NET_F_MTU) || size <= mtu_ + kEthernetHeader + kTwoVlanTags;
  }
  if (!header.flags || header.gso_size == 0) return false;
  switch (header.gso_type) {  // with ECN: not offered
    case net::FrameHeader::kGsoTcpv4:
      return active_.has(VIRTIO_NET_F_HOST_TSO4);
    case net::FrameHeader::kGsoTcpv6:
      return active_.has(VIRTIO_NET_F_HOST_TSO6);
    case net::FrameHeader::kGsoUdp:
      return active_.has(VIRTIO_NET_F_HOST_UFO);
    default:
      return false;
  }
}

// --- the control queue -----------------------------------------------------------------------------------------------

// 5.1.2: behind the pairs that the driver knows of.
unsigned Net::control_queue() const { return active_.has(VIRTIO_NET_F_MQ) ? 2 * max_pairs_ : 2; }

void Net::serve_control() {
  if (!active_.has(VIRTIO_NET_F_CTRL_VQ)) return;
  const unsigned index = control_queue();
  for (unsigned left = kCommandsAtOnce;; --left) {
    if (left == 0) {
      work_later_.schedule();
      break;
    }
    const auto chain = active_.pop(index);
    if (!chain) {
      if (active_.more_after_enabling(index)) continue;
      break;
    }
    const uint8_t ack = command(*chain) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
    const size_t written = chain->write(memory_, 0, std::span(&ack, 1));
    active_.queue(index).push(*chain, static_cast<uint32_t>(written));
  }
  active_.interrupt(index);
}

bool Net::command(const Chain& chain) {
  struct {
    uint8_t control_class, command, on;
  } head{};
  if (chain.read(memory_, 0, {reinterpret_cast<uint8_t*>(&head), sizeof head}) < kCommandData) return false;
  switch (head.control_class) {
    case VIRTIO_NET_CTRL_RX: {
      const bool extra = head.command > VIRTIO_NET_CTRL_RX_ALLMULTI;
      if (chain.readable_size <= kCommandData) return false;
      return active_.has(extra ? VIRTIO_NET_F_CTRL_RX_EXTRA : VIRTIO_NET_F_CTRL_RX) &&
             filter_.set_mode(head.command, head.on != 0);
    }
    case VIRTIO_NET_CTRL_MAC:
      if (head.command == VIRTIO_NET_CTRL_MAC_TABLE_SET)
        return active_.has(VIRTIO_NET_F_CTRL_RX) && set_addresses(chain);
      return head.command == VIRTIO_NET_CTRL_MAC_ADDR_SET && set_own_address(chain);
    case VIRTIO_NET_CTRL_VLAN:
      return active_.has(VIRTIO_NET_F_CTRL_VLAN) && head.command <= VIRTIO_NET_CTRL_VLAN_DEL &&
             set_vlan(chain, head.command == VIRTIO_NET_CTRL_VLAN_ADD);
    case VIRTIO_NET_CTRL_ANNOUNCE:
      if (head.command != VIRTIO_NET_CTRL_ANNOUNCE_ACK || !active_.has(VIRTIO_NET_F_GUEST_ANNOUNCE)) return false;
      set_status(VIRTIO_NET_S_ANNOUNCE, false);
      return true;
    case VIRTIO_NET_CTRL_MQ:
      return head.command == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET && active_.has(VIRTIO_NET_F_MQ) && set_pairs(chain);
    case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
      return head.command == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET && active_.has(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) &&
             set_offloads(chain);
    default:
      return false;
  }
}

// 5.1.6.5.2: two tables, unicast and multicast, each a count and that many addresses.
bool Net::set_addresses(const Chain& chain) {
  NetFilter changed = filter_;
  changed.clear_addresses();
  uint64_t at = kCommandData;
  for (const bool multicast : {false, true}) {
    uint32_t count = 0;
    if (!read_value(memory_, chain, at, count) || count > kMacTableEntries) return false;
    at += sizeof count;
    if (chain.readable_size - at < uint64_t{count} * sizeof(Mac)) return false;
    for (uint32_t i = 0; i < count && i <= NetFilter::kMaxAddresses; ++i) {  // one more than fits: it is full then
      Mac address;
      if (!read_value(memory_, chain, at + i * sizeof address, address)) return false;
      if (multicast)
        changed.add_multicast(address);
      else
        changed.add_unicast(address);
    }
    at += uint64_t{count} * sizeof(Mac);
  }
  filter_ = changed;
  return true;
}

bool Net::set_own_address(const Chain& chain) {
  Mac address;
  if (!active_.has(VIRTIO_NET_F_CTRL_MAC_ADDR) || !read_value(memory_, chain, kCommandData, address)) return false;
  std::lock_guard guard(lock_);
  mac_ = address;
  return true;
}

bool Net::set_vlan(const Chain& chain, bool on) {
  uint16_t id = 0;
  return read_value(memory_, chain, kCommandData, id) && filter_.set_vlan(id, on);
}

bool Net::set_pairs(const Chain& chain) {
  uint16_t count = 0;
  if (!read_value(memory_, chain, kCommandData, count) || count == 0 || count > max_pairs_) return false;
  pairs_ = count;
  work_later_.schedule();  // what waits in queues that were not in use
  return true;
}

bool Net::set_offloads(const Chain& chain) {
  uint64_t wanted = 0;
  if (!read_value(memory_, chain, kCommandData, wanted)) return false;
  for (uint64_t left = wanted; left; left &= left - 1)
    if (const uint64_t one = left & -left; !(one & kGuestOffloads) || !active_.has(one)) return false;
  offloads_chosen_ = true;
  chosen_offloads_ = wanted;
  tell_offloads();
  return true;
}

}  // namespace skerry::virtio
