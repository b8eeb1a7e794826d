#include "accel/kvm/capabilities.hpp"

#include "accel/kvm/linux_kvm.hpp"

namespace skerry::accel::kvm {

namespace {

using Need = Capability::Need;
using From = Capability::From;

constexpr Capability kCapabilities[] = {
    {KVM_CAP_USER_MEMORY, "USER_MEMORY", Need::kRequired, "a guest can be given no memory"},
    {KVM_CAP_NR_MEMSLOTS, "NR_MEMSLOTS", Need::kRequired, "memory, firmware and devices' memory do not fit",
     From::kKernel, 32},
    {KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "DESTROY_MEMORY_REGION_WORKS", Need::kRequired, "memory cannot be taken away again"},
    {KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, "JOIN_MEMORY_REGIONS_WORKS", Need::kRequired, "memory cannot be replaced by other memory"},
    {KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR", Need::kRequired, "Intel processors of before 2010 have no real mode for guests"},
    {KVM_CAP_USER_NMI, "USER_NMI", Need::kRequired, "there are no NMIs"},
    {KVM_CAP_READONLY_MEM, "READONLY_MEM", Need::kRequired, "firmware has no memory that a guest cannot write to"},
    {KVM_CAP_NR_VCPUS, "NR_VCPUS", Need::kUseful, "the kernel recommends no number of vCPUs"},
    {KVM_CAP_MAX_VCPUS, "MAX_VCPUS", Need::kUseful, "a guest has fewer vCPUs than Skerry could give it"},
    {KVM_CAP_EXT_CPUID, "EXT_CPUID", Need::kRequired, "what CPUID tells a guest cannot be set"},
    {KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT", Need::kRequired, "a vCPU cannot be stopped without a race"},
    {KVM_CAP_MP_STATE, "MP_STATE", Need::kRequired, "vCPUs that wait cannot be started, saved and restored"},
    {KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS", Need::kRequired, "pending exceptions and NMIs are lost by save and restore"},
    {KVM_CAP_DEBUGREGS, "DEBUGREGS", Need::kRequired, "debug registers are lost by save and restore"},
    {KVM_CAP_XSAVE, "XSAVE", Need::kRequired, "vector registers are lost by save and restore"},
    {KVM_CAP_XCRS, "XCRS", Need::kRequired, "which vector registers are in use is lost by save and restore"},
    {KVM_CAP_XSAVE2, "XSAVE2", Need::kUseful, "guests have no AMX: its registers could not be saved"},
    {KVM_CAP_SREGS2, "SREGS2", Need::kUseful, "the page pointers of 32-bit PAE guests are read anew at a restore"},
    {KVM_CAP_IRQCHIP, "IRQCHIP", Need::kUseful, "the kernel has no interrupt controllers for guests; Skerry has"},
    {KVM_CAP_SPLIT_IRQCHIP, "SPLIT_IRQCHIP", Need::kUseful,
     "local APICs are Skerry's and not the kernel's: timers and messages between vCPUs cost more"},
    {KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING", Need::kUseful, "local APICs are Skerry's and not the kernel's"},
    {KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI", Need::kUseful, "local APICs are Skerry's and not the kernel's"},
    {KVM_CAP_IRQFD, "IRQFD", Need::kUseful, "interrupts of devices have to be sent by a call; no vhost"},
    {KVM_CAP_IOEVENTFD, "IOEVENTFD", Need::kUseful, "a vCPU stands still while a device is told of work; no vhost"},
    {KVM_CAP_X2APIC_API, "X2APIC_API", Need::kUseful, "interrupts reach no APIC ID above 254"},
    {KVM_CAP_TSC_DEADLINE_TIMER, "TSC_DEADLINE_TIMER", Need::kUseful, "guests' timers cost more exits"},
    {KVM_CAP_GET_TSC_KHZ, "GET_TSC_KHZ", Need::kUseful, "a guest cannot be told the rate of its TSC exactly"},
    {KVM_CAP_TSC_CONTROL, "TSC_CONTROL", Need::kUseful,
     "a guest restored on a host whose TSC has another rate keeps wrong time", From::kProcessor},
    {KVM_CAP_VCPU_ATTRIBUTES, "VCPU_ATTRIBUTES", Need::kRequired, "the time-stamp counter cannot be set exactly"},
    {KVM_CAP_ADJUST_CLOCK, "ADJUST_CLOCK", Need::kUseful, "a guest's kvm-clock jumps at a restore"},
    {KVM_CAP_X86_USER_SPACE_MSR, "X86_USER_SPACE_MSR", Need::kRequired,
     "the MSRs of Skerry's own devices do not come to them"},
    {KVM_CAP_X86_MSR_FILTER, "X86_MSR_FILTER", Need::kRequired, "the MSRs of Skerry's own devices do not come to them"},
    {KVM_CAP_EXIT_ON_EMULATION_FAILURE, "EXIT_ON_EMULATION_FAILURE", Need::kUseful,
     "an instruction that KVM cannot emulate raises #UD in a program of the guest and is not reported"},
    {KVM_CAP_DIRTY_LOG_RING, "DIRTY_LOG_RING", Need::kUseful,
     "pages that a guest writes are found by bitmaps, which is slower"},
    {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, "MANUAL_DIRTY_LOG_PROTECT2", Need::kUseful,
     "looking for written pages stops the vCPUs longer"},
    {KVM_CAP_SET_GUEST_DEBUG, "SET_GUEST_DEBUG", Need::kUseful, "no breakpoints by --gdb"},
    {KVM_CAP_NESTED_STATE, "NESTED_STATE", Need::kUseful, "a guest that runs VMs itself cannot be saved",
     From::kProcessor},
};

}  // namespace

std::span<const Capability> capabilities() { return kCapabilities; }

}  // namespace skerry::accel::kvm
