// The checks, each from the host to what it found; nothing where it does not apply to this host. The table of them is
// in checks.cpp.
#pragma once

#include <optional>

#include "doctor/check.hpp"
#include "doctor/host.hpp"

namespace skerry::doctor {

// skerry_checks.cpp: what Skerry cannot do without
std::optional<Finding> check_programs(const Host& host);
std::optional<Finding> check_translator(const Host& host);
std::optional<Finding> check_seccomp(const Host& host);
std::optional<Finding> check_namespaces(const Host& host);
std::optional<Finding> check_seabios(const Host& host);
std::optional<Finding> check_ovmf(const Host& host);

// processor_checks.cpp
std::optional<Finding> check_processor_model(const Host& host);
std::optional<Finding> check_virtualization(const Host& host);
std::optional<Finding> check_hypervisor(const Host& host);
std::optional<Finding> check_clock_source(const Host& host);
std::optional<Finding> check_vulnerabilities(const Host& host);

// kvm_checks.cpp
std::optional<Finding> check_kvm_modules(const Host& host);
std::optional<Finding> check_kvm_device(const Host& host);
std::optional<Finding> check_kvm_api(const Host& host);
std::optional<Finding> check_kvm_vm(const Host& host);
std::optional<Finding> check_kvm_paging(const Host& host);
std::optional<Finding> check_kvm_nesting(const Host& host);
std::optional<Finding> check_kvm_capabilities(const Host& host);

// memory_checks.cpp
std::optional<Finding> check_free_memory(const Host& host);
std::optional<Finding> check_overcommit(const Host& host);
std::optional<Finding> check_transparent_pages(const Host& host);
std::optional<Finding> check_huge_pages_2m(const Host& host);
std::optional<Finding> check_huge_pages_1g(const Host& host);
std::optional<Finding> check_ksm(const Host& host);
std::optional<Finding> check_userfaultfd(const Host& host);

// storage_checks.cpp
std::optional<Finding> check_io_uring(const Host& host);
std::optional<Finding> check_open_files(const Host& host);

// network_checks.cpp
std::optional<Finding> check_tun(const Host& host);
std::optional<Finding> check_vhost_net(const Host& host);
std::optional<Finding> check_vhost_vsock(const Host& host);
std::optional<Finding> check_bridges(const Host& host);
std::optional<Finding> check_bridge_filter(const Host& host);
std::optional<Finding> check_forwarding(const Host& host);
std::optional<Finding> check_dnsmasq(const Host& host);

// firewall_check.cpp
std::optional<Finding> check_firewall(const Host& host);

// device_checks.cpp
std::optional<Finding> check_iommu(const Host& host);
std::optional<Finding> check_vfio(const Host& host);
std::optional<Finding> check_swtpm(const Host& host);

// cgroup_checks.cpp
std::optional<Finding> check_cgroup(const Host& host);

}  // namespace skerry::doctor
