// Random states of the 82574L, and ones that use has led to, saved and loaded.
#include "unit/devices/e1000e_rig.hpp"

namespace skerry::devices::e1000e::test {
namespace {

using net::kProtocolTcp, net::kProtocolUdp;

// Random registers, frames and time, of which the trace is what guest and backend see.
skerry::test::Trace drive(Rig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.backend.room = ~0u;
  rig.map();
  rig.card->resume();
  rig.run_loop();
  const auto note_sent = [&] {
    for (const auto& [header, frame] : rig.backend.sent) {
      trace.push_back(header.flags | header.gso_type << 8 | uint64_t{header.csum_start} << 16);
      trace.push_back(frame.size());
      for (const uint8_t byte : frame) trace.push_back(byte);
    }
    rig.backend.sent.clear();
  };
  note_sent();
  constexpr uint32_t kWritten[] = {CTRL, CTRL_EXT, RCTL, TCTL, IMS, IMC,    ICS,   ITR,  EITR,
                                   IVAR, EIAC,     IAM,  MDIC, EERD, RXCSUM, RFCTL, MRQC, PSRCTL};
  constexpr uint32_t kLookedAt[] = {STATUS, CTRL, ICS, IMS, TDBAL + kHead, RDBAL + kHead, RDBAL + kQueueStride + kHead,
                                    MDIC, EERD, GPRC, TPT};
  for (int i = 0; i < 60; ++i) {
    rig.backend.room = random() % 4 ? ~0u : static_cast<unsigned>(random() % 3);
    switch (random() % 8) {
      case 0: rig.start(); break;
      case 1: rig.give_buffers(random() % 4, random() % 2); break;
      case 2:
        if (rig.backend.card)
          trace.push_back(rig.receive(ip_frame(random() % 2 ? kProtocolTcp : kProtocolUdp, random() % 1400, random() % 2)));
        break;
      case 3: rig.write(kWritten[random() % std::size(kWritten)], static_cast<uint32_t>(random()) & ~ctrl::RST); break;
      case 4: send_segments(rig, 100 + random() % 4000, random() % 2, 500); break;
      case 5: rig.send(ip_frame(kProtocolUdp, random() % 1000)); break;
      case 6: rig.time.advance(static_cast<int64_t>(random() % 60'000'000)); break;
      default:
        if (rig.backend.card) rig.backend.card->backend_has_room();
    }
    rig.run_loop();
    note_sent();
    for (const uint32_t at : kLookedAt) trace.push_back(rig.read(at));
    if (random() % 2) trace.push_back(rig.read(ICR));
    trace.push_back(rig.lines.high);
  }
  EXPECT_TRUE(rig.rest());
  return trace;
}

TEST(E1000eState, Survives) { skerry::test::run_state_test<Rig>(20, drive); }

}  // namespace
}  // namespace skerry::devices::e1000e::test
