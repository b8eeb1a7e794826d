// State files that are truncated, changed, or of something else: each is refused with a reason, or restores what was saved.
#include <gmock/gmock.h>
#include <unistd.h>

#include "migrate/compatibility.hpp"
#include "migrate/crc32c.hpp"
#include "unit/migrate/machine_rig.hpp"

namespace skerry::migrate::test {
namespace {

using ::testing::HasSubstr;

std::vector<std::byte> content_of(const UniqueFd& file) {
  std::vector<std::byte> bytes(static_cast<size_t>(::lseek(file.get(), 0, SEEK_END)));
  EXPECT_EQ(::pread(file.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return bytes;
}

UniqueFd file_of(std::span<const std::byte> bytes) {
  UniqueFd file = new_file();
  EXPECT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  return file;
}

class Damage : public ::testing::Test {
 protected:
  void SetUp() override {
    Rig rig(config);
    rig.start();
    rig.run_a_little();
    auto file = save(rig);
    ASSERT_TRUE(file) << file.error().message();
    good = content_of(*file);
    auto opened = StateFile::open("good", std::move(*file));
    ASSERT_TRUE(opened) << opened.error().message();
    for (size_t i = 0; i < kPartCount; ++i) layout.parts[i] = opened->place(static_cast<Part>(i));
  }
  std::string complaint_about(std::span<const std::byte> bytes) {
    const auto opened = StateFile::open("test.state", file_of(bytes));
    if (!opened) return opened.error().message();  // without the expense of a machine
    Rig rig(config);
    const auto result = migrate::restore(*rig.machine, rig.config, *opened, Verify::kYes);
    return result ? "" : result.error().message();
  }
  // As an attacker would: with checksums that are right.
  void seal(std::vector<std::byte>& bytes) {
    for (size_t i = 0; i + 1 < kPartCount; ++i)
      layout.parts[i].crc = crc32c(0, std::span(bytes).subspan(layout.parts[i].offset, layout.parts[i].length));
    const auto header = layout.header();
    std::copy(header.begin(), header.end(), bytes.begin());
  }

  const config::VmConfig config = config_of(1, 2 * MiB);
  std::vector<std::byte> good;
  FileLayout layout;
};

TEST_F(Damage, ThereIsNoneInAGoodFile) { EXPECT_EQ(complaint_about(good), ""); }

TEST_F(Damage, ATruncatedFileIsRefused) {
  for (const size_t size : {size_t{0}, size_t{7}, size_t{8}, size_t{4095}})
    EXPECT_NE(complaint_about(std::span(good).first(size)), "") << size;
  for (const size_t size : {size_t{4096}, good.size() / 2, good.size() - 4096, good.size() - 1})
    EXPECT_THAT(complaint_about(std::span(good).first(size)), HasSubstr("truncated")) << size;
}

TEST_F(Damage, SomethingBehindTheEndIsRefused) {
  auto longer = good;
  longer.push_back(std::byte{0});
  EXPECT_THAT(complaint_about(longer), HasSubstr("something follows its end"));
}

TEST_F(Damage, AnotherFileIsRefused) {
  std::vector<std::byte> other(8192, std::byte{'x'});
  EXPECT_THAT(complaint_about(other), HasSubstr("is not a state file"));
}

TEST_F(Damage, AnotherVersionIsNamed) {
  auto newer = good;
  newer[8] = std::byte{2};
  EXPECT_THAT(complaint_about(newer), HasSubstr("its format is version 2; this program reads version 1"));
}

// Every byte of the front, and samples of the memory: where it is stored, and where it is a hole.
TEST_F(Damage, EveryFlippedBitIsFound) {
  const uint64_t seed = number_from("SKERRY_SEED", std::random_device{}());
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  std::vector<size_t> places;
  for (int i = 0; i < 60; ++i) places.push_back(random() % good.size());
  for (int i = 0; i < 60; ++i) places.push_back(random() % layout[Part::kMemory].offset);
  for (const auto& part : layout.parts) {
    places.push_back(part.offset);
    places.push_back(part.offset + part.length - 1);
    if (part.length % kBlock) places.push_back(part.offset + part.length);
  }
  for (const size_t at : places) {
    auto changed = good;
    changed[at] ^= static_cast<std::byte>(1 << random() % 8);
    EXPECT_NE(complaint_about(changed), "") << "byte " << at;
  }
}

TEST_F(Damage, OfMemoryIsNamedByItsAddress) {
  auto changed = good;
  changed[layout[Part::kMemory].offset + 0x1000] ^= std::byte{1};
  EXPECT_THAT(complaint_about(changed), HasSubstr("the checksum of guest memory 0x0-"));
  Rig rig(config);
  EXPECT_EQ(complaint(rig, file_of(changed), Verify::kNo), "") << "without looking it is not found";
}

TEST_F(Damage, ADeviceOfAnotherNameIsNamed) {
  auto changed = good;
  const auto state = std::span(changed).subspan(layout[Part::kState].offset, layout[Part::kState].length);
  const std::string_view text(reinterpret_cast<const char*>(state.data()), state.size());
  for (size_t at = text.find("i8042"); at != text.npos; at = text.find("i8042", at + 1)) state[at] = std::byte{'j'};
  seal(changed);
  EXPECT_THAT(complaint_about(changed), HasSubstr("it has a device 'j8042', which this machine has not"));
}

TEST_F(Damage, ControlBitsThatTheProcessorHasNotAreRefused) {
  auto changed = good;
  const auto state = std::span(changed).subspan(layout[Part::kState].offset, layout[Part::kState].length);
  const std::string_view text(reinterpret_cast<const char*>(state.data()), state.size());
  const size_t at = text.find(std::string("s\x03" "cr4\x08", 6));
  ASSERT_NE(at, text.npos);
  state[at + 6 + 1] |= std::byte{0x20};  // CR4.VMXE, bit 13
  seal(changed);
  EXPECT_THAT(complaint_about(changed), HasSubstr("vCPU 0 has control bits set"));
}

// The state stream of an attacker: refused, or the machine goes on safely for a while. tests/fuzz/state runs this longer.
TEST_F(Damage, FuzzedStateIsRefusedOrRunsSafely) {
  const uint64_t seed = number_from("SKERRY_SEED", std::random_device{}());
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(number_from("SKERRY_FUZZ_MS", 500));
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  uint64_t rounds = 0, restored = 0;
  for (; std::chrono::steady_clock::now() < end && !HasFailure(); ++rounds) {
    auto changed = good;
    const Part parts[] = {Part::kState, Part::kState, Part::kState, Part::kMachine, Part::kPages, Part::kConfig};
    const PartPlace& part = layout[parts[random() % std::size(parts)]];
    const auto bytes = std::span(changed).subspan(part.offset, part.length);
    for (uint64_t n = random() % 4 + 1; n > 0; --n) {
      const size_t at = random() % bytes.size();
      if (random() % 4)
        bytes[at] = static_cast<std::byte>(random());
      else  // spliced from elsewhere
        std::copy_n(good.begin() + static_cast<ptrdiff_t>(random() % (good.size() - 64)),
                    std::min<size_t>(64, bytes.size() - at), bytes.begin() + static_cast<ptrdiff_t>(at));
    }
    seal(changed);
    Rig rig(config);
    const std::string why = complaint(rig, file_of(changed), random() % 2 ? Verify::kYes : Verify::kNo);
    EXPECT_EQ(why.find('\n'), why.npos) << why;
    EXPECT_LT(why.size(), 600u) << why;
    if (!why.empty()) continue;
    ++restored;
    for (int i = 0; i < 50; ++i) (void)rig.machine->vcpu(0).vcpu().step();
    rig.loop->poll(0);
    EXPECT_TRUE(save(rig));
  }
  fmt::print("seed {}, {} rounds, {} of them restored\n", seed, rounds, restored);
}

MachineFacts facts() { return {"bt", "GenuineIntel", 1, {"sse2", "avx2"}, 2'000'000'000, 1}; }

TEST(Compatibility, MoreFeaturesAndAnotherAcceleratorAreFine) {
  MachineFacts here = facts();
  here.accelerator = "interpreter";
  here.cpu_features.push_back("sha_ni");
  EXPECT_TRUE(check_compatible(facts(), here));
}

TEST(Compatibility, MissingFeaturesAnotherVendorAndAnotherTscAreNamed) {
  MachineFacts here = facts();
  here.cpu_features = {"sse2"};
  EXPECT_THAT(check_compatible(facts(), here).error().message(), HasSubstr("avx2"));
  here = facts();
  here.cpu_vendor = "AuthenticAMD";
  EXPECT_THAT(check_compatible(facts(), here).error().message(), HasSubstr("AuthenticAMD"));
  here = facts();
  here.tsc_hz = 3'000'000'000;
  EXPECT_THAT(check_compatible(facts(), here).error().message(), HasSubstr("2000000000 Hz"));
}

}  // namespace
}  // namespace skerry::migrate::test
