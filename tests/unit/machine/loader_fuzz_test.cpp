// Hostile kernels: known good ones, changed. Whatever comes, a loader loads it or refuses it in one line.
//
// tests/fuzz/loaders/run calls this with more rounds; by itself it is a short run.
#include <gmock/gmock.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>

#include "unit/machine/kernel_images.hpp"

namespace skerry::machine::test {
namespace {

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = ::getenv(variable);
  return text && *text ? ::strtoull(text, nullptr, 0) : otherwise;
}

// Real kernels, if scripts/fetch-kernel has got some: $SKERRY_GUESTS, or build/guests beside this program's bin.
std::vector<std::filesystem::path> real_kernels() {
  const char* guests = ::getenv("SKERRY_GUESTS");
  const std::filesystem::path folder =
      guests ? std::filesystem::path(guests)
             : std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "guests";
  std::vector<std::filesystem::path> kernels;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none))
    if (std::filesystem::exists(entry.path() / "vmlinuz")) kernels.push_back(entry.path() / "vmlinuz");
  return kernels;
}

Bytes content_of(const std::filesystem::path& path, size_t max = ~size_t{0}) {
  std::ifstream stream(path, std::ios::binary);
  Bytes bytes(std::min<size_t>(std::filesystem::file_size(path), max));
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

// Headers are where it hurts: most changes go there.
void change(Bytes& bytes, std::mt19937_64& random) {
  constexpr uint64_t kTelling[] = {0,
                                   1,
                                   0x7f,
                                   0x80,
                                   0xff,
                                   0xffff,
                                   0x10000,
                                   0x7fffffff,
                                   0x80000000,
                                   0xffffffff,
                                   0x100000000,
                                   ~uint64_t{0},
                                   ~uint64_t{0} >> 1,
                                   0x100000,
                                   0xfffff000};
  const size_t reach = random() % 4 ? std::min<size_t>(bytes.size(), 0x280) : bytes.size();
  const size_t at = random() % reach;
  switch (random() % 4) {
    case 0:
      bytes[at] = static_cast<uint8_t>(random());
      break;
    case 1:
      bytes[at] ^= static_cast<uint8_t>(1u << random() % 8);
      break;
    case 2: {
      const uint64_t value = kTelling[random() % std::size(kTelling)] + random() % 3 - 1;
      const size_t size = std::min<size_t>(size_t{1} << random() % 4, bytes.size() - at);
      std::memcpy(&bytes[at], &value, size);
      break;
    }
    default:
      if (bytes.size() > 1) bytes.resize(1 + random() % bytes.size());
      break;
  }
}

void expect_loaded_or_refused(const Bytes& kernel, const Bytes& initrd) {
  Ram ram(32 * MiB);
  BootFiles files = boot_files(kernel);
  if (!initrd.empty()) files.modules.push_back({file_of(initrd, "initrd", "ird"), ""});
  auto loaded = ram.load(files, "console=ttyS0");
  if (loaded) {
    EXPECT_TRUE(ram.memory.page(loaded->entry.gdt).host);
    EXPECT_LT(loaded->entry.rip, 4 * GiB);
  } else {
    EXPECT_EQ(loaded.error().message().find('\n'), std::string::npos) << why(loaded);
    EXPECT_LT(loaded.error().message().size(), 400u) << why(loaded);
  }
}

TEST(LoaderFuzz, ChangedKernelsAreLoadedOrRefused) {
  const uint64_t seed = number_from("SKERRY_SEED", std::random_device{}());
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(number_from("SKERRY_FUZZ_MS", 500));
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const char* corpus = ::getenv("SKERRY_CORPUS");
  ElfOptions multiboot;
  multiboot.multiboot_flags = 3;
  SetupHeader small = linux_header();
  small.pref_address = 1 * MiB;
  std::vector<Bytes> originals{bzimage(), bzimage(small), elf64(), elf32(), elf64(multiboot), elf32(multiboot), flat()};
  std::error_code none;
  if (corpus)
    for (const auto& entry : std::filesystem::directory_iterator(corpus, none))
      if (entry.path().extension() == ".bin") {
        originals.push_back(content_of(entry.path()));
        expect_loaded_or_refused(originals.back(), {});
      }
  uint64_t rounds = 0;
  for (; std::chrono::steady_clock::now() < end && !HasFailure(); ++rounds) {
    Bytes kernel = originals[random() % originals.size()];
    for (uint64_t n = random() % 4 + 1; n > 0; --n) change(kernel, random);
    // Before the try, so that it is there after a crash.
    const std::string kept = corpus ? fmt::format("{}/seed-{}.bin", corpus, seed) : "";
    if (corpus)
      std::ofstream(kept, std::ios::binary)
          .write(reinterpret_cast<const char*>(kernel.data()), static_cast<std::streamsize>(kernel.size()));
    expect_loaded_or_refused(kernel, random() % 2 ? Bytes(random() % 9000 + 1, 3) : Bytes());
    if (corpus && !HasFailure()) std::filesystem::remove(kept);
  }
  fmt::print("seed {}, {} rounds\n", seed, rounds);
}

TEST(RealKernels, AreLoadedWholeAndRefusedWhenCutOff) {
  const auto kernels = real_kernels();
  if (kernels.empty()) GTEST_SKIP() << "no kernels: scripts/fetch-kernel cloud-amd64";
  for (const auto& path : kernels) {
    SCOPED_TRACE(path.string());
    const Bytes whole = content_of(path);
    Ram ram(256 * MiB);
    auto loaded = ram.load(boot_files(whole));
    ASSERT_TRUE(loaded) << why(loaded);
    EXPECT_THAT(loaded->description, testing::StartsWith("Linux "));
    const bool is_32_bit = path.string().find("686") != std::string::npos;
    EXPECT_EQ(loaded->entry.mode, is_32_bit ? Entry::Mode::kProtected32 : Entry::Mode::kLong64);
    for (const size_t size : {size_t{1}, size_t{0x205}, size_t{0x206}, size_t{0x26b}, size_t{4096}, whole.size() / 2,
                              whole.size() - 4096}) {
      auto cut = ram.load(boot_files(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size))));
      EXPECT_FALSE(cut) << size;
    }
  }
}

}  // namespace
}  // namespace skerry::machine::test
