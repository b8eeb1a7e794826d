// What the translating vCPUs of one VM share: the code cache, and which blocks there are.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <unordered_map>
#include <vector>

#include "accel/accelerator.hpp"
#include "accel/bt/block_table.hpp"
#include "accel/bt/code_cache.hpp"
#include "accel/bt/context.hpp"
#include "accel/bt/translator.hpp"
#include "base/fd.hpp"
#include "memory/guest_memory.hpp"

namespace skerry::accel::bt {

class Engine final : public memory::WriteWatcher {
 public:
  static Result<std::unique_ptr<Engine>> create(AcceleratorParts parts);
  ~Engine() override;

  const AcceleratorParts& parts() const { return parts_; }
  const Emitter& fixed() const { return *translator_; }

  // Before the vCPU runs; it stays until the engine ends.
  void add(Context& context);

  // The block that begins at `offset` of the host page `page`, made if there is none. `beyond` is the page that code goes on in behind
  // that one, null if it is not known; the result is null if it would have to be. On the vCPU's thread, outside of translated code.
  Block* block(Context& context, const std::byte* page, unsigned offset, const std::byte* beyond, Mode mode, Entry entry);
  // Makes an edge's jump go straight to `to`, if both are still there.
  void link(Edge& edge, const Block& to, uint64_t generation);
  // Changes when all blocks and edges have been thrown away.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

  // Of a loop, by the NOP that leads to its jump back; by a vCPU that is in it. See Translator::next_round().
  void leave_quick_round(uint64_t nop) { translator_->leave_quick_round(nop); }

  // The table of Context::jumps for a mode.
  unsigned jump_slot(Context& context, Mode mode);

  void written(memory::Gpa gpa, uint64_t size) override;

  // All goes, while no vCPU is in translated code; unless it has gone since `generation`.
  void discard_all(Context& context, uint64_t generation);
  // The vCPU is about to sleep. When a guest has come to rest, the code of what it did before is memory for nothing, and
  // what it does still is spread over all of it: then all is trimmed. On the vCPU's thread, outside of translated code.
  void rest(Context& context);
  // All is discarded, and its memory given back to the host.
  void trim(Context& context, uint64_t generation);
  uint64_t trims() const { return trims_.load(std::memory_order_relaxed); }
  struct Counts {
    uint64_t blocks, pages, bytes, discards;
  };
  Counts counts();

 private:
  // Whose code has been translated.
  struct Page {
    Block* blocks = nullptr;
    uint64_t lines = 0;  // of 64 bytes, that blocks were made of
  };

  Engine(AcceleratorParts parts, std::unique_ptr<CodeCache> cache);
  void protect(Context& context, const std::byte* page, memory::Gpa gpa);
  void drop_page(memory::Gpa gpa, Page& page);
  void forget_jumps();

  // Looked at so often, in ns; at rest is who has made fewer new blocks in between.
  static constexpr int64_t kLookEvery = 5'000'000'000;
  static constexpr uint64_t kFewBlocks = 500;
  // Less code than this is left alone.
  static constexpr size_t kSlack = 6 << 20;
  // Between two times that all is discarded for this: longer and longer where it was needed after all.
  static constexpr int64_t kShortestPause = 10'000'000'000, kLongestPause = 3'600'000'000'000;
  const AcceleratorParts parts_;
  std::unique_ptr<CodeCache> cache_;
  std::unique_ptr<Translator> translator_;
  std::vector<Context*> contexts_;
  std::atomic<uint64_t> generation_{1};
  std::atomic<int64_t> next_look_{0};  // ns of the host's clock
  std::atomic<uint64_t> trims_{0};
  BlockTable table_;
  std::array<std::atomic<uint32_t>, kModeSlots> modes_{};  // Mode::bits() + 1 of each table of jumps

  std::mutex lock_;  // what follows, and every change of the cache and of the table; a leaf
  std::unordered_map<memory::Gpa, Page> pages_;
  std::deque<Block> blocks_;
  std::deque<Edge> edges_;
  uint64_t made_ = 0, made_at_look_ = 0;  // blocks, since the start
  size_t trimmed_ = 0;                    // bytes of code that were discarded last at rest
  int64_t trim_not_before_ = 0, trim_pause_ = kShortestPause;  // ns of the host's clock
  UniqueFd perf_map_;
  std::minstd_rand random_;  // stress
};

}  // namespace skerry::accel::bt
