// `skerry screenshot` and `skerry send-key`: what is on the screen of a running VM, and its keyboard, by its monitor.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

#include "base/log.hpp"
#include "cli/exit_status.hpp"
#include "cli/output_file.hpp"
#include "cli/program.hpp"
#include "cli/qmp_client.hpp"
#include "cli/run_options.hpp"
#include "display/key_code.hpp"

namespace skerry::cli {

namespace {

using nlohmann::json;

constexpr const char* kScreenshotFooter = R"(The VM goes on. It needs a screen: --display vnc=ADDRESS, --video vga or --video virtio.

Examples:
  skerry screenshot vm.png --qmp unix:/tmp/vm.qmp
  skerry screenshot vm.png --qmp unix:/tmp/vm.qmp --force

Exit status:
  0    the picture is in FILE
  2    it is not, and FILE is as it was before
)";

constexpr const char* kSendKeyFooter = R"(KEYS are the names of keys that are pressed together, joined by '-', as in QEMU's monitor: a, ret, f1, ctrl-alt-delete.

Examples:
  skerry send-key ctrl-alt-f2 --qmp unix:/tmp/vm.qmp
  skerry send-key r o o t ret --qmp unix:/tmp/vm.qmp
  skerry send-key down --hold 2000 --qmp unix:/tmp/vm.qmp

Exit status:
  0    the keys are on their way to the guest
  2    they are not
)";

int status_of(const Result<void>& done) {
  if (done) return kExitOk;
  log::failure("{}", done.error().message());
  return kExitBadInput;
}

struct ScreenshotOptions {
  std::string file, qmp;
  bool force = false;
};

Result<void> take_screenshot(const ScreenshotOptions& options) {
  const auto monitor = parse_qmp(options.qmp);
  if (!monitor) return monitor.error();
  auto file = OutputFile::create(options.file, options.force);
  if (!file) return std::move(file).error();
  auto vm = QmpClient::connect(*monitor);
  if (!vm) return std::move(vm).error();
  if (auto passed = vm->command("getfd", {{"fdname", "skerry-screenshot"}}, file->fd()); !passed) return passed.error();
  if (auto drawn = vm->command("screendump", {{"filename", "fd:skerry-screenshot"}, {"format", "png"}}); !drawn) return drawn.error();
  return file->commit();
}

struct SendKeyOptions {
  std::vector<std::string> chords;
  std::string qmp;
  unsigned hold = 100;
};

Result<json> keys_of(std::string_view chord) {
  json keys = json::array();
  for (std::string_view rest = chord;;) {
    const size_t end = rest.find('-');
    const std::string name(rest.substr(0, end));
    if (display::key_by_name(name) == display::KeyCode::kUnmapped)
      return error("'{}' in '{}' is not a key; there are a, 1, ret, spc, esc, tab, f1, ctrl, alt, shift, up, delete and others", name, chord);
    keys.push_back({{"type", "qcode"}, {"data", name}});
    if (end == rest.npos) return keys;
    rest.remove_prefix(end + 1);
  }
}

Result<void> send_keys(const SendKeyOptions& options) {
  const auto monitor = parse_qmp(options.qmp);
  if (!monitor) return monitor.error();
  std::vector<json> presses;
  for (const std::string& chord : options.chords) {
    auto keys = keys_of(chord);
    if (!keys) return std::move(keys).error();
    presses.push_back(std::move(*keys));
  }
  auto vm = QmpClient::connect(*monitor);
  if (!vm) return std::move(vm).error();
  for (const json& keys : presses)
    if (auto sent = vm->command("send-key", {{"keys", keys}, {"hold-time", options.hold}}); !sent) return sent.error();
  return ok();
}

void add_monitor(CLI::App& app, std::string& qmp) {
  app.add_option("--qmp", qmp, "The VM's monitor, unix:PATH")->type_name("ADDR")->required();
}

}  // namespace

void add_screenshot(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("screenshot", "Put what is on the screen of a running virtual machine into a PNG file");
  const auto options = std::make_shared<ScreenshotOptions>();
  command->add_option("FILE", options->file, "The picture to write")->required();
  add_monitor(*command, options->qmp);
  command->add_flag("--force", options->force, "Replace FILE if it exists");
  command->set_help_flag("-h,--help", "Print this help");
  command->footer(kScreenshotFooter);
  command->callback([options, &action] { action = [options] { return status_of(take_screenshot(*options)); }; });
}

void add_send_key(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("send-key", "Press keys at the keyboard of a running virtual machine");
  const auto options = std::make_shared<SendKeyOptions>();
  command->add_option("KEYS", options->chords, "What to press, one after the other")->required();
  add_monitor(*command, options->qmp);
  command->add_option("--hold", options->hold, "How long each is held, in milliseconds (default 100)")->type_name("MS")->check(CLI::Range(0, 60'000));
  command->set_help_flag("-h,--help", "Print this help");
  command->footer(kSendKeyFooter);
  command->callback([options, &action] { action = [options] { return status_of(send_keys(*options)); }; });
}

}  // namespace skerry::cli
