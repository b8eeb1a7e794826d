// What --disk, --cdrom, --net and --share are lowered to. Messages come without the option's name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "config/vm_config.hpp"

namespace skerry::cli {

struct DiskOption {
  config::Disk disk;
  bool format_given = false;
};
// "FILE[,format=raw][,readonly=on][,cache=MODE][,serial=S][,bus=BUS]".
Result<DiskOption> parse_disk(std::string_view text);
// "FILE[,bus=BUS]": of FILE only such an end is no part of the name.
Result<DiskOption> parse_cdrom(std::string_view text);

// "user[,hostfwd=...]...", "tap=NAME", "tap-fd=N", "bridge=NAME", "socket=PATH[,listen=on]", each with settings; nothing
// for "none".
Result<std::optional<config::Nic>> parse_net(std::string_view text);

// "DIR[,tag=TAG][,readonly=on]". DIR is there; without a tag it is the last part of its name.
Result<config::Share> parse_share(std::string_view text);

// That the image is there, is a file or a block device, is not empty, and may be read, and written unless it is
// read-only; and that an image of a format with a header is not taken for a raw one. Opens nothing for writing.
Result<void> check_image(const DiskOption& option);
// That no two of these are one file, under whatever names, of which one may be written to.
Result<void> check_images_differ(const std::vector<config::Disk>& disks);
// That the descriptor of a tap is open.
Result<void> check_tap_descriptor(int fd);

// "hda" or "none".
Result<config::Sound> parse_sound(std::string_view text);

// "reset", "poweroff", "pause" or "none".
Result<config::WatchdogAction> parse_watchdog(std::string_view text);

// A VM's name made of an image's: "/srv/debian 12.img" becomes "debian-12".
std::string name_of_image(std::string_view path);

}  // namespace skerry::cli
