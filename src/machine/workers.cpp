#include "machine/workers.hpp"

#include <latch>
#include <memory>

namespace skerry::machine {

// Those of the main thread's loop have nothing under way that the loop would have to bring: they are at rest at once.
void Workers::quiesce() {
  if (at_rest_) return;
  at_rest_ = true;
  const auto left = std::make_shared<std::latch>(static_cast<ptrdiff_t>(workers_.size()));
  for (const Worker& worker : workers_) worker.quiesce([left] { left->count_down(); });
  left->wait();
}

void Workers::resume() {
  if (!at_rest_) return;
  at_rest_ = false;
  for (const Worker& worker : workers_) worker.resume();
}

}  // namespace skerry::machine
