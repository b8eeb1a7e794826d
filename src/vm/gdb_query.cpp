// The 'q', 'Q' and 'v' packets of the gdb stub, and gdb's `monitor` commands.
#include <algorithm>

#include "vm/cpu_dump.hpp"
#include "vm/gdb_stub.hpp"

namespace skerry::vm {

namespace {
constexpr std::string_view kInvalid = "E16";
constexpr std::string_view kMonitorHelp =
    "info registers    registers of the current vCPU, with segments and tables\n"
    "info cpus         what each vCPU does\n"
    "arch auto|i386|x86-64   how registers are described to gdb from its next attach on\n"
    "system_reset      resets the machine\n"
    "quit              ends the VM\n";

std::string_view activity(const x86::CpuState& state) {
  switch (state.activity) {
    case x86::Activity::kRunning: return "running";
    case x86::Activity::kHalted: return "halted";
    case x86::Activity::kWaitForSipi: return "not started";
    case x86::Activity::kShutdown: return "shut down";
  }
  return "";
}
}  // namespace

std::optional<std::string> GdbStub::answer_query(std::string_view packet) {
  if (take(packet, "qSupported")) return answer_supported(packet);
  if (take(packet, "qXfer:features:read:target.xml:")) return answer_features(packet);
  if (take(packet, "qRcmd,")) return answer_monitor(packet);
  if (packet == "qfThreadInfo") return thread_list();
  if (packet == "qsThreadInfo") return "l";
  if (packet == "qC") return fmt::format("QC{:x}", current_ + 1);
  if (packet.starts_with("qAttached")) return "1";
  if (take(packet, "qThreadExtraInfo,")) {
    const auto vcpu = vcpu_of(packet);
    if (!vcpu) return std::string(kInvalid);
    return to_hex(fmt::format("vCPU {}, {}", *vcpu, activity(target_.state(*vcpu))));
  }
  return std::nullopt;
}

std::string GdbStub::answer_supported(std::string_view features) {
  reports_swbreak_ = features.find("swbreak+") != features.npos;
  return fmt::format("PacketSize={:x};qXfer:features:read+;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak+",
                     GdbPacketReader::kMaxPacket);
}

std::string GdbStub::answer_features(std::string_view range) {
  const auto offset = take_hex(range);
  if (!offset || !take(range, ",")) return std::string(kInvalid);
  const auto length = take_hex(range);
  const std::string& xml = registers().target_xml();
  if (!length || *offset > xml.size()) return std::string(kInvalid);
  const size_t size = std::min<uint64_t>({*length, xml.size() - *offset, GdbPacketReader::kMaxPacket / 2});
  return fmt::format("{}{}", *offset + size < xml.size() ? 'm' : 'l', std::string_view(xml).substr(*offset, size));
}

std::string GdbStub::answer_set(std::string_view packet) {
  if (packet != "QStartNoAckMode") return "";
  ack_ = false;
  return "OK";
}

std::string GdbStub::answer_v(std::string_view packet) {
  if (packet == "vCont?") return "vCont;c;C;s;S";
  if (take(packet, "vCont;")) return resume_threads(packet);
  if (packet.starts_with("vKill")) {
    target_.kill();
    return "OK";
  }
  return "";  // vMustReplyEmpty too
}

std::string GdbStub::answer_monitor(std::string_view hex) {
  const auto command = from_hex(hex);
  if (!command) return std::string(kInvalid);
  const std::string output = monitor(*command);
  return output.empty() ? "OK" : to_hex(output);
}

std::string GdbStub::monitor(std::string_view command) {
  if (command == "help" || command.empty()) return std::string(kMonitorHelp);
  if (command == "info registers") return describe_registers(target_.state(current_));
  if (command == "info cpus") {
    std::string text;
    for (unsigned i = 0; i < target_.vcpu_count(); ++i)
      text += fmt::format("{} vCPU {}: {}, rip {:#x}\n", i == current_ ? '*' : ' ', i, activity(target_.state(i)),
                          target_.state(i).rip);
    return text;
  }
  if (take(command, "arch ")) return choose_arch(command);
  if (command == "system_reset") {
    target_.reset_machine();
    return "the machine is reset; it is still halted\n";
  }
  if (command == "quit") {
    target_.kill();
    return "";
  }
  return "unknown command; try: monitor help\n";
}

std::string GdbStub::choose_arch(std::string_view name) {
  if (name == "auto")
    forced_arch_.reset();
  else if (name == "i386")
    forced_arch_ = GdbArch::kI386;
  else if (name == "x86-64")
    forced_arch_ = GdbArch::kX8664;
  else
    return "unknown architecture; use auto, i386 or x86-64\n";
  return "from the next attach on (disconnect, then target remote again)\n";
}

}  // namespace skerry::vm
