#include "accel/vcpu_thread.hpp"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.hpp"
#include "base/log.hpp"

namespace skerry::accel {

namespace {

thread_local VcpuThread* current_thread = nullptr;

}  // namespace

VcpuThread* VcpuThread::current() { return current_thread; }

VcpuThread::VcpuThread(unsigned index, std::unique_ptr<Vcpu> vcpu, RunGate& gate, uint32_t cpu_signature, Hooks hooks)
    : index_(index), vcpu_(std::move(vcpu)), gate_(gate), cpu_signature_(cpu_signature), hooks_(std::move(hooks)) {}

VcpuThread::~VcpuThread() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(lock_);
    quit_ = true;
    wanted_ = false;
    changed_.notify_all();
  }
  vcpu_->kick();
  wake();
  thread_.join();
}

void VcpuThread::start() {
  thread_ = std::thread([this] { body(); });
  thread_id_.wait(0, std::memory_order_acquire);  // monitors ask for it from now on
  ::pthread_setname_np(thread_.native_handle(), fmt::format("vcpu {}", index_).c_str());
}

void VcpuThread::resume() {
  std::lock_guard lock(lock_);
  wanted_ = true;
  rests_ = false;
  step_ = false;
  changed_.notify_all();
}

void VcpuThread::resume_for_one_step() {
  std::lock_guard lock(lock_);
  wanted_ = true;
  rests_ = false;
  step_ = true;
  changed_.notify_all();
}

void VcpuThread::request_pause() {
  {
    std::lock_guard lock(lock_);
    wanted_ = false;
    changed_.notify_all();
  }
  vcpu_->kick();
  wake();
}

void VcpuThread::pause() {
  request_pause();
  std::unique_lock lock(lock_);
  changed_.wait(lock, [this] { return rests_ || !thread_.joinable(); });
}

bool VcpuThread::at_rest() {
  std::lock_guard lock(lock_);
  return rests_;
}

// What it is woken for comes before this, and the thread clears the flag before it looks: nothing is missed. No lock is
// held, which it would have to wait for as soon as it is awake.
void VcpuThread::wake() {
  wake_.store(1);
  wake_.notify_one();
}

void VcpuThread::interrupt_request(bool level) { vcpu_->request_interrupt(level); }

void VcpuThread::nmi() {
  vcpu_->request_nmi();
  wake();
}

void VcpuThread::smi() {
  vcpu_->request_smi();
  wake();
}

void VcpuThread::init() {
  {
    std::lock_guard lock(lock_);
    init_pending_ = true;
    sipi_pending_ = false;
  }
  vcpu_->kick();
  wake();
}

void VcpuThread::sipi(uint8_t vector) {
  {
    std::lock_guard lock(lock_);
    sipi_pending_ = true;
    sipi_vector_ = vector;
  }
  vcpu_->kick();
  wake();
}

void VcpuThread::clear_requests() {
  std::lock_guard lock(lock_);
  init_pending_ = sipi_pending_ = false;
  vcpu_->clear_requests();
}

void VcpuThread::describe(state::Fields& fields) {
  std::lock_guard lock(lock_);
  fields.field("init_pending", init_pending_);
  fields.field("sipi_pending", sipi_pending_);
  fields.field("sipi_vector", sipi_vector_);
  const bool before = vcpu_->nmi_waits();
  bool nmi = before;
  if (!fields.later("nmi", before, [&] { fields.field("waits", nmi); })) nmi = false;
  if (nmi != before) vcpu_->set_nmi_waits(nmi);
  const bool smi_before = vcpu_->smi_waits();
  bool smi = smi_before;
  if (!fields.later("smi", smi_before, [&] { fields.field("waits", smi); })) smi = false;
  if (smi != smi_before) vcpu_->set_smi_waits(smi);
}

// INIT and start-up IPI. Intel SDM vol. 3, 9.4. In SMM both wait for RSM, which makes the vCPU come back (33.12).
void VcpuThread::apply_messages() {
  if (!init_pending_ && !sipi_pending_) return;
  if (vcpu_->state().in_smm) return;
  x86::CpuState& state = vcpu_->mutable_state();
  if (std::exchange(init_pending_, false)) {
    log::debug(log::Category::kCpu, "vCPU {}: INIT", index_);
    state.reset(cpu_signature_, true);
    state.activity = index_ == 0 ? x86::Activity::kRunning : x86::Activity::kWaitForSipi;
  }
  if (std::exchange(sipi_pending_, false) && state.activity == x86::Activity::kWaitForSipi) {
    log::debug(log::Category::kCpu, "vCPU {}: start-up at {:#x}", index_, sipi_vector_ << 12);
    x86::Segment& cs = state.seg[x86::kCs];
    cs.selector = static_cast<uint16_t>(sipi_vector_ << 8);
    cs.base = static_cast<uint64_t>(sipi_vector_) << 12;
    state.rip = 0;
    state.activity = x86::Activity::kRunning;
  }
  vcpu_->state_changed();
}

void VcpuThread::sleep() {
  const int64_t began = VmClock::host_now();
  const int64_t until = began + halt_poll_.window();
  bool taken_away = false;
  for (int64_t last = began; last < until && !taken_away && wake_.load(std::memory_order_relaxed) == 0;) {
    __builtin_ia32_pause();
    const int64_t now = VmClock::host_now();
    taken_away = now - last > HaltPoll::kTakenAway;
    last = now;
  }
  wake_.wait(0);
  if (taken_away)
    halt_poll_.taken_away();
  else
    halt_poll_.woken_after(VmClock::host_now() - began);
}

void VcpuThread::body() {
  current_thread = this;
  thread_id_.store(static_cast<int>(::syscall(SYS_gettid)), std::memory_order_release);
  thread_id_.notify_one();
  std::unique_lock lock(lock_);
  for (;;) {
    if (!wanted_) {
      rests_ = true;
      changed_.notify_all();
      changed_.wait(lock, [this] {
        if (!wanted_ && !rests_) {
          rests_ = true;
          changed_.notify_all();
        }
        return wanted_ || quit_;
      });
    }
    if (quit_) return;
    rests_ = false;
    apply_messages();
    wake_.store(0);
    const bool one = step_;
    lock.unlock();
    gate_.enter();
    const Exit exit = one ? vcpu_->step() : vcpu_->run();
    gate_.leave();
    if (exit == Exit::kHalted) sleep();
    lock.lock();

    if (exit == Exit::kKicked || exit == Exit::kHalted) continue;
    wanted_ = false;
    rests_ = true;
    changed_.notify_all();
    lock.unlock();
    if (exit == Exit::kTripleFault)
      hooks_.triple_fault(*this);
    else if (exit == Exit::kFailed)
      hooks_.failed(*this);
    else
      hooks_.debug_stop(*this, exit);
    lock.lock();
  }
}

}  // namespace skerry::accel
