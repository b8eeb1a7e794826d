#include "vm/gdb_stub.hpp"

#include <algorithm>

#include "base/log.hpp"

namespace skerry::vm {

namespace {
// gdb's own signal numbers (include/gdb/signals.def).
constexpr unsigned kSigInt = 2, kSigTrap = 5;

// What errors mean to gdb is only their presence; these are errno values, as other stubs give.
constexpr std::string_view kNoSuchThread = "E03", kInvalid = "E16";
}  // namespace

GdbStub::GdbStub(DebugTarget& target, std::function<void(std::string_view)> send)
    : target_(target), send_(std::move(send)) {}

void GdbStub::send(std::string_view payload) {
  log::debug(log::Category::kGdb, "send {}", payload);
  last_frame_ = gdb_frame(payload);
  send_(last_frame_);
}

void GdbStub::connected() {
  reader_ = {};
  connected_ = true;
  ack_ = true;
  waiting_ = detached_ = false;
  reports_swbreak_ = false;
  current_ = continue_ = 0;
  target_.halt();
  const bool wide = target_.state(0).long_mode_active();
  arch_ = forced_arch_.value_or(wide ? GdbArch::kX8664 : GdbArch::kI386);
  last_stop_ = stop_reply(kSigTrap);
}

void GdbStub::disconnected() {
  if (!detached_) detach();
  connected_ = false;
}

void GdbStub::detach() {
  waiting_ = false;
  detached_ = true;
  breakpoints_.clear();
  if (target_.running()) target_.halt();  // breakpoints are changed at rest
  apply_breakpoints();
  target_.resume();
}

void GdbStub::received(std::string_view bytes) {
  while (connected_) {
    const auto item = reader_.next(bytes);
    if (!item) return;
    handle(*item);
  }
}

void GdbStub::handle(const GdbPacketReader::Item& item) {
  using Kind = GdbPacketReader::Kind;
  if (item.kind == Kind::kNak) return ack_ && !last_frame_.empty() ? send_(last_frame_) : void();
  if (item.kind == Kind::kCorrupt) return ack_ ? send_("-") : void();
  if (item.kind != Kind::kInterrupt && ack_) send_("+");
  if (waiting_) {  // Ctrl-C; or a debugger that does not wait, which is told of its stop first
    waiting_ = false;
    target_.halt();
    last_stop_ = stop_reply(kSigInt);
    send(last_stop_);
  }
  if (item.kind == Kind::kInterrupt) return;
  if (item.kind == Kind::kTooLong) return send(kInvalid);
  log::debug(log::Category::kGdb, "got {}", item.payload);
  if (target_.running()) target_.halt();  // by the monitor's "cont", or a packet after a goodbye
  detached_ = false;
  const std::string reply = answer(item.payload);
  if (!waiting_ && connected_) send(reply);
}

std::string GdbStub::answer(std::string_view packet) {
  if (packet.empty()) return "";
  const std::string_view rest = packet.substr(1);
  switch (packet[0]) {
    case '?': return last_stop_;
    case 'g': return read_registers();
    case 'G': return write_registers(rest);
    case 'p': return read_register(rest);
    case 'P': return write_register(rest);
    case 'm': return read_memory(rest);
    case 'M': return write_memory(rest, false);
    case 'X': return write_memory(rest, true);
    case 'Z': return change_breakpoint(rest, true);
    case 'z': return change_breakpoint(rest, false);
    case 'H': return choose_thread(rest);
    case 'T': {
      std::string_view thread = rest;
      return std::string(vcpu_of(thread) ? "OK" : kNoSuchThread);
    }
    case 'c': return resume_one(rest, false);
    case 's': return resume_one(rest, true);
    case 'C':
    case 'S': {  // the signal means nothing to a machine
      const size_t address = rest.find(';');
      return resume_one(address == rest.npos ? std::string_view() : rest.substr(address + 1), packet[0] == 'S');
    }
    case 'v': return answer_v(packet);
    case 'q': return answer_query(packet).value_or("");
    case 'Q': return answer_set(packet);
    case 'D': detach(); return "OK";  // the connection is gdb's to close
    case 'k': target_.kill(); return "OK";
    default: return "";
  }
}

std::string GdbStub::stop_reply(unsigned signal, std::string_view extra) const {
  return fmt::format("T{:02x}thread:{:x};{}", signal, current_ + 1, extra);
}

void GdbStub::debug_stopped(unsigned vcpu, accel::Exit reason) {
  if (!waiting_) return;
  waiting_ = false;
  current_ = vcpu;
  last_stop_ = why(vcpu, reason);
  send(last_stop_);
}

std::string GdbStub::why(unsigned vcpu, accel::Exit reason) const {
  if (reason == accel::Exit::kWatchpoint) {
    const uint64_t address = target_.watch_address(vcpu);
    for (const Breakpoint& b : breakpoints_) {
      if (b.type < '2' || address - b.address >= b.length) continue;
      const std::string_view kind = b.type == '2' ? "watch" : b.type == '3' ? "rwatch" : "awatch";
      return stop_reply(kSigTrap, fmt::format("{}:{:x};", kind, address));
    }
  }
  if (reason == accel::Exit::kBreakpoint && reports_swbreak_) {
    const x86::CpuState& state = target_.state(vcpu);
    const uint64_t linear = state.code64() ? state.rip : static_cast<uint32_t>(state.seg[x86::kCs].base + state.rip);
    for (const Breakpoint& b : breakpoints_)
      if (b.type < '2' && b.address == linear) return stop_reply(kSigTrap, b.type == '0' ? "swbreak:;" : "hwbreak:;");
  }
  return stop_reply(kSigTrap);
}

void GdbStub::vm_event(const VmEvent& event) {
  if (!waiting_) return;
  if (event.kind == VmEvent::Kind::kStop) {
    waiting_ = false;
    last_stop_ = stop_reply(kSigInt);
    send(last_stop_);
  } else if (event.kind == VmEvent::Kind::kShutdown) {
    waiting_ = false;
    send(fmt::format("W{:02x}", event.exit_status & 0xff));
  }
}

// Threads. A thread ID is hexadecimal; 0 is any of them.
std::optional<unsigned> GdbStub::vcpu_of(std::string_view& thread) const {
  const auto id = take_hex(thread);
  if (!id || *id > target_.vcpu_count()) return std::nullopt;
  return *id == 0 ? current_ : static_cast<unsigned>(*id - 1);
}

std::string GdbStub::choose_thread(std::string_view packet) {
  if (packet.empty()) return std::string(kInvalid);
  const char operation = packet[0];
  packet.remove_prefix(1);
  if (operation == 'c' && packet == "-1") return "OK";
  const auto vcpu = vcpu_of(packet);
  if (!vcpu) return std::string(kNoSuchThread);
  if (operation == 'g') current_ = *vcpu;
  if (operation == 'c') continue_ = *vcpu;
  return operation == 'g' || operation == 'c' ? "OK" : "";
}

std::string GdbStub::thread_list() const {
  std::string list = "m";
  for (unsigned i = 0; i < target_.vcpu_count(); ++i) list += fmt::format("{}{:x}", i ? "," : "", i + 1);
  return list;
}

// Resuming.
std::string GdbStub::resume_one(std::string_view address, bool step) {
  const unsigned vcpu = step ? continue_ : current_;
  if (!address.empty()) {
    const auto rip = take_hex(address);
    x86::CpuState state = target_.state(vcpu);
    if (!rip) return std::string(kInvalid);
    state.rip = *rip;
    target_.set_state(vcpu, state);
  }
  ResumeActions actions;
  if (step) actions.step.push_back(vcpu);
  actions.others_run = !step;
  resume(actions);
  return "";
}

// vCont;action[:thread]... The first action that names a thread, or names none, is that thread's.
std::string GdbStub::resume_threads(std::string_view list) {
  ResumeActions actions;
  std::vector<bool> decided(target_.vcpu_count());
  while (!list.empty()) {
    const size_t end = list.find(';');
    if (!parse_action(list.substr(0, end), actions, decided)) return std::string(kInvalid);
    list = end == list.npos ? std::string_view() : list.substr(end + 1);
  }
  resume(actions);
  return "";
}

bool GdbStub::parse_action(std::string_view action, ResumeActions& actions, std::vector<bool>& decided) const {
  const size_t colon = action.find(':');
  const std::string_view kind = action.substr(0, colon);
  if (kind.empty()) return false;
  const bool step = kind[0] == 's' || kind[0] == 'S';
  if (!step && kind[0] != 'c' && kind[0] != 'C') return false;
  const auto decide = [&](unsigned vcpu) {
    if (decided[vcpu]) return;
    decided[vcpu] = true;
    if (step)
      actions.step.push_back(vcpu);
    else
      actions.others_run = true;
  };
  if (colon == action.npos || action.substr(colon + 1) == "-1") {
    for (unsigned i = 0; i < target_.vcpu_count(); ++i) decide(i);
    return true;
  }
  std::string_view thread = action.substr(colon + 1);
  const auto vcpu = vcpu_of(thread);
  if (!vcpu) return false;
  decide(*vcpu);
  return true;
}

void GdbStub::resume(const ResumeActions& actions) {
  waiting_ = true;
  if (actions.step.empty())
    target_.resume();
  else
    target_.step(actions.step[0], actions.others_run);
}

}  // namespace skerry::vm
