#include "chardev/chardev.hpp"

#include "chardev/backends.hpp"

namespace skerry::chardev {

Result<Spec> parse_chardev(std::string_view text) {
  const size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const bool has_path = colon != std::string_view::npos;
  const std::string_view path = has_path ? text.substr(colon + 1) : std::string_view();

  Spec spec;
  spec.path = path;
  if (name == "stdio")
    spec.kind = Kind::kStdio;
  else if (name == "pty")
    spec.kind = Kind::kPty;
  else if (name == "file")
    spec.kind = Kind::kFile;
  else if (name == "unix")
    spec.kind = Kind::kUnix;
  else if (name == "none")
    spec.kind = Kind::kNone;
  else
    return error("unknown console '{}'; there are: stdio, pty, file:PATH, unix:PATH, none", text);

  const bool needs_path = spec.kind == Kind::kFile || spec.kind == Kind::kUnix;
  if (needs_path && path.empty()) return error("console '{}' needs a path: {}:PATH", text, name);
  if (!needs_path && has_path) return error("console '{}' takes nothing after its name: use '{}'", text, name);
  return spec;
}

Result<std::unique_ptr<Chardev>> open_chardev(const Spec& spec, OpenOptions options) {
  switch (spec.kind) {
    case Kind::kStdio:
      return open_stdio(std::move(options.quit));
    case Kind::kPty:
      return open_pty();
    case Kind::kFile:
      return open_file(spec.path);
    case Kind::kUnix:
      return open_unix(spec.path);
    case Kind::kNone:
      break;
  }
  return open_none();
}

}  // namespace skerry::chardev
