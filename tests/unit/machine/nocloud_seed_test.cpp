#include "machine/nocloud_seed.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <map>
#include <random>

#include "machine/iso_image.hpp"

namespace skerry::machine {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Files = std::map<std::string, std::string>;

config::CloudInit small() { return {"#cloud-config\npackages: [git]\n", "local-hostname: \"web\"\n", ""}; }

// The files as libarchive reads them: by Rock Ridge, or by Joliet if Rock Ridge is not to be used.
Files read_back(const std::vector<uint8_t>& image, const char* option) {
  Files files;
  const std::unique_ptr<archive, int (*)(archive*)> reader(::archive_read_new(), ::archive_read_free);
  ::archive_read_support_format_iso9660(reader.get());
  EXPECT_EQ(::archive_read_set_options(reader.get(), option), ARCHIVE_OK);
  EXPECT_EQ(::archive_read_open_memory(reader.get(), image.data(), image.size()), ARCHIVE_OK);
  archive_entry* entry = nullptr;
  int status;
  while ((status = ::archive_read_next_header(reader.get(), &entry)) == ARCHIVE_OK) {
    if (::archive_entry_filetype(entry) == AE_IFDIR) continue;
    std::string content(static_cast<size_t>(::archive_entry_size(entry)), '\0');
    EXPECT_EQ(::archive_read_data(reader.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
    files[::archive_entry_pathname(entry)] = content;
  }
  EXPECT_EQ(status, ARCHIVE_EOF) << ::archive_error_string(reader.get());
  return files;
}

std::string text_at(const std::vector<uint8_t>& image, size_t at, size_t size) {
  return {reinterpret_cast<const char*>(&image[at]), size};
}

// What a program of the host prints about the image, or nothing if there is no such program.
std::string told_by(const std::string& command, const std::vector<uint8_t>& image) {
  const std::string program = command.substr(0, command.find(' '));
  const std::string path = fmt::format("{}skerry-seed-{}.iso", ::testing::TempDir(), ::getpid());  // tests run side by side
  if (std::system(("command -v " + program + " >/dev/null").c_str()) != 0) return "";
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(image.data()), static_cast<std::streamsize>(image.size()));
  std::string line = command;
  line.replace(line.find('@'), 1, "'" + path + "'");
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen((line + " 2>&1").c_str(), "r"), ::pclose);
  std::array<char, 8192> text{};
  const size_t got = std::fread(text.data(), 1, text.size(), pipe.get());
  ::unlink(path.c_str());
  return {text.data(), got};
}

TEST(NocloudSeed, HasItsFilesUnderTheirNamesInRockRidgeAndInJoliet) {
  config::CloudInit content = small();
  content.network_config = "version: 2\n";
  const auto image = make_nocloud_seed(content);
  for (const char* option : {"iso9660:!joliet", "iso9660:!rockridge"}) {
    const Files files = read_back(image, option);
    ASSERT_EQ(files.size(), 3u) << option;
    EXPECT_EQ(files.at("user-data"), content.user_data) << option;
    EXPECT_EQ(files.at("network-config"), "version: 2\n") << option;
    EXPECT_THAT(files.at("meta-data"), HasSubstr(content.meta_data)) << option;
  }
}

TEST(NocloudSeed, HasNoNetworkConfigWhenThereIsNone) {
  EXPECT_EQ(read_back(make_nocloud_seed(small()), "iso9660:rockridge").count("network-config"), 0u);
}

TEST(NocloudSeed, IsAVolumeThatCloudInitLooksFor) {
  const auto image = make_nocloud_seed(small());
  ASSERT_EQ(image.size() % 2048, 0u);
  EXPECT_EQ(text_at(image, 16 * 2048, 6), "\1CD001");
  EXPECT_EQ(text_at(image, 16 * 2048 + 40, 32), "cidata" + std::string(26, ' '));
  EXPECT_EQ(text_at(image, 17 * 2048, 6), "\2CD001");
  EXPECT_EQ(text_at(image, 17 * 2048 + 88, 3), "%/E");
  EXPECT_EQ(text_at(image, 17 * 2048 + 40, 14), std::string("\0c\0i\0d\0a\0t\0a\0 ", 14));
}

// As cloud-init's util.find_devs_with() asks for candidates.
TEST(NocloudSeed, IsFoundByBlkidUnderItsLabel) {
  const std::string text = told_by("blkid -p -o export @", make_nocloud_seed(small()));
  if (text.empty()) GTEST_SKIP() << "there is no blkid";
  EXPECT_THAT(text, HasSubstr("\nLABEL=cidata\n"));
  EXPECT_THAT(text, HasSubstr("\nTYPE=iso9660\n"));
}

TEST(NocloudSeed, IsReadByXorriso) {
  const std::string text = told_by("xorriso -indev @ -toc -find / -exec lsdl --", make_nocloud_seed(small()));
  if (text.empty()) GTEST_SKIP() << "there is no xorriso";
  EXPECT_THAT(text, HasSubstr("'cidata'"));
  EXPECT_THAT(text, HasSubstr("'/user-data'"));
  EXPECT_THAT(text, HasSubstr("'/meta-data'"));
  EXPECT_THAT(text, testing::Not(HasSubstr("FAILURE")));
  EXPECT_THAT(text, testing::Not(HasSubstr("WARNING")));
}

std::string meta_data_of(const config::CloudInit& content) {
  return read_back(make_nocloud_seed(content), "iso9660:rockridge").at("meta-data");
}

TEST(NocloudSeed, MakesAnInstanceIdThatChangesWithAnyOfTheContent) {
  const std::string first = meta_data_of(small());
  EXPECT_THAT(first, StartsWith("instance-id: iid-"));
  EXPECT_EQ(meta_data_of(small()), first);
  std::vector<config::CloudInit> others(4, small());
  others[0].user_data += "\n";
  others[1].meta_data += "\n";
  others[2].network_config = "\n";
  others[3] = {small().user_data + small().meta_data, "", ""};
  for (const config::CloudInit& other : others)
    EXPECT_NE(meta_data_of(other).substr(0, 34), first.substr(0, 34)) << other.user_data;
}

TEST(NocloudSeed, KeepsAnInstanceIdThatIsThere) {
  for (const char* meta_data : {"instance-id: mine\n", "local-hostname: a\ninstance-id : mine\n", "{\"instance-id\": \"mine\"}",
                                "{a: b, 'instance-id': mine}", "{instance-id: mine}"}) {
    config::CloudInit content = small();
    content.meta_data = meta_data;
    EXPECT_EQ(meta_data_of(content), meta_data);
  }
  config::CloudInit content = small();
  content.meta_data = "# instance-id: not this\nlocal-hostname: my-instance-id\n";
  EXPECT_THAT(meta_data_of(content), StartsWith("instance-id: iid-"));
}

TEST(NocloudSeed, IsTheSameBytesWheneverAndWhereverItIsMade) {
  const auto first = make_nocloud_seed(small());
  ::setenv("TZ", "Pacific/Kiritimati", 1);
  ::tzset();
  const auto second = make_nocloud_seed(small());
  ::unsetenv("TZ");
  ::tzset();
  EXPECT_EQ(first, second);
  // A change of these bytes is a change of what guests that were saved have read: it must be meant.
  uint64_t sum = 0xcbf29ce484222325;
  for (const uint8_t byte : first) sum = (sum ^ byte) * 0x100000001b3;
  EXPECT_EQ(sum, 0x900699cb481dc60cu) << std::hex << sum;
}

TEST(NocloudSeed, TakesContentOfAnySize) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{2047}, size_t{2048}, size_t{2049}, config::kMaxUserData}) {
    config::CloudInit content = small();
    content.user_data.resize(size);
    for (char& c : content.user_data) c = static_cast<char>('a' + random() % 26);
    content.network_config = content.user_data.substr(0, config::kMaxMetaData);
    const Files files = read_back(make_nocloud_seed(content), "iso9660:rockridge");
    EXPECT_EQ(files.at("user-data"), content.user_data) << size;
    if (size) {
      EXPECT_EQ(files.at("network-config"), content.network_config) << size;
    }
  }
}

TEST(IsoImage, HoldsAsManyFilesAsItPromises) {
  constexpr std::string_view kName = "a-name-that-is-as-long-as-names-may-be-here-and-no-letter-le";
  static_assert(kName.size() == 60);
  std::vector<std::string> iso_names, names;
  for (char c = 'A'; c < 'A' + 10; ++c) {
    iso_names.push_back(std::string("FILE___") + c + ".;1");
    names.push_back(std::string(kName.substr(1)) + static_cast<char>(c + 32));
  }
  std::vector<IsoFile> files;
  for (size_t i = 0; i < names.size(); ++i) files.push_back({iso_names[i], names[i], names[i]});
  const auto image = make_iso_image("sixteen letters.", files);
  for (const char* option : {"iso9660:!joliet", "iso9660:!rockridge"}) {
    const Files back = read_back(image, option);
    ASSERT_EQ(back.size(), names.size()) << option;
    for (const std::string& name : names) EXPECT_EQ(back.at(name), name) << option;
  }
}

}  // namespace
}  // namespace skerry::machine
