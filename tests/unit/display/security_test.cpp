// Passwords and TLS.
#include <gnutls/x509.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "display/rfb/vnc_auth.hpp"
#include "unit/display/server_rig.hpp"

namespace skerry::display::test {
namespace {

using Login = TestViewer::Login;
constexpr int64_t kQuick = 1'000'000;

rfb::Challenge challenge_of(std::string_view hex) {
  rfb::Challenge bytes{};
  for (size_t n = 0; n < bytes.size(); ++n) bytes[n] = static_cast<uint8_t>(std::stoul(std::string(hex.substr(2 * n, 2)), nullptr, 16));
  return bytes;
}

// DES itself: the example of FIPS 46 that every implementation is tried with has key 133457799bbcdff1, which no password
// gives but this one; and the key of zeros.
TEST(VncAuth, IsDesWithTheBitsOfEachByteReversed) {
  const std::string password("\xc8\x2c\xea\x9e\xd9\x3d\xfb\x8f", 8);
  const auto plain = challenge_of("0123456789abcdef0123456789abcdef");
  EXPECT_EQ(rfb::vnc_response(plain, password), challenge_of("85e813540f0ab40585e813540f0ab405"));
  EXPECT_EQ(rfb::vnc_response(rfb::Challenge{}, ""), challenge_of("8ca64de9c1b123a78ca64de9c1b123a7"));
}

TEST(VncAuth, ComparesAllBytes) {
  const Bytes a = {1, 2, 3};
  EXPECT_TRUE(rfb::equal_secrets(a, a));
  EXPECT_TRUE(rfb::equal_secrets({}, {}));
  EXPECT_FALSE(rfb::equal_secrets(a, Bytes{1, 2, 4}));
  EXPECT_FALSE(rfb::equal_secrets(a, Bytes{0, 2, 3}));
  EXPECT_FALSE(rfb::equal_secrets(a, Bytes{1, 2}));
}

// --- passwords -------------------------------------------------------------------------------------------------------

class EachVersion : public testing::TestWithParam<std::string> {};

TEST_P(EachVersion, LetsInWithoutAPassword) {
  ServerRig rig;
  auto viewer = rig.connect();
  EXPECT_EQ(refusal(*viewer, {.version = GetParam()}), "");
  EXPECT_EQ(viewer->security, "none");
  viewer->send_request(false);
  viewer->update();
}

TEST_P(EachVersion, LetsInWithTheRightPasswordOnly) {
  ServerRig rig({.password = "secret", .wrong_password_delay_ns = kQuick});
  auto viewer = rig.connect();
  EXPECT_EQ(refusal(*viewer, {.version = GetParam(), .password = "secret"}), "");
  EXPECT_EQ(viewer->security, "vnc");
  for (const char* wrong : {"", "Secret", "secret1", "secre", "terces"}) {
    const std::string why = refusal(*rig.connect(), {.version = GetParam(), .password = wrong});
    EXPECT_EQ(why, GetParam() == "RFB 003.008\n" ? "refused: wrong password" : "refused") << wrong;
  }
  EXPECT_EQ(rig.server->viewers().size(), 1u);
}
INSTANTIATE_TEST_SUITE_P(Rfb, EachVersion, testing::Values("RFB 003.003\n", "RFB 003.007\n", "RFB 003.008\n"));

TEST(Security, TakesOtherNumbersForTheVersionBefore) {
  ServerRig rig;
  for (const char* version : {"RFB 003.889\n", "RFB 003.009\n"}) {
    auto viewer = rig.connect();
    // As 3.8, there is a result.
    viewer->bytes(12);
    viewer->send({reinterpret_cast<const uint8_t*>(version), 12});
    EXPECT_EQ(viewer->bytes(2), (Bytes{1, 1}));
    viewer->send(Bytes{1, 1});
    EXPECT_EQ(viewer->u32(), 0u);
    EXPECT_EQ(viewer->u16(), 320u);
  }
  auto viewer = rig.connect();
  viewer->bytes(12);
  viewer->send({reinterpret_cast<const uint8_t*>("RFB 003.005\n"), 12});
  EXPECT_EQ(viewer->u32(), 1u) << "as 3.3, where the server says which";
  for (const char* version : {"RFB 004.001\n", "RFB 003.00x\n", "HTTP/1.1 200", "RFB 003.008\r"}) {
    auto other = rig.connect();
    other->bytes(12);
    other->send({reinterpret_cast<const uint8_t*>(version), 12});
    EXPECT_TRUE(other->has_ended()) << version;
  }
}

TEST(Security, RefusesWhatItDoesNotOffer) {
  ServerRig rig({.password = "secret"});
  for (const unsigned type : {1u, 16u, 19u, 255u}) {
    auto viewer = rig.connect();
    viewer->bytes(12);
    viewer->send({reinterpret_cast<const uint8_t*>("RFB 003.008\n"), 12});
    EXPECT_EQ(viewer->bytes(2), (Bytes{1, 2}));
    viewer->send(Bytes{static_cast<uint8_t>(type), 1});
    EXPECT_EQ(viewer->u32(), 1u);
    EXPECT_TRUE(viewer->has_ended());
  }
}

TEST(Security, GivesEachViewerAChallengeOfItsOwn) {
  ServerRig rig({.password = "secret"});
  std::set<Bytes> challenges;
  for (int n = 0; n < 5; ++n) {
    auto viewer = rig.connect();
    viewer->bytes(12);
    viewer->send({reinterpret_cast<const uint8_t*>("RFB 003.003\n"), 12});
    EXPECT_EQ(viewer->u32(), 2u);
    challenges.insert(viewer->bytes(16));
  }
  EXPECT_EQ(challenges.size(), 5u);
}

TEST(Security, LooksAtOneGuessAtATime) {
  constexpr int64_t kDelay = 40'000'000;
  ServerRig rig({.password = "secret", .wrong_password_delay_ns = kDelay});
  const auto start = std::chrono::steady_clock::now();
  for (int n = 0; n < 4; ++n) EXPECT_NE(refusal(*rig.connect(), {.password = "guess"}), "");
  EXPECT_EQ(refusal(*rig.connect(), {.password = "secret"}), "") << "it waits like others";
  // The first is looked at at once, the others 1, 2, 4 and 8 times the delay after the one before.
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::nanoseconds(15 * kDelay));
}

TEST(Security, TakesAnotherPasswordLater) {
  ServerRig rig({.password = "secret", .wrong_password_delay_ns = kQuick});
  ASSERT_TRUE(rig.server->set_password("other"));
  EXPECT_NE(refusal(*rig.connect(), {.password = "secret"}), "");
  EXPECT_EQ(refusal(*rig.connect(), {.password = "other"}), "");
  ASSERT_TRUE(rig.server->set_password(""));
  EXPECT_NE(refusal(*rig.connect(), {.password = ""}), "") << "no password is no way in";
  EXPECT_FALSE(rig.server->set_password("123456789"));
  ServerRig open;
  EXPECT_FALSE(open.server->set_password("x"));
}

// --- TLS -------------------------------------------------------------------------------------------------------------

// A certificate for "localhost" of its own authority, made for the test.
class Certificates {
 public:
  std::string folder = (std::filesystem::temp_directory_path() / "skerry-tls-XXXXXX").string();
  std::string certificate, key;

  Certificates() {
    if (!::mkdtemp(folder.data())) throw Broken("no folder");
    certificate = folder + "/cert.pem";
    key = folder + "/key.pem";
    gnutls_x509_privkey_t private_key = nullptr;
    gnutls_x509_crt_t made = nullptr;
    ::gnutls_x509_privkey_init(&private_key);
    ::gnutls_x509_privkey_generate(private_key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    ::gnutls_x509_crt_init(&made);
    ::gnutls_x509_crt_set_version(made, 3);
    ::gnutls_x509_crt_set_serial(made, "\1", 1);
    ::gnutls_x509_crt_set_activation_time(made, ::time(nullptr) - 3600);
    ::gnutls_x509_crt_set_expiration_time(made, ::time(nullptr) + 24 * 3600);
    ::gnutls_x509_crt_set_dn(made, "CN=localhost", nullptr);
    ::gnutls_x509_crt_set_subject_alt_name(made, GNUTLS_SAN_DNSNAME, "localhost", 9, GNUTLS_FSAN_SET);
    ::gnutls_x509_crt_set_basic_constraints(made, 1, -1);
    ::gnutls_x509_crt_set_key(made, private_key);
    if (::gnutls_x509_crt_sign2(made, made, private_key, GNUTLS_DIG_SHA256, 0) < 0) throw Broken("no certificate");
    write(certificate, [&](gnutls_datum_t* out) { return ::gnutls_x509_crt_export2(made, GNUTLS_X509_FMT_PEM, out); });
    write(key, [&](gnutls_datum_t* out) { return ::gnutls_x509_privkey_export2(private_key, GNUTLS_X509_FMT_PEM, out); });
    ::gnutls_x509_crt_deinit(made);
    ::gnutls_x509_privkey_deinit(private_key);
    ::gnutls_certificate_allocate_credentials(&trusting);
    ::gnutls_certificate_set_x509_trust_file(trusting, certificate.c_str(), GNUTLS_X509_FMT_PEM);
    ::gnutls_certificate_allocate_credentials(&known);
    ::gnutls_certificate_set_x509_trust_file(known, certificate.c_str(), GNUTLS_X509_FMT_PEM);
    ::gnutls_certificate_set_x509_key_file(known, certificate.c_str(), key.c_str(), GNUTLS_X509_FMT_PEM);
  }
  ~Certificates() {
    ::gnutls_certificate_free_credentials(trusting);
    ::gnutls_certificate_free_credentials(known);
    std::filesystem::remove_all(folder);
  }
  RfbOptions options() const {
    return {.tls = RfbOptions::Tls::kX509, .certificate = certificate, .key = key, .wrong_password_delay_ns = kQuick};
  }

  gnutls_certificate_credentials_t trusting = nullptr;  // of a viewer that trusts it
  gnutls_certificate_credentials_t known = nullptr;     // of a viewer that has a certificate too

 private:
  template <typename Export>
  static void write(const std::string& path, Export make) {
    gnutls_datum_t text{};
    if (make(&text) < 0) throw Broken("no PEM");
    std::ofstream(path).write(reinterpret_cast<const char*>(text.data), text.size);
    ::gnutls_free(text.data);
  }
};

void expect_picture(ServerRig& rig, TestViewer& viewer) {
  ASSERT_TRUE(rig.screen->resize({700, 500}));
  for (uint32_t n = 0; n < 300; ++n) rig.screen->fill({n * 2, n, 200, 100}, n * 0x010305);
  viewer.send_encodings({16, -223});
  viewer.send_request(false);
  viewer.follow([&] { return rig.shown_by(viewer); });
  viewer.send_encodings({0, -223});  // 1.4 MB: more than a record, and than the socket takes
  viewer.send_request(false);
  viewer.update();
  EXPECT_TRUE(rig.shown_by(viewer));
  for (int n = 0; n < 3; ++n) viewer.send_key('a', n % 2 == 0);
  EXPECT_TRUE(eventually([&] { return rig.input.text() == "+a -a +a"; })) << rig.input.text();
}

TEST(Tls, WithoutCertificatesAndPasswords) {
  ServerRig rig({.tls = RfbOptions::Tls::kAnonymous});
  auto viewer = rig.connect();
  ASSERT_EQ(refusal(*viewer, {}), "");
  EXPECT_EQ(viewer->security, "tlsnone");
  expect_picture(rig, *viewer);
  EXPECT_TRUE(rig.server->viewers().at(0).encrypted);
}

TEST(Tls, WithoutCertificatesAndWithAPassword) {
  ServerRig rig({.password = "secret", .tls = RfbOptions::Tls::kAnonymous, .wrong_password_delay_ns = kQuick});
  auto viewer = rig.connect();
  ASSERT_EQ(refusal(*viewer, {.password = "secret"}), "");
  EXPECT_EQ(viewer->security, "tlsvnc");
  expect_picture(rig, *viewer);
  EXPECT_EQ(refusal(*rig.connect(), {.password = "wrong"}), "refused: wrong password");
}

TEST(Tls, WithACertificate) {
  const Certificates files;
  ServerRig rig(files.options());
  auto viewer = rig.connect();
  ASSERT_EQ(refusal(*viewer, {.certificates = files.trusting}), "");
  EXPECT_EQ(viewer->security, "x509none");
  expect_picture(rig, *viewer);
}

TEST(Tls, WithACertificateAndAPassword) {
  const Certificates files;
  RfbOptions options = files.options();
  options.password = "secret";
  ServerRig rig(options);
  auto viewer = rig.connect();
  ASSERT_EQ(refusal(*viewer, {.password = "secret", .certificates = files.trusting}), "");
  EXPECT_EQ(viewer->security, "x509vnc");
  expect_picture(rig, *viewer);
  EXPECT_EQ(refusal(*rig.connect(), {.password = "wrong", .certificates = files.trusting}), "refused: wrong password");
  // There is no way past the TLS.
  EXPECT_NE(refusal(*rig.connect(), {.version = "RFB 003.003\n", .password = "secret"}).find("TLS"), std::string::npos);
  EXPECT_NE(refusal(*rig.connect(), {.password = "secret", .type = 2}), "");
  EXPECT_NE(refusal(*rig.connect(), {.type = 1}), "");
  for (const unsigned subtype : {256u, 257u, 258u, 260u, 262u})
    EXPECT_EQ(refusal(*rig.connect(), {.password = "secret", .subtype = subtype, .certificates = files.trusting}), "refused: the subtype");
}

TEST(Tls, WithACertificateAUserAndAPassword) {
  const Certificates files;
  RfbOptions options = files.options();
  options.password = "a password longer than VNC's";
  options.user = "jo";
  ServerRig rig(options);
  const auto login = [&](std::string password, std::string user) {
    return refusal(*rig.connect(), {.password = std::move(password), .user = std::move(user), .certificates = files.trusting});
  };
  auto viewer = rig.connect();
  ASSERT_EQ(refusal(*viewer, {.password = options.password, .user = "jo", .certificates = files.trusting}), "");
  EXPECT_EQ(viewer->security, "x509plain");
  EXPECT_EQ(login(options.password, "joe"), "refused: wrong password");
  EXPECT_EQ(login("a password longer than VNC'z", "jo"), "refused: wrong password");
  EXPECT_EQ(login("", ""), "refused: wrong password");
  EXPECT_NE(login(std::string(256, 'x'), "jo"), "");
  expect_picture(rig, *viewer);
}

TEST(Tls, AsksForTheViewersCertificate) {
  const Certificates files, others;
  RfbOptions options = files.options();
  options.client_ca = files.certificate;
  ServerRig rig(options);
  EXPECT_EQ(refusal(*rig.connect(), {.certificates = files.known}), "");
  EXPECT_NE(refusal(*rig.connect(), {.certificates = files.trusting}), "");
  Certificates imposter;
  ::gnutls_certificate_set_x509_trust_file(imposter.known, files.certificate.c_str(), GNUTLS_X509_FMT_PEM);
  EXPECT_NE(refusal(*rig.connect(), {.certificates = imposter.known}), "");
}

TEST(Tls, TakesNothingThatWasSentBeforeIt) {
  const Certificates files;
  ServerRig rig(files.options());
  auto viewer = rig.connect();
  viewer->bytes(12);
  viewer->send({reinterpret_cast<const uint8_t*>("RFB 003.008\n"), 12});
  EXPECT_EQ(viewer->bytes(2), (Bytes{1, 19}));
  viewer->send(Bytes{19, 0, 2, 0, 0, 1, 4, 1});  // and a ClientInit behind the subtype
  EXPECT_TRUE(viewer->has_ended());
}

TEST(Tls, RefusesAKeyOfAnotherCertificate) {
  const Certificates files, others;
  RfbOptions options = files.options();
  options.key = others.key;
  options.listen = "127.0.0.1:0";
  auto screen = Screen::create({10, 10}).value();
  Recorder input;
  const auto opened = RfbServer::listen(*screen, input, nullptr, options);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message().find(others.key), std::string::npos) << opened.error().message();
}

}  // namespace
}  // namespace skerry::display::test
