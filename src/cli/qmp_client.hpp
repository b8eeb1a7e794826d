// A client of a VM's monitor: one command at a time over its unix socket.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace skerry::cli {

// Thread-compatible. Nothing here waits longer than kPatience for an answer.
class QmpClient {
 public:
  static constexpr int kPatience = 30'000;  // ms; a VM that writes to a slow disk answers late

  // Connects and negotiates. Errors name the socket.
  static Result<QmpClient> connect(const std::string& path);

  // The value of "return"; an error is the VM's, or says how the connection ended. `fd` is passed along, if it is one.
  Result<nlohmann::json> command(std::string_view name, nlohmann::json arguments = nlohmann::json::object(), int fd = -1);
  // Until the VM closes the connection, as it does when it ends.
  Result<void> wait_for_end();

 private:
  QmpClient(std::string path, UniqueFd socket) : path_(std::move(path)), socket_(std::move(socket)) {}
  Result<void> send(std::string_view text, int fd);
  Result<nlohmann::json> read_message();
  Result<bool> read_some();  // false: the connection has ended
  Error failed(std::string_view why) const;

  std::string path_;
  UniqueFd socket_;
  std::string input_;
};

}  // namespace skerry::cli
