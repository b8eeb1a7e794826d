// A machine with a kernel of a few instructions, to be saved and restored.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>

#include "machine/machine.hpp"
#include "migrate/restore.hpp"
#include "migrate/save.hpp"
#include "state/stream.hpp"
#include "unit/machine/kernel_images.hpp"

namespace skerry::migrate::test {

using machine::Machine;

class Silent final : public chardev::Chardev {
 public:
  void connect(chardev::Frontend) override {}
  Result<void> start(EventLoop&) override { return ok(); }
  size_t write(std::span<const uint8_t> bytes) override { return bytes.size(); }
  void receive_ready() override {}
  void flush(int) override {}
};

// Counts at kCounter for ever: 1: incl (kCounter); jmp 1b.
constexpr uint64_t kCounter = 0x180000;
inline machine::test::Bytes counting_kernel() {
  machine::test::Bytes bytes = machine::test::flat();
  constexpr uint8_t kCode[] = {0xff, 0x05, 0x00, 0x00, 0x18, 0x00, 0xeb, 0xf8};
  std::copy(std::begin(kCode), std::end(kCode), &bytes[0x80]);
  return bytes;
}

inline config::VmConfig config_of(unsigned vcpus = 1, uint64_t memory = 16 * MiB) {
  config::VmConfig config;
  config.accelerator = "interpreter";
  config.vcpus = vcpus;
  config.tsc_hz = 2'000'000'000;  // what is measured may differ a little between two machines
  config.memory = memory;
  config.kernel.path = "test.img";
  return config;
}

struct Rig {
  explicit Rig(const config::VmConfig& description = config_of()) : config(description) {
    auto made = Machine::create(config, machine::test::boot_files(counting_kernel()), {*loop, *io, console, backends}, {
        .guest = {[] {}, [] {}, [](uint8_t) {}}, .triple_fault = [](unsigned) {}, .debug_stop = [](unsigned, accel::Exit) {}});
    if (!made) throw std::runtime_error(made.error().message());
    machine = std::move(*made);
  }
  void start() {
    if (auto good = machine->reset(); !good) throw std::runtime_error(good.error().message());
    machine->start_threads();
  }
  uint32_t counter() const { return machine->memory().load<uint32_t>(kCounter).value(); }
  // Until the guest has counted on.
  void run_a_little() {
    const uint32_t before = counter();
    machine->run();
    while (counter() - before < 1000) std::this_thread::yield();
    machine->pause();
  }
  std::vector<uint8_t> state() {
    state::Saver saver;
    machine->describe(saver);
    return saver.data();
  }

  const config::VmConfig config;
  VmClock clock;
  std::unique_ptr<EventLoop> loop = EventLoop::create(clock).value();
  std::unique_ptr<IoThread> io = IoThread::create(clock, "io").value();
  machine::Backends backends;
  Silent console;
  std::unique_ptr<Machine> machine;
};

inline UniqueFd new_file() { return UniqueFd(::memfd_create("state", MFD_CLOEXEC)); }
inline UniqueFd same_file(const UniqueFd& file) { return UniqueFd(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0)); }

inline Result<UniqueFd> save(Rig& rig) {
  UniqueFd file = new_file();
  auto task = SaveTask::start(*rig.machine, rig.config, same_file(file));
  if (!task) return std::move(task).error();
  for (;;) {
    auto done = (*task)->step();
    if (!done) return std::move(done).error();
    if (*done) return file;
  }
}

inline Result<void> restore(Rig& rig, const UniqueFd& file, Verify verify = Verify::kYes) {
  auto opened = StateFile::open("test.state", same_file(file));
  if (!opened) return std::move(opened).error();
  return migrate::restore(*rig.machine, rig.config, *opened, verify);
}

// Why not, or "".
inline std::string complaint(Rig& rig, const UniqueFd& file, Verify verify = Verify::kYes) {
  const auto result = restore(rig, file, verify);
  return result ? "" : result.error().message();
}

inline uint64_t number_from(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 0) : otherwise;
}

}  // namespace skerry::migrate::test
