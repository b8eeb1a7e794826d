// gdb's remote serial protocol without the socket: bytes in, bytes out. Serves Debian's gdb 13. Main thread only.
//
// All-stop mode. vCPU n is thread n + 1. The registers are described as x86-64 when vCPU 0 is in long mode as gdb
// attaches, else as i386; `monitor arch` overrides that for the next attach.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vm/gdb_packets.hpp"
#include "vm/gdb_registers.hpp"
#include "vm/gdb_target.hpp"
#include "vm/vm_control.hpp"

namespace skerry::vm {

class GdbStub final : public VmListener {
 public:
  static constexpr size_t kMaxBreakpoints = 1024, kMaxWatchpoints = 64;

  GdbStub(DebugTarget& target, std::function<void(std::string_view)> send);

  // A debugger came: stops the VM. When it goes, with or without a goodbye, its breakpoints go and the VM runs on.
  void connected();
  void received(std::string_view bytes);
  void disconnected();

  // The VM has halted because of this vCPU.
  void debug_stopped(unsigned vcpu, accel::Exit reason);
  // Others control the VM too: what they do is told to gdb as far as the protocol has words for it.
  void vm_event(const VmEvent& event) override;

 private:
  struct Breakpoint {
    char type;  // '0' and '1', software and hardware, are the same here; '2' write, '3' read, '4' access
    uint64_t address, length;
    auto operator<=>(const Breakpoint&) const = default;
  };
  struct ResumeActions {
    std::vector<unsigned> step;
    bool others_run = false;
  };

  void detach();
  void handle(const GdbPacketReader::Item& item);
  std::string answer(std::string_view packet);
  std::optional<std::string> answer_query(std::string_view packet);
  std::string answer_set(std::string_view packet);
  std::string answer_v(std::string_view packet);
  std::string answer_supported(std::string_view features);
  std::string answer_features(std::string_view range);
  std::string answer_monitor(std::string_view hex);
  std::string monitor(std::string_view command);
  std::string choose_arch(std::string_view name);
  std::string choose_thread(std::string_view packet);
  std::string thread_list() const;
  std::string read_registers();
  std::string write_registers(std::string_view hex);
  std::string read_register(std::string_view packet);
  std::string write_register(std::string_view packet);
  std::string read_memory(std::string_view packet);
  std::string write_memory(std::string_view packet, bool binary);
  std::string change_breakpoint(std::string_view packet, bool insert);
  void apply_breakpoints();
  std::string resume_one(std::string_view packet, bool step);
  std::string resume_threads(std::string_view actions);
  bool parse_action(std::string_view action, ResumeActions& actions, std::vector<bool>& decided) const;
  void resume(const ResumeActions& actions);
  std::string stop_reply(unsigned signal, std::string_view extra = "") const;
  std::string why(unsigned vcpu, accel::Exit reason) const;
  std::optional<unsigned> vcpu_of(std::string_view& thread) const;  // nothing: no such thread
  const GdbRegisters& registers() const { return GdbRegisters::of(arch_); }
  void send(std::string_view payload);

  DebugTarget& target_;
  const std::function<void(std::string_view)> send_;
  GdbPacketReader reader_;
  bool connected_ = false;
  bool ack_ = true;
  bool reports_swbreak_ = false;
  bool detached_ = false;
  bool waiting_ = false;  // gdb let the VM go and waits for its stop
  std::string last_frame_;
  std::string last_stop_;
  GdbArch arch_ = GdbArch::kX8664;
  std::optional<GdbArch> forced_arch_;
  unsigned current_ = 0;   // vCPU of register and memory packets (Hg)
  unsigned continue_ = 0;  // of 's' and 'c' (Hc)
  std::vector<Breakpoint> breakpoints_;
};

}  // namespace skerry::vm
