// `skerry completion bash`: the completion of the shell, made from the very options that the program has.
#include "cli/completion.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <iterator>
#include <map>

#include "cli/exit_status.hpp"
#include "cli/program.hpp"
#include "cli/run_options.hpp"

namespace skerry::cli {

namespace {

// What the shell does with the word after an option.
std::string completer(const std::string& option) {
  const auto words = [](const auto& list) { return fmt::format("compgen -W '{}'", fmt::join(list, " ")); };
  if (option == "--accel") return words(accelerator_choices());
  if (option == "--cpu") return words(config::cpu_models());
  if (option == "--debug") return words(debug_choices());
  if (option == "--board") return words(config::boards());
  for (const std::string_view of_file : {"--kernel", "--initrd", "--disk", "--cdrom", "--uefi-vars", "--ssh-key", "--restore"})
    if (option == of_file) return "compgen -f";
  if (option == "--share") return "compgen -d";
  if (option == "--firmware") return "compgen -W 'bios uefi uefi-secure' -f";
  if (option == "--net") return "compgen -W 'user none tap= tap-fd= bridge= socket='";
  if (option == "--cloud-init") return "compgen -W 'user-data='";
  if (option == "--guest-agent" || option == "--vsock") return "compgen -W 'unix:'";
  if (option == "--input") return "compgen -W 'ps2 tablet usb virtio'";
  if (option == "--display") return "compgen -W 'vnc= none'";
  if (option == "--video") return "compgen -W 'vga virtio none'";
  if (option == "--sound") return "compgen -W 'hda none'";
  if (option == "--watchdog") return "compgen -W 'reset poweroff pause none'";
  if (option == "--tpm") return "compgen -W 'none unix:' -d";
  if (option == "--console") return "compgen -W 'stdio pty none file: unix:'";
  if (option == "--qmp") return "compgen -W 'unix:'";
  if (option == "--gdb") return "compgen -W 'tcp:: unix:'";
  return "true";
}

std::string option_names(const CLI::App& app) {
  std::string names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names += (names.empty() ? "--" : " --") + name;
  return names;
}

}  // namespace

std::string bash_completion(const CLI::App& app) {
  std::string script = "# bash completion of skerry; load it by: source <(skerry completion bash)\n"
                       "_skerry() {\n"
                       "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                       "  local words\n"
                       "  case $prev in\n";
  const auto out = std::back_inserter(script);
  for (const CLI::App* sub : app.get_subcommands({}))
    for (const CLI::Option* option : sub->get_options())
      if (option->get_items_expected_max() > 0 && !option->get_lnames().empty()) {
        const std::string name = "--" + option->get_lnames()[0];
        fmt::format_to(out, "    {}) mapfile -t COMPREPLY < <(IFS=' '; {} -- \"$cur\"); return ;;\n", name, completer(name));
      }
  script += "  esac\n  case ${COMP_WORDS[1]} in\n";
  std::string names = option_names(app);
  for (const CLI::App* sub : app.get_subcommands({})) {
    names += " " + sub->get_name();
    const std::string words = sub->get_name() == "completion" ? "bash" : option_names(*sub);
    fmt::format_to(out, "    {}) words='{}' ;;\n", sub->get_name(), words);
  }
  fmt::format_to(out, "    *) words='{}' ;;\n  esac\n", names);
  script += "  mapfile -t COMPREPLY < <(IFS=' '; compgen -W \"$words\" -- \"$cur\")\n"
            // The image that stands alone.
            "  if [[ ${COMP_WORDS[1]} == run && $COMP_CWORD -gt 1 && $cur != -* ]]; then\n"
            "    mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n  fi\n}\n"
            "complete -o nospace -o filenames -F _skerry skerry\n";
  return script;
}

void add_completion(CLI::App& app, Action& action) {
  CLI::App* completion = app.add_subcommand("completion", "Print the completion script of a shell");
  const auto shell = std::make_shared<std::string>();
  completion->add_option("SHELL", *shell, "bash")->required()->check(CLI::IsMember({"bash"}));
  completion->set_help_flag("-h,--help", "Print this help");
  completion->footer("Example:\n  source <(skerry completion bash)");
  completion->callback([shell, &app, &action] {
    action = [&app] {
      std::fputs(bash_completion(app).c_str(), stdout);
      return static_cast<int>(kExitOk);
    };
  });
}

}  // namespace skerry::cli
