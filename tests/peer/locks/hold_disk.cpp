// hold_disk IMAGE [ro]: opens an image as a VM does, says "open" or why not, and keeps it until its input ends.
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "block/raw_file.hpp"

int main(int argc, char** argv) {
  using namespace skerry;
  if (argc < 2 || argc > 3 || (argc == 3 && std::string_view(argv[2]) != "ro")) {
    std::fputs("Usage: hold_disk IMAGE [ro]\n", stderr);
    return 2;
  }
  VmClock clock;
  auto loop = EventLoop::create(clock);
  if (!loop) return 2;
  auto aio = block::Aio::create(**loop);
  if (!aio) return 2;
  auto disk = block::RawFile::open(**aio, argv[1], {.read_only = argc == 3});
  std::puts(disk ? "open" : disk.error().message().c_str());
  std::fflush(stdout);
  if (!disk) return 1;
  char byte;
  while (::read(STDIN_FILENO, &byte, 1) > 0) continue;
  return 0;
}
