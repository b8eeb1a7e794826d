#include "virtio/balloon.hpp"

#include <algorithm>
#include <cstring>

#include "base/units.hpp"

namespace skerry::virtio {

namespace {
// Virtio 1.2, 5.5.3.
constexpr uint64_t VIRTIO_BALLOON_F_STATS_VQ = bit(1), VIRTIO_BALLOON_F_DEFLATE_ON_OOM = bit(2),
                   VIRTIO_BALLOON_F_PAGE_REPORTING = bit(5);

// 5.5.4, as far as the features above need it.
struct Config {
  uint32_t num_pages, actual;
};
static_assert(sizeof(Config) == 8);

// 5.5.6.3.
struct [[gnu::packed]] Stat {
  uint16_t tag;
  uint64_t value;
};
static_assert(sizeof(Stat) == 10);

// 5.5.2. Free page hinting (queue 3 with it) is not offered.
enum QueueIndex : unsigned { kInflate = 0, kDeflate = 1, kThird = 2, kQueues = 5 };
constexpr uint16_t kQueueSize = 128;

constexpr uint64_t kPage = 4096;      // 5.5: whatever the guest's own page size
constexpr size_t kPfnsAtOnce = 1024;  // then the loop's other work has its turn
constexpr unsigned kChainsAtOnce = 128;
constexpr uint64_t kReportedAtOnce = 256 * MiB;
constexpr size_t kMostStats = 64;  // of one buffer; more tags than anybody knows
}  // namespace

// --- what the host asks ----------------------------------------------------------------------------------------------

Balloon::Balloon(std::string name, EventLoop& loop, memory::GuestMemory& memory)
    : Device(std::move(name), loop, memory),
      work_later_(loop,
                  [this] {
                    for (unsigned index = 0; index < kQueues; ++index) notified(index);
                  }),
      config_changed_(loop, [this] { active_.config_interrupt(); }),
      poll_(loop, [this] { answer_statistics(); }) {}

void Balloon::set_target(uint64_t bytes) {
  const uint64_t ram = memory_.ram_size();
  {
    std::lock_guard guard(lock_);
    num_pages_ = static_cast<uint32_t>(std::min<uint64_t>((ram - std::min(bytes, ram)) / kPage, ~uint32_t{0}));
  }
  config_changed_.schedule();
}

uint64_t Balloon::in_bytes(uint32_t pages) const {
  const uint64_t ram = memory_.ram_size();
  return ram - std::min(ram, pages * kPage);
}

uint64_t Balloon::target() const {
  std::lock_guard guard(lock_);
  return in_bytes(num_pages_);
}

uint64_t Balloon::actual() const {
  std::lock_guard guard(lock_);
  return in_bytes(actual_);
}

void Balloon::poll_statistics() { poll_.schedule(); }

Balloon::Statistics Balloon::statistics() const {
  std::lock_guard guard(lock_);
  return statistics_;
}

// --- life ------------------------------------------------------------------------------------------------------------

uint64_t Balloon::features() const {
  return VIRTIO_BALLOON_F_STATS_VQ | VIRTIO_BALLOON_F_DEFLATE_ON_OOM | VIRTIO_BALLOON_F_PAGE_REPORTING;
}

std::vector<uint16_t> Balloon::queue_sizes() const { return std::vector<uint16_t>(kQueues, kQueueSize); }

uint32_t Balloon::config_size() const { return sizeof(Config); }

void Balloon::read_config(uint32_t offset, std::span<uint8_t> to) {
  std::lock_guard guard(lock_);
  const Config config{num_pages_, actual_};
  std::memcpy(to.data(), reinterpret_cast<const uint8_t*>(&config) + offset, to.size());
}

// 5.5.6.2: the driver says how large the balloon is now.
void Balloon::write_config(uint32_t offset, std::span<const uint8_t> from) {
  std::lock_guard guard(lock_);
  Config config{num_pages_, actual_};
  std::memcpy(reinterpret_cast<uint8_t*>(&config) + offset, from.data(), from.size());
  actual_ = config.actual;
}

void Balloon::activate(uint64_t features, std::span<Queue> queues, Transport& transport) {
  if (active_.begin(features, queues, transport)) active_.config_interrupt();  // a target that was set meanwhile
}

void Balloon::deactivate() {
  active_.end();
  inflated_ = 0;
  statistics_held_ = false;
  std::lock_guard guard(lock_);
  actual_ = 0;  // without its driver the guest's memory is all its own again
  statistics_ = {};
}

void Balloon::quiesce(std::function<void()> at_rest) {
  active_.quiesce();
  at_rest();
}

void Balloon::resume() {
  active_.resume();
  active_.config_interrupt();  // the same
  work_later_.schedule();
}

void Balloon::describe(state::Fields& fields) {
  active_.described();
  fields.field("inflated", inflated_);
  fields.field("statistics_held", statistics_held_);
  std::lock_guard guard(lock_);
  fields.field("num_pages", num_pages_);
  fields.field("actual", actual_);
  fields.list("statistics", kStatistics, [&](size_t i) {
    bool known = statistics_.values[i].has_value();
    uint64_t value = statistics_.values[i].value_or(0);
    fields.field("known", known);
    fields.field("value", value, known ? state::any() : state::up_to(0));
    statistics_.values[i] = known ? std::optional(value) : std::nullopt;
  });
  bool given = statistics_.at.has_value();
  int64_t at = statistics_.at.value_or(0);
  fields.field("given", given);
  fields.field("at", at, given ? state::up_to(INT64_MAX) : state::up_to(0));
  statistics_.at = given ? std::optional(at) : std::nullopt;
}

// --- queues ----------------------------------------------------------------------------------------------------------

// Where a feature is not agreed on, drivers disagree whether its queue keeps its number: Linux counts only the queues
// that exist, 5.5.2 all of them. So what is neither of the first two nor the statistics' can only be the reporting
// queue.
bool Balloon::is_statistics_queue(unsigned index) const {
  return index == kThird && active_.has(VIRTIO_BALLOON_F_STATS_VQ);
}

void Balloon::notified(unsigned index) {
  if (!active_.working() || !active_.has_queue(index)) return;
  if (index == kInflate)
    inflate();
  else if (index == kDeflate)
    deflate();
  else if (is_statistics_queue(index))
    take_statistics();
  else if (active_.has(VIRTIO_BALLOON_F_PAGE_REPORTING))
    report(index);
}

// 5.5.6: arrays of page numbers.
void Balloon::inflate() {
  size_t left = kPfnsAtOnce;
  for (unsigned chains = kChainsAtOnce;; --chains) {
    if (chains == 0) {
      work_later_.schedule();
      break;
    }
    const auto chain = active_.pop(kInflate);
    if (!chain) {
      if (active_.more_after_enabling(kInflate)) continue;
      break;
    }
    if (!inflate_chain(*chain, left)) {
      active_.queue(kInflate).unpop(*chain);
      work_later_.schedule();
      break;
    }
    active_.queue(kInflate).push(*chain, 0);
    inflated_ = 0;
  }
  active_.interrupt(kInflate);
}

// False if it is not through. Neighbouring pages go together: a system call for each alone is slow. What is no RAM of
// the guest is left alone.
bool Balloon::inflate_chain(const Chain& chain, size_t& left) {
  std::array<uint32_t, 256> pfns;
  while (inflated_ < chain.readable_size) {
    const size_t wanted = std::min(left, pfns.size());
    if (wanted == 0) return false;
    const size_t bytes =
        chain.read(memory_, inflated_, std::span(reinterpret_cast<uint8_t*>(pfns.data()), wanted * sizeof(uint32_t)));
    const size_t count = bytes / sizeof(uint32_t);
    if (count == 0) return true;
    inflated_ += count * sizeof(uint32_t);
    left -= count;
    std::sort(pfns.begin(), pfns.begin() + count);
    for (size_t first = 0; first < count;) {
      size_t next = first + 1;
      while (next < count && pfns[next] - pfns[next - 1] <= 1) ++next;
      const uint64_t pages = uint64_t{pfns[next - 1]} - pfns[first] + 1;
      // A run may begin or end outside of RAM: then page by page.
      if (!memory_.give_back(pfns[first] * kPage, pages * kPage))
        for (size_t i = first; i < next; ++i) memory_.give_back(pfns[i] * kPage, kPage);
      first = next;
    }
  }
  return true;
}

// The pages come back by being touched; VIRTIO_BALLOON_F_MUST_TELL_HOST is not offered.
void Balloon::deflate() {
  for (unsigned chains = kChainsAtOnce;; --chains) {
    if (chains == 0) {
      work_later_.schedule();
      break;
    }
    const auto chain = active_.pop(kDeflate);
    if (!chain) {
      if (active_.more_after_enabling(kDeflate)) continue;
      break;
    }
    active_.queue(kDeflate).push(*chain, 0);
  }
  active_.interrupt(kDeflate);
}

// 5.5.6.7: the buffers are the free pages themselves.
void Balloon::report(unsigned index) {
  uint64_t reported = 0;
  for (;;) {
    if (reported >= kReportedAtOnce) {
      work_later_.schedule();
      break;
    }
    const auto chain = active_.pop(index);
    if (!chain) {
      if (active_.more_after_enabling(index)) continue;
      break;
    }
    reported += kReportedAtOnce / kChainsAtOnce;  // an empty one is work too
    for (const Buffer& buffer : chain->writable) reported += give_back_inside(buffer);
    active_.queue(index).push(*chain, 0);
  }
  active_.interrupt(index);
}

// The whole pages of it.
uint64_t Balloon::give_back_inside(const Buffer& buffer) {
  const uint64_t first = align_up(buffer.address, kPage), end = align_down(buffer.address + buffer.length, kPage);
  if (first >= end) return 0;
  memory_.give_back(first, end - first);
  return end - first;
}

// --- statistics ------------------------------------------------------------------------------------------------------

// 5.5.6.3: the driver gives a buffer with statistics, and fills it anew whenever it gets it back. Until then it stays
// in its queue.
void Balloon::take_statistics() {
  if (statistics_held_) return;
  auto chain = active_.pop(kThird);
  if (!chain && active_.more_after_enabling(kThird)) chain = active_.pop(kThird);
  if (!chain) return;
  std::array<Stat, kMostStats> stats;
  const size_t bytes = chain->read(memory_, 0, {reinterpret_cast<uint8_t*>(stats.data()), sizeof stats});
  active_.queue(kThird).unpop(*chain);
  statistics_held_ = true;
  std::lock_guard guard(lock_);
  statistics_ = {};
  for (const Stat& stat : std::span(stats).first(bytes / sizeof(Stat)))
    if (stat.tag < kStatistics) statistics_.values[stat.tag] = uint64_t{stat.value};  // a copy: it is not aligned
  statistics_.at = std::max<int64_t>(loop_.clock().now(), 0);
}

void Balloon::answer_statistics() {
  if (!active_.working() || !active_.has(VIRTIO_BALLOON_F_STATS_VQ)) return;
  if (!statistics_held_) return;  // what comes next is as new as can be
  const auto chain = active_.pop(kThird);
  if (!chain) return;
  statistics_held_ = false;
  active_.queue(kThird).push(*chain, 0);
  active_.interrupt(kThird);
  take_statistics();
}

}  // namespace skerry::virtio
