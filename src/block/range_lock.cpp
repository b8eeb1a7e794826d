#include "block/range_lock.hpp"

#include <vector>

namespace skerry::block {

RangeLock::Acquire RangeLock::acquire(uint64_t begin, uint64_t end, bool exclusive) {
  const Place place = entries_.insert(entries_.end(), Entry{begin, end, exclusive, false, {}});
  if (exclusive) ++exclusive_;
  place->granted = may_go(place);
  if (!place->granted) ++waiting_;
  return Acquire(*this, place);
}

// Those that came later wait for this one, so nobody is overtaken and nobody waits in a circle.
bool RangeLock::may_go(Place place) {
  if (exclusive_ == 0) return true;
  for (Place earlier = entries_.begin(); earlier != place; ++earlier) {
    const bool overlap = earlier->begin < place->end && place->begin < earlier->end;
    if (overlap && (earlier->exclusive || place->exclusive)) return false;
  }
  return true;
}

void RangeLock::release(Place place) {
  if (place->exclusive) --exclusive_;
  entries_.erase(place);
  if (waiting_ == 0) return;
  std::vector<std::coroutine_handle<>> free;
  for (Place entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->granted || !may_go(entry)) continue;
    entry->granted = true;
    --waiting_;
    free.push_back(entry->waiter);
  }
  for (const std::coroutine_handle<> waiter : free) waiter.resume();
}

}  // namespace skerry::block
