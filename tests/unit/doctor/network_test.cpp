#include <gmock/gmock.h>

#include "unit/doctor/fake_host.hpp"

namespace skerry::doctor {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kNft = "/usr/sbin/nft -j list ruleset";
constexpr const char* kIptables = "/usr/sbin/iptables -S FORWARD";

std::string chain(const std::string& family, const std::string& table, const std::string& name,
                  const std::string& more = "") {
  return fmt::format(R"({{"chain": {{"family": "{}", "table": "{}", "name": "{}"{}}}}})", family, table, name, more);
}
std::string ruleset(const std::string& items) { return R"({"nftables": [{"metainfo": {}}, )" + items + "]}"; }
const std::string kForwardDrop = R"(, "hook": "forward", "prio": 0, "policy": "drop")";

class NetworkTest : public DoctorTest {
 protected:
  void nft(const std::string& output, int status = 0, const std::string& errors = "") {
    put("/usr/sbin/nft", "", 0755);
    folder("/sys/module/nf_tables");
    system_.programs[kNft] = {status, output, errors, false};
  }
  void routes() { put("/proc/sys/net/ipv4/ip_forward", "1\n"); }
  Finding firewall() { return found("network.firewall").finding; }
};

TEST_F(NetworkTest, DevicesThatAreNotThere) {
  remove("/dev/vhost-net");
  remove("/sys/class/misc/vhost-net");
  EXPECT_THAT(found("network.vhost-net").finding.remedy, HasSubstr("modprobe vhost_net"));
  remove("/dev/net/tun");
  put("/sys/class/misc/tun/dev", "10:200\n");
  EXPECT_EQ(found("network.tun").finding.remedy, "as root: mkdir -p /dev/net; mknod -m 0660 /dev/net/tun c 10 200");
  put("/.dockerenv", "");
  EXPECT_THAT(found("network.tun").finding.remedy, HasSubstr("docker run --device /dev/net/tun"));
  EXPECT_THAT(found("network.vhost-net").finding.remedy, HasSubstr("on the host of this container: modprobe"));
  system_.devices["/dev/vhost-vsock"] = ENODEV;
  EXPECT_THAT(found("network.vhost-vsock").finding.found, HasSubstr("No such device"));
}

TEST_F(NetworkTest, Bridges) {
  EXPECT_THAT(found("network.bridges").finding.found, HasSubstr("none"));
  bridge("br0", "eth0");
  bridge("virbr0");
  EXPECT_EQ(found("network.bridges").finding.found, "br0, virbr0");
  const Finding forwarding = found("network.forwarding").finding;
  EXPECT_EQ(forwarding.found, "0: guests on virbr0 reach no further than this host");
  EXPECT_THAT(forwarding.remedy, HasSubstr("sysctl net.ipv4.ip_forward=1"));
  routes();
  EXPECT_EQ(found("network.forwarding").finding.status, Status::kOk);
}

TEST_F(NetworkTest, FirewallOfBridges) {
  EXPECT_EQ(found("network.bridge-filter").finding.status, Status::kOk);  // no br_netfilter
  put("/proc/sys/net/bridge/bridge-nf-call-iptables", "1\n");
  EXPECT_EQ(found("network.bridge-filter").finding.status, Status::kOk);  // no bridge
  bridge("br0", "eth0");
  EXPECT_THAT(found("network.bridge-filter").finding.found,
              HasSubstr("what br0 pass on has to pass the firewall's rules"));
  EXPECT_THAT(found("network.bridge-filter").finding.remedy, HasSubstr("sysctl net.bridge.bridge-nf-call-iptables=0"));
  put("/proc/sys/net/bridge/bridge-nf-call-iptables", "0\n");
  EXPECT_EQ(found("network.bridge-filter").finding.status, Status::kOk);
}

TEST_F(NetworkTest, NothingIsRunWhereTheKernelHasNoRules) {
  put("/usr/sbin/nft", "", 0755);
  put("/usr/sbin/iptables", "", 0755);
  routes();
  EXPECT_EQ(firewall().status, Status::kOk);
  EXPECT_THAT(system_.ran, IsEmpty());
}

TEST_F(NetworkTest, RulesBuiltIntoTheKernelAreFound) {
  put("/lib/modules/6.1.0-50-amd64/modules.builtin", "kernel/fs/ext4.ko\nkernel/net/netfilter/nf_tables.ko\n");
  nft(ruleset(chain("inet", "filter", "forward", kForwardDrop)));
  remove("/sys/module/nf_tables");
  routes();
  EXPECT_EQ(firewall().status, Status::kWarning);
}

TEST_F(NetworkTest, DockersForwardPolicy) {
  nft(ruleset(chain("ip", "filter", "DOCKER-USER") + ", " + chain("ip", "filter", "FORWARD", kForwardDrop)));
  EXPECT_EQ(firewall().status, Status::kOk);  // nothing is forwarded
  routes();
  bridge("docker0");
  bridge("lan0", "eth0");
  const Finding finding = firewall();
  EXPECT_EQ(finding.status, Status::kWarning);
  EXPECT_EQ(finding.found, "ip filter FORWARD drops what no rule accepts (Docker)");
  EXPECT_THAT(finding.remedy, HasSubstr("iptables -I DOCKER-USER -i lan0 -j ACCEPT"));
}

TEST_F(NetworkTest, AnotherForwardPolicy) {
  nft(ruleset(chain("inet", "fw", "input", R"(, "hook": "input", "policy": "drop")") + ", " +
              chain("inet", "fw", "fwd", kForwardDrop)));
  routes();
  EXPECT_THAT(firewall().remedy, HasSubstr("nft insert rule inet fw fwd iifname br0 accept"));
  nft(ruleset(chain("inet", "fw", "fwd", R"(, "hook": "forward", "policy": "accept")")));
  EXPECT_EQ(firewall().status, Status::kOk);
}

TEST_F(NetworkTest, APolicyOfBridgesCountsWithoutRouting) {
  nft(ruleset(chain("bridge", "filter", "FORWARD", kForwardDrop)));
  EXPECT_EQ(firewall().status, Status::kWarning);
}

TEST_F(NetworkTest, IptablesWhereThereIsNoNft) {
  folder("/sys/module/nf_tables");
  routes();
  EXPECT_THAT(firewall().found, HasSubstr("neither nft nor iptables is installed"));
  put("/usr/sbin/iptables", "", 0755);
  system_.programs[kIptables] = {0, "-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n", "", false};
  EXPECT_THAT(firewall().remedy, HasSubstr("DOCKER-USER"));
  system_.programs[kIptables] = {0, "-P FORWARD ACCEPT\n", "", false};
  EXPECT_EQ(firewall().status, Status::kOk);
}

TEST_F(NetworkTest, TheKernelsOlderTables) {
  put("/usr/sbin/iptables", "", 0755);
  put("/proc/net/ip_tables_names", "nat\nfilter\n");
  system_.programs[kIptables] = {0, "-P FORWARD DROP\n", "", false};
  routes();
  EXPECT_THAT(firewall().remedy, HasSubstr("iptables -I FORWARD -i br0"));
  // Those of nftables come first, and are nft's to change.
  nft(ruleset(chain("inet", "fw", "fwd", kForwardDrop)));
  EXPECT_EQ(firewall().found, "inet fw fwd, ip filter FORWARD drops what no rule accepts");
  EXPECT_THAT(firewall().remedy, HasSubstr("nft insert rule inet fw fwd"));
  remove("/usr/sbin/nft");
  remove("/sys/module/nf_tables");
  put("/proc/net/ip_tables_names", "nat\n");
  system_.ran.clear();
  EXPECT_EQ(firewall().status, Status::kOk);
  EXPECT_THAT(system_.ran, IsEmpty());
}

TEST_F(NetworkTest, RulesThatMayNotBeRead) {
  nft("", 1, "Operation not permitted (you must be root)\nnetlink: Error: cache initialization failed\n");
  EXPECT_EQ(firewall().status, Status::kOk);
  EXPECT_THAT(firewall().found, HasSubstr("nft says: Operation not permitted (you must be root)"));
  routes();
  EXPECT_EQ(firewall().remedy, "sudo skerry doctor");
  system_.me.id = 0;
  EXPECT_THAT(firewall().remedy, HasSubstr("nft list ruleset"));
  system_.programs.clear();
  EXPECT_THAT(firewall().found, HasSubstr("did not end within 1500 ms"));
}

TEST_F(NetworkTest, WhereNothingTellsWhetherThereAreRules) {
  routes();
  remove("/sys/module");
  EXPECT_THAT(firewall().found, HasSubstr("there is no '/sys/module'"));
  folder("/sys/module");
  folder("/proc/net/ip_tables_names");  // cannot be read
  EXPECT_THAT(firewall().found, HasSubstr("'/proc/net/ip_tables_names' is no file"));
}

TEST_F(NetworkTest, NothingIsToBeTypedThatTheShellWouldTakeForMore) {
  nft(ruleset(chain("ip", "filter", "$(reboot)", kForwardDrop)));
  routes();
  bridge("b;reboot", "eth0");
  EXPECT_THAT(firewall().remedy, HasSubstr("nft insert rule ip filter CHAIN iifname BRIDGE accept"));
}

TEST_F(NetworkTest, WhateverNftPrints) {
  routes();
  const std::string deep(100'000, '[');
  for (const std::string& output :
       {std::string(), std::string("null"), std::string("[]"), std::string("{}"), std::string("{\"nftables\": 1}"),
        deep, std::string("\xff\xfe{"), std::string("{\"nftables\": [")}) {
    nft(output);
    EXPECT_THAT(firewall().found, HasSubstr("no list of rules as JSON")) << output.substr(0, 20);
  }
  for (const char* item :
       {"1", "{}", "[]", "null", R"({"chain": 1})", R"({"chain": {}})", R"({"chain": {"hook": 1, "policy": []}})"}) {
    nft(ruleset(item));
    EXPECT_EQ(firewall().status, Status::kOk) << item;
  }
  nft(ruleset(chain("ip", "\\u001b[2J", "x", kForwardDrop)));
  EXPECT_EQ(firewall().found, "ip ?[2J x drops what no rule accepts");
}

TEST_F(NetworkTest, Dnsmasq) {
  EXPECT_EQ(found("network.dnsmasq").finding.found, "/usr/sbin/dnsmasq");
  remove("/usr/sbin/dnsmasq");
  EXPECT_THAT(found("network.dnsmasq").finding.remedy, HasSubstr("apt install dnsmasq-base"));
}

}  // namespace
}  // namespace skerry::doctor
