// The description of one VM: the contract between what asks for a VM (`skerry run`, `skerryd`) and what is it
// (`skerry-vm`). Options and XML are lowered to it; it travels as JSON; save files and migration streams carry it.
//
// A value of these types may hold anything; validate() says whether it describes a VM. Thread-compatible.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "base/units.hpp"

namespace skerry::config {

// Of the JSON form. Goes up when a reader of the old form would misunderstand the new one.
constexpr unsigned kVersion = 1;
// What is no frequency of a time-stamp counter.
constexpr uint64_t kMinTscHz = 100'000'000, kMaxTscHz = 100'000'000'000;
// APIC IDs are 0..254: 255 is the broadcast ID of an xAPIC (Intel SDM vol. 3, 11.6.1).
constexpr unsigned kMaxVcpus = 255;
// Below 1 MiB there are holes and tables; the smallest kernels live in the second.
constexpr uint64_t kMinMemory = 2 * MiB;
// 40 physical-address bits, less the hole below 4 GiB, which is 1.25 GiB at the most.
constexpr uint64_t kMaxMemory = 1022 * GiB;
// Room for the longest texts of every field, each byte of them as \u00xx.
constexpr size_t kMaxJsonSize = 4 * MiB;
// Of a command line; a kernel may take less, which is for its loader to say.
constexpr size_t kMaxCommandLine = 64 * KiB - 1;
// sockaddr_un::sun_path with its terminating NUL, unix(7).
constexpr size_t kMaxSocketPath = 107;
constexpr unsigned kIsaDebugExitPorts = 4;

// Boards with PCI have places for 24 PCI devices that a description adds. Beside disks and network cards these are: the disk
// with the seed of cloud-init, vsock, the console of the guest agent, the balloon, the source of random numbers, the watchdog, a
// virtio keyboard and a tablet. A sound card and shared folders have what disks and network cards leave. The screen and the
// controllers of disks and of USB take none of these places.
constexpr size_t kPciPlaces = 24, kOtherPciDevices = 8;
constexpr size_t kMaxDisks = 8, kMaxNics = 8;
constexpr size_t kMaxShares = 8;  // where disks and network cards leave so many places
constexpr size_t kMaxShareTag = 36;  // of virtio_fs_config (virtio 1.2, 5.11.4)
constexpr size_t kMaxSataDisks = 6;  // ports of the board's controller
constexpr size_t kMaxIdeDisks = 4;   // two drives at each of two channels
static_assert(kMaxDisks + kMaxNics + kOtherPciDevices <= kPciPlaces);
constexpr size_t kMaxForwards = 64;  // of one card
constexpr unsigned kMaxQueuePairs = 8;
constexpr size_t kMaxSerial = 20;         // what VIRTIO_BLK_T_GET_ID has room for (virtio 1.2, 5.2.6)
constexpr size_t kMaxInterfaceName = 15;  // IFNAMSIZ less the NUL, netdevice(7)
constexpr int kMinFd = 3, kMaxFd = 0xfffff;  // of descriptors that are handed down: 0, 1 and 2 have other uses
constexpr size_t kMaxUserData = 256 * KiB, kMaxMetaData = 64 * KiB;
// 0, 1 and 2 are the hypervisor, this machine and the host, and all bits set is "any" (vsock(7); virtio 1.2, 5.10.4).
constexpr uint32_t kMinVsockCid = 3, kMaxVsockCid = 0xfffffffe;
constexpr size_t kMaxVsockPath = kMaxSocketPath - 11;  // "_4294967295" has room behind it

struct Kernel {
  std::string path;
  // A file, or for kernels with modules "FILE[ ARGUMENTS][,FILE[ ARGUMENTS]]...". Empty: none.
  std::string initrd;
  std::string command_line;
  bool operator==(const Kernel&) const = default;
};

// The screen: what the guest draws to.
enum class Video : uint8_t { kNone, kVga, kVirtio };
constexpr std::pair<std::string_view, Video> kVideos[] = {{"none", Video::kNone}, {"vga", Video::kVga}, {"virtio", Video::kVirtio}};

// Where viewers of the screen connect, by VNC (RFC 6143), and who is let in.
struct Vnc {
  enum class Tls : uint8_t { kNone, kAnonymous, kX509 };
  std::string listen;         // "ADDRESS:PORT", "[IPv6 ADDRESS]:PORT" (port 0: any that is free), "unix:PATH"
  std::string password_file;  // its first line; empty: everybody who can connect is let in
  std::string user;           // with a password and kX509: the name that goes with it
  Tls tls = Tls::kNone;
  std::string certificate, key;  // of kX509: PEM files
  std::string client_ca;         // of kX509: viewers need a certificate from one of these
  bool operator==(const Vnc&) const = default;
};
constexpr std::pair<std::string_view, Vnc::Tls> kVncTls[] = {
    {"none", Vnc::Tls::kNone}, {"anonymous", Vnc::Tls::kAnonymous}, {"x509", Vnc::Tls::kX509}};

// What the first serial port is connected to.
struct Console {
  enum class Type : uint8_t { kStdio, kPty, kFile, kUnix, kNone };
  Type type = Type::kStdio;
  std::string path;  // of kFile and kUnix
  bool operator==(const Console&) const = default;
};

// Where the gdb stub listens.
struct GdbAddress {
  enum class Type : uint8_t { kTcp, kUnix };
  Type type = Type::kTcp;
  std::string host;   // of kTcp; empty: 127.0.0.1
  uint16_t port = 0;  // of kTcp
  std::string path;   // of kUnix
  bool operator==(const GdbAddress&) const = default;
};

// An image, and the disk that the guest has of it.
struct Disk {
  // How writes reach the host's disk: what a guest's write and flush mean under each is in docs/storage.md.
  enum class Cache : uint8_t { kWriteback, kNone, kWritethrough, kDirectsync, kUnsafe };
  // What the guest reaches it by: a virtio device of its own, a port of the board's disk controller, one of its USB controller, or a
  // target of its virtio SCSI controller.
  enum class Bus : uint8_t { kVirtio, kSata, kIde, kUsb, kScsi };
  std::string path;
  std::string format = "raw";
  bool read_only = false;
  bool cdrom = false;
  Cache cache = Cache::kWriteback;
  std::string serial;  // at most 20 printable characters; empty: none
  Bus bus = Bus::kVirtio;
  bool operator==(const Disk&) const = default;
};

// In texts and in JSON.
constexpr std::pair<std::string_view, Disk::Cache> kCacheModes[] = {
    {"writeback", Disk::Cache::kWriteback},
    {"none", Disk::Cache::kNone},
    {"writethrough", Disk::Cache::kWritethrough},
    {"directsync", Disk::Cache::kDirectsync},
    {"unsafe", Disk::Cache::kUnsafe},
};

constexpr std::pair<std::string_view, Disk::Bus> kDiskBuses[] = {
    {"virtio", Disk::Bus::kVirtio},
    {"sata", Disk::Bus::kSata},
    {"ide", Disk::Bus::kIde},
    {"usb", Disk::Bus::kUsb},
    {"scsi", Disk::Bus::kScsi},
};

// What the guest has beside the keyboard and the mouse at the i8042's ports that it has always: nothing, by USB a tablet, or a tablet
// and a keyboard, or those two as virtio devices.
enum class Input : uint8_t { kPs2, kTablet, kUsb, kVirtio };
constexpr std::pair<std::string_view, Input> kInputs[] = {
    {"ps2", Input::kPs2}, {"tablet", Input::kTablet}, {"usb", Input::kUsb}, {"virtio", Input::kVirtio}};

// A port of the host that leads to a port of the guest.
struct PortForward {
  bool udp = false;
  std::string host_address;  // IPv4; empty: 127.0.0.1, which only this host reaches
  uint16_t host_port = 0;
  std::string guest_address;  // IPv4; empty: the guest's first address
  uint16_t guest_port = 0;
  bool operator==(const PortForward&) const = default;
};

// A network card, and what its cable leads to.
struct Nic {
  enum class Type : uint8_t { kUser, kTap, kBridge, kSocket };
  // What the guest sees: a virtio device, or Intel's 82574L for guests that have no virtio drivers.
  enum class Model : uint8_t { kVirtio, kE1000e };
  Type type = Type::kUser;
  Model model = Model::kVirtio;
  std::string name;  // of kTap: the interface; of kBridge: the bridge
  int fd = -1;       // of kTap, instead of a name: an open descriptor
  std::string path;  // of kSocket: the unix socket
  bool listen = false;      // of kSocket: this end waits for the other
  bool restricted = false;  // of kUser: nothing but forwarded ports
  std::vector<PortForward> forwards;  // of kUser
  std::string mac;      // "52:54:00:12:34:56"; empty: made from the VM's name and the card's number, see mac_of()
  unsigned queues = 1;  // pairs; more than one only of kTap by name and kBridge, and of kVirtio
  bool operator==(const Nic&) const = default;
};

constexpr std::pair<std::string_view, Nic::Model> kNicModels[] = {
    {"virtio", Nic::Model::kVirtio},
    {"e1000e", Nic::Model::kE1000e},
};

// What cloud-init of the guest finds on a small disk labelled cidata (cloud-init's NoCloud).
struct CloudInit {
  std::string user_data, meta_data;  // the files' content
  std::string network_config;        // likewise; empty: there is no such file
  bool operator==(const CloudInit&) const = default;
};

// Sockets between guest and host (virtio 1.2, 5.10).
struct Vsock {
  std::string path;   // unix socket that leads to the guest's ports; PATH_N is the host's port N
  uint32_t cid = kMinVsockCid;  // the guest's address
  bool operator==(const Vsock&) const = default;
};

// A TPM 2.0, which is the program swtpm.
struct Tpm {
  // One that is started with the VM and has its state in a folder, or one that runs already, with its control channel on a socket.
  enum class Type : uint8_t { kFolder, kSocket };
  // What the guest reaches it by: the command response buffer.
  enum class Model : uint8_t { kCrb };
  Type type = Type::kFolder;
  std::string path;
  Model model = Model::kCrb;
  bool operator==(const Tpm&) const = default;
};

// In texts and in JSON.
constexpr std::pair<std::string_view, Tpm::Type> kTpmTypes[] = {{"folder", Tpm::Type::kFolder}, {"socket", Tpm::Type::kSocket}};
constexpr std::pair<std::string_view, Tpm::Model> kTpmModels[] = {{"crb", Tpm::Model::kCrb}};

// A folder of the host that the guest can mount (virtio 1.2, 5.11).
struct Share {
  std::string path;
  std::string tag;  // what the guest mounts it by
  bool read_only = false;
  bool operator==(const Share&) const = default;
};

// The sound card: Intel High Definition Audio.
enum class Sound : uint8_t { kNone, kHda };
constexpr std::pair<std::string_view, Sound> kSounds[] = {{"none", Sound::kNone}, {"hda", Sound::kHda}};

// What happens to the VM when its watchdog (Intel 6300ESB) has expired. Each is told to QMP.
enum class WatchdogAction : uint8_t { kReset, kPoweroff, kPause, kNone };

constexpr std::pair<std::string_view, WatchdogAction> kWatchdogActions[] = {
    {"reset", WatchdogAction::kReset},
    {"poweroff", WatchdogAction::kPoweroff},
    {"pause", WatchdogAction::kPause},
    {"none", WatchdogAction::kNone},
};

// Of accelerator kvm.
struct Kvm {
  // Who has the local APICs: the kernel (and Skerry PIC, I/O APIC and PIT), or Skerry all of them.
  enum class Irqchip : uint8_t { kAuto, kSplit, kUser };
  int fd = -1;  // /dev/kvm, opened by who starts the VM; -1: it is opened
  Irqchip irqchip = Irqchip::kAuto;  // the kernel where the processor virtualizes, and no debugger is asked for
  bool operator==(const Kvm&) const = default;
};

struct VmConfig {
  std::string name = "vm";           // 1 to 64 letters, digits and "._-"
  std::string board = "plain-1";     // see boards()
  std::string accelerator = "auto";  // see accelerators()
  Kvm kvm;
  std::string cpu_model = "host";    // see cpu_models()
  unsigned vcpus = 1;
  std::vector<std::string> cpu_features;  // of the model, if not empty, only these: a VM that was saved has them (Linux's names)
  std::optional<uint64_t> tsc_hz;  // of the time-stamp counters; none: as fast as the host's
  uint64_t memory = 512 * MiB;  // bytes, whole pages
  Kernel kernel;                // path empty: the firmware starts from the first disk
  std::string firmware;         // "bios", "uefi", "uefi-secure", or a file; empty: the board's own choice. Without a kernel only
  bool smm = false;             // System Management Mode; kSecureFirmware has it in any case: see has_smm()
  std::string uefi_variables;   // the file that they are kept in; empty: they are gone with the VM
  std::vector<Disk> disks;
  std::vector<Nic> nics;
  std::optional<CloudInit> cloud_init;
  std::optional<Vsock> vsock;
  std::vector<Share> shares;  // a VM with one cannot be saved
  std::optional<std::string> guest_agent;  // path of the unix socket that leads to org.qemu.guest_agent.0
  Video video = Video::kNone;
  std::optional<Vnc> vnc;  // of a VM with a screen
  Sound sound = Sound::kNone;
  std::optional<WatchdogAction> watchdog;  // there is one
  std::optional<Tpm> tpm;
  Console console;
  Input input = Input::kPs2;
  bool no_reboot = false;                  // a reset by the guest ends the VM
  std::optional<uint16_t> isa_debug_exit;  // first of the ports through which a test ends the VM with a status
  std::optional<std::string> qmp;          // path of the unix socket
  std::optional<GdbAddress> gdb;
  std::vector<std::string> debug;  // categories of log::enable()
  bool operator==(const VmConfig&) const = default;
};

constexpr std::string_view kSecureFirmware = "uefi-secure";  // UEFI with Secure Boot, which keeps its keys from all but SMM
bool has_smm(const VmConfig& config);

// kPlainBoard has no PCI: only a kernel, started directly; kMicrovmBoard neither, but virtio devices. kQ35Board has all the rest, but for
// the IDE controller, which kPcBoard has; that is an older PC, without PCI Express, UEFI and System Management Mode.
constexpr std::string_view kPlainBoard = "plain-1", kMicrovmBoard = "microvm-1", kQ35Board = "q35-1", kPcBoard = "pc-1";
std::vector<std::string_view> boards();
std::vector<std::string_view> accelerators();
std::vector<std::string_view> cpu_models();

// The first thing that is wrong, in one line that starts with the field's path in the JSON form ("cpus: ...") and says
// what would be right.
Result<void> validate(const VmConfig& config);

using Mac = std::array<uint8_t, 6>;
// Of an Ethernet card: six pairs of hexadecimal digits, neither a group's address nor all zero.
Result<Mac> parse_mac(std::string_view text);
std::string to_string(const Mac& mac);
// The address of card `index` of a valid description: its own, or else one that is locally administered (IEEE 802, 8.2)
// and always the same for the same VM name and number of the card.
Mac mac_of(const VmConfig& config, size_t index);

// `config` must be valid. The same value gives the same text, and from_json() gives the same value back.
std::string to_json(const VmConfig& config);
// Parses and validates. Keys that are not known are refused: a typing error must not silently mean the default.
Result<VmConfig> from_json(std::string_view text);
// from_json() of everything that can be read from `fd`, a file or a pipe.
Result<VmConfig> read_json(int fd);

// "tcp:127.0.0.1:2222-:22": PROTOCOL:[HOST ADDRESS]:PORT-[GUEST ADDRESS]:PORT.
Result<PortForward> parse_forward(std::string_view text);
std::string to_string(const PortForward& forward);

// The texts of the options: "stdio", "pty", "file:PATH", "unix:PATH", "none".
Result<Console> parse_console(std::string_view text);
std::string to_string(const Console& console);
// "ADDRESS:PORT", "[ADDRESS]:PORT", "unix:PATH" as they are in Vnc::listen. No address is 127.0.0.1, and a port below 100 the number of
// a display: ":1" is port 5901. ":auto" is any port that is free, 0 in what is given.
Result<std::string> parse_vnc_address(std::string_view text);
// "tcp::PORT", "tcp:HOST:PORT", "unix:PATH".
Result<GdbAddress> parse_gdb(std::string_view text);
std::string to_string(const GdbAddress& address);

}  // namespace skerry::config
