#include "virtio/request_queues.hpp"

#include <bit>
#include <utility>

namespace skerry::virtio {

RequestQueues::RequestQueues(EventLoop& loop, std::function<void(unsigned)> look)
    : loop_(loop), look_(std::move(look)), end_of_turn_(loop, [this] { end_of_turn(); }) {}

void RequestQueues::begin(std::span<Queue> queues, Transport& transport) {
  queues_ = queues;
  transport_ = &transport;
}

void RequestQueues::end() {
  discarding_ = true;
  while (under_way_ > 0) loop_.poll(-1);
  discarding_ = quiesced_ = false;
  queues_ = {};
  transport_ = nullptr;
  at_rest_ = nullptr;
  to_look_at_ = 0;
}

void RequestQueues::quiesce(std::function<void()> at_rest) {
  quiesced_ = true;
  if (under_way_ == 0) {
    end_of_turn();
    at_rest();
  } else {
    at_rest_ = std::move(at_rest);
  }
}

std::optional<Chain> RequestQueues::take(unsigned queue) {
  auto chain = queues_[queue].pop();
  if (chain)
    ++under_way_;
  else if (!queues_[queue].broken().empty())
    transport_->needs_reset(fmt::format("queue {}: {}", queue, queues_[queue].broken()));
  return chain;
}

void RequestQueues::put_back(unsigned queue, Chain chain) {
  --under_way_;
  queues_[queue].unpop(chain);
  queues_[queue].recycle(std::move(chain));
}

void RequestQueues::look_again(unsigned queue) {
  to_look_at_ |= uint64_t{1} << queue;
  end_of_turn_.schedule();
}

void RequestQueues::answer(unsigned queue, Chain chain, uint32_t written) {
  --under_way_;
  end_of_turn_.schedule();
  if (discarding_) return;
  queues_[queue].push(chain, written);
  queues_[queue].recycle(std::move(chain));
}

void RequestQueues::end_of_turn() {
  if (!transport_) return;
  for (unsigned i = 0; i < queues_.size(); ++i)
    if (queues_[i].needs_interrupt()) transport_->queue_interrupt(i);
  for (uint64_t bits = std::exchange(to_look_at_, 0); bits != 0; bits &= bits - 1) look_(static_cast<unsigned>(std::countr_zero(bits)));
  if (under_way_ == 0 && at_rest_) std::exchange(at_rest_, nullptr)();
}

}  // namespace skerry::virtio
