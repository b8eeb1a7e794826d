// A TPM that is a process of its own: swtpm. It is told what to do on its control channel, and gets commands of the TPM on another socket,
// as swtpm's tpm_ioctl.h ("Commands used by the non-CUSE TPMs") and swtpm_ioctl(8) say.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.hpp"
#include "base/fd.hpp"
#include "devices/tpm/backend.hpp"
#include "devices/tpm/channel.hpp"

namespace skerry::devices::tpm {

class Swtpm final : public Backend {
 public:
  // On `control`, a stream socket that is not blocking. Waits until swtpm has said what it can do. `label` begins messages.
  static Result<std::unique_ptr<Swtpm>> open(UniqueFd control, std::string label);
  ~Swtpm() override;
  Swtpm(const Swtpm&) = delete;
  Swtpm& operator=(const Swtpm&) = delete;

  // Waits for what is under way, which is a power cycle; from then on everything is done by `loop`, which outlives this.
  Result<void> start(EventLoop& loop);
  const std::string& label() const { return label_; }
  // How long it may take for what is waited for; for tests.
  void set_patience(int64_t ns) { patience_ = ns; }

  void connect(Events events) override { events_ = std::move(events); }
  void power_cycle() override;
  void execute(std::vector<uint8_t> command) override;
  void cancel() override;
  Result<void> finish() override;
  Result<State> state() override;
  Result<void> power_on(const State& state) override;
  bool failed() const override { return failed_; }
  bool established() const override { return established_; }

 private:
  // A request on the control channel. `check` is given the first `answer` bytes of the answer, and says how many bytes it has in all:
  // if that is more, it is called again with them.
  struct Request {
    std::vector<uint8_t> bytes;
    size_t answer;
    std::function<Result<size_t>(std::span<const uint8_t> answer)> check;
    UniqueFd with;
    bool sent = false;
  };
  Swtpm(UniqueFd control, std::string label) : label_(std::move(label)), control_(std::move(control)), data_(UniqueFd()) {}
  Result<void> shake_hands();
  void ask(uint32_t command, std::string_view name, std::vector<uint8_t> arguments = {}, UniqueFd with = {});
  void ask_capabilities();
  void ask_version();
  void ask_buffer_size();
  void ask_for_blob(State::Kind kind, State& state);
  void ask_power_on(uint32_t flags);

  bool busy() const { return !requests_.empty() || executing_ || cycle_wanted_ || !waiting_.empty(); }
  void progress();
  Result<void> work();
  Result<bool> work_on_control();
  Result<bool> work_on_data();
  void begin();
  void watch();
  void fail(const Error& why);

  const std::string label_;
  int64_t patience_ = 30'000'000'000;  // ns: a machine may be slow, and so are some commands
  Channel control_, data_;
  EventLoop* loop_ = nullptr;  // after start(), while they are watched
  Events events_;
  std::deque<Request> requests_;
  std::vector<uint8_t> waiting_;  // a command that is to be sent
  bool executing_ = false;        // one has been sent, and not been answered
  bool stale_ = false;            // its answer is not wanted any more
  bool cycle_wanted_ = false;
  bool failed_ = false;
  std::string why_;  // of failed_
  std::atomic<bool> established_{false};
};

}  // namespace skerry::devices::tpm
