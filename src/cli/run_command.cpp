// `skerry run`: one VM in the foreground, without a daemon.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>

#include "base/log.hpp"
#include "cli/exit_status.hpp"
#include "cli/launch.hpp"
#include "cli/program.hpp"
#include "cli/run_options.hpp"

namespace skerry::cli {

namespace {

constexpr const char* kExamples = R"(Sizes: a number with K, M, G (powers of 1024). Numbers: decimal, or hexadecimal after 0x.
The guest's first serial port is the console. On a terminal Ctrl-A x ends the VM, Ctrl-A h lists the other keys.

Examples:
  skerry run debian.img
  skerry run debian.img --ssh-key ~/.ssh/id_ed25519.pub --hostname web --net user,hostfwd=tcp:127.0.0.1:2222-:22
  skerry run debian.img --cloud-init user-data=setup.yaml --memory 2G --cpus 2
  skerry run --disk debian.img,cache=none,serial=root --disk data.img --cdrom install.iso --net tap=tap0
  skerry run debian.img --share ~/src,tag=src --share /srv/data,readonly=on
  skerry run debian.img --display vnc=127.0.0.1:5900,password-file=secret.txt
  skerry run --kernel vmlinuz --append console=ttyS0
  skerry run --kernel vmlinuz --initrd initrd.img --append 'console=ttyS0 quiet' --memory 1G --cpus 2
  skerry run --kernel vmlinuz --console file:guest.log --qmp unix:/tmp/vm.qmp
  skerry run --kernel vmlinuz --append 'console=ttyS0 nokaslr' --gdb tcp::1234,wait
  skerry run --restore vm.state --qmp unix:/tmp/vm.qmp
  skerry run --kernel test.elf --isa-debug-exit 0xf4 --no-reboot --debug cpu,msr

Exit status:
)";

std::string footer() {
  std::string text = kExamples;
  for (const auto& [status, meaning] : kStatusMeanings) text += fmt::format("  {:<5}{}\n", status, meaning);
  return text;
}

// An option that may be there several times, each time with one value.
void add_repeatable(CLI::App& app, const char* name, std::vector<std::string>& values, const char* what,
                    const char* value_name) {
  app.add_option(name, values, what)->type_name(value_name)->allow_extra_args(false);
}

void add_disk_options(CLI::App& app, RunOptions& o) {
  app.add_option("IMAGE", o.image, "A disk image to start from, as --disk IMAGE; a name as it is, without settings")
      ->type_name("FILE");
  add_repeatable(app, "--disk", o.disks,
                 "Disk: a raw image or a block device. Settings: format=raw, readonly=on, cache=writeback, none, "
                 "writethrough, directsync or unsafe, serial=TEXT, bus=virtio, sata, usb or scsi. A comma in a name is written twice",
                 "FILE[,SETTING...]");
  add_repeatable(app, "--cdrom", o.cdroms, "CD-ROM: an image, a name as it is; with bus=sata, usb or scsi a drive, else a virtio disk",
                 "FILE[,bus=BUS]");
  app.add_option("--firmware", o.firmware,
                 "Firmware: bios (Debian's seabios), uefi or uefi-secure (Debian's ovmf, without and with Secure Boot), or a file (default bios)")
      ->type_name("NAME");
  app.add_option("--uefi-vars", o.uefi_variables,
                 "What UEFI remembers, as boot entries: a file of this VM's own, made if it is not there. Without it that is gone with the VM")
      ->type_name("FILE");
}

void add_network_options(CLI::App& app, RunOptions& o) {
  add_repeatable(app, "--net", o.nets,
                 "Network card: user[,hostfwd=tcp:127.0.0.1:2222-:22]...[,restrict=on], tap=NAME, tap-fd=N, bridge=NAME, "
                 "socket=PATH[,listen=on], or none; each but none also with mac=ADDRESS and model=virtio|e1000e, tap and bridge with queues=N "
                 "(default with a disk: user)",
                 "NET");
  app.add_option("--vsock", o.vsock,
                 fmt::format("Sockets between host and guest (vsock): unix:PATH[,cid=N]. Programs of the host reach the "
                             "guest's at PATH, the guest's reach PATH_PORT (default cid={})",
                             config::kMinVsockCid))
      ->type_name("ADDR");
}

void add_share_option(CLI::App& app, RunOptions& o) {
  add_repeatable(app, "--share", o.shares,
                 "Folder that the guest can mount: mount -t virtiofs TAG /mnt. Settings: tag=TAG (default: the folder's name), readonly=on. "
                 "A comma in a name is written twice",
                 "DIR[,SETTING...]");
}

void add_guest_options(CLI::App& app, RunOptions& o) {
  CloudInitOptions& seed = o.cloud_init;
  app.add_option("--ssh-key", seed.ssh_key, "Public key of who may log in as the image's user (by cloud-init)")
      ->type_name("FILE");
  app.add_option("--hostname", seed.hostname, "Name of the guest (by cloud-init)")->type_name("NAME");
  app.add_option("--cloud-init", seed.cloud_init,
                 "What cloud-init of the guest is told: user-data=FILE[,meta-data=FILE][,network-config=FILE]")
      ->type_name("FILES");
  app.add_option("--guest-agent", o.guest_agent, "Connection to the guest agent (qemu-ga), on unix:PATH")->type_name("ADDR");
  app.add_option("--sound", o.sound, "Sound card: hda (Intel High Definition Audio) or none (default none). Viewers of the screen hear it")
      ->type_name("CARD");
  app.add_option("--watchdog", o.watchdog, "A watchdog (Intel 6300ESB), and what it does when it expires: reset, poweroff, pause, none")
      ->type_name("ACTION");
  app.add_option("--tpm", o.tpm,
                 "A TPM 2.0 (program swtpm): DIR, a folder for its state, made if it is not there; unix:PATH, the control channel of a swtpm "
                 "that runs; or none. Setting: model=crb (default none)")
      ->type_name("TPM");
}

void add_machine_options(CLI::App& app, RunOptions& o) {
  app.add_option("--name", o.name, "Name of the VM (default: the first image's, without its ending)")->type_name("NAME");
  app.add_option("--board", o.board,
                 fmt::format("Board: {}; without the number the newest of its kind (default: {} for a kernel alone, {} with a disk at bus=ide, "
                             "{} for all else)",
                             fmt::join(config::boards(), ", "), config::kPlainBoard, config::kPcBoard, config::kQ35Board))
      ->type_name("BOARD");
  app.add_option("--accel", o.accel, "What executes the guest: auto, kvm, bt, interpreter (default auto)")
      ->type_name("NAME");
  app.add_option("--cpu", o.cpu, fmt::format("CPU model: {} (default host)", fmt::join(config::cpu_models(), ", ")))
      ->type_name("MODEL");
  app.add_option("--video", o.video, "Screen of the guest: vga, virtio or none (default: vga with --display vnc, else none)")->type_name("CARD");
  app.add_option("--kernel", o.kernel, "Kernel, started directly: Linux bzImage, ELF with a PVH entry, or Multiboot")
      ->type_name("FILE");
  app.add_option("--initrd", o.initrd, "Initial RAM disk; for Multiboot 'FILE ARGUMENTS,...'")->type_name("FILE");
  app.add_option("--append", o.append, "Command line of the kernel")->type_name("STRING");
  app.add_option("--memory", o.memory, "RAM of the guest (default 1G with a disk, 512M without)")->type_name("SIZE");
  app.add_option("--cpus", o.cpus, fmt::format("Number of vCPUs, 1 to {} (default 1)", config::kMaxVcpus))
      ->type_name("N");
  app.add_option("--input", o.input, "What the guest has beside a PS/2 keyboard and mouse: ps2 (nothing), tablet, or usb or virtio, a tablet and a keyboard (default with a "
                 "screen: tablet)")->type_name("KIND");
  app.add_flag("--smm", o.smm, "System Management Mode, for firmware that needs it; uefi-secure has it without this. Not under KVM");
  app.add_flag("--no-reboot", o.no_reboot, "End the VM when the guest resets");
}

void add_host_options(CLI::App& app, RunOptions& o) {
  app.add_option("--console", o.console, "Serial port: stdio, pty, file:PATH, unix:PATH, none (default stdio)")
      ->type_name("WHERE");
  app.add_option("--display", o.display,
                 "Who sees the screen: vnc=ADDRESS:PORT or vnc=unix:PATH for viewers (a number below 100 is that of a display: vnc=:0 is "
                 "127.0.0.1:5900; auto: any port that is free, which is told), or none (default none). Settings: password-file=FILE, tls=on, cert=FILE,key=FILE, ca=FILE, user=NAME")
      ->type_name("DISPLAY");
  app.add_option("--isa-debug-exit", o.isa_debug_exit, "A guest's write of V to this port ends the VM, status (V << 1) | 1")
      ->type_name("PORT");
  app.add_option("--qmp", o.qmp, "Monitor: QMP on a unix socket, unix:PATH")->type_name("ADDR");
  app.add_option("--gdb", o.gdb,
                 "Debugger: tcp::PORT (on 127.0.0.1), tcp:HOST:PORT or unix:PATH; with ',wait' behind it the guest "
                 "does not start before gdb lets it")
      ->type_name("ADDR");
  app.add_option("--debug", o.debug, fmt::format("Log of a category, or a means to find errors: {}", fmt::join(debug_choices(), ", ")))
      ->type_name("CATEGORY,...");
  app.add_flag("-v,--verbose", o.verbose, "Say what executes the guest, and why; the same as --debug accel");
}

void add_restore_options(CLI::App& app, RunOptions& o) {
  app.add_option("--restore", o.restore, "Go on with the VM in this file of 'skerry save', instead of starting one")
      ->type_name("FILE");
  app.add_flag("--no-verify", o.no_verify, "Do not look for damage of the memory in the file of --restore first");
}

std::vector<std::string> given_options(const CLI::App& app) {
  std::vector<std::string> given;
  for (const CLI::Option* option : app.get_options())
    if (option->count() > 0) given.push_back(option->get_name(false, false));
  return given;
}

Result<RunPlan> plan_of(const CLI::App& app, const RunOptions& options) {
  const std::vector<std::string> given = given_options(app);
  if (std::find(given.begin(), given.end(), "--restore") != given.end()) return lower_restored(options, given);
  if (options.no_verify) return error("--no-verify: is for --restore; leave it out");
  return lower(options);
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  CLI::App* run = app.add_subcommand("run", "Run a virtual machine in this terminal");
  const auto options = std::make_shared<RunOptions>();
  add_disk_options(*run, *options);
  add_network_options(*run, *options);
  add_share_option(*run, *options);
  add_guest_options(*run, *options);
  add_machine_options(*run, *options);
  add_host_options(*run, *options);
  add_restore_options(*run, *options);
  run->set_help_flag("-h,--help", "Print this help");
  run->footer(footer());
  run->callback([options, run, &action] {
    action = [options, run] {
      const auto plan = plan_of(*run, *options);
      if (!plan) {
        log::failure("{}", plan.error().message());
        return static_cast<int>(kExitBadInput);
      }
      return launch(*plan);
    };
  });
}

}  // namespace skerry::cli
