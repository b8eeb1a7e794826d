// Shows a known picture and plays a known sound by the RFB server, and prints the input that it gets, for tests/peer/rfb/run. It does so within the
// system call filter of a VM.
//
//   show_picture LISTEN [--password=P] [--user=U] [--tls=anonymous] [--certificate=FILE --key=FILE] [--dump=FILE] [--relative]
//
// Prints "listening PORT". Then it takes lines: "picture WIDTH HEIGHT SEED", "copy X Y WIDTH HEIGHT TO_X TO_Y", "dump" (writes
// a PNG), "viewers", "sound RATE CHANNELS", "play FIRST COUNT" (samples), "silence"; each is answered by a line that begins with "ok". Every key and pointer event is a line of its own.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <iostream>
#include <sstream>

#include "base/fd.hpp"
#include "display/png.hpp"
#include "display/rfb_server.hpp"
#include "vm/sandbox.hpp"

namespace {

using namespace skerry;
using namespace skerry::display;

void say(std::string line) {
  line += '\n';
  [[maybe_unused]] const ssize_t written = ::write(STDOUT_FILENO, line.data(), line.size());
}

[[noreturn]] void fail(const Error& why) {
  say("failed: " + why.message());
  ::_exit(1);
}

class Printer final : public Input {
 public:
  explicit Printer(bool absolute) : absolute_(absolute) {}
  void key(KeyCode key, bool down) override { say(fmt::format("key {} {}", key_name(key), down ? "down" : "up")); }
  bool wants_absolute() const override { return absolute_; }
  void pointer_absolute(uint16_t x, uint16_t y, Buttons held) override { say(fmt::format("at {} {} {}", x, y, text(held))); }
  void pointer_relative(int32_t dx, int32_t dy, Buttons held) override { say(fmt::format("by {} {} {}", dx, dy, text(held))); }
  void wheel(int32_t vertical, int32_t horizontal, Buttons) override { say(fmt::format("wheel {} {}", vertical, horizontal)); }

 private:
  static std::string text(Buttons held) {
    return fmt::format("{}{}{}.", held.left ? "L" : "", held.middle ? "M" : "", held.right ? "R" : "");
  }
  const bool absolute_;
};

// The same is written down in tests/peer/rfb/run: smooth colours, blocks of a few, two colours, and noise.
uint32_t pixel(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint32_t seed) {
  const bool right = x >= width / 2, low = y >= height / 2;
  if (!right && !low) return (x * 511 / width) << 16 | (y * 511 / height) << 8 | ((x + y + seed) & 0x3f);
  if (right && !low) return ((x / 8 + y / 8 * 3 + seed) % 7) * 0x24130b;
  if (!right) return (x * x + y * y + seed) >> 6 & 1 ? 0xffffff : 0x102030;
  return (x * 73856093u ^ y * 19349663u ^ seed * 83492791u) >> 4 & 0xffffff;
}

void show(Screen& screen, uint32_t width, uint32_t height, uint32_t seed) {
  if (auto resized = screen.resize({width, height}); !resized) fail(resized.error());
  std::vector<uint32_t> pixels(size_t{width} * height);
  for (uint32_t y = 0; y < height; ++y)
    for (uint32_t x = 0; x < width; ++x) pixels[size_t{y} * width + x] = pixel(x, y, width, height, seed);
  screen.update({0, 0, width, height}, pixels, width);
}

// This too is written down there.
int16_t sample(uint32_t number) { return static_cast<int16_t>(number * 2654435761u >> 16); }

void play(sound::Outlet& outlet, uint32_t first, uint32_t count) {
  std::vector<int16_t> samples(count);
  for (uint32_t n = 0; n < count; ++n) samples[n] = sample(first + n);
  outlet.play(samples);
}

void dump(const Screen& screen, const UniqueFd& to) {
  const auto png = png_of(screen);
  if (!png) fail(png.error());
  if (::ftruncate(to.get(), 0) != 0 || ::lseek(to.get(), 0, SEEK_SET) != 0 ||
      ::write(to.get(), png->data(), png->size()) != static_cast<ssize_t>(png->size()))
    fail(Error("cannot write the PNG file"));
}

void obey(const std::string& line, Screen& screen, sound::Outlet& outlet, RfbServer& server, const UniqueFd& dump_file) {
  std::istringstream words(line);
  std::string word;
  words >> word;
  uint32_t a = 0, b = 0, c = 0, d = 0, e = 0, f = 0;
  words >> a >> b >> c >> d >> e >> f;
  std::string more;
  if (word == "picture") show(screen, a, b, c);
  if (word == "copy") screen.copy({a, b, c, d}, e, f);
  if (word == "dump") dump(screen, dump_file);
  if (word == "sound") outlet.begin({a, b});
  if (word == "play") play(outlet, a, b);
  if (word == "silence") outlet.end();
  if (word == "viewers")
    for (const ViewerInfo& viewer : server.viewers())
      more += fmt::format(" {}:{}", viewer.encrypted ? "encrypted" : "plain", viewer.encoding);
  say("ok" + more);
}

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  RfbOptions options{.listen = argc > 1 ? argv[1] : "", .name = "show_picture"};
  bool absolute = true;
  UniqueFd dump_file;
  for (int n = 2; n < argc; ++n) {
    const std::string word(argv[n]), value = word.substr(std::min(word.size(), word.find('=') + 1));
    if (word.starts_with("--password=")) options.password = value;
    if (word.starts_with("--user=")) options.user = value;
    if (word == "--tls=anonymous") options.tls = RfbOptions::Tls::kAnonymous;
    if (word.starts_with("--certificate=")) options.tls = RfbOptions::Tls::kX509, options.certificate = value;
    if (word.starts_with("--key=")) options.key = value;
    if (word.starts_with("--dump=")) dump_file = UniqueFd(::open(value.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (word == "--relative") absolute = false;
  }
  auto screen = Screen::create({640, 480});
  if (!screen) fail(screen.error());
  show(**screen, 640, 480, 0);
  Printer printer(absolute);
  sound::Outlet outlet;
  auto server = RfbServer::listen(**screen, printer, &outlet, options);
  if (!server) fail(server.error());
  if (auto dropped = vm::drop_rights(); !dropped) fail(dropped.error());
  if (auto started = (*server)->start(); !started) fail(started.error());
  if (auto closed = vm::install_syscall_filter(); !closed) fail(closed.error());
  say(fmt::format("listening {}", (*server)->port()));
  for (std::string line; std::getline(std::cin, line);) obey(line, **screen, outlet, **server, dump_file);
  (*server)->stop();
  return 0;
}
