#include "cli/run_options.hpp"

#include <gtest/gtest.h>

#include "base/units.hpp"

namespace skerry::cli {
namespace {

RunOptions minimal() {
  RunOptions options;
  options.kernel = "vmlinuz";
  return options;
}

std::string complaint(const RunOptions& options) {
  const auto plan = lower(options);
  return plan ? "" : plan.error().message();
}

TEST(RunOptions, DefaultsDescribeAVm) {
  const auto plan = lower(minimal());
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->config.memory, 512 * MiB);
  EXPECT_EQ(plan->config.vcpus, 1u);
  EXPECT_EQ(plan->config.console.type, config::Console::Type::kStdio);
  EXPECT_FALSE(plan->wait_for_gdb);
}

TEST(RunOptions, EachOptionIsLowered) {
  RunOptions o = minimal();
  o.accel = "interpreter";
  o.cpu = "x86-64-v2";
  o.initrd = "initrd";
  o.append = "console=ttyS0";
  o.memory = "2G";
  o.cpus = "4";
  o.no_reboot = true;
  o.console = "file:log";
  o.isa_debug_exit = "0xf4";
  o.qmp = "unix:/tmp/q";
  o.gdb = "tcp::1234,wait";
  o.debug = "cpu,,irq";
  const auto plan = lower(o);
  ASSERT_TRUE(plan) << plan.error().message();
  const config::VmConfig& c = plan->config;
  EXPECT_EQ(c.accelerator, "interpreter");
  EXPECT_EQ(c.cpu_model, "x86-64-v2");
  EXPECT_EQ(c.kernel, (config::Kernel{"vmlinuz", "initrd", "console=ttyS0"}));
  EXPECT_EQ(c.memory, 2 * GiB);
  EXPECT_EQ(c.vcpus, 4u);
  EXPECT_TRUE(c.no_reboot);
  EXPECT_EQ(c.console.path, "log");
  EXPECT_EQ(c.isa_debug_exit, 0xf4);
  EXPECT_EQ(c.qmp, "/tmp/q");
  EXPECT_EQ(c.gdb->port, 1234);
  EXPECT_TRUE(plan->wait_for_gdb);
  EXPECT_EQ(c.debug, (std::vector<std::string>{"cpu", "irq"}));
}

TEST(RunOptions, ADisplayBringsAScreen) {
  RunOptions o = minimal();
  o.display = "vnc=:1,password-file=/etc/secret,tls=on";
  auto plan = lower(o);
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->config.board, "q35-1");
  EXPECT_EQ(plan->config.video, config::Video::kVga);
  EXPECT_EQ(plan->config.input, config::Input::kTablet);
  EXPECT_EQ(*plan->config.vnc,
            (config::Vnc{.listen = "127.0.0.1:5901", .password_file = "/etc/secret", .tls = config::Vnc::Tls::kAnonymous}));
  o.display = "vnc=unix:/tmp/v,cert=c.pem,key=k.pem,ca=a.pem,user=me,password-file=p";
  plan = lower(o);
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(*plan->config.vnc, (config::Vnc{.listen = "unix:/tmp/v",
                                            .password_file = "p",
                                            .user = "me",
                                            .tls = config::Vnc::Tls::kX509,
                                            .certificate = "c.pem",
                                            .key = "k.pem",
                                            .client_ca = "a.pem"}));
  o.input = "ps2";
  plan = lower(o);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->config.input, config::Input::kPs2);
  o.input = "";
  o.display = "none";
  plan = lower(o);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->config.video, config::Video::kNone);
  o.video = "vga";
  plan = lower(o);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->config.video, config::Video::kVga) << "a screen that only the monitor looks at";
  EXPECT_FALSE(plan->config.vnc);
  EXPECT_EQ(plan->config.input, config::Input::kPs2);
  o.video = "virtio";
  o.display = "vnc=127.0.0.1:1";
  plan = lower(o);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->config.video, config::Video::kVirtio);
  EXPECT_EQ(plan->config.input, config::Input::kTablet) << "for the pointers of viewers";
  o.input = "virtio";
  plan = lower(o);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->config.input, config::Input::kVirtio);
}

TEST(RunOptions, AComplaintIsOneLineThatNamesTheOption) {
  struct Case {
    const char* option;
    std::string RunOptions::*field;
    const char* value;
  };
  const Case cases[] = {
      {"--accel", &RunOptions::accel, "warp"},       {"--cpu", &RunOptions::cpu, "pentium"},
      {"--kernel", &RunOptions::kernel, ""},         {"--memory", &RunOptions::memory, "4K"},
      {"--memory", &RunOptions::memory, "lots"},     {"--memory", &RunOptions::memory, "99999999G"},
      {"--cpus", &RunOptions::cpus, "0"},            {"--cpus", &RunOptions::cpus, "100000"},
      {"--cpus", &RunOptions::cpus, "-1"},           {"--cpus", &RunOptions::cpus, "two"},
      {"--input", &RunOptions::input, "serial"},
      {"--console", &RunOptions::console, "screen"}, {"--isa-debug-exit", &RunOptions::isa_debug_exit, "0x10000"},
      {"--qmp", &RunOptions::qmp, "/tmp/q"},         {"--gdb", &RunOptions::gdb, "1234"},
      {"--debug", &RunOptions::debug, "nonsense"},   {"--isa-debug-exit", &RunOptions::isa_debug_exit, "0xffff"},
  };
  for (const Case& c : cases) {
    RunOptions options = minimal();
    options.*c.field = c.value;
    const std::string text = complaint(options);
    EXPECT_TRUE(text.starts_with(std::string(c.option) + ":")) << c.option << ' ' << c.value << " gave: " << text;
    EXPECT_EQ(text.find('\n'), text.npos);
  }
}

}  // namespace
}  // namespace skerry::cli
