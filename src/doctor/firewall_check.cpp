// Whether the firewall drops what guests send and get, as Docker sets it up: the policy of the chains of the hook
// "forward". Rules within them are not followed.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "doctor/network.hpp"
#include "doctor/remedies.hpp"
#include "doctor/subjects.hpp"

namespace skerry::doctor {

namespace {

using nlohmann::json;

constexpr int kPatience = 1500;  // ms, for each program

struct Chain {
  std::string family, table, name;
  bool legacy = false;  // of the kernel's older tables, which nft does not see
};

// What is known of the rules.
struct Rules {
  std::vector<Chain> dropping;
  bool docker = false;   // there is the chain that Docker leaves to its users
  std::string not_read;  // why not, if they could not be read
};

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? printable(found->get_ref<const std::string&>()) : "";
}

bool read_ruleset(const std::string& text, Rules& rules) {
  const json all = json::parse(text, nullptr, false);
  if (!all.is_object() || !all.contains("nftables") || !all["nftables"].is_array()) return false;
  for (const json& item : all["nftables"]) {
    if (!item.is_object() || !item.contains("chain") || !item["chain"].is_object()) continue;
    const json& chain = item["chain"];
    const std::string name = text_of(chain, "name");
    if (name == "DOCKER-USER") rules.docker = true;
    if (text_of(chain, "hook") == "forward" && text_of(chain, "policy") == "drop")
      rules.dropping.push_back({text_of(chain, "family"), text_of(chain, "table"), name});
  }
  return true;
}

// A program that asks for tables makes the kernel load what it has not: then there are no rules of that kind, and
// nothing is asked.
bool nf_tables_in_use(const Host& host) {
  if (module_loaded(host, "nf_tables") || kernel_has_no_modules(host)) return true;
  const auto release = host.line("/proc/sys/kernel/osrelease");
  const auto builtin = host.text(fmt::format("/lib/modules/{}/modules.builtin", release ? *release : ""));
  return builtin && builtin->find("/nf_tables.ko") != builtin->npos;
}

// The older tables by name; root's to read.
constexpr std::string_view kLegacyTables = "/proc/net/ip_tables_names";

bool legacy_in_use(const std::string& tables) {
  const auto names = words_of(tables);
  return std::find(names.begin(), names.end(), "filter") != names.end();
}

std::string failure_of(const Result<ProgramResult>& done, std::string_view program) {
  if (!done) return done.error().message();
  if (done->cut) return fmt::format("{} prints more than is read", program);
  const auto lines = lines_of(done->errors);
  return lines.empty() ? fmt::format("{} ended with status {}", program, done->exit_status)
                       : fmt::format("{} says: {}", program, printable(lines[0]));
}

void ask_nft(const Host& host, const std::string& nft, Rules& rules) {
  const auto done = host.system().run({nft, "-j", "list", "ruleset"}, kPatience);
  if (!done || done->exit_status != 0 || done->cut) {
    rules.not_read = failure_of(done, "nft");
  } else if (!read_ruleset(done->output, rules)) {
    rules.not_read = "nft prints no list of rules as JSON";
  }
}

void ask_iptables(const Host& host, const std::string& iptables, bool legacy, Rules& rules) {
  const auto done = host.system().run({iptables, "-S", "FORWARD"}, kPatience);
  if (!done || done->exit_status != 0 || done->cut) {
    rules.not_read = failure_of(done, "iptables");
    return;
  }
  for (const std::string_view line : lines_of(done->output)) {
    if (line == "-P FORWARD DROP") rules.dropping.push_back({"ip", "filter", "FORWARD", legacy});
    if (line.ends_with("-j DOCKER-USER")) rules.docker = true;
  }
}

Rules read_rules(const Host& host) {
  Rules rules;
  const auto nft = host.program("nft"), iptables = host.program("iptables");
  if (!host.has("/sys/module") && !kernel_has_no_modules(host)) {
    rules.not_read = "there is no '/sys/module', which tells whether the kernel has rules";
    return rules;
  }
  if (nf_tables_in_use(host)) {
    if (nft) ask_nft(host, *nft, rules);
    if (!nft && iptables) ask_iptables(host, *iptables, false, rules);
    if (!nft && !iptables) rules.not_read = "neither nft nor iptables is installed";
  }
  const auto tables = host.text(kLegacyTables);
  if (!tables && host.has(kLegacyTables) && rules.not_read.empty()) rules.not_read = tables.error().message();
  if (tables && legacy_in_use(*tables) && rules.not_read.empty()) {
    const auto legacy = host.program("iptables-legacy");
    if (legacy || iptables) ask_iptables(host, legacy ? *legacy : *iptables, true, rules);
    if (!legacy && !iptables) rules.not_read = "iptables is not installed";
  }
  return rules;
}

// A name that means nothing else to the shell that it is typed into.
std::string typed(const std::string& name, std::string_view otherwise) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  };
  const bool good = !name.empty() && name[0] != '-' && std::all_of(name.begin(), name.end(), plain);
  return good ? name : std::string(otherwise);
}

// The bridge that a person most likely means.
std::string a_bridge(const Host& host) {
  for (const Bridge& bridge : bridges(host))
    if (!bridge.name.starts_with("docker") && !bridge.name.starts_with("br-")) return typed(bridge.name, "BRIDGE");
  return "br0";
}

std::string how_to_accept(const Host& host, const Rules& rules) {
  const std::string bridge = a_bridge(host);
  if (rules.docker)
    return fmt::format("as root: iptables -I DOCKER-USER -i {0} -j ACCEPT; iptables -I DOCKER-USER -o {0} -j ACCEPT",
                       bridge);
  const Chain& chain = rules.dropping[0];
  if (chain.legacy)
    return fmt::format("as root: iptables -I FORWARD -i {0} -j ACCEPT; iptables -I FORWARD -o {0} -j ACCEPT", bridge);
  return fmt::format(
      "as root: nft insert rule {0} {1} {2} iifname {3} accept; nft insert rule {0} {1} {2} oifname {3} accept",
      typed(chain.family, "FAMILY"), typed(chain.table, "TABLE"), typed(chain.name, "CHAIN"), bridge);
}

}  // namespace

std::optional<Finding> check_firewall(const Host& host) {
  const Rules rules = read_rules(host);
  const bool routed = forwards(host), filtered = bridges_are_filtered(host) && !bridges(host).empty();
  if (!rules.not_read.empty()) {
    if (!routed && !filtered)
      return fine(fmt::format("not looked at ({}); this host forwards nothing that rules could drop", rules.not_read));
    const bool root = host.system().user().id == 0;
    return warning(
        fmt::format("not known whether it drops what guests send: {}", rules.not_read),
        root ? "look with: nft list ruleset; apt install nftables if it is not there" : "sudo skerry doctor");
  }
  if (rules.dropping.empty()) return fine("no chain of the hook forward has the policy drop");
  std::vector<std::string> names;
  for (const Chain& chain : rules.dropping)
    names.push_back(fmt::format("{} {} {}", chain.family, chain.table, chain.name));
  const std::string found = printable(fmt::format("{} drops what no rule accepts", fmt::join(names, ", ")));
  const bool of_bridges = std::any_of(rules.dropping.begin(), rules.dropping.end(),
                                      [](const Chain& chain) { return chain.family == "bridge"; });
  if (!routed && !filtered && !of_bridges) return fine(found + "; this host forwards nothing that it concerns");
  return warning(found + (rules.docker ? " (Docker)" : ""), how_to_accept(host, rules));
}

}  // namespace skerry::doctor
