#include "virtio/entropy.hpp"

#include <sys/random.h>

#include <array>
#include <cerrno>

namespace skerry::virtio {

namespace {
constexpr unsigned kRequestQueue = 0;
constexpr uint16_t kQueueSize = 64;
// "One or more random bytes" (5.4.6.2): a buffer gets this many at the most, and so many buffers come at one turn of
// the loop, so that others have theirs.
constexpr size_t kMaxBytes = 4096;
constexpr unsigned kMaxBuffers = 16;
}  // namespace

Entropy::Entropy(std::string name, EventLoop& loop, memory::GuestMemory& memory)
    : Device(std::move(name), loop, memory), more_(loop, [this] { fill(); }) {}

std::vector<uint16_t> Entropy::queue_sizes() const { return {kQueueSize}; }

void Entropy::activate(uint64_t, std::span<Queue> queues, Transport& transport) {
  queue_ = &queues[kRequestQueue];
  transport_ = &transport;
}

void Entropy::deactivate() {
  queue_ = nullptr;
  transport_ = nullptr;
  quiesced_ = false;
}

void Entropy::quiesce(std::function<void()> at_rest) {  // nothing is ever under way between two turns
  quiesced_ = true;
  at_rest();
}

void Entropy::resume() { quiesced_ = false; }

void Entropy::notified(unsigned) { fill(); }

void Entropy::fill() {
  if (!queue_ || quiesced_) return;
  for (unsigned i = 0; i < kMaxBuffers; ++i) {
    auto chain = queue_->pop();
    if (!chain) break;
    if (!fill_one(*chain)) {
      queue_->unpop(*chain);
      return transport_->needs_reset("the host gives no random numbers");
    }
    queue_->recycle(std::move(*chain));
    if (i + 1 == kMaxBuffers) more_.schedule();
  }
  if (queue_->needs_interrupt()) transport_->queue_interrupt(kRequestQueue);
  if (!queue_->broken().empty()) transport_->needs_reset(queue_->broken());
}

bool Entropy::fill_one(const Chain& chain) {
  std::array<uint8_t, kMaxBytes> random;
  const size_t wanted = std::min<uint64_t>(chain.writable_size, random.size());
  for (size_t got = 0; got < wanted;) {
    const ssize_t here = ::getrandom(random.data() + got, wanted - got, 0);
    if (here < 0 && errno != EINTR) return false;
    if (here > 0) got += static_cast<size_t>(here);
  }
  const size_t written = chain.write(memory_, 0, std::span(random).first(wanted));
  queue_->push(chain, static_cast<uint32_t>(written));
  return true;
}

}  // namespace skerry::virtio
