#include "cli/qmp_client.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/passed_fd.hpp"
#include "base/units.hpp"
#include "base/unix_socket.hpp"

namespace skerry::cli {

using nlohmann::json;

namespace {

constexpr size_t kMaxMessage = 4 * MiB;

}  // namespace

Error QmpClient::failed(std::string_view why) const { return error("monitor 'unix:{}': {}", path_, why); }

Result<QmpClient> QmpClient::connect(const std::string& path) {
  const auto address = unix_address(fmt::format("monitor 'unix:{}'", path), path);
  if (!address) return address.error();
  QmpClient client(path, UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  if (!client.socket_) return errno_error(errno, "cannot create a socket");
  if (::connect(client.socket_.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0)
    return errno_error(errno, fmt::format("monitor 'unix:{}': cannot connect; is there a VM that was started with "
                                          "--qmp unix:{}?",
                                          path, path));
  const auto greeting = client.read_message();
  if (!greeting) return Error(greeting.error()).in("another client may be connected to it");
  if (!greeting->contains("QMP")) return client.failed("what listens there does not speak QMP");
  if (auto ready = client.command("qmp_capabilities"); !ready) return std::move(ready).error();
  return client;
}

Result<json> QmpClient::command(std::string_view name, json arguments, int fd) {
  json request{{"execute", name}};
  if (!arguments.empty()) request["arguments"] = std::move(arguments);
  if (auto sent = send(request.dump(-1, ' ', false, json::error_handler_t::replace) + "\n", fd); !sent)
    return std::move(sent).error();
  for (;;) {
    auto message = read_message();
    if (!message) return message;
    if (message->contains("return")) return (*message)["return"];
    if (!message->contains("error")) continue;  // an event
    const json& failure = (*message)["error"];
    const bool told = failure.is_object() && failure.contains("desc") && failure["desc"].is_string();
    return failed(fmt::format("{}: {}", name, told ? failure["desc"].get<std::string>() : "it failed"));
  }
}

Result<void> QmpClient::wait_for_end() {
  for (;;) {
    input_.clear();
    const auto more = read_some();
    if (!more) return more.error();
    if (!*more) return ok();
  }
}

Result<void> QmpClient::send(std::string_view text, int fd) {
  while (!text.empty()) {
    const ssize_t put = send_with_fd(socket_.get(), text.data(), text.size(), fd);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return failed(fmt::format("the connection has ended: {}", std::strerror(errno)));
    text.remove_prefix(static_cast<size_t>(put));
    fd = -1;  // it went with the first bytes
  }
  return ok();
}

Result<json> QmpClient::read_message() {
  for (;;) {
    if (const size_t end = input_.find('\n'); end != input_.npos) {
      json message = json::parse(input_.substr(0, end), nullptr, false);
      input_.erase(0, end + 1);
      if (!message.is_object()) return failed("what listens there does not speak QMP");
      return message;
    }
    if (input_.size() > kMaxMessage) return failed("what listens there does not speak QMP");
    const auto more = read_some();
    if (!more) return more.error();
    if (!*more) return failed("the VM has closed the connection");
  }
}

Result<bool> QmpClient::read_some() {
  pollfd wait{socket_.get(), POLLIN, 0};
  int ready;
  while ((ready = ::poll(&wait, 1, kPatience)) < 0 && errno == EINTR) {
  }
  if (ready == 0) return failed(fmt::format("the VM has not answered for {} s", kPatience / 1000));
  std::array<char, 16384> buffer;
  const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (got < 0 && errno == EINTR) return true;
  if (got < 0 && errno != ECONNRESET) return failed(std::strerror(errno));
  if (got <= 0) return false;
  input_.append(buffer.data(), static_cast<size_t>(got));
  return true;
}

}  // namespace skerry::cli
