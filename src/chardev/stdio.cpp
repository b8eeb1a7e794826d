// "stdio": the terminal, pipes or files that the program was started with.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "chardev/backends.hpp"
#include "chardev/escape.hpp"
#include "chardev/stream.hpp"

namespace skerry::chardev {

namespace {
// Input is read on even while the guest takes none, or Ctrl-A x would not get through when a guest hangs: the backlog
// is larger than anybody types or pastes.
constexpr size_t kInputBacklog = 64 * KiB;

class Stdio final : public Stream {
 public:
  explicit Stdio(std::function<void()> quit) : Stream(kInputBacklog, WhenFull::kBackPressure), quit_(std::move(quit)) {
    set_input(HostFd::inherited(STDIN_FILENO, O_RDONLY));
    HostFd output = HostFd::inherited(STDOUT_FILENO, O_WRONLY);
    if (!output) set_when_full(WhenFull::kDropOldest);  // started without a standard output
    set_output(std::move(output));
  }

 private:
  void filter(std::vector<uint8_t>& bytes) override {
    size_t kept = 0;
    for (const uint8_t byte : bytes) {
      switch (escape_.feed(byte)) {
        case EscapeFilter::Action::kPass:
          bytes[kept++] = byte;
          break;
        case EscapeFilter::Action::kCtrlA:
          bytes[kept++] = kEscapeByte;
          break;
        case EscapeFilter::Action::kSwallow:
          break;
        case EscapeFilter::Action::kQuit:
          if (quit_) quit_();
          break;
        case EscapeFilter::Action::kHelp:
          say(kEscapeHelp);
          break;
        case EscapeFilter::Action::kMonitor:
          say("\r\nskerry: there is no monitor on this console\r\n");
          break;
        case EscapeFilter::Action::kBreak:
          if (frontend().receive_break) frontend().receive_break();
          break;
      }
    }
    bytes.resize(kept);
  }
  void say(std::string_view text) { write({reinterpret_cast<const uint8_t*>(text.data()), text.size()}); }

  std::function<void()> quit_;
  EscapeFilter escape_;
};
}  // namespace

Result<std::unique_ptr<Chardev>> open_stdio(std::function<void()> quit) {
  ::signal(SIGPIPE, SIG_IGN);
  return std::unique_ptr<Chardev>(std::make_unique<Stdio>(std::move(quit)));
}

}  // namespace skerry::chardev
