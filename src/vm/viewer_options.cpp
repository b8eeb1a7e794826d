#include "vm/viewer_options.hpp"

#include <array>

#include "machine/loader/input_file.hpp"

namespace skerry::vm {

namespace {

// The first line. A password that is empty would let everybody in.
Result<std::string> read_password(const std::string& path) {
  constexpr uint64_t kMaxSize = 4096;
  auto file = machine::InputFile::open("password file", path);
  if (!file) return std::move(file).error();
  if (file->size() > kMaxSize) return error("{}: has {} bytes; a file with a password has at most {}", file->label(), file->size(), kMaxSize);
  std::string text(file->size(), 0);
  if (auto read = file->read(0, std::as_writable_bytes(std::span(text))); !read) return std::move(read).error();
  text.resize(std::min(text.find_first_of("\r\n"), text.size()));
  if (text.empty()) return error("{}: its first line is empty, and should be the password", file->label());
  return text;
}

}  // namespace

Result<display::RfbOptions> viewer_options(const config::VmConfig& config) {
  using Tls = display::RfbOptions::Tls;
  constexpr std::array kTls = {Tls::kNone, Tls::kAnonymous, Tls::kX509};  // in the order of Vnc::Tls
  const config::Vnc& vnc = *config.vnc;
  display::RfbOptions options{.listen = vnc.listen,
                              .name = config.name,
                              .user = vnc.user,
                              .tls = kTls[static_cast<unsigned>(vnc.tls)],
                              .certificate = vnc.certificate,
                              .key = vnc.key,
                              .client_ca = vnc.client_ca};
  if (vnc.password_file.empty()) return options;
  auto password = read_password(vnc.password_file);
  if (!password) return std::move(password).error();
  options.password = std::move(*password);
  return options;
}

std::string vnc_authentication(const config::Vnc& vnc) {
  if (vnc.tls != config::Vnc::Tls::kNone) return "vencrypt";
  return vnc.password_file.empty() ? "none" : "vnc";
}

}  // namespace skerry::vm
