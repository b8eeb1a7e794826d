// GnuTLS, loaded when somebody asks for TLS: linking it would make the start of every VM some milliseconds longer.
#pragma once

#include <gnutls/gnutls.h>

#include "base/result.hpp"

namespace skerry::display::rfb {

// The functions that are used, by their names without "gnutls_".
#define SKERRY_GNUTLS_FUNCTIONS(X)                                                                             \
  X(alert_send_appropriate) X(anon_allocate_server_credentials) X(anon_free_server_credentials)                \
  X(anon_set_server_known_dh_params) X(certificate_allocate_credentials)                                \
  X(certificate_free_credentials) X(certificate_server_set_request) X(certificate_set_known_dh_params)         \
  X(certificate_set_x509_key_mem) X(certificate_set_x509_trust_mem) X(credentials_set) X(deinit) X(handshake)  \
  X(init) X(priority_deinit) X(priority_init) X(priority_set) X(record_check_pending) X(record_get_direction)  \
  X(record_recv) X(record_send) X(session_set_verify_cert) X(strerror) X(transport_set_errno)                  \
  X(transport_set_ptr) X(transport_set_pull_function) X(transport_set_push_function)

struct GnuTls {
#define SKERRY_GNUTLS_FUNCTION(name) decltype(&::gnutls_##name) name = nullptr;
  SKERRY_GNUTLS_FUNCTIONS(SKERRY_GNUTLS_FUNCTION)
#undef SKERRY_GNUTLS_FUNCTION

  // Before the sandbox closes. What it returns stays for the life of the process.
  static Result<const GnuTls*> load();
};

}  // namespace skerry::display::rfb
