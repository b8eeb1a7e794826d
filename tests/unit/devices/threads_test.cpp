// Devices under several vCPU threads, their event loop running: for the thread sanitizer, and for deadlocks.
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "devices/acpi_pm.hpp"
#include "devices/hpet.hpp"
#include "devices/rtc_cmos.hpp"
#include "devices/serial_16550.hpp"
#include "unit/devices/fakes.hpp"

namespace skerry::devices {
namespace {

struct AtomicSink final : bus::IrqSink {
  std::atomic<unsigned> calls{0};
  void set_irq(unsigned, bool) override { ++calls; }
};

TEST(Threads, RegistersTimersAndStreamsTogether) {
  VmClock clock;
  auto loop = EventLoop::create(clock).value();
  AtomicSink sink;
  bus::AddressSpace pio("port"), mmio("memory");
  const std::string path = testing::TempDir() + "skerry-threads-test-" + std::to_string(::getpid());
  auto console = chardev::open_chardev({chardev::Kind::kFile, path}).value();
  {
    Serial16550 serial("serial0", {sink, 4}, *loop, *console);
    RtcCmos rtc({sink, 8}, *loop);
    Hpet hpet(*loop, {.irqs = &sink, .int_route_cap = 0xf00000});
    AcpiPm pm({sink, 9}, *loop, {.power_off = [] {}, .reset = [] {}});
    ASSERT_TRUE(serial.attach(pio, 0x3f8) && rtc.attach(pio) && pm.attach(pio) && hpet.attach(mmio));
    ASSERT_TRUE(console->start(*loop));

    std::thread io([&] { loop->run(); });
    std::vector<std::thread> vcpus;
    for (uint64_t vcpu = 0; vcpu < 3; ++vcpu)
      vcpus.emplace_back([&, vcpu] {
        std::mt19937_64 random(vcpu);
        constexpr std::array<uint16_t, 6> kPorts = {0x3f8, 0x3f8, 0x70, 0x600, 0x608, 0x620};
        for (int i = 0; i < 20'000; ++i) {
          const uint16_t port = static_cast<uint16_t>(kPorts[random() % 6] + random() % 2);
          random() & 1 ? static_cast<void>(pio.read(port, 1)) : pio.write(port, 1, random());
          if (i % 4 == 0) mmio.write(Hpet::kBase + random() % 0x160 / 8 * 8, 8, random() >> random() % 64);
          if (i % 1000 == 0) pm.press_power_button();
        }
      });
    for (auto& vcpu : vcpus) vcpu.join();
    loop->quit();
    io.join();
    console->flush(1000);
  }
  EXPECT_GT(sink.calls, 0u);
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace skerry::devices
