// Disks, network cards, cloud-init, vsock and the guest agent in the description of a VM.
#include <gmock/gmock.h>

#include <random>
#include <set>
#include <span>

#include "config/saved_config.hpp"
#include "config/vm_config.hpp"

namespace skerry::config {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Nic tap(const std::string& name) {
  Nic nic;
  nic.type = Nic::Type::kTap;
  nic.name = name;
  return nic;
}

Nic link(const std::string& path) {
  Nic nic;
  nic.type = Nic::Type::kSocket;
  nic.path = path;
  nic.listen = true;
  return nic;
}

VmConfig full() {
  VmConfig config;
  config.board = "q35-1";
  config.firmware = "/usr/share/seabios/bios-256k.bin";
  config.disks = {{.path = "/srv/a b.img", .cache = Disk::Cache::kNone, .serial = "root"},
                  {.path = "/srv/c.iso", .read_only = true, .cdrom = true, .cache = Disk::Cache::kUnsafe, .bus = Disk::Bus::kSata}};
  Nic user;
  user.restricted = true;
  user.forwards = {{false, "127.0.0.1", 2222, "", 22}, {true, "", 53, "10.0.2.15", 53}};
  user.mac = "52:54:00:Aa:bB:01";
  Nic bridge = tap("br0");
  bridge.type = Nic::Type::kBridge;
  bridge.queues = 4;
  Nic open = tap("");
  open.fd = 7;
  Nic intel = tap("tap1");
  intel.model = Nic::Model::kE1000e;
  config.nics = {user, tap("tap0"), bridge, open, link("/run/link"), intel};
  config.cloud_init = CloudInit{"#cloud-config\n\"\xc3\xa9\"\n", "instance-id: a\n", "version: 2\n"};
  config.vsock = Vsock{"/run/vsock", 7};
  config.shares = {{"/srv/music", "music", true}, {"/srv/\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9"}};
  config.guest_agent = "/run/agent";
  config.sound = Sound::kHda;
  config.watchdog = WatchdogAction::kPause;
  config.tpm = Tpm{Tpm::Type::kSocket, "/run/tpm"};
  return config;
}

std::string why_invalid(const VmConfig& config) {
  auto good = validate(config);
  return good ? "valid" : good.error().message();
}

std::string why_refused(std::string_view members) {
  auto config = from_json(fmt::format(R"({{"version":1,"board":"q35-1",{}}})", members));
  return config ? "accepted" : config.error().message();
}

TEST(Devices, AreTheSameAfterJson) {
  const std::string text = to_json(full());
  auto back = from_json(text);
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(*back, full());
  EXPECT_EQ(to_json(*back), text);
}

TEST(Devices, AreNotMentionedInTheJsonOfAVmWithoutThem) {
  VmConfig config;
  config.kernel.path = "/boot/vmlinuz";
  const std::string text = to_json(config);
  for (const char* key : {"firmware", "disks", "nics", "cloud_init", "vsock", "shares", "guest_agent", "sound", "watchdog", "tpm"})
    EXPECT_EQ(text.find(key), text.npos) << key;
  EXPECT_EQ(from_json(text).value(), config);
}

TEST(Devices, OfASavedVmAreOnTheirBus) {
  VmConfig other = full();
  EXPECT_TRUE(check_same_machine(full(), other));
  other.disks[0].bus = Disk::Bus::kSata;
  const auto same = check_same_machine(full(), other);
  ASSERT_FALSE(same);
  EXPECT_THAT(same.error().message(), testing::HasSubstr("disks.0.bus: the VM was saved with virtio, and is described with sata"));
}

TEST(Devices, OfScsiAreInTheDescription) {
  VmConfig config = full();
  config.disks[0].bus = Disk::Bus::kScsi;
  EXPECT_EQ(why_invalid(config), "valid");
  const std::string text = to_json(config);
  EXPECT_NE(text.find(R"("bus": "scsi")"), text.npos);
  EXPECT_EQ(from_json(text).value(), config);
  EXPECT_FALSE(check_same_machine(full(), config));
}

TEST(Devices, OfUsbAreInTheDescription) {
  VmConfig config = full();
  config.disks[0].bus = Disk::Bus::kUsb;
  config.input = Input::kUsb;
  EXPECT_EQ(why_invalid(config), "valid");
  const std::string text = to_json(config);
  EXPECT_NE(text.find(R"("bus": "usb")"), text.npos);
  EXPECT_NE(text.find(R"("input": "usb")"), text.npos);
  EXPECT_EQ(from_json(text).value(), config);
  EXPECT_EQ(to_json(full()).find("input"), std::string::npos) << "what is usual is not told, as before there was a choice";
  const auto same = check_same_machine(full(), config);
  ASSERT_FALSE(same);
  EXPECT_THAT(same.error().message(), testing::HasSubstr("input: the VM was saved with ps2, and is described with usb"));
  VmConfig plain;
  plain.kernel.path = "/vmlinuz";
  plain.input = Input::kUsb;
  EXPECT_THAT(why_invalid(plain), testing::HasSubstr("input: board plain-1 has no PCI"));
}

TEST(Devices, AWatchdogOfASavedVmMayActOtherwiseButStays) {
  VmConfig other = full();
  other.watchdog = WatchdogAction::kNone;
  EXPECT_TRUE(check_same_machine(full(), other));
  other.watchdog.reset();
  EXPECT_FALSE(check_same_machine(full(), other));
  EXPECT_THAT(why_refused(R"("watchdog":"bark")"), testing::HasSubstr("watchdog"));
}

TEST(Devices, ASoundCardIsTheGuests) {
  VmConfig other = full();
  other.sound = Sound::kNone;
  const auto same = check_same_machine(full(), other);
  ASSERT_FALSE(same);
  EXPECT_THAT(same.error().message(), testing::HasSubstr("sound: the VM was saved with hda, and is described with none"));
  EXPECT_EQ(for_saving(full()).sound, Sound::kHda);
  EXPECT_THAT(why_refused(R"("sound":"gong")"), testing::HasSubstr("sound"));
  VmConfig plain;
  plain.kernel.path = "/vmlinuz";
  plain.sound = Sound::kHda;
  EXPECT_THAT(why_invalid(plain), testing::StartsWith("sound: board plain-1 has no PCI"));
  VmConfig crowded = full();
  crowded.shares.clear();
  while (crowded.disks.size() < kMaxDisks) crowded.disks.push_back({.path = fmt::format("/srv/{}", crowded.disks.size())});
  crowded.nics.resize(kMaxNics - 1);
  EXPECT_EQ(why_invalid(crowded), "valid");
  crowded.nics.resize(kMaxNics);
  EXPECT_THAT(why_invalid(crowded), testing::StartsWith("sound: has no place beside 8 disks and 8 network cards"));
}

TEST(Devices, ATpmOfASavedVmMayBeElsewhereButStays) {
  VmConfig other = full();
  other.tpm = Tpm{Tpm::Type::kFolder, "/var/lib/tpm"};
  EXPECT_TRUE(check_same_machine(full(), other));
  other.tpm.reset();
  const auto same = check_same_machine(full(), other);
  ASSERT_FALSE(same);
  EXPECT_THAT(same.error().message(), testing::HasSubstr("tpm.model: the VM was saved with crb, and is described with none"));
  EXPECT_THAT(why_refused(R"("kernel":{"path":"/vmlinuz"},"tpm":{})"), testing::HasSubstr("tpm.path"));
  EXPECT_THAT(why_refused(R"("kernel":{"path":"/vmlinuz"},"tpm":{"path":""})"), testing::HasSubstr("tpm.path"));
  EXPECT_THAT(why_refused(R"("kernel":{"path":"/vmlinuz"},"tpm":{"path":"/a","model":"tis"})"), testing::HasSubstr("tpm.model"));
}

TEST(Devices, OfASavedVmHaveTheirModels) {
  VmConfig other = full();
  other.nics[0].model = Nic::Model::kE1000e;
  const auto same = check_same_machine(full(), other);
  ASSERT_FALSE(same);
  EXPECT_THAT(same.error().message(), testing::HasSubstr("nics.0.model: the VM was saved with virtio, and is described with e1000e"));
}

struct Refusal {
  const char* what;
  void (*change)(VmConfig&);
  const char* message;
};

void expect_refused(std::span<const Refusal> refusals) {
  ASSERT_EQ(why_invalid(full()), "valid");
  for (const Refusal& refusal : refusals) {
    VmConfig config = full();
    refusal.change(config);
    EXPECT_THAT(why_invalid(config), StartsWith(refusal.message)) << refusal.what;
    EXPECT_EQ(why_invalid(config).find('\n'), std::string::npos) << refusal.what;
    EXPECT_FALSE(from_json(to_json(config))) << refusal.what;
  }
}

TEST(Devices, WrongDisksAreRefused) {
  const Refusal refusals[] = {
      {"no path", [](VmConfig& c) { c.disks[0].path = ""; }, "disks[0].path: is empty"},
      {"qcow2", [](VmConfig& c) { c.disks[1].format = "qcow2"; }, "disks[1].format: qcow2 is not there yet; use raw"},
      {"vmdk", [](VmConfig& c) { c.disks[0].format = "vmdk"; }, "disks[0].format: 'vmdk' is not known; use raw"},
      {"long serial", [](VmConfig& c) { c.disks[0].serial = std::string(21, 'a'); },
       "disks[0].serial: 'aaaaaaaaaaaaaaaaaaaaa' has 21 characters; at most 20"},
      {"bell in serial", [](VmConfig& c) { c.disks[0].serial = "a\a"; }, "disks[0].serial: has a character that is not"},
      {"UTF-8 in serial", [](VmConfig& c) { c.disks[0].serial = "\xc3\xa9"; }, "disks[0].serial: has a character"},
      {"one serial twice", [](VmConfig& c) { c.disks[1].serial = "root"; },
       "disks[1].serial: 'root' is the serial of '/srv/a b.img' too"},
      {"one file twice", [](VmConfig& c) { c.disks[1].path = c.disks[0].path; }, "disks[1].path: '/srv/a b.img' is there twice"},
      {"IDE", [](VmConfig& c) { c.disks[1].bus = Disk::Bus::kIde; },
       "disks[1].bus: board q35-1 has no IDE controller; use sata, usb, scsi or virtio, or board pc-1"},
      {"five at IDE",
       [](VmConfig& c) {
         c.board = kPcBoard;
         c.disks.clear();
         for (int i = 0; i < 5; ++i) c.disks.push_back({.path = fmt::format("/{}", i), .bus = Disk::Bus::kIde});
       },
       "disks: 5 with bus=ide are too many; the controller has 4 ports"},
      {"7 on SATA",
       [](VmConfig& c) {
         c.disks.clear();
         for (int i = 0; i < 7; ++i) c.disks.push_back({.path = fmt::format("/{}", i), .bus = Disk::Bus::kSata});
       },
       "disks: 7 with bus=sata are too many; the controller has 6 ports"},
      {"CD-ROM to write on", [](VmConfig& c) { c.disks[1].read_only = false; }, "disks[1].read_only: a CD-ROM cannot"},
      {"9 disks",
       [](VmConfig& c) {
         for (int i = 0; i < 7; ++i) c.disks.push_back({.path = fmt::format("/{}", i)});
       },
       "disks: 9 are too many; board q35-1 has room for 8"},
  };
  expect_refused(refusals);
  VmConfig config = full();
  config.disks[0] = {.path = config.disks[1].path, .read_only = true};
  EXPECT_EQ(why_invalid(config), "valid") << "what nobody writes to may be there twice";
}

TEST(Devices, WrongNetworkCardsAreRefused) {
  const Refusal refusals[] = {
      {"long tap", [](VmConfig& c) { c.nics[1].name = "sixteen-letters-"; },
       "nics[1].name: 'sixteen-letters-' has 16 characters; the name of a tap interface has at most 15"},
      {"no bridge", [](VmConfig& c) { c.nics[2].name = ""; }, "nics[2].name: is empty; give the name of a bridge"},
      {"path as name", [](VmConfig& c) { c.nics[1].name = "../x"; }, "nics[1].name: '../x' cannot be the name"},
      {"template", [](VmConfig& c) { c.nics[1].name = "tap%d"; }, "nics[1].name: 'tap%d' cannot be the name"},
      {"space", [](VmConfig& c) { c.nics[1].name = "a b"; }, "nics[1].name: 'a b' cannot be the name"},
      {"folder", [](VmConfig& c) { c.nics[1].name = ".."; }, "nics[1].name: '..' cannot be the name"},
      {"standard input", [](VmConfig& c) { c.nics[3].fd = 0; }, "nics[3].fd: 0 is not a descriptor for this"},
      {"name and descriptor", [](VmConfig& c) { c.nics[3].name = "tap1"; }, "nics[3].fd: an open tap has its name"},
      {"one tap twice", [](VmConfig& c) { c.nics[2] = tap("tap0"); }, "nics[2].name: 'tap0' is card 1's already"},
      {"one descriptor twice", [](VmConfig& c) { c.nics[1] = c.nics[3]; }, "nics[3].fd: descriptor 7 is card 1's already"},
      {"one socket twice", [](VmConfig& c) { c.nics[1] = link("/run/link"); }, "nics[4].path: card 1 listens on"},
      {"no socket", [](VmConfig& c) { c.nics[4].path = ""; }, "nics[4].path: is empty"},
      {"long socket", [](VmConfig& c) { c.nics[4].path.assign(108, 'a'); }, "nics[4].path: the socket path is 108 bytes"},
      {"one address twice", [](VmConfig& c) { c.nics[4].mac = "52:54:00:aa:bb:01"; },
       "nics[4].mac: 52:54:00:aa:bb:01 is the address of card 0 too"},
      {"short address", [](VmConfig& c) { c.nics[0].mac = "52:54:00:12:34"; },
       "nics[0].mac: '52:54:00:12:34' is not an Ethernet address"},
      {"letters", [](VmConfig& c) { c.nics[0].mac = "52:54:00:12:34:5g"; }, "nics[0].mac: '52:54:00:12:34:5g' is not"},
      {"dashes", [](VmConfig& c) { c.nics[0].mac = "52-54-00-12-34-56"; }, "nics[0].mac: '52-54-00-12-34-56' is not"},
      {"group", [](VmConfig& c) { c.nics[0].mac = "53:54:00:12:34:56"; }, "nics[0].mac: '53:54:00:12:34:56' is the address of"},
      {"zero", [](VmConfig& c) { c.nics[0].mac = "00:00:00:00:00:00"; }, "nics[0].mac: '00:00:00:00:00:00' is no card's"},
      {"no queue", [](VmConfig& c) { c.nics[2].queues = 0; }, "nics[2].queues: 0 is not a number"},
      {"9 queues", [](VmConfig& c) { c.nics[2].queues = 9; }, "nics[2].queues: 9 is not a number of queue pairs; use 1 to 8"},
      {"queues of user", [](VmConfig& c) { c.nics[0].queues = 2; }, "nics[0].queues: only a tap by name and a bridge"},
      {"9 cards", [](VmConfig& c) { c.nics.resize(9); }, "nics: 9 are too many; board q35-1 has room for 8"},
      {"port 0", [](VmConfig& c) { c.nics[0].forwards[0].host_port = 0; }, "nics[0].forwards[0].host_port: 0 is not a port"},
      {"to port 0", [](VmConfig& c) { c.nics[0].forwards[1].guest_port = 0; }, "nics[0].forwards[1].guest_port: 0 is"},
      {"name as address", [](VmConfig& c) { c.nics[0].forwards[0].host_address = "localhost"; },
       "nics[0].forwards[0].host_address: 'localhost' is not an IPv4 address"},
      {"IPv6", [](VmConfig& c) { c.nics[0].forwards[0].guest_address = "::1"; },
       "nics[0].forwards[0].guest_address: '::1' is not an IPv4 address"},
      {"one port twice", [](VmConfig& c) { c.nics[0].forwards.push_back({false, "", 2222, "", 80}); },
       "nics[0].forwards[2]: tcp port 2222 of the host is forwarded already, by 'tcp:127.0.0.1:2222-:22'"},
      {"one port of all addresses", [](VmConfig& c) { c.nics[0].forwards.push_back({true, "0.0.0.0", 53, "", 80}); },
       "nics[0].forwards[2]: udp port 53 of the host is forwarded already"},
      {"one port by two cards",
       [](VmConfig& c) {
         c.nics[1] = Nic{};
         c.nics[1].forwards = {{false, "", 2222, "", 22}};
       },
       "nics[1].forwards[0]: tcp port 2222"},
      {"65 forwards", [](VmConfig& c) { c.nics[0].forwards.resize(65); }, "nics[0].forwards: 65 are too many; at most 64"},
  };
  expect_refused(refusals);
}

TEST(Devices, FieldsOfOtherCardsAreRefused) {
  const std::pair<void (*)(Nic&), const char*> foreign[] = {
      {[](Nic& n) { n.name = "a"; }, "nics[0].name: only tap and bridge"},
      {[](Nic& n) { n.fd = 7; }, "nics[0].fd: only tap"},
      {[](Nic& n) { n.path = "/a"; }, "nics[0].path: only socket"},
      {[](Nic& n) { n.listen = true; }, "nics[0].listen: only socket"},
  };
  for (const auto& [change, message] : foreign) {
    VmConfig config = full();
    config.nics = {Nic{}};
    change(config.nics[0]);
    EXPECT_THAT(why_invalid(config), StartsWith(message));
  }
  VmConfig config = full();
  config.nics[1].restricted = true;
  EXPECT_THAT(why_invalid(config), StartsWith("nics[1].restricted: only the user network"));
  config = full();
  config.nics[2].forwards = config.nics[0].forwards;
  EXPECT_THAT(why_invalid(config), StartsWith("nics[2].forwards: only the user network"));
}

TEST(Devices, WhatTheGuestsServicesAreToldIsBounded) {
  const Refusal refusals[] = {
      {"host's cid", [](VmConfig& c) { c.vsock->cid = 2; }, "vsock.cid: 2 cannot be a guest's; use 3 to 4294967294"},
      {"any cid", [](VmConfig& c) { c.vsock->cid = 0xffffffff; }, "vsock.cid: 4294967295 cannot be a guest's"},
      {"no agent", [](VmConfig& c) { c.guest_agent = ""; }, "guest_agent: is empty"},
      {"user-data", [](VmConfig& c) { c.cloud_init->user_data.assign(kMaxUserData + 1, 'a'); },
       "cloud_init.user_data: is 262145 bytes long"},
      {"meta-data", [](VmConfig& c) { c.cloud_init->meta_data.assign(kMaxMetaData + 1, 'a'); },
       "cloud_init.meta_data: is 65537 bytes long"},
      {"NUL", [](VmConfig& c) { c.cloud_init->network_config = std::string("a\0", 2); },
       "cloud_init.network_config: contains a NUL"},
  };
  expect_refused(refusals);
}

TEST(Devices, SharesHaveTagsOfTheirOwnAndPlaces) {
  const Refusal refusals[] = {
      {"path", [](VmConfig& c) { c.shares[0].path = ""; }, "shares[0].path: is empty"},
      {"tag", [](VmConfig& c) { c.shares[0].tag = ""; }, "shares[0].tag: is empty"},
      {"long", [](VmConfig& c) { c.shares[1].tag.assign(37, 't'); }, "shares[1].tag: 'ttttttttttttttttttttttttttttttttttttt' has 37 bytes; at most 36"},
      {"line", [](VmConfig& c) { c.shares[1].tag = "a\nb"; }, "shares[1].tag: has a character that cannot be typed"},
      {"same", [](VmConfig& c) { c.shares[1].tag = "music"; }, "shares[1].tag: 'music' is the tag of '/srv/music' too; use another"},
      {"many", [](VmConfig& c) { c.shares.resize(9); }, "shares: 9 are too many; at most 8"},
  };
  expect_refused(refusals);
  VmConfig config = full();
  config.disks.resize(1);
  config.shares.clear();
  for (size_t i = 0; i < kMaxShares; ++i) config.shares.push_back({"/srv", fmt::format("tag{}", i)});
  EXPECT_EQ(why_invalid(config), "valid");
  config.disks.clear();
  for (size_t i = 0; i < kMaxDisks; ++i) config.disks.push_back({.path = fmt::format("/srv/{}", i)});
  const size_t room = kPciPlaces - kOtherPciDevices - 1 - config.disks.size() - config.nics.size();  // 1: the sound card
  ASSERT_LT(room, kMaxShares);
  EXPECT_THAT(why_invalid(config), StartsWith("shares: 8 are too many beside 8 disks"));
  config.shares.resize(room);
  EXPECT_EQ(why_invalid(config), "valid");
}

TEST(Devices, AVmWithAShareIsNotSavedAndAFileChoosesNone) {
  VmConfig config = full();
  const auto possible = check_can_be_saved(config);
  ASSERT_FALSE(possible);
  EXPECT_THAT(possible.error().message(), StartsWith("a VM with a shared folder ('/srv/music') cannot be saved"));
  EXPECT_TRUE(for_saving(config).shares.empty());
  EXPECT_FALSE(check_same_machine(for_saving(config), config));
  config.shares.clear();
  EXPECT_TRUE(check_can_be_saved(config));
}

TEST(Devices, TheLongestTextsFitIntoAJson) {
  VmConfig config = full();
  config.firmware = "";
  config.kernel = {std::string(4095, '\1'), std::string(64 * KiB, '\1'), std::string(kMaxCommandLine, '\1')};
  config.cloud_init = CloudInit{std::string(kMaxUserData, '\1'), std::string(kMaxMetaData, '\1'), std::string(kMaxMetaData, '\1')};
  config.disks.clear();
  for (size_t i = 0; i < kMaxDisks; ++i)
    config.disks.push_back({.path = std::string(4094, '\1') + static_cast<char>('0' + i)});
  config.sound = Sound::kNone;  // a share has longer texts
  config.shares.clear();
  for (size_t i = 0; i < 2; ++i) config.shares.push_back({std::string(4095, '\1'), std::string(35, '"') + static_cast<char>('0' + i)});
  auto back = from_json(to_json(config));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(*back, config);
}

TEST(Boards, WithoutPciHaveNoPlaceForPciDevices) {
  const Refusal refusals[] = {
      {"disks", [](VmConfig& c) { c.disks = {{.path = "/a"}}; }, "disks: board plain-1 has no PCI"},
      {"nics", [](VmConfig& c) { c.nics.resize(1); }, "nics: board plain-1 has no PCI"},
      {"seed", [](VmConfig& c) { c.cloud_init.emplace(); }, "cloud_init: board plain-1 has no PCI"},
      {"vsock", [](VmConfig& c) { c.vsock = Vsock{"/v"}; }, "vsock: board plain-1 has no PCI"},
      {"share", [](VmConfig& c) { c.shares = {{"/a", "a"}}; }, "shares: board plain-1 has no PCI"},
      {"agent", [](VmConfig& c) { c.guest_agent = "/a"; }, "guest_agent: board plain-1 has no PCI"},
      {"screen", [](VmConfig& c) { c.video = Video::kVga; }, "video: board plain-1 has no place for a screen"},
      {"firmware", [](VmConfig& c) { c.firmware = "/a"; }, "firmware: board plain-1 starts a kernel directly"},
  };
  for (const Refusal& refusal : refusals) {
    VmConfig config;
    config.kernel.path = "/boot/vmlinuz";
    refusal.change(config);
    EXPECT_THAT(why_invalid(config), StartsWith(refusal.message));
    EXPECT_THAT(why_invalid(config), HasSubstr("q35-1"));
  }
}

TEST(Boards, WithVirtioAloneRefuseTheRest) {
  const auto microvm = [] {
    VmConfig config;
    config.board = "microvm-1";
    config.kernel.path = "/boot/vmlinuz";
    config.disks = {{.path = "/a"}};
    config.nics.resize(1);
    config.cloud_init.emplace();
    config.vsock = Vsock{"/v"};
    config.guest_agent = "/g";
    return config;
  };
  EXPECT_EQ(why_invalid(microvm()), "valid");
  const Refusal refusals[] = {
      {"sata", [](VmConfig& c) { c.disks[0].bus = Disk::Bus::kSata; }, "disks[0].bus: board microvm-1 has virtio disks only; use bus=virtio"},
      {"usb", [](VmConfig& c) { c.disks[0].bus = Disk::Bus::kUsb; }, "disks[0].bus: board microvm-1 has virtio disks only"},
      {"e1000e", [](VmConfig& c) { c.nics[0].model = Nic::Model::kE1000e; }, "nics[0].model: board microvm-1 has virtio cards only"},
      {"tablet", [](VmConfig& c) { c.input = Input::kTablet; }, "input: board microvm-1 has neither USB nor a screen"},
      {"sound", [](VmConfig& c) { c.sound = Sound::kHda; }, "sound: board microvm-1 has no PCI"},
      {"watchdog", [](VmConfig& c) { c.watchdog = WatchdogAction::kNone; }, "watchdog: board microvm-1 has no PCI"},
      {"screen", [](VmConfig& c) { c.video = Video::kVga; }, "video: board microvm-1 has no place for a screen"},
      {"smm", [](VmConfig& c) { c.smm = true; }, "smm: board microvm-1 has no System Management Mode"},
      {"firmware", [](VmConfig& c) { c.firmware = "/a"; }, "firmware: board microvm-1 starts a kernel directly"},
  };
  for (const Refusal& refusal : refusals) {
    VmConfig config = microvm();
    refusal.change(config);
    EXPECT_THAT(why_invalid(config), StartsWith(refusal.message));
    EXPECT_THAT(why_invalid(config), HasSubstr("q35-1"));
  }
  VmConfig config = microvm();
  config.kernel.path.clear();
  EXPECT_THAT(why_invalid(config), StartsWith("kernel.path: is empty; this board has no firmware"));
}

TEST(Screen, IsTheSameAfterJsonAndNotSavedWithItsViewers) {
  VmConfig config = full();
  config.shares.clear();
  config.video = Video::kVga;
  config.vnc = Vnc{.listen = "127.0.0.1:5900",
                   .password_file = "/etc/secret",
                   .user = "me",
                   .tls = Vnc::Tls::kX509,
                   .certificate = "/etc/cert.pem",
                   .key = "/etc/key.pem",
                   .client_ca = "/etc/ca.pem"};
  const auto again = from_json(to_json(config));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(*again, config);
  const VmConfig saved = for_saving(config);
  EXPECT_FALSE(saved.vnc);
  EXPECT_EQ(saved.video, Video::kVga);
  EXPECT_TRUE(check_same_machine(saved, config));
  VmConfig other = config;
  other.video = Video::kNone;
  const auto differs = check_same_machine(saved, other);
  ASSERT_FALSE(differs);
  EXPECT_THAT(differs.error().message(), StartsWith("video: the VM was saved with vga, and is described with none"));
}

TEST(Screen, AndInputMayBeVirtioDevices) {
  VmConfig config = full();
  config.video = Video::kVirtio;
  config.input = Input::kVirtio;
  EXPECT_EQ(why_invalid(config), "valid");
  const std::string text = to_json(config);
  EXPECT_NE(text.find(R"("video": "virtio")"), text.npos);
  EXPECT_NE(text.find(R"("input": "virtio")"), text.npos);
  EXPECT_EQ(from_json(text).value(), config);
  VmConfig other = config;
  other.video = Video::kVga;
  EXPECT_THAT(check_same_machine(config, other).error().message(), StartsWith("video: the VM was saved with virtio"));
  other = config;
  other.input = Input::kUsb;
  EXPECT_THAT(check_same_machine(config, other).error().message(), StartsWith("input: the VM was saved with virtio"));
}

TEST(Screen, WhatCannotBeIsRefused) {
  struct WrongScreen {
    std::function<void(VmConfig&)> change;
    const char* message;
  };
  const WrongScreen refusals[] = {
      {[](VmConfig& c) { c.video = Video::kNone; }, "vnc: the VM has no screen"},
      {[](VmConfig& c) { c.vnc->listen = ""; }, "vnc.listen: '' is not an address"},
      {[](VmConfig& c) { c.vnc->listen = "127.0.0.1:65536"; }, "vnc.listen: '65536' in '127.0.0.1:65536' is not a port"},
      {[](VmConfig& c) { c.vnc->listen = "unix:" + std::string(200, 'a'); }, "vnc.listen: the socket path is 200 bytes"},
      {[](VmConfig& c) { c.vnc->tls = Vnc::Tls::kX509; }, "vnc.tls: x509 needs"},
      {[](VmConfig& c) { c.vnc->certificate = "/cert"; }, "vnc.certificate: certificates are for tls x509"},
      {[](VmConfig& c) { c.vnc->client_ca = "/ca"; }, "vnc.certificate: certificates are for tls x509"},
      {[](VmConfig& c) { c.vnc->user = "me"; }, "vnc.user: a name is asked for with a password"},
      {[](VmConfig& c) { c.vnc->password_file = std::string("a\0b", 3); }, "vnc.password_file"},
  };
  for (const WrongScreen& refusal : refusals) {
    VmConfig config = full();
    config.video = Video::kVga;
    config.vnc = Vnc{.listen = "127.0.0.1:5900"};
    ASSERT_EQ(why_invalid(config), "valid");
    refusal.change(config);
    EXPECT_THAT(why_invalid(config), StartsWith(refusal.message));
  }
}

TEST(Screen, AddressesOfViewersAreWhatTheyMean) {
  const std::pair<const char*, const char*> addresses[] = {
      {":0", "127.0.0.1:5900"},          {":99", "127.0.0.1:5999"}, {"0.0.0.0:5901", "0.0.0.0:5901"}, {"localhost:100", "127.0.0.1:100"},
      {"[::1]:1", "[::1]:5901"},         {":auto", "127.0.0.1:0"},  {"unix:/run/vnc", "unix:/run/vnc"},
  };
  for (const auto& [text, meant] : addresses) {
    const auto parsed = parse_vnc_address(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(*parsed, meant);
  }
  for (const char* text : {"", "5900", "unix:", ":", ":x", ":-1", ":65536", "a:autos"}) EXPECT_FALSE(parse_vnc_address(text)) << text;
}

TEST(Boards, HaveSystemManagementModeForFirmwareThatNeedsIt) {
  VmConfig config;
  config.board = "q35-1";
  config.firmware = "uefi";
  EXPECT_FALSE(has_smm(config));
  config.smm = true;
  EXPECT_TRUE(has_smm(config));
  EXPECT_EQ(from_json(to_json(config)).value(), config);
  config.accelerator = "kvm";
  EXPECT_THAT(why_invalid(config), StartsWith("smm: needs System Management Mode, which is not there under KVM"));
  VmConfig without = config;
  without.smm = false;
  EXPECT_EQ(why_invalid(without), "valid");
  EXPECT_FALSE(check_same_machine(config, without));
  config.smm = false;
  config.firmware = kSecureFirmware;
  EXPECT_TRUE(has_smm(config));
  EXPECT_THAT(why_invalid(config), StartsWith("accelerator: firmware uefi-secure needs System Management Mode"));
  config.accelerator = "bt";
  EXPECT_EQ(why_invalid(config), "valid");
  config = {};
  config.kernel.path = "/boot/vmlinuz";
  config.smm = true;
  EXPECT_THAT(why_invalid(config), StartsWith("smm: board plain-1 has no System Management Mode; use board q35-1"));
}

TEST(Boards, NeedSomethingToStart) {
  VmConfig config;
  config.board = "q35-1";
  EXPECT_THAT(why_invalid(config), StartsWith("kernel.path: is empty, and there is neither a disk nor a firmware"));
  config.firmware = "/a";
  EXPECT_EQ(why_invalid(config), "valid");
  config.kernel.command_line = "quiet";
  EXPECT_THAT(why_invalid(config), StartsWith("kernel.command_line: there is no kernel to take it"));
  config.kernel = {"", "/initrd", ""};
  EXPECT_THAT(why_invalid(config), StartsWith("kernel.initrd: there is no kernel to take it"));
  config.kernel = {"/vmlinuz", "", ""};
  EXPECT_THAT(why_invalid(config), StartsWith("firmware: a kernel is started directly"));
  config.firmware = "";
  EXPECT_EQ(why_invalid(config), "valid");
}

TEST(Devices, WrongJsonIsRefusedWithThePathOfWhatIsWrong) {
  const std::pair<const char*, const char*> refusals[] = {
      {R"("disks":{})", "disks: is an object; it must be an array of objects"},
      {R"("disks":null)", "disks: is null; it must be an array of objects"},
      {R"("disks":[7])", "disks[0]: is the number 7; it must be an object"},
      {R"("disks":[{"path":"/a"},{}])", "disks[1].path: is missing"},
      {R"("disks":[{"path":"/a","cache":"fast"}])",
       "disks[0].cache: \"fast\" is not known; use writeback, none, writethrough, directsync, unsafe"},
      {R"("disks":[{"path":"/a","readonly":true}])", "disks[0]: key \"readonly\" is not known; the keys are bus, cache, cdrom"},
      {R"("disks":[{"path":"/a","read_only":"on"}])", "disks[0].read_only: is a string; it must be true or false"},
      {R"("nics":[{}])", "nics[0].type: is missing"},
      {R"("nics":[{"type":"wifi"}])", "nics[0].type: \"wifi\" is not known; use user, tap, bridge, socket"},
      {R"("nics":[{"type":"user","name":"tap0"}])", "nics[0]: key \"name\" is not known; the keys are forwards, mac"},
      {R"("nics":[{"type":"tap","fd":-1}])", "nics[0].fd: is the number -1; it must be a whole number from 0 to 1048575"},
      {R"("nics":[{"type":"tap","fd":4294967303}])", "nics[0].fd: is the number 4294967303"},
      {R"("nics":[{"type":"user","forwards":[{"host_port":65536}]}])",
       "nics[0].forwards[0].host_port: is the number 65536; it must be a whole number from 0 to 65535"},
      {R"("nics":[{"type":"user","forwards":[{"protocol":"icmp"}]}])", "nics[0].forwards[0].protocol: \"icmp\" is not known"},
      {R"("cloud_init":"x")", "cloud_init: is a string; it must be an object"},
      {R"("vsock":{"path":"/v","cid":4294967296})", "vsock.cid: is the number 4294967296"},
      {R"("guest_agent":["/a"])", "guest_agent: is an array; it must be a string"},
  };
  for (const auto& [members, message] : refusals) {
    EXPECT_THAT(why_refused(members), HasSubstr(message)) << members;
    EXPECT_EQ(why_refused(members).find('\n'), std::string::npos) << members;
  }
}

TEST(Mac, OfACardIsItsOwnOrElseStableAndLocallyAdministered) {
  VmConfig config;
  config.nics.resize(kMaxNics);
  config.nics[0].mac = "52:54:00:12:34:56";
  EXPECT_EQ(to_string(mac_of(config, 0)), "52:54:00:12:34:56");
  // It is in the guest's configuration files: a change of this value takes guests off their networks.
  EXPECT_EQ(to_string(mac_of(config, 1)), "ea:89:fe:58:b0:a8");
  std::set<Mac> all;
  for (const char* name : {"vm", "vm1", "vm2", "web", "a"}) {
    config.name = name;
    for (size_t i = 1; i < config.nics.size(); ++i) {
      const Mac mac = mac_of(config, i);
      EXPECT_EQ(mac[0] & 3, 2) << "locally administered, of one card";
      EXPECT_EQ(mac, mac_of(config, i));
      EXPECT_TRUE(parse_mac(to_string(mac)));
      EXPECT_TRUE(all.insert(mac).second);
    }
  }
}

TEST(Forward, TextsAreWhatTheyWere) {
  for (const char* text : {"tcp:127.0.0.1:2222-:22", "udp::53-10.0.2.15:5353", "tcp:0.0.0.0:1-:65535"}) {
    const auto forward = parse_forward(text);
    ASSERT_TRUE(forward) << forward.error().message();
    EXPECT_EQ(to_string(*forward), text);
  }
}

TEST(Forward, WrongTextsAreRefusedWithTheRightForm) {
  for (const char* text : {"", "2222:22", "tcp", "tcp:2222", "tcp:2222-22", "tcp::2222-22", "tcp::0-:22", "tcp::65536-:22",
                           "tcp::2222-:", "tcp::0x10-:22", "sctp::1-:1", "tcp::a-:22", "tcp:: 1-:22", "-", ":-:"}) {
    const auto forward = parse_forward(text);
    ASSERT_FALSE(forward) << text;
    EXPECT_THAT(forward.error().message(), HasSubstr("tcp:127.0.0.1:2222-:22")) << text;
  }
}

// Random descriptions: valid ones come back the same from JSON; of the others none comes back at all.
class RandomConfig {
 public:
  explicit RandomConfig(uint64_t seed) : random_(seed) {}

  VmConfig make() {
    VmConfig config;
    config.name = "vm" + std::to_string(below(1000));
    config.board = one_of({"q35-1", "q35-1", "q35-1", "plain-1"});
    config.memory = (below(1000) + 1) * MiB;
    if (below(2)) config.kernel = {text("/boot/"), below(2) ? text("/") : "", below(2) ? text("") : ""};
    if (below(4) == 0) config.firmware = text("/fw");
    for (uint64_t n = below(5); n > 0; --n) config.disks.push_back(disk());
    for (uint64_t n = below(5); n > 0; --n) config.nics.push_back(nic());
    if (below(2)) config.cloud_init = CloudInit{text("#"), text(""), below(2) ? text("v") : ""};
    if (below(2)) config.vsock = Vsock{"/run/v", static_cast<uint32_t>(random_() >> below(60))};
    for (uint64_t n = below(3); n > 0; --n) config.shares.push_back({text("/"), text("t"), below(2) == 1});
    if (below(2)) config.guest_agent = text("/run/");
    config.video = static_cast<Video>(below(3));
    if (below(4) == 0) config.vnc = vnc();
    return config;
  }

 private:
  uint64_t below(uint64_t end) { return random_() % end; }
  std::string one_of(std::initializer_list<const char*> choices) { return choices.begin()[below(choices.size())]; }
  std::string text(const char* start) {
    std::string result = start;
    for (uint64_t n = below(12); n > 0; --n) result += one_of({"a", "Z", "0", " ", "\"", "\\", "\n", "\t", "{", ",", "\xc3\xa9", "\x7f"});
    return result;
  }
  Disk disk() {
    Disk disk{.path = text("/"), .read_only = below(2) == 1, .cdrom = below(4) == 0};
    disk.read_only |= disk.cdrom && below(8) != 0;
    disk.cache = kCacheModes[below(std::size(kCacheModes))].second;
    if (below(2)) disk.serial = "s" + std::to_string(below(10000));
    if (below(16) == 0) disk.format = "qcow2";
    return disk;
  }
  Nic nic() {
    Nic nic;
    nic.type = static_cast<Nic::Type>(below(4));
    if (nic.type == Nic::Type::kTap && below(2)) {
      nic.fd = static_cast<int>(below(2000));
    } else if (nic.type == Nic::Type::kTap || nic.type == Nic::Type::kBridge) {
      nic.name = "net" + std::to_string(below(1000));
      nic.queues = static_cast<unsigned>(1 + below(9));
    }
    if (nic.type == Nic::Type::kSocket) {
      nic.path = text("/run/");
      nic.listen = below(2) == 1;
    }
    if (nic.type == Nic::Type::kUser) {
      nic.restricted = below(2) == 1;
      for (uint64_t n = below(4); n > 0; --n) nic.forwards.push_back(forward());
    }
    if (below(2)) nic.mac = to_string(Mac{static_cast<uint8_t>(below(8)), 1, 2, 3, 4, static_cast<uint8_t>(below(256))});
    return nic;
  }
  Vnc vnc() {
    Vnc vnc{.listen = one_of({"127.0.0.1:5900", "[::1]:0", "unix:/run/vnc", "nowhere"}), .tls = static_cast<Vnc::Tls>(below(3))};
    if (below(2)) vnc.password_file = text("/p");
    if (below(4) == 0) vnc.user = text("u");
    if (vnc.tls == Vnc::Tls::kX509) vnc.certificate = vnc.key = text("/c");
    return vnc;
  }
  PortForward forward() {
    return {below(2) == 1, one_of({"", "127.0.0.1", "0.0.0.0", "10.1.2.3"}), static_cast<uint16_t>(below(65536)),
            one_of({"", "10.0.2.15", "x"}), static_cast<uint16_t>(below(65536))};
  }
  std::mt19937_64 random_;
};

TEST(Devices, OfRandomDescriptionsAreTheSameAfterJsonOrRefused) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  RandomConfig random(seed);
  unsigned valid = 0;
  for (int i = 0; i < 1000; ++i) {
    const VmConfig config = random.make();
    const std::string text = to_json(config);
    const auto back = from_json(text);
    if (validate(config)) {
      ++valid;
      ASSERT_TRUE(back) << back.error().message() << '\n' << text;
      EXPECT_EQ(*back, config) << text;
    } else {
      EXPECT_FALSE(back) << why_invalid(config) << '\n' << text;
    }
  }
  EXPECT_GT(valid, 30u) << "the generator makes too few that are valid";
}

TEST(Devices, SurviveRandomChangesOfTheirJson) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const std::string text = to_json(full());
  for (int i = 0; i < 1500; ++i) {
    std::string changed = text;
    for (uint64_t n = random() % 3 + 1; n > 0; --n) {
      const size_t at = random() % changed.size(), size = random() % 12;
      if (random() % 2)
        changed.erase(at, size);
      else
        changed.insert(at, changed.substr(random() % changed.size(), size));
      if (changed.empty()) changed.assign(1, ' ');
    }
    if (auto config = from_json(changed)) {
      EXPECT_EQ(from_json(to_json(*config)).value(), *config) << changed;
    }
  }
}

}  // namespace
}  // namespace skerry::config
