// A VmControl that remembers what was asked of it.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "vm/vm_control.hpp"

namespace skerry::vm {

class FakeVm final : public VmControl {
 public:
  const std::string& vm_name() const override { return name; }
  RunState run_state() const override { return state; }
  AcceleratorInfo accelerator() const override { return {"bt", "it was asked for", ""}; }
  std::vector<int> vcpu_threads() override { return {101, 102}; }
  void stop() override {
    if (state != RunState::kRunning) return;
    state = RunState::kPaused;
    emit({VmEvent::Kind::kStop});
  }
  void cont() override {
    if (state == RunState::kRunning) return;
    state = RunState::kRunning;
    emit({VmEvent::Kind::kResume});
  }
  void press_power_button() override { asked.push_back("powerdown"); }
  void request_reset(Cause cause) override { asked.push_back("reset " + std::string(vm::name(cause))); }
  void request_quit(Cause cause) override { asked.push_back("quit " + std::string(vm::name(cause))); }
  Result<void> start_save(UniqueFd file) override {
    if (save.state == SaveStatus::State::kActive) return error("There's a migration process in progress");
    saved_to = std::move(file);
    save.state = SaveStatus::State::kActive;
    emit({.kind = VmEvent::Kind::kMigration, .save = save.state});
    return ok();
  }
  SaveStatus save_status() const override { return save; }
  void cancel_save() override { save.state = SaveStatus::State::kCancelled; }
  display::Screen* screen() override { return a_screen.get(); }
  Result<void> send_keys(std::vector<display::KeyCode> keys, int64_t milliseconds) override {
    if (keys.empty()) return error("no keys");
    std::string text = fmt::format("keys {} ms", milliseconds);
    for (const display::KeyCode key : keys) text += fmt::format(" {}", display::key_name(key));
    asked.push_back(text);
    return ok();
  }
  std::optional<Viewing> viewing() override { return viewers; }
  Result<void> set_viewers_password(std::string password) override {
    asked.push_back("password " + password);
    return ok();
  }
  void emit(const VmEvent& event) {
    if (listener) listener->vm_event(event);
  }

  std::string name = "test";
  RunState state = RunState::kRunning;
  std::vector<std::string> asked;
  SaveStatus save;
  UniqueFd saved_to;
  std::unique_ptr<display::Screen> a_screen;
  std::optional<Viewing> viewers;
  VmListener* listener = nullptr;
};

}  // namespace skerry::vm
