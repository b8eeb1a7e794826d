#include "virtio/fs.hpp"

#include <linux/fuse.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.hpp"

namespace skerry::virtio {

namespace {

// 5.11.2; there is no notification queue, as VIRTIO_FS_F_NOTIFICATION is not offered.
constexpr unsigned kHiprioQueue = 0, kRequestQueue = 1;
// Linux puts as many pages into one request as the queue has entries, less four.
constexpr uint16_t kHiprioQueueSize = 128, kRequestQueueSize = 1024;
// At one turn of the loop, where no server is waited for.
constexpr unsigned kMaxRefused = 16;
// What Linux takes for an error (fuse_dev_do_write()); a server that says more is not believed.
constexpr uint32_t kMaxErrno = 511;

std::span<const uint8_t> bytes_of(const fuse_out_header& header) {
  return {reinterpret_cast<const uint8_t*>(&header), sizeof header};
}

}  // namespace

Fs::Fs(std::string name, EventLoop& loop, memory::GuestMemory& memory, const std::string& tag, share::ServerLink link)
    : Device(std::move(name), loop, memory), link_(std::move(link)), more_(loop, [this] { serve(); }) {
  std::copy_n(tag.begin(), std::min(tag.size(), kMaxTag), config_.tag.begin());  // "padded with NUL bytes", 5.11.4
  config_.num_request_queues = 1;
}

Fs::~Fs() { link_.forget(); }

std::vector<uint16_t> Fs::queue_sizes() const { return {kHiprioQueueSize, kRequestQueueSize}; }

void Fs::activate(uint64_t features, std::span<Queue> queues, Transport& transport) {
  active_.begin(features, queues, transport);
  if (auto watched = link_.watch(loop_, [this] { hear(); }); !watched)
    active_.fail(watched.error().message());
}

void Fs::deactivate() {
  for (unsigned slot = 0; slot < share::kSlots; ++slot) {
    if (!under_way_[slot]) continue;
    under_way_[slot]->chain.reset();
    if (!under_way_[slot]->done) continue;
    under_way_[slot].reset();
    link_.give_back(slot);
  }
  active_.end();
}

void Fs::quiesce(std::function<void()> at_rest) {
  active_.quiesce();
  at_rest();
}

void Fs::resume() {
  active_.resume();
  for (unsigned slot = 0; slot < share::kSlots; ++slot) {
    auto& entry = under_way_[slot];
    if (!entry) continue;
    if (!active_.has_queue(entry->queue)) entry->chain.reset();  // the driver has reset the queue (2.6.1)
    if (entry->done) answer(slot, share::Done(*entry->done));
  }
  after_answers();
}

void Fs::notified(unsigned) { serve(); }

void Fs::read_config(uint32_t offset, std::span<uint8_t> to) {
  std::memcpy(to.data(), reinterpret_cast<const uint8_t*>(&config_) + offset, to.size());
}

// Takes as many requests as there are slots for; the others stay in the queues until there is one.
void Fs::serve() {
  unsigned refused = 0;
  for (const unsigned queue : {kHiprioQueue, kRequestQueue}) {
    for (;;) {
      const auto slot = link_.take();
      if (!slot) break;
      link_.give_back(*slot);  // begin() takes it again, if it asks
      auto chain = active_.pop(queue);
      if (!chain) break;
      begin(queue, std::move(*chain));
      if (link_.alive()) continue;
      if (++refused < kMaxRefused) continue;
      more_.schedule();
      return after_answers();
    }
  }
  after_answers();
}

// 5.11.6: what the device reads is a fuse_in_header and what belongs to it, and what it writes, if anything, begins with a
// fuse_out_header.
void Fs::begin(unsigned queue, Chain chain) {
  fuse_in_header header;
  const std::span<uint8_t> head(reinterpret_cast<uint8_t*>(&header), sizeof header);
  if (chain.read(memory_, 0, head) != sizeof header) return active_.fail("a request of virtio-fs has no header");
  if (chain.readable_size > share::kRequestBytes) return refuse(queue, std::move(chain), header.unique, E2BIG);
  const auto slot = link_.alive() ? link_.take() : std::nullopt;
  if (!slot) return refuse(queue, std::move(chain), header.unique, ENOTCONN);
  const auto size = static_cast<size_t>(chain.readable_size);
  // The header that has been looked at is the one that goes on.
  const std::span<uint8_t> to = link_.request(*slot).first(size);
  std::ranges::copy(head, to.begin());
  chain.read(memory_, sizeof header, to.subspan(sizeof header));
  const uint64_t room = std::max<uint64_t>(chain.writable_size, sizeof(fuse_out_header)) - sizeof(fuse_out_header);
  if (!link_.ask(*slot, size, std::min<uint64_t>(room, share::kAnswerBytes))) {
    link_.give_back(*slot);
    return refuse(queue, std::move(chain), header.unique, ENOTCONN);
  }
  under_way_[*slot].emplace(UnderWay{std::move(chain), queue, header.unique, std::nullopt});
}

void Fs::hear() {
  while (const auto done = link_.next()) answer(done->slot, *done);
  after_answers();
  serve();
}

void Fs::answer(unsigned slot, const share::Done& done) {
  auto& entry = under_way_[slot];
  if (entry->chain && !active_.working()) {
    entry->done = done;
    return;
  }
  if (entry->chain) {
    const int error = done.error > kMaxErrno ? EIO : static_cast<int>(done.error);
    const auto payload = link_.answer(slot).first(error == 0 ? done.size : 0);
    finish(entry->queue, std::move(*entry->chain), entry->unique, error, payload);
  }
  entry.reset();
  link_.give_back(slot);
}

void Fs::refuse(unsigned queue, Chain chain, uint64_t unique, int error) { finish(queue, std::move(chain), unique, error, {}); }

// Requests without room for an answer (FUSE_FORGET) have none.
void Fs::finish(unsigned queue, Chain chain, uint64_t unique, int error, std::span<const uint8_t> payload) {
  size_t written = 0;
  if (chain.writable_size >= sizeof(fuse_out_header)) {
    fuse_out_header header{};
    header.len = static_cast<uint32_t>(sizeof header + payload.size());
    header.error = -error;
    header.unique = unique;
    written = chain.write(memory_, 0, bytes_of(header)) + chain.write(memory_, sizeof header, payload);
  }
  active_.queue(queue).push(chain, static_cast<uint32_t>(written));
  active_.queue(queue).recycle(std::move(chain));
}

// Tells the driver. What a server that has ended was asked is answered too.
void Fs::after_answers() {
  if (!link_.alive()) {
    for (unsigned slot = 0; slot < share::kSlots; ++slot)
      if (under_way_[slot] && !under_way_[slot]->done) answer(slot, share::Done{slot, 0, ENOTCONN});
  }
  for (const unsigned queue : {kHiprioQueue, kRequestQueue}) active_.interrupt(queue);
}

}  // namespace skerry::virtio
