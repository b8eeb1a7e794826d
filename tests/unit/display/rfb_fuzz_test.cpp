// Hostile viewers: conversations that were good ones, changed. Whatever comes, the server goes on, shows others what it
// shows, and grows by no more than it says.
//
// tests/fuzz/rfb/run calls this with more time; by itself it is a short run.
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "display/rfb/handshake.hpp"
#include "display/rfb/session.hpp"
#include "unit/display/chance.hpp"
#include "unit/display/server_rig.hpp"

namespace skerry::display::test {
namespace {

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = ::getenv(variable);
  return text && *text ? ::strtoull(text, nullptr, 0) : otherwise;
}

void add(Bytes& to, std::initializer_list<uint8_t> bytes) { to.insert(to.end(), bytes); }
void add(Bytes& to, std::string_view text) { to.insert(to.end(), text.begin(), text.end()); }

// A message of a session as a viewer sends them.
void add_message(Bytes& to, Chance& chance) {
  const auto byte = [&] { return static_cast<uint8_t>(chance.any()); };
  switch (chance(10)) {
    case 0: {
      static constexpr uint8_t kFormats[][16] = {
          {32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0}, {16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0},
          {8, 8, 0, 1, 0, 7, 0, 7, 0, 3, 0, 3, 6, 0, 0, 0},          {32, 32, 0, 1, 0, 255, 0, 255, 0, 255, 24, 16, 8, 0, 0, 0}};
      add(to, {0, 0, 0, 0});
      const auto& format = kFormats[chance(4)];
      to.insert(to.end(), std::begin(format), std::end(format));
      return;
    }
    case 1: {
      static constexpr int32_t kEncodings[] = {0,    1,    7,    16,   -32,  -23,  -256, -247, -223,
                                               -224, -239, -257, -258, -259, -261, -307, -308, 5,    -1000};
      const auto count = static_cast<uint8_t>(chance(12));
      add(to, {2, 0, 0, count});
      for (unsigned n = 0; n < count; ++n) {
        const auto number = static_cast<uint32_t>(kEncodings[chance(std::size(kEncodings))]);
        for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<uint8_t>(number >> shift));
      }
      return;
    }
    case 2:
    case 3:
      return add(to, {3, static_cast<uint8_t>(chance(2)), 0, byte(), 0, byte(), static_cast<uint8_t>(chance(3)), byte(),
                      static_cast<uint8_t>(chance(3)), byte()});
    case 4: return add(to, {4, static_cast<uint8_t>(chance(2)), 0, 0, 0, 0, static_cast<uint8_t>(chance(2) ? 0xff : 0), byte()});
    case 5: return add(to, {5, byte(), byte(), byte(), byte(), byte()});
    case 6: {
      const auto size = static_cast<uint8_t>(chance(40));
      add(to, {6, 0, 0, 0, 0, 0, 0, size});
      to.resize(to.size() + size);
      return;
    }
    case 7: {
      const auto screens = static_cast<uint8_t>(chance(3));
      add(to, {251, 0, 4, 0, 3, 0, screens, 0});
      to.resize(to.size() + 16u * screens);
      return;
    }
    case 8: {
      static constexpr uint32_t kRates[] = {4000, 8000, 44100, 48000, 192000};
      const uint32_t rate = kRates[chance(std::size(kRates))];
      const auto operation = static_cast<uint8_t>(chance(3));
      add(to, {255, 1, 0, operation});
      if (operation != 2) return;
      add(to, {static_cast<uint8_t>(chance(6)), static_cast<uint8_t>(1 + chance(2)), 0, static_cast<uint8_t>(rate >> 16),
               static_cast<uint8_t>(rate >> 8), static_cast<uint8_t>(rate)});
      return;
    }
    default: return add(to, {255, 0, 0, static_cast<uint8_t>(chance(2)), 0, 0, 0, byte(), 0, 0, 0, byte()});
  }
}

enum Kind : unsigned { kOpen, kPassword, kTls, kKinds };

Bytes conversation(Kind kind, Chance& chance) {
  Bytes all;
  static constexpr std::string_view kVersions[] = {"RFB 003.003\n", "RFB 003.007\n", "RFB 003.008\n"};
  const uint32_t version = chance(5);
  add(all, kVersions[std::min(version, 2u)]);
  if (kind == kTls) {
    add(all, {19, 0, 2, 0, 0, 1, 1});
    add(all, {22, 3, 1, 0, 50, 1, 0, 0, 46, 3, 3});  // the beginning of a ClientHello
    for (int n = 0; n < 60; ++n) all.push_back(static_cast<uint8_t>(chance.any()));
    return all;
  }
  if (version > 0) add(all, {static_cast<uint8_t>(kind == kOpen ? 1 : 2)});
  if (kind == kPassword)
    for (int n = 0; n < 16; ++n) all.push_back(static_cast<uint8_t>(chance.any()));
  add(all, {1});
  for (uint32_t n = chance(30); n != 0; --n) add_message(all, chance);
  return all;
}

void change(Bytes& bytes, Chance& chance) {
  constexpr uint8_t kTelling[] = {0, 1, 0x7f, 0x80, 0xff};
  if (bytes.empty()) return;
  const size_t at = chance(static_cast<uint32_t>(bytes.size()));
  switch (chance(7)) {
    case 0: bytes[at] = static_cast<uint8_t>(chance.any()); return;
    case 1: bytes[at] ^= static_cast<uint8_t>(1u << chance(8)); return;
    case 2: bytes[at] = kTelling[chance(std::size(kTelling))]; return;
    case 3:
      for (size_t n = at; n < std::min(at + 4, bytes.size()); ++n) bytes[n] = 0xff;
      return;
    case 4: bytes.resize(at); return;
    case 5: bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(at)); return;
    default: {
      const Bytes again(bytes.begin() + static_cast<ptrdiff_t>(at), bytes.end());
      bytes.insert(bytes.end(), again.begin(), again.end());
    }
  }
}

// The input that is being tried, kept for when it is the last.
class Kept {
 public:
  Kept(uint64_t seed, const char* what) {
    if (const char* corpus = ::getenv("SKERRY_CORPUS")) path_ = fmt::format("{}/{}-seed-{}.bin", corpus, what, seed);
  }
  void keep(const Bytes& bytes) {
    if (!path_.empty())
      std::ofstream(path_, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  ~Kept() {
    if (!path_.empty() && !testing::Test::HasFailure()) std::filesystem::remove(path_);
  }

 private:
  std::string path_;
};

std::vector<Bytes> corpus_of(std::string_view what) {
  std::vector<Bytes> files;
  const char* corpus = ::getenv("SKERRY_CORPUS");
  std::error_code none;
  if (!corpus) return files;
  for (const auto& entry : std::filesystem::directory_iterator(corpus, none)) {
    if (!entry.path().filename().string().starts_with(what)) continue;
    std::ifstream stream(entry.path(), std::ios::binary);
    files.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return files;
}

// --- without a connection: many conversations a second ----------------------------------------------------------------

constexpr size_t kMostAtATime = 1 << 20;  // bytes that one rectangle, the cursor or an answer may have

// What a guest does with its sound card.
void play_something(sound::Outlet& outlet, Chance& chance) {
  switch (chance(6)) {
    case 0: return outlet.begin({chance(200'000), 1 + chance(2)});
    case 1: return outlet.end();
    default: return outlet.play(std::vector<int16_t>(chance(chance(8) == 0 ? 100'000 : 1'000), static_cast<int16_t>(chance.any())));
  }
}

class DirectTalk {
 public:
  explicit DirectTalk(Chance& chance) : chance_(chance) {}

  void talk(std::span<const uint8_t> in) {
    Bytes pending;
    while (!in.empty() && !ended_) {
      const size_t part = std::min<size_t>(1 + chance_(200), in.size());
      pending.insert(pending.end(), in.begin(), in.begin() + static_cast<ptrdiff_t>(part));
      in = in.subspan(part);
      const size_t taken = take(pending);
      pending.erase(pending.begin(), pending.begin() + static_cast<ptrdiff_t>(taken));
      ASSERT_LE(pending.size(), rfb::Session::kMaxMessage) << "it waits for more than it may";
      compose();
      if (chance_(4) == 0) draw();
      if (chance_(4) == 0) play_something(outlet_, chance_);
    }
  }

 private:
  size_t take(std::span<const uint8_t> in) {
    size_t taken = 0;
    for (; !ended_;) {
      size_t used = 0;
      if (session_) {
        const auto consumed = session_->consume(in.subspan(taken));
        ended_ = !consumed;
        used = consumed ? *consumed : 0;
        EXPECT_TRUE(consumed || consumed.error().message().find('\n') == std::string::npos);
        if (used == 0) break;
      } else {
        const auto step = handshake_.consume(in.subspan(taken), used);
        if (step == rfb::Handshake::Step::kNeedsMore) break;
        ended_ = step == rfb::Handshake::Step::kRefused || step == rfb::Handshake::Step::kStartTls;
        if (step == rfb::Handshake::Step::kDone) session_.emplace(*screen_, input_, &outlet_, [] {}, facts_, out_);
      }
      EXPECT_LE(used, in.size() - taken);
      taken += used;
      EXPECT_LE(out_.size(), kMostAtATime);
    }
    return taken;
  }
  void compose() {
    for (int n = 0; session_ && n < 5; ++n) {
      out_.clear();
      (void)session_->updates().step(out_);
      EXPECT_LE(out_.size(), kMostAtATime);
      out_.clear();
      (void)session_->audio().put(out_);
      EXPECT_LE(out_.size(), rfb::Audio::kMostAtOnce);
    }
    out_.clear();
  }
  void draw() {
    switch (chance_(4)) {
      case 0: return (void)screen_->resize({1 + chance_(300), 1 + chance_(300)});
      case 1: return screen_->copy({chance_(300), chance_(300), chance_(300), chance_(300)}, chance_(300), chance_(300));
      case 2: return (void)screen_->set_cursor({9, 9, 4, 4, std::vector<uint32_t>(81, chance_.any())});
      default: return screen_->fill({chance_(300), chance_(300), chance_(300), chance_(300)}, chance_.any());
    }
  }

  Chance& chance_;
  std::unique_ptr<Screen> screen_ = Screen::create({100, 80}).value();
  Recorder input_;
  sound::Outlet outlet_;
  rfb::GuestFacts facts_{.name = "fuzz", .sound = true};
  rfb::Security security_;
  Bytes out_;
  rfb::Handshake handshake_{security_, out_};
  std::optional<rfb::Session> session_;
  bool ended_ = false;
};

TEST(RfbFuzz, ConversationsAreTakenOrEnded) {
  const uint64_t seed = number_from("SKERRY_SEED", std::random_device{}());
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(number_from("SKERRY_FUZZ_MS", 1000) / 2);
  SCOPED_TRACE(seed);
  Chance chance(seed);
  for (const Bytes& bytes : corpus_of("talk")) DirectTalk(chance).talk(bytes);
  Kept kept(seed, "talk");
  uint64_t rounds = 0;
  for (; std::chrono::steady_clock::now() < end && !HasFailure(); ++rounds) {
    Bytes bytes = conversation(kOpen, chance);
    for (uint32_t n = chance(6); n != 0; --n) change(bytes, chance);
    kept.keep(bytes);
    DirectTalk(chance).talk(bytes);
  }
  fmt::print("seed {}, {} conversations\n", seed, rounds);
}

// --- with connections -------------------------------------------------------------------------------------------------

RfbOptions options_of(Kind kind) {
  RfbOptions options;
  options.max_viewers = 64;
  options.wrong_password_delay_ns = 1000;
  if (kind == kPassword) options.password = "secret";
  if (kind == kTls) options.tls = RfbOptions::Tls::kAnonymous;
  return options;
}

// Sends it in pieces, reads what comes or not, and waits until the server has ended the connection. False: it has not.
bool attack(UniqueFd socket, std::span<const uint8_t> bytes, Chance& chance) {
  const bool reads = chance(3) != 0;
  std::array<uint8_t, 65536> buffer;
  while (!bytes.empty()) {
    const size_t part = std::min<size_t>(chance(4) == 0 ? 1 + chance(20) : 4096, bytes.size());
    const ssize_t sent = ::send(socket.get(), bytes.data(), part, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) return true;
    bytes = bytes.subspan(sent > 0 ? static_cast<size_t>(sent) : 0);
    if (reads) (void)::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  }
  if (chance(3) == 0) return true;  // just goes
  ::shutdown(socket.get(), SHUT_WR);
  for (;;) {
    pollfd wait{socket.get(), POLLIN, 0};
    if (::poll(&wait, 1, 60'000) <= 0) return false;
    if (::recv(socket.get(), buffer.data(), buffer.size(), 0) <= 0) return true;
  }
}

void expect_well(ServerRig& rig, Kind kind) {
  auto viewer = rig.connect();
  ASSERT_EQ(refusal(*viewer, {.password = kind == kPassword ? "secret" : ""}), "");
  viewer->send_encodings({16, -223});
  viewer->send_request(false);
  ASSERT_NO_THROW(viewer->follow([&] { return rig.shown_by(*viewer); }));
  EXPECT_TRUE(eventually([&] { return rig.server->viewers().size() <= 1; })) << "those who have gone are still there";
}

TEST(RfbFuzz, ConnectionsDoNotDisturbOthers) {
  const uint64_t seed = number_from("SKERRY_SEED", std::random_device{}());
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(number_from("SKERRY_FUZZ_MS", 1000) / 2);
  SCOPED_TRACE(seed);
  Chance chance(seed);
  std::vector<std::unique_ptr<ServerRig>> rigs;
  for (unsigned kind = 0; kind < kKinds; ++kind) rigs.push_back(std::make_unique<ServerRig>(options_of(static_cast<Kind>(kind))));
  std::vector<Bytes> files = corpus_of("connection");
  Kept kept(seed, "connection");
  uint64_t rounds = 0;
  for (; (std::chrono::steady_clock::now() < end || !files.empty()) && !HasFailure(); ++rounds) {
    auto kind = static_cast<Kind>(chance(kKinds));
    Bytes bytes = conversation(kind, chance);
    for (uint32_t n = chance(5); n != 0; --n) change(bytes, chance);
    bytes.insert(bytes.begin(), static_cast<uint8_t>(kind));
    if (!files.empty()) {
      bytes = files.back();
      files.pop_back();
      if (bytes.empty()) continue;
      kind = static_cast<Kind>(bytes[0] % kKinds);
    }
    kept.keep(bytes);
    ServerRig& rig = *rigs[kind];
    if (chance(4) == 0) rig.screen->fill({chance(300), chance(200), chance(300), chance(200)}, chance.any());
    if (chance(3) == 0) play_something(rig.outlet, chance);
    if (chance(40) == 0) (void)rig.screen->resize({1 + chance(700), 1 + chance(700)});
    ASSERT_TRUE(attack(connect_to(rig.server->port()), std::span<const uint8_t>(bytes).subspan(1), chance)) << "the server does not end it";
    if (rounds % 50 == 0) expect_well(rig, kind);
  }
  for (unsigned kind = 0; kind < kKinds; ++kind) expect_well(*rigs[kind], static_cast<Kind>(kind));
  fmt::print("seed {}, {} connections\n", seed, rounds);
}

}  // namespace
}  // namespace skerry::display::test
