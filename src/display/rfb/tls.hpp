// TLS for viewers, as VeNCrypt uses it (rfbproto, "VeNCrypt").
#pragma once

#include <memory>
#include <string>

#include "base/result.hpp"
#include "display/rfb/channel.hpp"

namespace skerry::display::rfb {

struct TlsFiles {
  std::string certificate, key;  // PEM; the certificate's file may have those in between behind it
  std::string client_ca;         // PEM; if not empty, viewers must have a certificate from one of these
};

// TLS on a viewer's socket.
class TlsChannel : public Channel {
 public:
  enum class Handshake : uint8_t { kDone, kNotNow, kFailed };
  // To be called until it is done, whenever the socket is ready; before that there is no read() and write().
  virtual Handshake handshake() = 0;
  virtual bool waits_to_write() const = 0;  // after kNotNow
  virtual const std::string& why_failed() const = 0;
};

// What all connections share. Opened before the sandbox closes: it loads GnuTLS and reads the files. Connections afterwards
// make only these system calls: recvfrom, sendto, getrandom, clock_gettime, getpid.
class TlsContext {
 public:
  virtual ~TlsContext() = default;
  // Without a certificate: encrypted, but whoever sits in between may have taken the server's place.
  static Result<std::unique_ptr<TlsContext>> anonymous();
  static Result<std::unique_ptr<TlsContext>> x509(const TlsFiles& files);

  virtual bool has_certificate() const = 0;
  // None: there is no memory. Ends before the context; the socket outlives it.
  virtual std::unique_ptr<TlsChannel> channel(int socket) const = 0;
};

}  // namespace skerry::display::rfb
