#include "cli/program.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "base/log.hpp"
#include "cli/exit_status.hpp"
#include "cli/version.hpp"

namespace skerry::cli {

namespace {

constexpr const char* kGreeting = R"(Skerry runs virtual machines on any x86-64 Linux machine.

Start one:   skerry run debian.img --ssh-key ~/.ssh/id_ed25519.pub
or:          skerry run --kernel vmlinuz --initrd initrd.img --append console=ttyS0
Leave it:    Ctrl-A x on its console
This host:   skerry doctor
Learn more:  skerry run --help, man skerry-run
)";

// One line: what, and where to read on.
int report(const CLI::App& app, const CLI::ParseError& failure) {
  const auto chosen = app.get_subcommands();
  const std::string command = chosen.empty() ? "skerry" : "skerry " + chosen[0]->get_name();
  std::string text = failure.what();
  for (char& c : text)
    if (c == '\n') c = ' ';
  log::failure("{}; see '{} --help'", text, command);
  return kExitBadInput;
}

}  // namespace

std::unique_ptr<CLI::App> make_app(Action& action) {
  auto app = std::make_unique<CLI::App>("Skerry runs virtual machines on any x86-64 Linux machine.", "skerry");
  app->set_version_flag("--version", fmt::format("skerry {}", kVersion), "Print the version");
  app->set_help_flag("-h,--help", "Print this help");
  app->require_subcommand(0, 1);
  for (const SubcommandAdder add : {add_run, add_save, add_screenshot, add_send_key, add_doctor, add_completion}) add(*app, action);
  app->footer("'skerry SUBCOMMAND --help' tells more about each.");
  return app;
}

int run_program(int argc, const char* const* argv) {
  Action action;
  const auto app = make_app(action);
  try {
    app->parse(argc, argv);
  } catch (const CLI::ParseError& failure) {
    if (failure.get_exit_code() == 0) return app->exit(failure);  // --help and --version
    return report(*app, failure);
  }
  if (action) return action();
  std::fputs(kGreeting, stdout);
  return kExitOk;
}

}  // namespace skerry::cli
