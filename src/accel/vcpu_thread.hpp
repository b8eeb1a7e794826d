// The thread of one vCPU: runs it, lets it sleep in HLT, brings it to rest, and applies INIT and start-up messages.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "accel/accelerator.hpp"
#include "accel/halt_poll.hpp"
#include "accel/run_gate.hpp"
#include "bus/interrupt.hpp"

namespace skerry::accel {

class VcpuThread final : public bus::VcpuInterrupts {
 public:
  // Called on the vCPU's thread when it has come to rest by itself. It stays at rest until resume().
  struct Hooks {
    std::function<void(VcpuThread&)> triple_fault;
    std::function<void(VcpuThread&)> failed;
    std::function<void(VcpuThread&, Exit)> debug_stop;  // kBreakpoint, kWatchpoint, kStepped
  };

  VcpuThread(unsigned index, std::unique_ptr<Vcpu> vcpu, RunGate& gate, uint32_t cpu_signature, Hooks hooks);
  ~VcpuThread() override;  // stops the thread

  // That whose thread calls this; null: another thread.
  static VcpuThread* current();

  unsigned index() const { return index_; }
  Vcpu& vcpu() { return *vcpu_; }  // its state only while at rest
  int thread_id() const { return thread_id_.load(std::memory_order_acquire); }  // 0 until started

  // These four are called by the thread that controls the VM.
  void start();   // makes the thread, at rest
  void resume();  // run on
  void pause();   // returns when the vCPU is at rest
  void request_pause();            // the first half of pause(), so that many are stopped at once
  // Executes one instruction on the vCPU's own thread and comes to rest; debug_stop is called with kStepped.
  void resume_for_one_step();
  bool at_rest();

  // bus::VcpuInterrupts: any thread.
  void interrupt_request(bool level) override;
  void wake() override;
  void nmi() override;
  void smi() override;
  void init() override;
  void sipi(uint8_t vector) override;
  void kick() { vcpu_->kick(); }

  // Forgets INIT, SIPI and NMI that were not delivered; at rest, for a reset of the machine.
  void clear_requests();
  void describe(state::Fields& fields);  // at rest

 private:
  void body();
  void apply_messages();  // with lock_ held, on the vCPU's thread
  void sleep();           // until wake(); on the vCPU's thread

  const unsigned index_;
  std::unique_ptr<Vcpu> vcpu_;
  RunGate& gate_;
  const uint32_t cpu_signature_;
  const Hooks hooks_;

  std::mutex lock_;  // what follows; a leaf but for the accelerator's own
  std::condition_variable changed_;
  bool wanted_ = false;  // running is wanted
  bool step_ = false;    // one instruction only
  bool rests_ = true;
  bool quit_ = false;
  bool init_pending_ = false;
  bool sipi_pending_ = false;
  uint8_t sipi_vector_ = 0;
  std::atomic<int> wake_{0};  // 1: something came since the last run. An int is what the kernel can wait for
  HaltPoll halt_poll_;        // the vCPU's thread's
  std::atomic<int> thread_id_{0};
  std::thread thread_;
};

}  // namespace skerry::accel
