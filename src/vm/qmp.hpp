// QMP, the JSON monitor protocol of QEMU (docs/interop/qmp-spec of QEMU), without the socket: bytes in, bytes out.
//
// Names and fields are those of QEMU's QAPI schema, so that clients for it work. Main thread only.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "vm/json_splitter.hpp"
#include "vm/qmp_descriptors.hpp"
#include "vm/vm_control.hpp"

namespace skerry::vm {

class QmpSession final : public VmListener {
 public:
  // `send` gets whole lines for the client.
  QmpSession(VmControl& vm, std::function<void(std::string_view)> send) : vm_(vm), send_(std::move(send)) {}

  // A client came: greets it. What an earlier one left unfinished is forgotten.
  void connected();
  void received(std::string_view bytes);
  // A descriptor that came with the next bytes.
  void descriptor(UniqueFd fd) { descriptors_.received(std::move(fd)); }
  void disconnected();
  // Events reach a client that has negotiated.
  void vm_event(const VmEvent& event) override;

 private:
  void handle(const JsonSplitter::Item& item);
  nlohmann::json answer(const nlohmann::json& request);
  void send_json(const nlohmann::json& message);

  VmControl& vm_;
  const std::function<void(std::string_view)> send_;
  JsonSplitter splitter_;
  QmpDescriptors descriptors_;
  bool connected_ = false;
  bool negotiated_ = false;
};

}  // namespace skerry::vm
