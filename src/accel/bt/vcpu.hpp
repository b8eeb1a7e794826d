// A vCPU that runs translated code, and leaves to the interpreter what is rare: events, modes that are not translated,
// privileged instructions, accesses that cross a page or go to a device.
#pragma once

#include <array>
#include <bitset>
#include <memory>
#include <random>
#include <unordered_map>

#include "accel/bt/engine.hpp"
#include "accel/bt/lockstep.hpp"

namespace skerry::accel::bt {

class Runner final : public x86::MappingListener {
 public:
  Runner(unsigned index, x86::Environment& environment, Engine& engine);
  ~Runner() override;

  x86::Interpreter& interpreter() { return context_->interpreter; }
  x86::StopReason run();

  void all_changed() override { forget_jumps(); }
  void address_space_changed(unsigned space, bool fresh) override;
  void page_changed(uint64_t linear) override;

 private:
  // Runs translated code from state.rip on. False: there is none for it.
  void begin_mode(Mode mode);
  bool run_translated(Mode mode);
  bool run_in_lockstep(Mode mode);
  void stress();
  void rest();
  unsigned jump_slot(Mode mode);
  const Block* block_at(uint64_t rip, const std::byte* page, Mode mode, Entry entry);
  const uint8_t* code_at(uint64_t rip, Mode mode);
  const uint8_t* follow(Edge& edge);  // null: an exception came
  bool left(Exit exit, const uint8_t*& code);
  bool apart(const uint8_t*& code);
  void allow_crossings(Mode mode);
  void allow_reading_tsc();
  void settle();
  void forget_jumps();
  uint64_t new_key();
  void before_interpreter();
  void after_interpreter();
  uint64_t address_of(uint32_t offset) const;
  bool fill();
  bool interpret();
  bool note_site();
  void count_instruction();

  Engine& engine_;
  std::unique_ptr<Context> context_;
  x86::CpuState& state_;
  Mode mode_;  // while in translated code
  struct {
    uint32_t mode = ~uint32_t{0};
    unsigned number = 0;
    uint64_t generation = 0;
  } slot_;  // the table of jumps that was asked for last
  struct {
    Mode kernel, user, open;
    bool possible = false;
    uint64_t generation = 0;
  } crossings_;  // what Context::to_kernel and its like were made for
  // Pages that the tables of jumps go to, by the low bits of their numbers; and whether supervisor code is among them that
  // is not the same in every address space.
  std::bitset<4096> jump_pages_;
  bool local_supervisor_jumps_ = false;
  // The keys of user jumps of the address spaces, 0 where there is none.
  std::array<uint64_t, x86::Interpreter::kSpaces> space_keys_{};
  unsigned space_ = 0;
  uint64_t last_key_ = 0;
  uint64_t trims_ = 0;  // of the engine, when this vCPU last gave back what is its own
  uint64_t vm_tsc_offset_ = 0;
  std::minstd_rand random_;  // stress
  std::unique_ptr<Lockstep> lockstep_;
  struct {
    uint64_t exits[5] = {}, fills = 0, interpreted = 0, lookups = 0, forgotten = 0;
    std::unordered_map<ZydisMnemonic, uint64_t> mnemonics;  // only with statistics
  } counts_;
};

}  // namespace skerry::accel::bt
