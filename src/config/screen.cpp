// Of a description: the screen, and who may look at it.
#include "base/units.hpp"
#include "config/checks.hpp"

namespace skerry::config {

namespace {

constexpr std::string_view kUnixPrefix = "unix:";
// VNC's ports: display N is at 5900 + N.
constexpr unsigned kFirstPort = 5900, kDisplays = 100;

// What belongs to a user and to a certificate has nothing to do without them: who gives it means to be safe, and would not be.
Result<void> check_security(const Vnc& vnc) {
  const bool x509 = vnc.tls == Vnc::Tls::kX509;
  if (x509 && (vnc.certificate.empty() || vnc.key.empty()))
    return error("vnc.tls: x509 needs the files of the server's certificate and of its key");
  if (!x509 && (!vnc.certificate.empty() || !vnc.key.empty() || !vnc.client_ca.empty()))
    return error("vnc.certificate: certificates are for tls x509; use it, or leave them out");
  if (!vnc.user.empty() && (!x509 || vnc.password_file.empty()))
    return error("vnc.user: a name is asked for with a password, through TLS with a certificate; give both, or leave it out");
  for (const auto& [field, path] : {std::pair<std::string_view, const std::string&>{"vnc.password_file", vnc.password_file},
                                    {"vnc.certificate", vnc.certificate},
                                    {"vnc.key", vnc.key},
                                    {"vnc.client_ca", vnc.client_ca}})
    if (!path.empty())
      if (auto good = check_path(field, path); !good) return good;
  constexpr size_t kMaxUser = 255;
  return check_text("vnc.user", vnc.user, kMaxUser);
}

}  // namespace

Result<void> check_screen(const VmConfig& config) {
  if (config.video != Video::kNone && config.board != kQ35Board && config.board != kPcBoard)
    return error("video: board {} has no place for a screen; use board {}", config.board, kQ35Board);
  if (!config.vnc) return ok();
  if (config.video == Video::kNone) return error("vnc: the VM has no screen to show; give it one, as video vga or virtio");
  if (config.vnc->listen.starts_with(kUnixPrefix)) {
    if (auto good = check_socket("vnc.listen", std::string_view(config.vnc->listen).substr(kUnixPrefix.size())); !good) return good;
  } else if (auto good = parse_vnc_address(config.vnc->listen); !good) {
    return std::move(good).error().in("vnc.listen");
  }
  return check_security(*config.vnc);
}

Result<std::string> parse_vnc_address(std::string_view text) {
  if (text.starts_with(kUnixPrefix) && text.size() > kUnixPrefix.size()) return std::string(text);
  // The last colon separates the port: an IPv6 address has colons of its own.
  const size_t colon = text.rfind(':');
  if (colon == text.npos) return error("'{}' is not an address for viewers; use ADDRESS:PORT, as 127.0.0.1:5900, or unix:PATH", shown(text));
  constexpr std::string_view kAnyPort = "auto";
  const std::string_view number = text.substr(colon + 1);
  const auto port = number == kAnyPort ? Result<uint64_t>(0) : parse_number(number);
  if (!port || *port > 65535)
    return error("'{}' in '{}' is not a port; use one up to 65535, as 5900, the number of a display, as 0, or auto", shown(number), shown(text));
  std::string_view address = text.substr(0, colon);
  if (address.empty() || address == "localhost") address = "127.0.0.1";
  return fmt::format("{}:{}", address, number != kAnyPort && *port < kDisplays ? kFirstPort + *port : *port);
}

}  // namespace skerry::config
