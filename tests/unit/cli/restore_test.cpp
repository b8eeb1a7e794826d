#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/output_file.hpp"
#include "cli/run_options.hpp"
#include "migrate/crc32c.hpp"
#include "migrate/state_file.hpp"

namespace skerry::cli {
namespace {

using ::testing::HasSubstr;

class Folder : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "skerry-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    path = name;
  }
  void TearDown() override { std::filesystem::remove_all(path); }
  std::string file(std::string_view name) const { return path / name; }
  size_t count() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path), {}));
  }
  std::string content(std::string_view name) const {
    std::ifstream in(file(name));
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::filesystem::path path;
};

using NewFile = Folder;

TEST_F(NewFile, HasItsNameOnlyWhenItIsWhole) {
  {
    auto output = OutputFile::create(file("a"), false);
    ASSERT_TRUE(output) << output.error().message();
    ASSERT_EQ(::write(output->fd(), "text", 4), 4);
    EXPECT_FALSE(std::filesystem::exists(file("a")));
    ASSERT_TRUE(output->commit());
  }
  EXPECT_EQ(content("a"), "text");
  EXPECT_EQ(count(), 1u);
  struct stat about {};
  ASSERT_EQ(::stat(file("a").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600u);
}

TEST_F(NewFile, LeavesNothingWhenItIsGivenUp) {
  ASSERT_TRUE(OutputFile::create(file("a"), false));
  EXPECT_EQ(count(), 0u);
}

TEST_F(NewFile, ReplacesAnotherOnlyWhenAsked) {
  std::ofstream(file("a")) << "old";
  auto refused = OutputFile::create(file("a"), false);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("--force"));
  {
    auto output = OutputFile::create(file("a"), true);
    ASSERT_TRUE(output);
    EXPECT_EQ(content("a"), "old");
    ASSERT_TRUE(output->commit());
  }
  EXPECT_EQ(content("a"), "");
  EXPECT_EQ(count(), 1u);
}

TEST_F(NewFile, DoesNotReplaceOneThatCameMeanwhile) {
  auto output = OutputFile::create(file("a"), false);
  ASSERT_TRUE(output);
  std::ofstream(file("a")) << "faster";
  EXPECT_FALSE(output->commit());
  EXPECT_EQ(content("a"), "faster");
}

TEST_F(NewFile, IsNoFolderAndNotInOneThatIsMissing) {
  EXPECT_FALSE(OutputFile::create(path, true));
  EXPECT_FALSE(OutputFile::create(file("none/a"), false));
}

// A state file as far as the options look into it.
class RestoreOptions : public Folder {
 protected:
  void write_state(const config::VmConfig& config) {
    const std::string json = config::to_json(config);
    migrate::FileLayout layout;
    layout[migrate::Part::kConfig] = {0, json.size(), migrate::crc32c(0, std::as_bytes(std::span(json)))};
    layout.place();
    const auto header = layout.header();
    std::ofstream out(file("state"), std::ios::binary);
    out.write(reinterpret_cast<const char*>(header.data()), static_cast<std::streamsize>(header.size()));
    out << json;
    out.close();
    std::filesystem::resize_file(file("state"), layout.file_size());
    options.restore = file("state");
  }
  RunOptions options;
};

TEST_F(RestoreOptions, TakeTheMachineFromTheFileAndTheHostFromTheOptions) {
  config::VmConfig config;
  config.kernel.path = "vmlinuz";
  config.vcpus = 3;
  config.memory = 64 * MiB;
  config.accelerator = "interpreter";
  config.console = {config::Console::Type::kFile, "/etc/passwd"};
  config.qmp = "/tmp/other";
  write_state(config);
  options.qmp = "unix:/tmp/mine";
  options.no_verify = true;
  const auto plan = lower_restored(options, {"--restore", "--qmp", "--no-verify"});
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->config.vcpus, 3u);
  EXPECT_EQ(plan->config.memory, 64 * MiB);
  EXPECT_EQ(plan->config.accelerator, "interpreter");
  EXPECT_EQ(plan->config.console.type, config::Console::Type::kStdio) << "the file does not choose what is written to";
  EXPECT_EQ(plan->config.qmp, "/tmp/mine");
  EXPECT_TRUE(plan->restore);
  EXPECT_FALSE(plan->verify);
}

TEST_F(RestoreOptions, RefuseWhatWouldChangeTheMachine) {
  config::VmConfig config;
  config.kernel.path = "vmlinuz";
  write_state(config);
  for (const char* option : {"--memory", "--cpus", "--kernel", "--initrd", "--append", "--cpu", "--video", "--isa-debug-exit"}) {
    const auto plan = lower_restored(options, {"--restore", option});
    ASSERT_FALSE(plan) << option;
    EXPECT_TRUE(plan.error().message().starts_with(std::string(option) + ": cannot be changed"));
  }
}

TEST_F(RestoreOptions, NameAFileThatIsNone) {
  options.restore = file("absent");
  EXPECT_THAT(lower_restored(options, {}).error().message(), HasSubstr("absent': cannot open"));
  std::ofstream(file("text")) << "text";
  options.restore = file("text");
  EXPECT_THAT(lower_restored(options, {}).error().message(), HasSubstr("is not a state file"));
}

}  // namespace
}  // namespace skerry::cli
