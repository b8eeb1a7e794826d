#include "display/rfb/tls.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "base/fd.hpp"
#include "base/path_error.hpp"
#include "display/rfb/gnutls.hpp"

namespace skerry::display::rfb {

namespace {

constexpr size_t kMaxFile = 1024 * 1024;
// TLS 1.3 has no key exchange without certificates.
constexpr const char* kAnonymousPriority = "NORMAL:-VERS-TLS1.3:-VERS-TLS1.1:-VERS-TLS1.0:+ANON-ECDH:+ANON-DH";
constexpr const char* kX509Priority = "NORMAL:-VERS-TLS1.1:-VERS-TLS1.0";

Result<std::string> content_of(const std::string& path, std::string_view what) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return error("{} '{}': {}", what, path, explain_path(errno, path, R_OK));
  std::string content(kMaxFile + 1, '\0');
  size_t size = 0;
  for (;;) {
    const ssize_t got = ::read(file.get(), content.data() + size, content.size() - size);
    if (got < 0) return errno_error(errno, fmt::format("{} '{}': cannot read it", what, path));
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > kMaxFile) return error("{} '{}': it has more than {} bytes, which no PEM file has", what, path, kMaxFile);
  content.resize(size);
  return content;
}

gnutls_datum_t datum(const std::string& text) {
  return {reinterpret_cast<unsigned char*>(const_cast<char*>(text.data())), static_cast<unsigned>(text.size())};
}

class TlsSession final : public TlsChannel {
 public:
  TlsSession(const GnuTls& tls, int socket) : tls_(tls), socket_(socket) {}
  ~TlsSession() override {
    if (session_) tls_.deinit(session_);
  }
  bool open(gnutls_priority_t priority, gnutls_credentials_type_t type, void* credentials, bool ask_for_certificate);

  Handshake handshake() override;
  bool waits_to_write() const override { return tls_.record_get_direction(session_) == 1; }
  const std::string& why_failed() const override { return why_; }
  ptrdiff_t read(std::span<uint8_t> to) override;
  ptrdiff_t write(std::span<const uint8_t> from) override;
  bool has_more() const override { return tls_.record_check_pending(session_) != 0; }

 private:
  static ssize_t pull(gnutls_transport_ptr_t self, void* to, size_t size);
  static ssize_t push(gnutls_transport_ptr_t self, const void* from, size_t size);

  const GnuTls& tls_;
  const int socket_;
  gnutls_session_t session_ = nullptr;
  size_t begun_ = 0;  // bytes that a record has been made of, which is not sent yet
  std::string why_;
};

bool TlsSession::open(gnutls_priority_t priority, gnutls_credentials_type_t type, void* credentials,
                   bool ask_for_certificate) {
  if (tls_.init(&session_, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS | GNUTLS_NO_SIGNAL) < 0) return false;
  if (tls_.priority_set(session_, priority) < 0 || tls_.credentials_set(session_, type, credentials) < 0) return false;
  if (ask_for_certificate) {
    tls_.certificate_server_set_request(session_, GNUTLS_CERT_REQUIRE);
    tls_.session_set_verify_cert(session_, nullptr, 0);
  }
  tls_.transport_set_ptr(session_, this);
  tls_.transport_set_pull_function(session_, pull);
  tls_.transport_set_push_function(session_, push);
  return true;
}

ssize_t TlsSession::pull(gnutls_transport_ptr_t self, void* to, size_t size) {
  auto& session = *static_cast<TlsSession*>(self);
  const ssize_t got = ::recv(session.socket_, to, size, MSG_DONTWAIT);
  if (got < 0) session.tls_.transport_set_errno(session.session_, errno);
  return got;
}

ssize_t TlsSession::push(gnutls_transport_ptr_t self, const void* from, size_t size) {
  auto& session = *static_cast<TlsSession*>(self);
  const ssize_t sent = ::send(session.socket_, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) session.tls_.transport_set_errno(session.session_, errno);
  return sent;
}

bool not_now(ptrdiff_t result) { return result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED; }

TlsChannel::Handshake TlsSession::handshake() {
  // Warnings of the other side do not end it, but cost a turn.
  const int result = tls_.handshake(session_);
  if (result == GNUTLS_E_SUCCESS) return Handshake::kDone;
  if (not_now(result) || result == GNUTLS_E_WARNING_ALERT_RECEIVED) return Handshake::kNotNow;
  why_ = tls_.strerror(result);
  (void)tls_.alert_send_appropriate(session_, result);
  return Handshake::kFailed;
}

ptrdiff_t TlsSession::read(std::span<uint8_t> to) {
  const ssize_t got = tls_.record_recv(session_, to.data(), to.size());
  if (got > 0) return got;
  return not_now(got) ? kNotNow : kGone;  // whoever wants another handshake is gone too
}

// A record that could not be sent has to be asked for again with the same bytes.
ptrdiff_t TlsSession::write(std::span<const uint8_t> from) {
  const size_t size = begun_ != 0 ? begun_ : from.size();
  const ssize_t sent = tls_.record_send(session_, from.data(), size);
  begun_ = not_now(sent) ? size : 0;
  if (sent > 0) return sent;
  return not_now(sent) ? kNotNow : kGone;
}

class Context final : public TlsContext {
 public:
  explicit Context(const GnuTls& tls) : tls_(tls) {}
  ~Context() override {
    if (priority_) tls_.priority_deinit(priority_);
    if (anonymous_) tls_.anon_free_server_credentials(anonymous_);
    if (certificate_) tls_.certificate_free_credentials(certificate_);
  }
  Result<void> open_anonymous();
  Result<void> open_x509(const TlsFiles& files);

  bool has_certificate() const override { return certificate_ != nullptr; }
  std::unique_ptr<TlsChannel> channel(int socket) const override;

 private:
  Result<void> set_priority(const char* priority);

  const GnuTls& tls_;
  gnutls_priority_t priority_ = nullptr;
  gnutls_anon_server_credentials_t anonymous_ = nullptr;
  gnutls_certificate_credentials_t certificate_ = nullptr;
  bool asks_for_certificate_ = false;
};

Result<void> Context::set_priority(const char* priority) {
  const int result = tls_.priority_init(&priority_, priority, nullptr);
  if (result < 0) return error("TLS: GnuTLS does not take the priorities '{}': {}", priority, tls_.strerror(result));
  return ok();
}

Result<void> Context::open_anonymous() {
  if (auto set = set_priority(kAnonymousPriority); !set) return set;
  int result = tls_.anon_allocate_server_credentials(&anonymous_);
  if (result >= 0) result = tls_.anon_set_server_known_dh_params(anonymous_, GNUTLS_SEC_PARAM_MEDIUM);
  if (result < 0) return error("TLS: cannot prepare it: {}", tls_.strerror(result));
  return ok();
}

Result<void> Context::open_x509(const TlsFiles& files) {
  if (auto set = set_priority(kX509Priority); !set) return set;
  const auto certificate = content_of(files.certificate, "TLS certificate");
  if (!certificate) return certificate.error();
  const auto key = content_of(files.key, "TLS key");
  if (!key) return key.error();
  int result = tls_.certificate_allocate_credentials(&certificate_);
  if (result < 0) return error("TLS: cannot prepare it: {}", tls_.strerror(result));
  tls_.certificate_set_known_dh_params(certificate_, GNUTLS_SEC_PARAM_MEDIUM);
  const gnutls_datum_t certificate_text = datum(*certificate), key_text = datum(*key);
  result = tls_.certificate_set_x509_key_mem(certificate_, &certificate_text, &key_text, GNUTLS_X509_FMT_PEM);
  if (result < 0)
    return error("TLS: certificate '{}' with key '{}': {}; give a certificate and its key, which has no password, as PEM "
                 "files", files.certificate, files.key, tls_.strerror(result));
  if (files.client_ca.empty()) return ok();
  const auto authorities = content_of(files.client_ca, "TLS authority of viewers");
  if (!authorities) return authorities.error();
  const gnutls_datum_t authorities_text = datum(*authorities);
  result = tls_.certificate_set_x509_trust_mem(certificate_, &authorities_text, GNUTLS_X509_FMT_PEM);
  if (result <= 0)
    return error("TLS authority of viewers '{}': {}; give certificates as a PEM file", files.client_ca,
                 result == 0 ? "there is no certificate in it" : tls_.strerror(result));
  asks_for_certificate_ = true;
  return ok();
}

std::unique_ptr<TlsChannel> Context::channel(int socket) const {
  auto session = std::make_unique<TlsSession>(tls_, socket);
  const bool opened = certificate_ ? session->open(priority_, GNUTLS_CRD_CERTIFICATE, certificate_, asks_for_certificate_)
                                   : session->open(priority_, GNUTLS_CRD_ANON, anonymous_, false);
  if (!opened) return nullptr;
  return session;
}

}  // namespace

Result<std::unique_ptr<TlsContext>> TlsContext::anonymous() {
  auto tls = GnuTls::load();
  if (!tls) return std::move(tls).error();
  auto context = std::make_unique<Context>(**tls);
  if (auto opened = context->open_anonymous(); !opened) return std::move(opened).error();
  return std::unique_ptr<TlsContext>(std::move(context));
}

Result<std::unique_ptr<TlsContext>> TlsContext::x509(const TlsFiles& files) {
  auto tls = GnuTls::load();
  if (!tls) return std::move(tls).error();
  auto context = std::make_unique<Context>(**tls);
  if (auto opened = context->open_x509(files); !opened) return std::move(opened).error();
  return std::unique_ptr<TlsContext>(std::move(context));
}

}  // namespace skerry::display::rfb
