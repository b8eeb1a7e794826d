// Disks, networks and what goes with them, from options to the description of a VM.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "base/units.hpp"
#include "cli/device_options.hpp"
#include "cli/option_text.hpp"
#include "cli/run_options.hpp"

namespace skerry::cli {
namespace {

using config::Disk;
using config::Nic;
using testing::HasSubstr;
using testing::StartsWith;

// A folder with images, for the time of one test.
class DeviceOptions : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "skerry-disks-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    ASSERT_EQ(::chmod(name.c_str(), 0755), 0);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& name, const std::string& content = std::string(512, '\0')) {
    const std::string path = folder_ / name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  std::string path(const std::string& name) const { return folder_ / name; }

  std::filesystem::path folder_;
};

config::VmConfig lowered(const RunOptions& options) {
  auto plan = lower(options);
  if (plan) return plan->config;
  ADD_FAILURE() << plan.error().message();
  return {};
}

std::string complaint(const RunOptions& options) {
  const auto plan = lower(options);
  if (!plan) {
    EXPECT_EQ(plan.error().message().find('\n'), std::string::npos);
  }
  return plan ? "" : plan.error().message();
}

std::string complaint_of_disk(const std::string& text) { return complaint({.disks = {text}}); }

std::string complaint_of_net(const std::string& text) {
  RunOptions options;
  options.kernel = "vmlinuz";
  options.nets = {text};
  return complaint(options);
}

TEST_F(DeviceOptions, AnImageAloneIsAMachineWithADiskOnTheUserNetwork) {
  const config::VmConfig config = lowered({.image = file("debian 12, new.img")});
  EXPECT_EQ(config.board, "q35-1");
  EXPECT_EQ(config.memory, 1 * GiB);
  EXPECT_EQ(config.name, "debian-12-new");
  ASSERT_EQ(config.disks.size(), 1u);
  EXPECT_EQ(config.disks[0], (Disk{.path = path("debian 12, new.img")}));
  EXPECT_EQ(config.nics, std::vector<Nic>(1));
  EXPECT_FALSE(config.cloud_init);
}

TEST_F(DeviceOptions, AKernelAloneIsTheSmallBoardAsBefore) {
  RunOptions options;
  options.kernel = "vmlinuz";
  const config::VmConfig config = lowered(options);
  EXPECT_EQ(config.board, "plain-1");
  EXPECT_EQ(config.memory, 512 * MiB);
  EXPECT_EQ(config.name, "vm");
  EXPECT_TRUE(config.nics.empty());
}

TEST_F(DeviceOptions, WhatNeedsPciGetsTheBoardThatHasIt) {
  const auto with = [](const std::function<void(RunOptions&)>& change) {
    RunOptions options;
    options.kernel = "vmlinuz";
    change(options);
    return lowered(options).board;
  };
  EXPECT_EQ(with([](RunOptions& o) { o.nets = {"user"}; }), "q35-1");
  EXPECT_EQ(with([](RunOptions& o) { o.vsock = "unix:/run/v"; }), "q35-1");
  EXPECT_EQ(with([](RunOptions& o) { o.guest_agent = "unix:/run/a"; }), "q35-1");
  EXPECT_EQ(with([](RunOptions& o) { o.cloud_init.hostname = "a"; }), "q35-1");
  EXPECT_EQ(with([](RunOptions& o) { o.board = "q35-1"; }), "q35-1");
  EXPECT_EQ(with([](RunOptions& o) { o.board = "q35"; }), "q35-1");
  EXPECT_EQ(with([](RunOptions& o) { o.board = "pc"; }), "pc-1");
  EXPECT_EQ(with([this](RunOptions& o) { o.disks = {file("ide.img") + ",bus=ide"}; }), "pc-1");
  EXPECT_EQ(with([](RunOptions& o) { o.nets = {"none"}; }), "plain-1");
  EXPECT_EQ(with([](RunOptions& o) { o.board = "microvm-1"; }), "microvm-1");
  EXPECT_EQ(with([](RunOptions& o) { o.board = "microvm"; }), "microvm-1") << "a name without its version is the newest";
}

TEST_F(DeviceOptions, EverySettingOfADiskIsLowered) {
  RunOptions options;
  options.image = file("a");
  options.disks = {file("b,c") .replace(path("").size() + 1, 1, ",,") + ",format=raw,readonly=on,cache=directsync,serial=S 1",
                   file("d") + ",cache=unsafe,bus=sata"};
  options.cdroms = {file("e,f"), file("g,h") + ",bus=sata", file("i") + ",bus=usb", file("j") + ",bus=scsi"};
  options.input = "usb";
  options.memory = "3G";
  options.name = "web";
  const config::VmConfig config = lowered(options);
  ASSERT_EQ(config.disks.size(), 7u);
  EXPECT_EQ(config.disks[1], (Disk{.path = path("b,c"), .read_only = true, .cache = Disk::Cache::kDirectsync, .serial = "S 1"}));
  EXPECT_EQ(config.disks[2].cache, Disk::Cache::kUnsafe);
  EXPECT_EQ(config.disks[2].bus, Disk::Bus::kSata);
  EXPECT_EQ(config.disks[3], (Disk{.path = path("e,f"), .read_only = true, .cdrom = true}));
  EXPECT_EQ(config.disks[4], (Disk{.path = path("g,h"), .read_only = true, .cdrom = true, .bus = Disk::Bus::kSata}));
  EXPECT_EQ(config.disks[5].bus, Disk::Bus::kUsb);
  EXPECT_EQ(config.disks[6].bus, Disk::Bus::kScsi);
  EXPECT_EQ(config.input, config::Input::kUsb);
  EXPECT_EQ(config.memory, 3 * GiB);
  EXPECT_EQ(config.name, "web");
}

TEST_F(DeviceOptions, WrongSettingsOfADiskAreToldWithWhatIsRight) {
  const std::string disk = file("a");
  EXPECT_THAT(complaint_of_disk(disk + ",cache=fast"),
              StartsWith("--disk: cache mode 'fast' is not known; use writeback, none, writethrough, directsync, unsafe"));
  EXPECT_THAT(complaint_of_disk(disk + ",readonly=yes"), HasSubstr("use readonly=on or readonly=off"));
  EXPECT_THAT(complaint_of_disk(disk + ",wwn=1"), HasSubstr("'wwn' is not known; use format, readonly, cache, serial, bus"));
  EXPECT_THAT(complaint_of_disk(disk + ",bus=fc"), HasSubstr("bus 'fc' is not known; use virtio, sata, ide, usb, scsi"));
  EXPECT_THAT(complaint({.disks = {disk + ",bus=ide"}, .board = "q35"}), HasSubstr("bus: board q35-1 has no IDE controller; use sata, usb"));
  EXPECT_THAT(complaint({.cdroms = {disk + ",bus=floppy"}}), HasSubstr("bus 'floppy' is not known"));
  EXPECT_THAT(complaint_of_disk(disk + ",readonly"), HasSubstr("'readonly' is not of the form KEY=VALUE"));
  EXPECT_THAT(complaint_of_disk(disk + ","), HasSubstr("a comma inside of a name is written twice"));
  EXPECT_THAT(complaint_of_disk(""), StartsWith("--disk: "));
  EXPECT_THAT(complaint_of_disk(disk + ",format=qcow2"), AllOf(StartsWith("--disk '" + disk + "': format: qcow2 is not")));
  EXPECT_THAT(complaint_of_disk(disk + ",serial=" + std::string(21, 'x')), HasSubstr("serial: "));
}

TEST_F(DeviceOptions, ImagesThatCannotBeUsedAreToldBeforeAnythingStarts) {
  EXPECT_THAT(complaint({.image = path("absent")}), AllOf(StartsWith("disk '"), HasSubstr("there is no such file")));
  EXPECT_THAT(complaint_of_disk(path("no/such/a")), HasSubstr("there is no folder '" + path("no") + "'"));
  EXPECT_THAT(complaint_of_disk(file("plain") + "/a"), HasSubstr("is a file, not a folder"));
  EXPECT_THAT(complaint_of_disk(folder_), HasSubstr("is a folder"));
  EXPECT_THAT(complaint_of_disk("/dev/null"), HasSubstr("neither a file nor a block device"));
  EXPECT_THAT(complaint_of_disk(file("empty", "")), HasSubstr("is empty"));
  EXPECT_THAT(complaint({.cdroms = {path("absent.iso")}}), StartsWith("--cdrom '"));
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_THAT(complaint_of_disk(path("pipe")), HasSubstr("neither a file nor a block device"));
  ASSERT_EQ(::symlink("nowhere", path("link").c_str()), 0);
  EXPECT_THAT(complaint_of_disk(path("link")), HasSubstr("is a link to a file that does not exist"));
}

TEST_F(DeviceOptions, ImagesWithAHeaderAreNotTakenForRawOnes) {
  const std::string disk = file("a.qcow2", std::string("QFI\xfb\0\0\0\3", 8) + std::string(512, '\0'));
  EXPECT_THAT(complaint({.image = disk}), AllOf(HasSubstr("is a qcow2 image"), HasSubstr("qemu-img convert")));
  EXPECT_EQ(complaint_of_disk(disk + ",format=raw"), "");
}

// As a user to whom folders and files can be closed; root is not such a one.
class AsOrdinaryUser {
 public:
  AsOrdinaryUser() : root_(::geteuid() == 0) {
    if (root_ && ::seteuid(65534) != 0) std::abort();
  }
  ~AsOrdinaryUser() {
    if (root_ && ::seteuid(0) != 0) std::abort();
  }

 private:
  const bool root_;
};

TEST_F(DeviceOptions, AClosedImageIsToldWithWhatIsClosedAndToWhom) {
  std::filesystem::create_directories(path("closed/deep"));
  file("closed/deep/a");
  const std::string secret = file("secret"), fixed = file("fixed");
  ASSERT_EQ(::chmod(path("closed").c_str(), 0), 0);
  ASSERT_EQ(::chmod(secret.c_str(), 0), 0);
  ASSERT_EQ(::chmod(fixed.c_str(), 0444), 0);
  {
    const AsOrdinaryUser user;
    EXPECT_THAT(complaint_of_disk(path("closed/deep/a")),
                AllOf(HasSubstr("folder '" + path("closed") + "' may not be entered by user '"), HasSubstr("(mode 0000, owner ")));
    EXPECT_THAT(complaint_of_disk(secret), HasSubstr("it may not be read by user '"));
    EXPECT_THAT(complaint_of_disk(fixed), AllOf(HasSubstr("cannot be written to: it may not be written by user '"), HasSubstr("readonly=on")));
    EXPECT_EQ(complaint_of_disk(fixed + ",readonly=on"), "");
  }
  ASSERT_EQ(::chmod(path("closed").c_str(), 0700), 0);
}

TEST_F(DeviceOptions, OneImageUnderTwoNamesIsRefusedUnlessNobodyWritesToIt) {
  const std::string disk = file("a");
  ASSERT_EQ(::symlink("a", path("b").c_str()), 0);
  ASSERT_EQ(::link(disk.c_str(), path("c").c_str()), 0);
  for (const char* other : {"b", "c", "a"})
    EXPECT_THAT(complaint({.image = disk, .disks = {path(other)}}), HasSubstr("are one and the same")) << other;
  EXPECT_THAT(complaint({.image = disk, .disks = {path("b") + ",readonly=on"}}), HasSubstr("are one and the same"));
  EXPECT_EQ(complaint({.disks = {disk + ",readonly=on"}, .cdroms = {path("b")}}), "");
}

TEST_F(DeviceOptions, TwoDisksWithOneSerialAreRefused) {
  EXPECT_THAT(complaint({.disks = {file("a") + ",serial=x", file("b") + ",serial=x"}}),
              StartsWith("--disk '" + path("b") + "': serial: 'x' is the serial of '" + path("a") + "' too"));
}

TEST_F(DeviceOptions, ABoardWithoutPciIsNoPlaceForADisk) {
  EXPECT_THAT(complaint({.image = file("a"), .board = "plain-1"}),
              AllOf(StartsWith("--disk: board plain-1 has no PCI"), HasSubstr("q35-1")));
  EXPECT_THAT(complaint({.image = file("a"), .board = "q36"}), StartsWith("--board: 'q36' is not known; use plain-1, microvm-1, q35-1"));
}

TEST_F(DeviceOptions, EveryNetworkIsLowered) {
  RunOptions options;
  options.kernel = "vmlinuz";
  options.nets = {"user,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp::53-:53,restrict=on,mac=52:54:00:00:00:01",
                  "tap=tap0,queues=2,model=virtio", "bridge=br0", "socket=/run/a,,b,listen=on,model=e1000e", "tap-fd=" + std::to_string(::dup(0) + 0)};
  const std::vector<Nic> nics = lowered(options).nics;
  ASSERT_EQ(nics.size(), 5u);
  EXPECT_EQ(nics[0].type, Nic::Type::kUser);
  ASSERT_EQ(nics[0].forwards.size(), 2u);
  EXPECT_EQ(nics[0].forwards[0], (config::PortForward{false, "127.0.0.1", 2222, "", 22}));
  EXPECT_TRUE(nics[0].forwards[1].udp);
  EXPECT_TRUE(nics[0].restricted);
  EXPECT_EQ(nics[0].mac, "52:54:00:00:00:01");
  EXPECT_EQ(nics[1].name, "tap0");
  EXPECT_EQ(nics[1].queues, 2u);
  EXPECT_EQ(nics[2].type, Nic::Type::kBridge);
  EXPECT_EQ(nics[3].path, "/run/a,b");
  EXPECT_TRUE(nics[3].listen);
  EXPECT_EQ(nics[3].model, Nic::Model::kE1000e);
  EXPECT_EQ(nics[1].model, Nic::Model::kVirtio);
  EXPECT_GE(nics[4].fd, 3);
  ::close(nics[4].fd);
}

TEST_F(DeviceOptions, NoNetworkIsNone) {
  EXPECT_TRUE(lowered({.image = file("a"), .nets = {"none"}}).nics.empty());
  EXPECT_THAT(complaint({.image = file("a"), .nets = {"none", "user"}}), StartsWith("--net: none has no place beside others"));
}

TEST_F(DeviceOptions, WrongNetworksAreToldWithWhatIsRight) {
  EXPECT_THAT(complaint_of_net("wifi"), StartsWith("--net: 'wifi' is not a network; use user, tap=NAME"));
  EXPECT_THAT(complaint_of_net("tap"), StartsWith("--net: 'tap' is not a network"));
  EXPECT_THAT(complaint_of_net("tap="), StartsWith("--net: 'tap=' is not a network"));
  EXPECT_THAT(complaint_of_net("tap=a-name-that-is-long"), AllOf(StartsWith("--net: name: "), HasSubstr("at most 15")));
  EXPECT_THAT(complaint_of_net("user,hostfwd=2222:22"), AllOf(StartsWith("--net: hostfwd: "), HasSubstr("tcp:127.0.0.1:2222-:22")));
  EXPECT_THAT(complaint_of_net("user,hostfwd=tcp::99999-:22"), HasSubstr("'99999' is not a port from 1 to 65535"));
  EXPECT_THAT(complaint_of_net("user,hostfwd=tcp:localhost:1-:22"), HasSubstr("'localhost' is not an IPv4 address"));
  EXPECT_THAT(complaint_of_net("user,hostfwd=tcp::1-:22,hostfwd=tcp::1-:23"), HasSubstr("is forwarded already"));
  EXPECT_THAT(complaint_of_net("user,restrict=1"), HasSubstr("use restrict=on or restrict=off"));
  EXPECT_THAT(complaint_of_net("user,listen=on"), HasSubstr("'listen' is not known; use hostfwd, restrict, model, mac"));
  EXPECT_THAT(complaint_of_net("socket=/a,queues=2"), HasSubstr("'queues' is not known; use listen, model, mac"));
  EXPECT_THAT(complaint_of_net("user,model=ne2k"), HasSubstr("model 'ne2k' is not known; use virtio, e1000e"));
  EXPECT_THAT(complaint_of_net("tap=a,queues=2,model=e1000e"), HasSubstr("only a virtio card has more than one pair"));
  EXPECT_THAT(complaint_of_net("tap=a,queues=9"), HasSubstr("queues=9: use 1 to 8"));
  EXPECT_THAT(complaint_of_net("tap=a,mac=x"), AllOf(StartsWith("--net: mac: 'x' is not"), HasSubstr("52:54:00:12:34:56")));
  EXPECT_THAT(complaint_of_net("tap-fd=1"), HasSubstr("tap-fd=1: is not a descriptor for this"));
  EXPECT_THAT(complaint_of_net("tap-fd=1000000"), HasSubstr("tap-fd=1000000: is not open in this process"));
}

TEST_F(DeviceOptions, ASoundCardIsLoweredAndNeedsPci) {
  const config::VmConfig config = lowered({.sound = "hda", .kernel = "vmlinuz"});
  EXPECT_EQ(config.sound, config::Sound::kHda);
  EXPECT_EQ(config.board, "q35-1");
  EXPECT_EQ(lowered({.sound = "none", .kernel = "vmlinuz"}).board, "plain-1");
  EXPECT_THAT(complaint({.sound = "sb16", .kernel = "vmlinuz"}), StartsWith("--sound: 'sb16' is not known; use hda or none"));
  EXPECT_THAT(complaint({.sound = "hda", .board = "microvm-1", .kernel = "vmlinuz"}), StartsWith("--sound: board microvm-1 has no PCI"));
}

TEST_F(DeviceOptions, AWatchdogIsLoweredAndNeedsPci) {
  const config::VmConfig config = lowered({.watchdog = "poweroff", .kernel = "vmlinuz"});
  EXPECT_EQ(config.watchdog, config::WatchdogAction::kPoweroff);
  EXPECT_EQ(config.board, "q35-1");
  EXPECT_THAT(complaint({.watchdog = "bark", .kernel = "vmlinuz"}), StartsWith("--watchdog: 'bark' is not known; use reset, poweroff"));
  EXPECT_THAT(complaint({.watchdog = "none", .board = "plain-1", .kernel = "vmlinuz"}), StartsWith("--watchdog: board plain-1 has no PCI"));
}

TEST_F(DeviceOptions, ATpmIsLoweredAndNeedsQ35) {
  const config::VmConfig folder = lowered({.tpm = "state,,of/tpm,model=crb", .kernel = "vmlinuz"});
  EXPECT_EQ(folder.tpm, (config::Tpm{config::Tpm::Type::kFolder, "state,of/tpm"}));
  EXPECT_EQ(folder.board, "q35-1");
  EXPECT_EQ(lowered({.tpm = "unix:/run/ctrl", .kernel = "vmlinuz"}).tpm, (config::Tpm{config::Tpm::Type::kSocket, "/run/ctrl"}));
  EXPECT_EQ(lowered({.tpm = "none", .kernel = "vmlinuz"}).tpm, std::nullopt);
  EXPECT_THAT(complaint({.tpm = "unix:", .kernel = "vmlinuz"}), StartsWith("--tpm: 'unix:' has no path"));
  EXPECT_THAT(complaint({.tpm = "a,model=tis", .kernel = "vmlinuz"}), StartsWith("--tpm: model=tis: is not there; use crb"));
  EXPECT_THAT(complaint({.tpm = "a,version=2", .kernel = "vmlinuz"}), StartsWith("--tpm: 'version' is not known; use model"));
  EXPECT_THAT(complaint({.tpm = "unix:/" + std::string(107, 's'), .kernel = "vmlinuz"}), StartsWith("--tpm: "));
  EXPECT_THAT(complaint({.tpm = "a", .board = "plain-1", .kernel = "vmlinuz"}), StartsWith("--tpm: board plain-1 has no PCI"));
}

TEST_F(DeviceOptions, SharesAreFoldersWithTheirNamesAsTags) {
  std::filesystem::create_directory(path("music"));
  std::filesystem::create_directory(path("a,b"));
  RunOptions options;
  options.kernel = "vmlinuz";
  options.shares = {path("music") + "/", path("a,,b") + ",readonly=on", path("music") + "/../music,tag=again,readonly=off"};
  const config::VmConfig config = lowered(options);
  EXPECT_EQ(config.board, "q35-1");
  ASSERT_EQ(config.shares.size(), 3u);
  EXPECT_EQ(config.shares[0], (config::Share{path("music") + "/", "music", false}));
  EXPECT_EQ(config.shares[1], (config::Share{path("a,b"), "a,b", true}));
  EXPECT_EQ(config.shares[2].tag, "again");
}

TEST_F(DeviceOptions, WrongSharesAreToldWithWhatIsRight) {
  file("file");
  std::filesystem::create_directory(path("folder"));
  const auto of = [&](const std::string& share) { return complaint({.shares = {share}, .kernel = "vmlinuz"}); };
  EXPECT_THAT(of(path("missing")), AllOf(StartsWith("--share: "), HasSubstr("there is no such")));
  EXPECT_THAT(of(path("file")), AllOf(StartsWith("--share: "), HasSubstr("is no folder")));
  EXPECT_THAT(of("/"), AllOf(StartsWith("--share: '/': "), HasSubstr("tag=TAG")));
  EXPECT_THAT(of(path("folder") + ",ro=on"), StartsWith("--share: 'ro' is not known; use tag, readonly"));
  EXPECT_THAT(of(path("folder") + ",readonly=yes"), HasSubstr("use readonly=on or readonly=off"));
  EXPECT_THAT(of(path("folder") + ",tag=" + std::string(37, 't')), HasSubstr("longer than the 36 bytes of a tag"));
  EXPECT_THAT(of(path("folder") + ",tag=a\tb"), AllOf(StartsWith("--share '"), HasSubstr("has a character")));
}

TEST_F(DeviceOptions, WrongGuestServicesAreToldWithWhatIsRight) {
  RunOptions options;
  options.kernel = "vmlinuz";
  for (const char* cid : {"2", "x", "4294967295", "-1"}) {
    options.vsock = fmt::format("unix:/run/v,cid={}", cid);
    EXPECT_THAT(complaint(options), AllOf(StartsWith("--vsock: "), HasSubstr("use 3 to 4294967294"))) << cid;
  }
  options.vsock = "3";
  EXPECT_THAT(complaint(options), StartsWith("--vsock: '3' is not an address; use unix:PATH"));
  options.vsock = "unix:/run/v,port=9";
  EXPECT_THAT(complaint(options), StartsWith("--vsock: 'port' is not known; use cid"));
  options.vsock = "unix:/" + std::string(96, 'v');
  EXPECT_THAT(complaint(options), StartsWith("--vsock: the path is 97 bytes long"));
  options.vsock = "";
  options.guest_agent = "/run/a";
  EXPECT_THAT(complaint(options), StartsWith("--guest-agent: '/run/a' is not an address; use unix:PATH"));
}

TEST_F(DeviceOptions, NothingToStartIsTold) {
  EXPECT_THAT(complaint({}), AllOf(StartsWith("--kernel: "), HasSubstr("skerry run IMAGE")));
  EXPECT_THAT(complaint({.nets = {"user"}}), StartsWith("--kernel: "));
  RunOptions options{.image = file("a")};
  options.append = "quiet";
  EXPECT_THAT(complaint(options), StartsWith("--append: there is no kernel to take it"));
}

TEST(NameOfImage, IsANameForAnyPath) {
  const std::pair<const char*, const char*> names[] = {
      {"debian.img", "debian"}, {"/srv/a b/debian-12.raw", "debian-12"}, {"x", "x"}, {"/dev/sda", "sda"},
      {".hidden", "hidden"},    {"\xc3\xa9t\xc3\xa9", "t"},              {"--", "vm"}, {"", "vm"},
      {"a.b.c", "a.b"},         {"_1", "1"},
  };
  for (const auto& [path, name] : names) EXPECT_EQ(name_of_image(path), name) << path;
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 2000; ++i) {
    std::string path(random() % 100, ' ');
    for (char& c : path) c = static_cast<char>(random());
    config::VmConfig config;
    config.kernel.path = "k";
    config.name = name_of_image(path);
    EXPECT_TRUE(config::validate(config)) << config.name;
  }
}

TEST(OptionText, IsSplitAtSingleCommas) {
  const std::pair<const char*, std::vector<std::string>> texts[] = {
      {"a", {"a"}}, {"a,b", {"a", "b"}}, {"a,,b", {"a,b"}}, {"a,,,b", {"a,", "b"}}, {",,", {","}}, {",,,a", {",", "a"}}};
  for (const auto& [text, elements] : texts) {
    const auto split = split_settings(text);
    ASSERT_TRUE(split) << text;
    EXPECT_EQ(*split, elements) << text;
  }
  for (const char* text : {"", ",", "a,", ",a", "a,,,", ",,,"}) EXPECT_FALSE(split_settings(text)) << text;
}

}  // namespace
}  // namespace skerry::cli
