#include "display/rfb/gnutls.hpp"

#include <dlfcn.h>

namespace skerry::display::rfb {

namespace {

constexpr const char* kLibrary = "libgnutls.so.30";

Result<GnuTls> load_library() {
  void* library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (!library) return error("TLS needs GnuTLS, which cannot be loaded: {}; install the package libgnutls30", ::dlerror());
  GnuTls functions;
#define SKERRY_GNUTLS_FUNCTION(name)                                                                \
  functions.name = reinterpret_cast<decltype(functions.name)>(::dlsym(library, "gnutls_" #name));  \
  if (!functions.name) return error("TLS needs a newer GnuTLS: {} has no gnutls_" #name "()", kLibrary);
  SKERRY_GNUTLS_FUNCTIONS(SKERRY_GNUTLS_FUNCTION)
#undef SKERRY_GNUTLS_FUNCTION
  return functions;
}

}  // namespace

Result<const GnuTls*> GnuTls::load() {
  static const Result<GnuTls> loaded = load_library();
  if (!loaded) return loaded.error();
  return &*loaded;
}

}  // namespace skerry::display::rfb
