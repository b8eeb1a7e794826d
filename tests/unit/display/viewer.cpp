#include "unit/display/viewer.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gnutls/crypto.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

namespace skerry::display::test {

namespace {

using namespace std::chrono_literals;
constexpr auto kPatience = 60s;  // a test that waits as long has failed

void add(Bytes& to, uint32_t value, unsigned size) {
  for (unsigned n = size; n != 0; --n) to.push_back(static_cast<uint8_t>(value >> 8 * (n - 1)));
}

Bytes message(uint8_t type, std::initializer_list<std::pair<uint32_t, unsigned>> fields) {
  Bytes bytes = {type};
  for (const auto& [value, size] : fields) add(bytes, value, size);
  return bytes;
}

// By another library than the server's.
Bytes encrypted(const Bytes& challenge, const std::string& password) {
  Bytes key(8);
  for (size_t n = 0; n < std::min<size_t>(password.size(), 8); ++n)
    for (unsigned bit = 0; bit < 8; ++bit)
      if (static_cast<uint8_t>(password[n]) & 1u << bit) key[n] = static_cast<uint8_t>(key[n] | 0x80u >> bit);
  Bytes response = challenge;
  for (size_t at = 0; at < response.size(); at += 8) {
    const Bytes zero(8);
    const gnutls_datum_t key_data{key.data(), 8}, start{const_cast<uint8_t*>(zero.data()), 8};
    gnutls_cipher_hd_t cipher = nullptr;
    if (::gnutls_cipher_init(&cipher, GNUTLS_CIPHER_DES_CBC, &key_data, &start) < 0) throw Broken("no DES");
    ::gnutls_cipher_encrypt(cipher, response.data() + at, 8);
    ::gnutls_cipher_deinit(cipher);
  }
  return response;
}

}  // namespace

UniqueFd connect_to(uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fd.reset();
  return fd;
}

UniqueFd connect_to(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fd.reset();
  return fd;
}

bool TestViewer::Update::has(int32_t encoding) const {
  return std::find(encodings.begin(), encodings.end(), encoding) != encodings.end();
}

TestViewer::~TestViewer() {
  if (tls_) ::gnutls_deinit(tls_);
  if (anonymous_) ::gnutls_anon_free_client_credentials(anonymous_);
}

// --- bytes -----------------------------------------------------------------------------------------------------------

bool TestViewer::wait(short events, std::chrono::milliseconds time) {
  pollfd ready{socket_.get(), events, 0};
  return ::poll(&ready, 1, static_cast<int>(time.count())) > 0;
}

void TestViewer::read(std::span<uint8_t> to) {
  while (!to.empty()) {
    ssize_t got;
    if (tls_) {
      got = ::gnutls_record_recv(tls_, to.data(), to.size());
    } else {
      if (!wait(POLLIN, kPatience)) throw Broken("nothing comes");
      got = ::recv(socket_.get(), to.data(), to.size(), 0);
    }
    if (got <= 0) throw Broken("the server has ended the connection");
    to = to.subspan(static_cast<size_t>(got));
  }
}

void TestViewer::send(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = tls_ ? ::gnutls_record_send(tls_, bytes.data(), bytes.size())
                              : ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) throw Broken("the server has ended the connection");
    bytes = bytes.subspan(static_cast<size_t>(sent));
  }
}

bool TestViewer::has_ended() {
  std::array<uint8_t, 65536> buffer;
  for (;;) {
    if (!wait(POLLIN, kPatience)) return false;
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) return true;
  }
}

bool TestViewer::silent(std::chrono::milliseconds time) { return !wait(POLLIN, time); }

// --- the handshake ---------------------------------------------------------------------------------------------------

void TestViewer::refused() {
  const Bytes reason = bytes(std::min(u32(), 1000u));
  throw Broken("refused: " + std::string(reason.begin(), reason.end()));
}

void TestViewer::result(bool has_reason) {
  if (u32() == 0) return;
  if (has_reason) refused();
  throw Broken("refused");
}

void TestViewer::log_in(const Login& login) {
  const Bytes version = bytes(12);
  if (std::string(version.begin(), version.end()) != "RFB 003.008\n") throw Broken("another version");
  send({reinterpret_cast<const uint8_t*>(login.version.data()), login.version.size()});
  if (login.version == "RFB 003.003\n")
    security_3_3(login);
  else
    choose_security(login);
  send(Bytes{login.shared});
  canvas = Canvas();
  canvas.width = u16();
  canvas.height = u16();
  canvas = Canvas(canvas.width, canvas.height);
  decoder.format = rfb::PixelFormat::read(bytes(16));
  const Bytes title = bytes(u32());
  name.assign(title.begin(), title.end());
}

void TestViewer::security_3_3(const Login& login) {
  const uint32_t type = u32();
  if (type == 0) refused();
  security = type == 1 ? "none" : "vnc";
  if (type == 1) return;
  answer_challenge(login.password);
  result(false);
}

void TestViewer::choose_security(const Login& login) {
  const bool has_reason = login.version == "RFB 003.008\n";
  const Bytes types = bytes(u8());
  if (types.empty()) refused();
  if (types.size() != 1) throw Broken("more than one kind of security");
  const unsigned type = login.type ? login.type : types[0];
  send(Bytes{static_cast<uint8_t>(type)});
  if (type == 19) return vencrypt(login);
  if (type == 2) answer_challenge(login.password);
  security = type == 2 ? "vnc" : "none";
  if (type != 1 || has_reason) result(has_reason);
}

void TestViewer::vencrypt(const Login& login) {
  if (u8() != 0 || u8() != 2) throw Broken("not VeNCrypt 0.2");
  send(Bytes{0, 2});
  if (u8() != 0) throw Broken("VeNCrypt 0.2 is refused");
  if (u8() != 1) throw Broken("more than one kind of VeNCrypt");
  const uint32_t offered = u32(), type = login.subtype ? login.subtype : offered;
  Bytes chosen;
  add(chosen, type, 4);
  send(chosen);
  if (u8() != 1) throw Broken("refused: the subtype");
  begin_tls(login);
  security = type == 257 ? "tlsnone" : type == 258 ? "tlsvnc" : type == 260 ? "x509none" : type == 261 ? "x509vnc" : "x509plain";
  if (type == 258 || type == 261) answer_challenge(login.password);
  if (type == 262) {
    Bytes plain;
    add(plain, static_cast<uint32_t>(login.user.size()), 4);
    add(plain, static_cast<uint32_t>(login.password.size()), 4);
    plain.insert(plain.end(), login.user.begin(), login.user.end());
    plain.insert(plain.end(), login.password.begin(), login.password.end());
    send(plain);
  }
  result(login.version == "RFB 003.008\n");
}

void TestViewer::begin_tls(const Login& login) {
  gnutls_session_t session = nullptr;
  ::gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
  if (login.certificates) {
    ::gnutls_priority_set_direct(session, "NORMAL", nullptr);
    ::gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, login.certificates);
    ::gnutls_session_set_verify_cert(session, "localhost", 0);
  } else {
    ::gnutls_priority_set_direct(session, "NORMAL:+ANON-ECDH:+ANON-DH", nullptr);
    ::gnutls_anon_allocate_client_credentials(&anonymous_);
    ::gnutls_credentials_set(session, GNUTLS_CRD_ANON, anonymous_);
  }
  ::gnutls_transport_set_int(session, socket_.get());
  const auto patience = static_cast<unsigned>(std::chrono::milliseconds(kPatience).count());
  ::gnutls_handshake_set_timeout(session, patience);
  ::gnutls_record_set_timeout(session, patience);
  int result;
  do result = ::gnutls_handshake(session);
  while (result < 0 && !::gnutls_error_is_fatal(result));
  tls_ = session;
  if (result < 0) throw Broken(std::string("TLS: ") + ::gnutls_strerror(result));
}

void TestViewer::answer_challenge(const std::string& password) { send(encrypted(bytes(16), password)); }

// --- the session -----------------------------------------------------------------------------------------------------

void TestViewer::send_format(const rfb::PixelFormat& format) {
  Bytes bytes = {0, 0, 0, 0};
  format.write(bytes);
  send(bytes);
  decoder.format = format;
}

void TestViewer::send_encodings(const std::vector<int32_t>& encodings) {
  Bytes bytes = message(2, {{0, 1}, {static_cast<uint32_t>(encodings.size()), 2}});
  for (const int32_t encoding : encodings) add(bytes, static_cast<uint32_t>(encoding), 4);
  send(bytes);
}

void TestViewer::send_request(bool incremental, const Rect& rect) {
  send(message(3, {{incremental, 1}, {rect.x, 2}, {rect.y, 2}, {rect.width, 2}, {rect.height, 2}}));
}

void TestViewer::send_key(uint32_t keysym, bool down) { send(message(4, {{down, 1}, {0, 2}, {keysym, 4}})); }

void TestViewer::send_extended_key(uint32_t number, uint32_t keysym, bool down) {
  send(message(255, {{0, 1}, {down, 2}, {keysym, 4}, {number, 4}}));
}

void TestViewer::send_audio(uint16_t operation) { send(message(255, {{1, 1}, {operation, 2}})); }

void TestViewer::send_audio_format(uint8_t samples, uint8_t channels, uint32_t rate) {
  send(message(255, {{1, 1}, {2, 2}, {samples, 1}, {channels, 1}, {rate, 4}}));
}

void TestViewer::send_pointer(uint8_t mask, uint16_t x, uint16_t y) { send(message(5, {{mask, 1}, {x, 2}, {y, 2}})); }

TestViewer::Update TestViewer::update() {
  Update update;
  unsigned type;
  while ((type = u8()) == 255) sound();
  if (type != 0) throw Broken("no FramebufferUpdate");
  u8();
  const unsigned count = u16();
  for (unsigned n = 0; n < count; ++n) rectangle(update);
  return update;
}

void TestViewer::hear() {
  if (u8() != 255) throw Broken("no message about sound");
  sound();
}

// A message that begins with 255.
void TestViewer::sound() {
  if (u8() != 1) throw Broken("another message of QEMU's");
  if (!offered_sound) throw Broken("a sound that it has not been told of");
  switch (u16()) {
    case 0:
      if (++sounds_ended != sounds_begun) throw Broken("a sound ends that has not begun");
      return;
    case 1:
      if (++sounds_begun != sounds_ended + 1) throw Broken("a sound begins before another has ended");
      return;
    case 2: {
      if (sounds_begun == sounds_ended) throw Broken("data of no sound");
      const uint32_t size = u32();
      if (size == 0 || size > 1 << 16) throw Broken("a message with no sound, or too much");
      const Bytes samples = bytes(size);
      heard.insert(heard.end(), samples.begin(), samples.end());
      most_heard_at_once = std::max<size_t>(most_heard_at_once, size);
      ++sound_messages;
      return;
    }
    default: throw Broken("an operation that there is not");
  }
}

void TestViewer::rectangle(Update& update) {
  const uint32_t x = u16(), y = u16(), width = u16(), height = u16();
  const Rect rect{x, y, width, height};
  const auto encoding = static_cast<int32_t>(u32());
  update.encodings.push_back(encoding);
  update.rects.push_back(rect);
  if (!pseudo(encoding, rect)) decoder.decode(encoding, rect, *this, canvas);
}

bool TestViewer::pseudo(int32_t encoding, const Rect& rect) {
  switch (encoding) {
    case -308: {
      if (u8() != 1) throw Broken("not one screen");
      bytes(3);
      const Bytes screen = bytes(16);
      if ((screen[8] << 8 | screen[9]) != static_cast<int>(rect.width)) throw Broken("a screen of another size");
      size_reason = static_cast<uint16_t>(rect.x);
      size_result = static_cast<uint16_t>(rect.y);
      [[fallthrough]];
    }
    case -223: canvas = Canvas(rect.width, rect.height); return true;
    case -239: {
      cursor = Canvas(rect.width, rect.height);
      cursor_x = rect.x;
      cursor_y = rect.y;
      Decoder pixels;
      pixels.format = decoder.format;
      pixels.decode(0, {0, 0, rect.width, rect.height}, *this, *cursor);
      cursor_mask = bytes((rect.width + 7) / 8 * size_t{rect.height});
      return true;
    }
    case -257: absolute = rect.x == 1; return true;
    case -258: extended_keys = true; return true;
    case -259: offered_sound = true; return true;
    case -261: leds = u8(); return true;
    case -307: {
      const Bytes title = bytes(u32());
      name.assign(title.begin(), title.end());
      return true;
    }
    default: return false;
  }
}

}  // namespace skerry::display::test
