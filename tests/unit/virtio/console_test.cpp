#include "virtio/console.hpp"

#include "unit/virtio/card_rig.hpp"

namespace skerry::virtio::test {
namespace {

constexpr uint64_t kMultiport = 1 << 1;
constexpr unsigned kControlIn = 2, kControlOut = 3, kPortIn = 4, kPortOut = 5;

class FakeChardev final : public chardev::Chardev {
 public:
  void connect(chardev::Frontend to) override { frontend = std::move(to); }
  Result<void> start(EventLoop&) override { return ok(); }
  size_t write(std::span<const uint8_t> bytes) override {
    const size_t taken = std::min(bytes.size(), room);
    output.append(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(taken));
    room -= taken;
    return taken;
  }
  void receive_ready() override { ++ready; }
  void flush(int) override {}
  // From the host, as much as the device takes now.
  void type(std::string_view text) {
    input += text;
    while (!input.empty()) {
      const size_t room_now = std::min(frontend.can_receive(), input.size());
      if (room_now == 0) return;
      frontend.receive(bytes_of(std::string_view(input).substr(0, room_now)));
      input.erase(0, room_now);
    }
  }

  void come(bool is) {
    there = is;
    frontend.connected(is);
  }

  chardev::Frontend frontend;
  std::string output, input;
  size_t room = 1 << 30;
  unsigned ready = 0;
  bool there = false;
};

struct Message {
  uint32_t id;
  uint16_t event, value;
  std::string name;
  bool operator==(const Message&) const = default;
};
std::ostream& operator<<(std::ostream& to, const Message& message) {
  return to << message.id << ' ' << message.event << ' ' << message.value << ' ' << message.name;
}

struct Rig : TurnedLoop {
  explicit Rig(uint64_t features)
      : console("console0", *loop, guest.memory, &terminal, {{"org.qemu.guest_agent.0", &agent}}),
        driver(console, guest, features) {
    if (features & kMultiport)
      for (int i = 0; i < 16; ++i) post_control();
  }
  void post_control() {
    const Buffer buffer = guest.room(64);
    control[driver.ring(kControlIn).add({}, {buffer})] = buffer;
  }
  void tell(uint32_t id, uint16_t event, uint16_t value) {
    Bytes bytes = bytes_of_value(id);
    for (const uint16_t more : {event, value}) {
      bytes.push_back(static_cast<uint8_t>(more));
      bytes.push_back(static_cast<uint8_t>(more >> 8));
    }
    driver.ring(kControlOut).add({guest.put(bytes)}, {});
    driver.notify(kControlOut);
    driver.ring(kControlOut).take_all();
  }
  std::vector<Message> told() {
    std::vector<Message> messages;
    for (const auto& used : driver.ring(kControlIn).take_all()) {
      const Bytes bytes = guest.bytes(control[used.id].address, used.written);
      messages.push_back({uint32_t{bytes[0]}, bytes[4], bytes[6], {bytes.begin() + 8, bytes.end()}});
      post_control();
    }
    return messages;
  }
  // What a guest's driver does, with a program that opens the agent's port.
  void bring_up() {
    tell(0, 0, 1);
    tell(0, 3, 1);
    tell(1, 3, 1);
    tell(0, 6, 1);
    tell(1, 6, 1);
    told();
  }
  void write(unsigned queue, std::string_view text) {
    driver.ring(queue).add({guest.put(bytes_of(text))}, {});
    driver.notify(queue);
  }

  Guest guest;
  FakeChardev terminal, agent;
  Console console;
  DirectDriver driver;
  std::map<uint16_t, Buffer> control;
};

TEST(Console, WithoutPortsItIsOneTerminal) {
  Rig rig(0);
  rig.write(1, "login: ");
  EXPECT_EQ(rig.terminal.output, "login: ");
  const Buffer buffer = rig.guest.room(10);
  rig.driver.ring(0).add({}, {buffer});
  rig.terminal.type("root");
  const auto used = rig.driver.ring(0).take();
  ASSERT_TRUE(used);
  EXPECT_EQ(text_of(rig.guest.bytes(buffer.address, used->written)), "root");
  EXPECT_EQ(rig.driver.transport.interrupts[0], 1u);
}

TEST(Console, IntroducesItsPorts) {
  Rig rig(kMultiport);
  EXPECT_EQ(config_field<uint32_t>(rig.console, 4), 2u);
  rig.tell(0, 0, 1);
  EXPECT_EQ(rig.told(), (std::vector<Message>{{0, 1, 1, ""}, {1, 1, 1, ""}}));
  rig.tell(0, 3, 1);
  EXPECT_EQ(rig.told(), (std::vector<Message>{{0, 4, 1, ""}}));
  rig.tell(1, 3, 1);
  EXPECT_EQ(rig.told(), (std::vector<Message>{{1, 7, 1, "org.qemu.guest_agent.0"}}));
}

TEST(Console, TellsOfThoseWhoComeAndGo) {
  Rig rig(kMultiport);
  rig.bring_up();
  rig.agent.come(true);
  EXPECT_EQ(rig.told(), (std::vector<Message>{{1, 6, 1, ""}}));
  rig.agent.come(false);
  EXPECT_EQ(rig.told(), (std::vector<Message>{{1, 6, 0, ""}}));
  rig.agent.come(false);
  EXPECT_TRUE(rig.told().empty());
}

TEST(Console, APortIsOpenWhenItsDriverComesLate) {
  Rig rig(kMultiport);
  rig.agent.come(true);
  EXPECT_TRUE(rig.told().empty()) << "nobody has asked yet";
  rig.tell(1, 3, 1);
  EXPECT_EQ(rig.told(), (std::vector<Message>{{1, 7, 1, "org.qemu.guest_agent.0"}, {1, 6, 1, ""}}));
}

TEST(Console, InputWaitsForAProgramOfTheGuest) {
  Rig rig(kMultiport);
  rig.agent.come(true);
  rig.tell(1, 3, 1);
  const Buffer buffer = rig.guest.room(100);
  rig.driver.ring(kPortIn).add({}, {buffer});
  rig.agent.type("ping");
  EXPECT_FALSE(rig.driver.ring(kPortIn).take());
  const unsigned before = rig.agent.ready;
  rig.tell(1, 6, 1);
  EXPECT_GT(rig.agent.ready, before);
  rig.agent.type("");
  rig.driver.notify(kPortIn);
  EXPECT_EQ(rig.driver.ring(kPortIn).take()->written, 4u);
}

TEST(Console, OutputForNobodyIsGone) {
  Rig rig(kMultiport);
  rig.bring_up();
  rig.write(kPortOut, "stale");
  rig.agent.come(true);
  rig.write(kPortOut, "answer");
  EXPECT_EQ(rig.agent.output, "answer");
  EXPECT_EQ(rig.driver.ring(kPortOut).take_all().size(), 2u);
}

TEST(Console, ASlowReaderLosesNothing) {
  Rig rig(0);
  rig.terminal.room = 3;
  rig.write(1, "abcdef");
  rig.write(1, "ghi");
  EXPECT_FALSE(rig.driver.ring(1).take());
  rig.terminal.room = 4;
  rig.terminal.frontend.writable();
  EXPECT_EQ(rig.driver.ring(1).take_all().size(), 1u);
  rig.terminal.room = 100;
  rig.terminal.frontend.writable();
  EXPECT_EQ(rig.terminal.output, "abcdefghi");
}

TEST(Console, ALongBufferDoesNotHoldUpTheLoop) {
  Rig rig(0);
  const Buffer buffer = rig.guest.room(2 << 20);
  rig.driver.ring(1).add({buffer}, {});
  rig.driver.notify(1);
  EXPECT_LT(rig.terminal.output.size(), 1u << 20);
  for (int i = 0; i < 8; ++i) rig.turn();
  EXPECT_EQ(rig.terminal.output.size(), 2u << 20);
}

TEST(Console, IgnoresMessagesAboutPortsThatAreNotThere) {
  Rig rig(kMultiport);
  rig.tell(2, 3, 1);
  rig.tell(0xffff'ffff, 6, 1);
  rig.tell(0, 99, 1);
  rig.driver.ring(kControlOut).add({rig.guest.put(Bytes(3))}, {});
  rig.driver.notify(kControlOut);
  EXPECT_TRUE(rig.told().empty());
  EXPECT_EQ(rig.driver.transport.why, "");
}

TEST(Console, AfterARestoreTheGuestHearsWhoIsThere) {
  Rig rig(kMultiport);
  rig.bring_up();
  rig.agent.come(true);
  rig.told();
  rig.console.quiesce([] {});
  rig.agent.come(false);
  EXPECT_TRUE(rig.told().empty());
  rig.console.resume();
  rig.turn();
  EXPECT_EQ(rig.told(), (std::vector<Message>{{1, 6, 0, ""}}));
}

struct StateRig : TurnedLoop {
  StateRig() : console("console0", *loop, guest.memory, &terminal, {{"a", &port}, {"b", nullptr}}), adapter(console) {}
  ~StateRig() { console.deactivate(); }
  void follow(StateRig& other) {
    terminal.come(other.terminal.there);
    port.come(other.port.there);
  }
  bus::Device& device() { return adapter; }

  Guest guest;
  FakeChardev terminal, port;
  Console console;
  AsBusDevice adapter;
  std::unique_ptr<LoadedDriver> driver;
};

skerry::test::Trace drive(StateRig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.driver = std::make_unique<LoadedDriver>(rig.console, rig.guest, kMultiport | feature::kVersion1);
  std::vector<Buffer> written;
  for (FakeChardev* chardev : {&rig.terminal, &rig.port}) {
    chardev->output.clear();
    chardev->input.clear();
    chardev->room = random() % 200;
    chardev->come(random() % 2);
  }
  for (unsigned step = 0; step < 40; ++step) {
    const auto queue = static_cast<unsigned>(random() % 8);
    RingDriver& ring = *rig.driver->rings[queue];
    if (ring.free() > 0) {
      if (queue == kControlOut) {
        Bytes message = {static_cast<uint8_t>(random() % 3), 0, 0, 0, static_cast<uint8_t>(random() % 8), 0, 1, 0};
        ring.add({rig.guest.put(message)}, {});
      } else if (queue % 2 == 1) {
        ring.add({rig.guest.put(Bytes(1 + random() % 60, static_cast<uint8_t>('a' + step % 26)))}, {});
      } else {
        written.push_back(rig.guest.room(40));
        ring.add({}, {written.back()});
      }
    }
    rig.console.notified(queue);
    FakeChardev& chardev = random() % 2 ? rig.terminal : rig.port;
    if (random() % 4 == 0) chardev.come(random() % 2);
    if (random() % 4 == 0) chardev.type("typed");
    if (random() % 4 == 0) {
      chardev.room += random() % 100;
      chardev.frontend.writable();
    }
  }
  rig.turn();
  note_used(rig.guest, *rig.driver, written, trace);
  for (const char byte : rig.terminal.output + "|" + rig.port.output) trace.push_back(static_cast<uint8_t>(byte));
  rig.driver->quiesce();
  return trace;
}

TEST(Console, StateSurvives) { skerry::test::run_state_test<StateRig>(10, drive); }

}  // namespace
}  // namespace skerry::virtio::test
