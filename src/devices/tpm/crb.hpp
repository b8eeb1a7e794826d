// The command response buffer, by which a guest reaches a TPM 2.0. TCG PC Client Platform TPM Profile for TPM 2.0, 1.05 ("PTP"), 6.5.3.
// Locality 0 only, without interrupts: the guest looks at CTRL_START until it is clear.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>

#include "base/event_loop.hpp"
#include "bus/address_space.hpp"
#include "bus/device.hpp"
#include "devices/tpm/backend.hpp"

namespace skerry::devices::tpm {

class Crb final : public bus::Device, private bus::IoHandler {
 public:
  static constexpr uint64_t kBase = 0xfed40000, kSize = 0x1000;  // of locality 0
  static constexpr uint64_t kControlArea = kBase + 0x40;         // as the ACPI table TPM2 gives it

  // `loop` is the backend's, of the thread that controls the machine; both outlive the device.
  Crb(EventLoop& loop, Backend& backend);
  Result<void> attach(bus::AddressSpace& mmio) { return mmio.add(kBase, kSize, *this, "tpm"); }

  // With the VM at rest. The first waits for a command under way, and gets what describe() is to save; the second gives the backend what
  // describe() has loaded.
  Result<void> prepare_save();
  Result<void> give_state();

  std::string_view name() const override { return "tpm"; }
  void reset() override;
  void describe(state::Fields& fields) override;

 private:
  // What a write leads to, with no lock held.
  enum class Action : uint8_t { kNone, kExecute, kCancel };

  uint64_t io_read(uint64_t offset, unsigned size) override;
  void io_write(uint64_t offset, unsigned size, uint64_t value) override;

  // With the lock held.
  uint32_t read_register(uint64_t offset) const;
  Action write_register(uint64_t offset, uint32_t value);
  void request_state(uint32_t value);
  Action start();

  // On the loop's thread.
  void execute(uint64_t command);
  void cancel(uint64_t command);
  void answered(std::span<const uint8_t> response);
  void backend_failed(const std::string& why);

  EventLoop& loop_;
  Backend& backend_;
  mutable std::mutex lock_;
  bool granted_ = false;    // Locality 0 is in use
  bool idle_ = true;        // TPM_CRB_CTRL_STS.tpmIdle
  bool executing_ = false;  // TPM_CRB_CTRL_START
  bool cancel_ = false;     // TPM_CRB_CTRL_CANCEL
  bool failed_ = false;     // TPM_CRB_CTRL_STS.tpmSts: a fatal error
  std::array<uint8_t, kBufferSize> buffer_{};
  bool cancel_asked_ = false;  // for the command under way: once is enough
  uint64_t command_ = 0;  // the number of the last: what was asked for an earlier one is not done any more
  State state_;           // of the backend, from prepare_save() on, or until give_state()
};

}  // namespace skerry::devices::tpm
