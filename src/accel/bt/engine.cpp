#include "accel/bt/engine.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/program_pages.hpp"
#include "base/units.hpp"

namespace skerry::accel::bt {

using memory::kPageMask;
using memory::kPageSize;

namespace {

uint64_t lines_of(uint64_t first, uint64_t last) {
  const unsigned from = static_cast<unsigned>(first / 64), to = static_cast<unsigned>(last / 64);
  return (~uint64_t{0} >> (63 - (to - from))) << from;
}

// A compiler and what it is started by are 130 MiB of translated code, and to translate all of it again takes a sixth of its time. A
// small guest runs small programs.
uint64_t usual_cache_size(uint64_t ram) {
  return std::clamp<uint64_t>(align_up(ram / 2, MiB), 128 * MiB, 512 * MiB);
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(AcceleratorParts parts) {
  auto cache = CodeCache::create(parts.options.cache_size.value_or(usual_cache_size(parts.memory.ram_size())));
  if (!cache) return std::move(cache).error().in("accelerator bt");
  std::unique_ptr<Engine> engine(new Engine(parts, std::move(*cache)));
  if (!parts.options.perf_map) return engine;
  const std::string path = fmt::format("/tmp/perf-{}.map", ::getpid());
  engine->perf_map_ = UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!engine->perf_map_) return errno_error(errno, fmt::format("bt-perf-map: cannot make {}", path));
  return engine;
}

Engine::Engine(AcceleratorParts parts, std::unique_ptr<CodeCache> cache)
    : parts_(parts),
      cache_(std::move(cache)),
      random_(parts.options.stress.value_or(0)) {
  parts_.memory.set_watcher(this);
}

Engine::~Engine() { parts_.memory.set_watcher(nullptr); }

void Engine::add(Context& context) {
  if (!translator_) translator_ = std::make_unique<Translator>(*cache_, Offsets(context), parts_.model, parts_.options);
  std::lock_guard guard(lock_);
  contexts_.push_back(&context);
}

Block* Engine::block(Context& context, const std::byte* page, unsigned offset, const std::byte* beyond, Mode mode, Entry entry) {
  if (Block* block = table_.find(page, offset, mode, entry)) return block;
  const memory::Gpa gpa = parts_.memory.gpa_of(page);
  bool prepared = false;
  for (;;) {
    const unsigned slot = jump_slot(context, mode);
    const uint64_t made_for = generation();
    std::unique_lock guard(lock_);
    const bool known = pages_.contains(gpa);
    if (!known && !std::exchange(prepared, true)) {
      guard.unlock();
      protect(context, page, gpa);
      continue;
    }
    // Written to, or all thrown away, in between.
    if (!parts_.memory.watched(gpa) || made_for != generation()) {
      prepared = false;
      continue;
    }
    if (translator_->nearly_full()) {
      guard.unlock();
      discard_all(context, made_for);
      continue;
    }
    if (Block* block = table_.find(page, offset, mode, entry)) return block;
    Block& block = blocks_.emplace_back();
    block.page = page;
    block.offset = static_cast<uint16_t>(offset);
    block.entry = entry;
    block.mode = mode;
    if (!translator_->translate(block, {reinterpret_cast<const uint8_t*>(page), kPageSize}, reinterpret_cast<const uint8_t*>(beyond), slot, edges_)) {
      blocks_.pop_back();
      return nullptr;
    }
    ++made_;
    if (perf_map_) {
      const std::string line = fmt::format("{:x} {:x} guest {:#x} {}\n", reinterpret_cast<uintptr_t>(block.code),
                                           block.code_size, gpa + offset, mode.user() ? "user" : "kernel");
      [[maybe_unused]] const ssize_t written = ::write(perf_map_.get(), line.data(), line.size());
    }
    Page& record = pages_[gpa];
    block.next_in_page = record.blocks;
    record.blocks = &block;
    record.lines |= lines_of(offset, std::max<unsigned>(offset + block.length, offset + 1) - 1);
    table_.add(block);
    return &block;
  }
}

// From here on every write to the page is told of. Those who may write without telling give it up first.
void Engine::protect(Context& context, const std::byte* page, memory::Gpa gpa) {
  if (!parts_.memory.watch(gpa)) return;
  context.interpreter.env.exclusive([&] {
    for (Context* other : contexts_) other->interpreter.revoke_writes(page);
    parts_.memory.unclaim(gpa);
  });
}

void Engine::link(Edge& edge, const Block& to, uint64_t generation) {
  if (!parts_.options.links) return;
  std::lock_guard guard(lock_);
  if (parts_.options.stress && random_() % 2) return;
  if (generation != generation_.load(std::memory_order_relaxed) || edge.from->dead || to.dead) return;
  const auto distance = static_cast<int32_t>((edge.quiet ? to.quiet : to.code) - cache_->executable(edge.patch + 4));
  __atomic_store_n(reinterpret_cast<int32_t*>(edge.patch), distance, __ATOMIC_RELEASE);
}

Engine::Counts Engine::counts() {
  std::lock_guard guard(lock_);
  return {blocks_.size(), pages_.size(), translator_ ? translator_->used() : 0, generation() - 1};
}

// When the cache is full, or there are more modes than tables of jumps.
void Engine::discard_all(Context& context, uint64_t generation) {
  context.interpreter.env.exclusive([&] {
    std::lock_guard guard(lock_);
    if (generation != generation_.load(std::memory_order_relaxed)) return;  // another vCPU was here
    log::debug(log::Category::kCpu, "bt: {} blocks of {} pages are discarded", blocks_.size(), pages_.size());
    for (auto& bits : modes_) bits.store(0);
    table_.clear();
    for (const auto& [gpa, page] : pages_) parts_.memory.unwatch(gpa);
    pages_.clear();
    blocks_.clear();
    edges_.clear();
    translator_->clear();
    generation_.fetch_add(1, std::memory_order_release);
    forget_jumps();
  });
}

void Engine::rest(Context& context) {
  const int64_t now = VmClock::host_now();
  int64_t due = next_look_.load(std::memory_order_relaxed);
  if (now < due || !next_look_.compare_exchange_strong(due, now + kLookEvery)) return;
  uint64_t seen = 0;
  {
    std::lock_guard guard(lock_);
    const bool at_rest = made_ - std::exchange(made_at_look_, made_) < kFewBlocks;
    const size_t used = translator_->used();
    if (due == 0 || !at_rest || now < trim_not_before_ || used <= kSlack) return;
    const bool was_needed = used > trimmed_ - trimmed_ / 4;
    trim_pause_ = trimmed_ && was_needed ? std::min(2 * trim_pause_, kLongestPause) : kShortestPause;
    trim_not_before_ = now + trim_pause_;
    trimmed_ = used;
    seen = generation();
  }
  trim(context, seen);
}

void Engine::trim(Context& context, uint64_t generation) {
  discard_all(context, generation);
  {
    std::lock_guard guard(lock_);
    translator_->give_back();
  }
  ::malloc_trim(0);  // of the blocks
  give_back_program_pages();
  trims_.fetch_add(1, std::memory_order_relaxed);
}

void Engine::forget_jumps() {
  for (Context* context : contexts_) context->interpreter.set_request(x86::request::kEngine);
}

void Engine::written(memory::Gpa gpa, uint64_t size) {
  std::lock_guard guard(lock_);
  const memory::Gpa end = gpa + size;
  for (memory::Gpa at = gpa & ~kPageMask; at < end; at += kPageSize) {
    const auto found = pages_.find(at);
    if (found == pages_.end()) continue;
    const uint64_t first = std::max(gpa, at) - at, last = std::min(end, at + kPageSize) - 1 - at;
    if (found->second.lines & lines_of(first, last)) drop_page(at, found->second);
  }
}

// The blocks stay where they are until all are discarded: a vCPU may be in one of them.
void Engine::drop_page(memory::Gpa gpa, Page& page) {
  for (Block* block = page.blocks; block; block = block->next_in_page) {
    block->dead = true;
    table_.remove(*block);
  }
  pages_.erase(gpa);
  forget_jumps();
  parts_.memory.unwatch(gpa);  // last: who finds the page unwatched has been told to forget
}

unsigned Engine::jump_slot(Context& context, Mode mode) {
  const uint32_t wanted = mode.bits() + 1;
  for (;;) {
    const uint64_t generation = this->generation();
    for (unsigned n = mode.user(); n < kModeSlots; n += 2) {
      uint32_t bits = modes_[n].load(std::memory_order_acquire);
      if (bits == wanted) return n;
      if (bits == 0 && modes_[n].compare_exchange_strong(bits, wanted)) return n;
      if (bits == wanted) return n;
    }
    discard_all(context, generation);
  }
}

}  // namespace skerry::accel::bt
