// The small disk on which cloud-init of the guest finds what it is told: an ISO 9660 image of the volume "cidata" with the
// files of cloud-init's NoCloud data source.
#pragma once

#include <cstdint>
#include <vector>

#include "config/vm_config.hpp"

namespace skerry::machine {

// The image, a whole number of 2048-byte sectors; the same content gives the same bytes anywhere and at any time. Of a
// valid description, so its size is bounded. It has user-data, meta-data, and network-config if there is one, with their
// names in Rock Ridge and in Joliet. Meta-data without an instance-id gets one made from the content, so that cloud-init
// takes a changed seed for a new instance and does its work again.
std::vector<uint8_t> make_nocloud_seed(const config::CloudInit& content);

}  // namespace skerry::machine
