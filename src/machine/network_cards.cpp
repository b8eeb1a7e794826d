#include "machine/network_cards.hpp"

#include <latch>

namespace skerry::machine {

using devices::e1000e::E1000e;

Result<std::unique_ptr<NetworkCards>> NetworkCards::create(const config::VmConfig& config, Backends& backends, IoThread& io,
                                                           memory::GuestMemory& memory, PciBoard& board) {
  auto cards = std::make_unique<NetworkCards>();
  for (size_t i = 0; i < config.nics.size(); ++i) {
    if (config.nics[i].model != config::Nic::Model::kE1000e) continue;
    cards->cards_.push_back(std::make_unique<E1000e>(fmt::format("net{}", i), io.loop(), memory, *backends.nics[i],
                                                     E1000e::Options{config::mac_of(config, i)}));
    if (auto slot = board.add(*cards->cards_.back()); !slot) return std::move(slot).error();
  }
  return cards;
}

void NetworkCards::quiesce() {
  if (quiet_) return;
  quiet_ = true;
  const auto left = std::make_shared<std::latch>(static_cast<ptrdiff_t>(cards_.size()));
  for (auto& card : cards_) card->quiesce([left] { left->count_down(); });
  left->wait();
}

void NetworkCards::resume() {
  if (!quiet_) return;
  quiet_ = false;
  for (auto& card : cards_) card->resume();
}

}  // namespace skerry::machine
