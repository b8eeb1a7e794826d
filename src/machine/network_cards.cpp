#include "machine/network_cards.hpp"

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

void NetworkCards::join(Workers& workers) {
  for (auto& card : cards_) workers.add(*card);
}

}  // namespace skerry::machine
