// Hostile drivers of GPU, keyboard and tablet. tests/fuzz/virtio_gpu/run gives it longer.
#include <stdlib.h>

#include <chrono>
#include <cstdio>
#include <set>

#include "unit/virtio/gpu_rig.hpp"
#include "virtio/keyboard.hpp"
#include "virtio/tablet.hpp"

namespace skerry::virtio::test {
namespace {

using namespace gpu;

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = ::getenv(name);
  return text ? ::strtoull(text, nullptr, 10) : otherwise;
}

// For so long, from one seed, which is printed.
template <typename Round>
void fuzz(Round round) {
  const uint64_t seed = from_environment("SKERRY_SEED", std::random_device{}());
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(from_environment("SKERRY_FUZZ_MS", 500));
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  SCOPED_TRACE(fmt::format("SKERRY_SEED={}", seed));
  std::mt19937_64 random(seed);
  uint64_t rounds = 0;
  do round(random);
  while (++rounds && std::chrono::steady_clock::now() < end && !testing::Test::HasFailure());
  std::printf("%llu rounds\n", static_cast<unsigned long long>(rounds));
}

class Commands {
 public:
  explicit Commands(std::mt19937_64& random) : random_(random) {}

  // A command that may be as it should be, but for a word of it now and then.
  Bytes next() {
    Bytes command = well_formed();
    if (random_() % 8 == 0) command[random_() % command.size()] = static_cast<uint8_t>(random_());
    if (random_() % 32 == 0) command.resize(random_() % command.size());
    return command;
  }

 private:
  uint32_t number() {
    switch (random_() % 8) {
      case 0: return static_cast<uint32_t>(random_());
      case 1: return static_cast<uint32_t>(random_() % 20000);
      case 2: return 64;
      default: return static_cast<uint32_t>(random_() % 100);
    }
  }
  Rect rect() { return random_() % 2 ? Rect{0, 0, number(), number()} : Rect{number(), number(), number(), number()}; }
  uint32_t id() { return static_cast<uint32_t>(random_() % 6); }
  uint32_t format() {
    constexpr uint32_t kFormats[] = {1, 2, 3, 4, 67, 68, 121, 134, 5};
    return kFormats[random_() % std::size(kFormats)];
  }
  Bytes well_formed() {
    Header header{};
    header.type = static_cast<uint32_t>(random_() % 4 ? 0x100 + random_() % 12 : 0x300 + random_() % 3);
    header.flags = static_cast<uint32_t>(random_() % 2);
    header.fence_id = random_();
    switch (header.type) {
      case VIRTIO_GPU_CMD_RESOURCE_CREATE_2D: return bytes_of_value(ResourceCreate2d{header, id(), format(), number(), number()});
      case VIRTIO_GPU_CMD_SET_SCANOUT: return bytes_of_value(SetScanout{header, rect(), static_cast<uint32_t>(random_() % 16 == 0), id()});
      case VIRTIO_GPU_CMD_RESOURCE_FLUSH: return bytes_of_value(ResourceFlush{header, rect(), id(), 0});
      case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D:
        return bytes_of_value(TransferToHost2d{header, rect(), random_() % 4 ? 0 : random_() >> random_() % 60, id(), 0});
      case VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING: return attach(header);
      case VIRTIO_GPU_CMD_UPDATE_CURSOR:
      case VIRTIO_GPU_CMD_MOVE_CURSOR: return bytes_of_value(UpdateCursor{header, {0, number(), number(), 0}, id(), number(), number(), 0});
      default: return bytes_of_value(OfResource{header, id(), 0});
    }
  }
  Bytes attach(const Header& header) {
    const auto count = static_cast<uint32_t>(random_() % 6);
    Bytes command = bytes_of_value(ResourceAttachBacking{header, id(), random_() % 8 ? count : number()});
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t address = random_() % 8 ? random_() % (8 << 20) : random_() >> random_() % 64;
      const auto length = static_cast<uint32_t>(random_() % 8 ? random_() % (4 << 20) : random_());
      const Bytes entry = bytes_of_value(MemEntry{address, length, 0});
      command.insert(command.end(), entry.begin(), entry.end());
    }
    return command;
  }

  std::mt19937_64& random_;
};

bool is_answer(Answer answer) {
  return (answer >= VIRTIO_GPU_RESP_OK_NODATA && answer <= VIRTIO_GPU_RESP_OK_EDID) ||
         (answer >= VIRTIO_GPU_RESP_ERR_UNSPEC && answer <= VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
}

// Every command is answered, whatever it is, and the state that it leads to is saved and loaded.
void round_of_commands(std::mt19937_64& random) {
  GpuRig rig(random() % 4 ? VIRTIO_GPU_F_EDID : 0);
  Commands commands(random);
  const Gpa at = rig.guest.allocate(4096);
  for (unsigned step = 0; step < 100; ++step) {
    const Bytes command = commands.next();
    if (command.empty()) continue;
    rig.guest.memory.write(at, std::as_bytes(std::span(command)));
    const unsigned queue = command.size() > 1 && command[1] == 3 ? 1 : 0;
    rig.driver.ring(queue).add({{at, static_cast<uint32_t>(command.size())}}, {rig.answer_room});
    rig.driver.notify(queue);
    if (random() % 16 == 0) rig.screen->ask_for_size({static_cast<uint32_t>(random() % 9000), static_cast<uint32_t>(random() % 9000)});
    if (random() % 16 == 0) {
      rig.gpu->quiesce([] {});
      rig.gpu->resume();
      rig.driver.notify(0);
    }
    std::optional<Bytes> answer = rig.take(queue);
    for (int i = 0; i < 1000 && !answer; ++i) {
      rig.loop->poll(0);
      answer = rig.take(queue);
    }
    ASSERT_TRUE(answer) << "there is no answer";
    ASSERT_TRUE(is_answer(GpuRig::type_of(*answer))) << static_cast<uint32_t>(GpuRig::type_of(*answer));
  }
  EXPECT_EQ(rig.driver.transport.why, "");
  rig.gpu->quiesce([] {});
  AsBusDevice device(*rig.gpu);
  const auto saved = skerry::test::save(device);
  ASSERT_TRUE(skerry::test::load(device, saved));
  EXPECT_EQ(skerry::test::save(device), saved);
  rig.gpu->show();
}

TEST(GpuFuzz, CommandsOfAnyKindAreAnswered) { fuzz(round_of_commands); }

TEST(GpuFuzz, RandomRingsAreSurvived) {
  fuzz([](std::mt19937_64& random) {
    Guest guest(4 << 20);
    TurnedLoop loop;
    const auto screen = *display::Screen::create({8, 8});
    switch (random() % 3) {
      case 0: {
        const auto gpu = *Gpu::create("gpu0", *loop.loop, guest.memory, *screen);
        return expect_random_rings_are_survived(*gpu, guest, loop, random, [&] { screen->ask_for_size({800, 600}); });
      }
      case 1: {
        Keyboard keyboard({"keyboard0", *loop.loop, guest.memory, {}});
        return expect_random_rings_are_survived(keyboard, guest, loop, random, [&] {
          keyboard.key(static_cast<display::KeyCode>(1 + random() % 100), random() % 2);
          keyboard.write_config(0, bytes_of_value(static_cast<uint16_t>(random())));
          Bytes config(136);
          keyboard.read_config(0, config);
        });
      }
      default: {
        Tablet tablet({"tablet0", *loop.loop, guest.memory, {}});
        return expect_random_rings_are_survived(tablet, guest, loop, random, [&] {
          tablet.pointer_absolute(static_cast<uint16_t>(random()), static_cast<uint16_t>(random()), {});
          tablet.wheel(static_cast<int32_t>(random()), static_cast<int32_t>(random()), {});
        });
      }
    }
  });
}

}  // namespace
}  // namespace skerry::virtio::test
