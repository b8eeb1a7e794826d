// A viewer as the specification has it, for tests: it connects to a server, says what it is told to, and decodes what comes.
#pragma once

#include <gnutls/gnutls.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "unit/display/decoder.hpp"

namespace skerry::display::test {

// A TCP connection to a port of this host, or one to a unix socket; none if nobody listens.
UniqueFd connect_to(uint16_t port);
UniqueFd connect_to(const std::string& path);

class TestViewer final : public Source {
 public:
  struct Login {
    std::string version = "RFB 003.008\n";
    std::string password, user;
    bool shared = true;
    unsigned type = 0, subtype = 0;  // of security; 0: the one that is offered
    gnutls_certificate_credentials_t certificates = nullptr;  // none: TLS without
  };
  // What one update has had besides pictures.
  struct Update {
    std::vector<int32_t> encodings;  // of its rectangles
    std::vector<Rect> rects;
    bool has(int32_t encoding) const;
  };

  explicit TestViewer(UniqueFd socket) : socket_(std::move(socket)) {}
  ~TestViewer() override;

  // The whole handshake; throws Broken with the reason if the server says no.
  void log_in(const Login& login);
  void log_in() { log_in({}); }

  void send(std::span<const uint8_t> bytes);
  void send_format(const rfb::PixelFormat& format);
  void send_encodings(const std::vector<int32_t>& encodings);
  void send_request(bool incremental, const Rect& rect);
  void send_request(bool incremental) { send_request(incremental, {0, 0, canvas.width, canvas.height}); }
  void send_key(uint32_t keysym, bool down);
  void send_extended_key(uint32_t number, uint32_t keysym, bool down);
  void send_pointer(uint8_t mask, uint16_t x, uint16_t y);
  void send_audio(uint16_t operation);  // 0: enable, 1: disable
  void send_audio_format(uint8_t samples, uint8_t channels, uint32_t rate);

  Update update();  // the next one; what it hears before is added to what it has heard
  void hear();      // the next message, which is of sound
  // Asks for updates until `done` says so; throws Broken if that takes longer than a test may.
  template <typename Done>
  void follow(Done done) {
    while (!done()) {
      send_request(true);
      update();
    }
  }

  void read(std::span<uint8_t> to) override;
  bool has_ended();  // the server ends the connection; what it sends before is thrown away
  bool silent(std::chrono::milliseconds time);  // nothing comes for so long

  Canvas canvas;
  std::string name;
  Decoder decoder;
  // What it has been told.
  std::optional<Canvas> cursor;  // its pixels
  Bytes cursor_mask;
  uint32_t cursor_x = 0, cursor_y = 0;  // the hot spot
  std::optional<bool> absolute;
  std::optional<unsigned> leds;
  bool extended_keys = false;
  bool offered_sound = false;
  // What it has heard: bytes of samples, and the numbers of messages.
  Bytes heard;
  unsigned sounds_begun = 0, sounds_ended = 0, sound_messages = 0;
  size_t most_heard_at_once = 0;  // bytes in a message
  uint16_t size_reason = 99, size_result = 99;
  std::string security;  // what was done for it: "none", "vnc", "x509plain" ...

 private:
  void security_3_3(const Login& login);
  void choose_security(const Login& login);
  void vencrypt(const Login& login);
  void begin_tls(const Login& login);
  void answer_challenge(const std::string& password);
  void result(bool has_reason);
  [[noreturn]] void refused();
  void rectangle(Update& update);
  bool pseudo(int32_t encoding, const Rect& rect);
  void sound();
  bool wait(short events, std::chrono::milliseconds time);

  UniqueFd socket_;
  gnutls_session_t tls_ = nullptr;
  gnutls_anon_client_credentials_t anonymous_ = nullptr;
};

}  // namespace skerry::display::test
