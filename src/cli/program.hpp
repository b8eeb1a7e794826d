// The program `skerry`: its subcommands and how their options become text for people.
#pragma once

#include <functional>
#include <memory>

namespace CLI {
class App;
}

namespace skerry::cli {

// A subcommand declares itself in a file of its own: it adds itself to `app` and says with `action` what it does when
// it was chosen; the result is the exit status.
using Action = std::function<int()>;
using SubcommandAdder = void (*)(CLI::App& app, Action& action);

void add_run(CLI::App& app, Action& action);
void add_save(CLI::App& app, Action& action);
void add_screenshot(CLI::App& app, Action& action);
void add_send_key(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);
void add_completion(CLI::App& app, Action& action);

// All of it. `app` refers to `action`.
std::unique_ptr<CLI::App> make_app(Action& action);

int run_program(int argc, const char* const* argv);

}  // namespace skerry::cli
