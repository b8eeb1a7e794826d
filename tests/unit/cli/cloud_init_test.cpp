#include "cli/cloud_init.hpp"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "cli/ssh_key.hpp"
#include "cli/yaml_check.hpp"

namespace skerry::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// Made for these tests; nobody has the private half.
constexpr const char* kEd25519 =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

class CloudInitFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "skerry-seed-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string file(const std::string& name, const std::string& content) {
    const std::string path = folder_ / name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  std::filesystem::path folder_;
};

config::CloudInit lowered(const CloudInitOptions& options) {
  auto content = lower_cloud_init(options);
  if (content && *content) return **content;
  ADD_FAILURE() << (content ? "nothing" : content.error().message());
  return {};
}

std::string complaint(const CloudInitOptions& options) {
  const auto content = lower_cloud_init(options);
  if (!content) {
    EXPECT_EQ(content.error().message().find('\n'), std::string::npos);
  }
  return content ? "" : content.error().message();
}

TEST_F(CloudInitFiles, WithoutOptionsThereIsNoSeed) {
  const auto content = lower_cloud_init({});
  ASSERT_TRUE(content);
  EXPECT_FALSE(*content);
}

TEST_F(CloudInitFiles, AKeyAndANameBecomeADocumentForTheDefaultUser) {
  const std::string key = file("id.pub", std::string("# mine\n") + kEd25519 + " me \"at\\home\": # 1\r\n\n");
  const config::CloudInit content = lowered({.ssh_key = key, .hostname = "web-1.example.org"});
  EXPECT_EQ(content.user_data, std::string("#cloud-config\nmanage_etc_hosts: localhost\nssh_authorized_keys:\n  - \"") +
                                   kEd25519 + " me \\\"at\\\\home\\\": # 1\"\n");
  EXPECT_EQ(content.meta_data, "local-hostname: \"web-1.example.org\"\n");
  EXPECT_TRUE(check_user_data(content.user_data));
  const auto outline = check_yaml(content.user_data);
  ASSERT_TRUE(outline);
  EXPECT_EQ(outline->keys, (std::vector<std::string>{"manage_etc_hosts", "ssh_authorized_keys"}));
}

TEST_F(CloudInitFiles, EachOfKeyAndNameWorksAlone) {
  EXPECT_EQ(lowered({.hostname = "no"}).meta_data, "local-hostname: \"no\"\n");
  const config::CloudInit content = lowered({.ssh_key = file("id.pub", kEd25519)});
  EXPECT_THAT(content.user_data, HasSubstr(kEd25519));
  EXPECT_EQ(content.meta_data, "");
}

TEST_F(CloudInitFiles, FilesAreTakenAsTheyAre) {
  const std::string user = file("u,ser", "#cloud-config\npackages: [git]\n"), meta = file("meta", "local-hostname: a\n"),
                    network = file("net", "version: 2\n");
  const std::string doubled = (folder_ / "u,,ser").string();
  const config::CloudInit content =
      lowered({.cloud_init = "user-data=" + doubled + ",meta-data=" + meta + ",network-config=" + network});
  EXPECT_EQ(content.user_data, "#cloud-config\npackages: [git]\n");
  EXPECT_EQ(content.meta_data, "local-hostname: a\n");
  EXPECT_EQ(content.network_config, "version: 2\n");
  EXPECT_EQ(lowered({.hostname = "b", .cloud_init = "user-data=" + doubled}).meta_data, "local-hostname: \"b\"\n");
}

TEST_F(CloudInitFiles, APrivateKeyIsRefusedAndNotShown) {
  for (const char* text : {"-----BEGIN OPENSSH PRIVATE KEY-----\nSECRETSECRET\n-----END OPENSSH PRIVATE KEY-----\n",
                           "-----BEGIN RSA PRIVATE KEY-----\nSECRETSECRET\n", "PuTTY-User-Key-File-3: ssh-ed25519\nSECRETSECRET\n",
                           "-----BEGIN ENCRYPTED PRIVATE KEY-----\nSECRETSECRET\n"}) {
    const std::string why = complaint({.ssh_key = file("id", text)});
    EXPECT_THAT(why, StartsWith("--ssh-key '" + (folder_ / "id").string() + "': is a PRIVATE key")) << text;
    EXPECT_THAT(why, HasSubstr(".pub"));
    EXPECT_THAT(why, testing::Not(HasSubstr("SECRET")));
  }
  EXPECT_THAT(complaint({.ssh_key = file("id", std::string(kEd25519) + "\n-----BEGIN PRIVATE KEY-----\nSECRET\n")}),
              AllOf(HasSubstr("PRIVATE"), testing::Not(HasSubstr("SECRET"))));
}

TEST_F(CloudInitFiles, WhatIsNoPublicKeyIsRefusedAndNotShown) {
  const std::pair<std::string, const char*> wrong[] = {
      {"hunter2\n", "line 1: is no public key"},
      {"# only this\n\n", "has no key in it"},
      {"", "is empty"},
      {std::string(kEd25519).substr(0, 60), "line 1: is a damaged ssh-ed25519 key"},
      {std::string(kEd25519) + "=", "line 1: is a damaged"},
      {"ssh-rsa" + std::string(kEd25519).substr(11), "line 1: is a damaged ssh-rsa key"},
      {std::string(kEd25519) + "\nssh-dss AAAA\n", "line 2: is a DSA key"},
      {"from=\"a\" " + std::string(kEd25519), "line 1: is no public key"},
      {"---- BEGIN SSH2 PUBLIC KEY ----\n", "ssh-keygen -i"},
      {std::string(kEd25519) + " \033[2J", "line 1: has a character that no key has"},
      {std::string("ssh-ed25519\0", 12), "NUL"},
      {std::string(70000, 'a'), "is larger than 64 KiB"},
  };
  for (const auto& [text, message] : wrong) {
    const std::string why = complaint({.ssh_key = file("key", text)});
    EXPECT_THAT(why, AllOf(StartsWith("--ssh-key '"), HasSubstr(message))) << text.substr(0, 100);
    EXPECT_THAT(why, testing::Not(HasSubstr("hunter2")));
  }
  EXPECT_THAT(complaint({.ssh_key = folder_}), HasSubstr("is a folder"));
  EXPECT_THAT(complaint({.ssh_key = folder_ / "absent"}), HasSubstr("there is no such file"));
}

TEST_F(CloudInitFiles, WrongYamlIsToldWithLineAndColumn) {
  const std::string prefix = "#cloud-config\n";
  const std::pair<const char*, const char*> wrong[] = {
      {"packages: [git\nruncmd: []\n", "line 3, column 7: "},
      {"a: 'b\n", "line 3, column 1: "},
      {"a: b\n\tc: d\n", "line 3, column 1: "},
      {"a: b\n---\nc: d\n", "line 3, column 1: a second document begins"},
      {"- a\n- b\n", "what follows #cloud-config is not a YAML mapping"},
      {"just text\n", "what follows #cloud-config is not a YAML mapping"},
      {"a: \xff\n", "byte "},
      {"a: *nobody\n b\n", "line "},
  };
  for (const auto& [text, message] : wrong) {
    const std::string why = complaint({.cloud_init = "user-data=" + file("user", prefix + text)});
    EXPECT_THAT(why, AllOf(StartsWith("--cloud-init: user-data '"), HasSubstr(message))) << text;
  }
}

TEST_F(CloudInitFiles, UserDataBeginsAsCloudInitWantsIt) {
  for (const char* text : {"#cloud-config\n", "#cloud-config\n{a: b}\n", "#!/bin/sh\necho {\n", "#cloud-config-archive\n- a\n",
                           "Content-Type: multipart/mixed; boundary=x\n\n", "MIME-Version: 1.0\n", "## template: jinja\n#cloud-config\n{{"})
    EXPECT_TRUE(check_user_data(text)) << text;
  for (const char* text : {"packages: [git]\n", "\n#cloud-config\n", "# cloud-config\n", "\xef\xbb\xbf#cloud-config\n", "#Cloud-config\n"}) {
    const auto checked = check_user_data(text);
    ASSERT_FALSE(checked) << text;
    EXPECT_THAT(checked.error().message(), StartsWith("line 1: is not a beginning that cloud-init knows")) << text;
  }
}

TEST_F(CloudInitFiles, WrongOptionsAreTold) {
  const std::string user = file("user", "#!/bin/sh\n");
  const auto with = [](const std::string& text) { return complaint({.cloud_init = text}); };
  EXPECT_THAT(with(user), HasSubstr("is not of the form KEY=VALUE"));
  EXPECT_THAT(with("vendor-data=" + user), HasSubstr("'vendor-data' is not known; use user-data, meta-data, network-config"));
  EXPECT_THAT(with("meta-data=" + file("meta", "a: b")), HasSubstr("there is no user-data"));
  EXPECT_THAT(with("user-data=" + user + ",user-data=" + user), HasSubstr("user-data is there twice"));
  EXPECT_THAT(with("user-data=/no/where"), HasSubstr("there is no folder '/no'"));
  EXPECT_THAT(with("user-data=" + file("big", "#!" + std::string(300000, 'a'))), HasSubstr("is larger than 256 KiB"));
  EXPECT_THAT(with("user-data=" + user + ",meta-data=" + file("list", "- a\n")), HasSubstr("is not a YAML mapping"));
  EXPECT_THAT(with("user-data=" + user + ",network-config=" + file("net", "a: [\n")), HasSubstr("network-config '"));
  EXPECT_THAT(complaint({.ssh_key = user, .cloud_init = "user-data=" + user}), StartsWith("--ssh-key: has no place beside"));
  EXPECT_THAT(complaint({.hostname = "a", .cloud_init = "user-data=" + user + ",meta-data=" + file("ok", "a: b\n")}),
              StartsWith("--hostname: has no place beside"));
}

TEST_F(CloudInitFiles, MetaDataHasAnInstanceIdOrRoomForOne) {
  const std::string user = file("user", "#!/bin/sh\n");
  const auto with = [&](const std::string& text) {
    return complaint({.cloud_init = "user-data=" + user + ",meta-data=" + file("meta", text)});
  };
  for (const char* text : {"a: b\n", "instance-id: a\n", "{instance-id: a}\n", "---\ninstance-id: a\n", "# a\na: b\n"})
    EXPECT_EQ(with(text), "") << text;
  for (const char* text : {"{a: b}\n", "---\na: b\n", "  a: b\n", "a:\n  instance-id: b\nc: {d: e}\n"})
    EXPECT_THAT(with(text), text[0] == 'a' ? testing::Matcher<std::string>(testing::Eq("")) : HasSubstr("has no instance-id")) << text;
}

TEST(Hostname, IsOneThatLinuxAndTheDnsTake) {
  for (const char* name : {"a", "web-1", "a.b.c", "1", "A9"}) EXPECT_EQ(complaint({.hostname = name}), "") << name;
  for (const std::string& name : {std::string("-a"), std::string("a-"), std::string("a..b"), std::string(".a"), std::string("a."),
                                  std::string("a_b"), std::string("a b"), std::string("a\nb: c").substr(0, 3), std::string(65, 'a'),
                                  std::string(64, 'a'), std::string("\xc3\xa9")}) {
    const auto content = lower_cloud_init({.hostname = name});
    ASSERT_FALSE(content) << name;
    EXPECT_THAT(content.error().message(), StartsWith("--hostname: ")) << name;
    EXPECT_EQ(content.error().message().find('\n'), std::string::npos) << name;
  }
}

TEST(Yaml, OutlineHasTheOutermostKeys) {
  const auto outline = check_yaml("a: 1\nb: [x, {c: d}]\ne:\n  f: g\n? [k]\n: v\nh: *x\n");
  ASSERT_TRUE(outline) << outline.error().message();
  EXPECT_EQ(outline->root, YamlOutline::Root::kMapping);
  EXPECT_EQ(outline->keys, (std::vector<std::string>{"a", "b", "e", "h"}));
  EXPECT_TRUE(outline->can_be_prepended);
  EXPECT_EQ(check_yaml("")->root, YamlOutline::Root::kNothing);
  EXPECT_EQ(check_yaml("# a\n")->root, YamlOutline::Root::kNothing);
  EXPECT_EQ(check_yaml("- a\n")->root, YamlOutline::Root::kSequence);
  EXPECT_EQ(check_yaml("a\n")->root, YamlOutline::Root::kScalar);
}

TEST(Yaml, IsBoundedInDepthAndTime) {
  EXPECT_FALSE(check_yaml(std::string(256 * KiB, '[')));
  EXPECT_FALSE(check_yaml(std::string(256 * KiB, '{')));
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += std::string(static_cast<size_t>(i), ' ') + "a:\n";
  EXPECT_FALSE(check_yaml(deep));
  std::string laughs = "a: &a [x]\n";
  for (char c = 'b'; c <= 'z'; ++c) laughs += fmt::format("{0}: &{0} [*{1}, *{1}, *{1}, *{1}]\n", c, static_cast<char>(c - 1));
  EXPECT_TRUE(check_yaml(laughs)) << "aliases are not followed";
}

TEST(Yaml, SurvivesRandomText) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  constexpr std::string_view kLetters = "a:-[]{},'\"|>&*!%@#? \n\t\\\xc3\xa9";
  unsigned good = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text(random() % 40, ' ');
    for (char& c : text) c = kLetters[random() % kLetters.size()];
    const auto outline = check_yaml(text);
    good += outline ? 1 : 0;
    if (!outline) {
      EXPECT_FALSE(outline.error().message().empty()) << text;
    }
    (void)parse_ssh_keys(text);
  }
  EXPECT_GT(good, 0u);
}

}  // namespace
}  // namespace skerry::cli
