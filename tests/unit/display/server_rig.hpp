// A server with a screen and a recorder of input, on a free port of this host.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "display/rfb_server.hpp"
#include "unit/display/recorder.hpp"
#include "unit/display/viewer.hpp"

namespace skerry::display::test {

struct ServerRig {
  std::unique_ptr<Screen> screen = Screen::create({320, 200}).value();
  Recorder input;
  sound::Outlet outlet;
  std::unique_ptr<RfbServer> server;

  explicit ServerRig(RfbOptions options = {}, bool has_sound = true) {
    if (options.listen.empty()) options.listen = "127.0.0.1:0";
    if (options.name.empty()) options.name = "a guest";
    auto opened = RfbServer::listen(*screen, input, has_sound ? &outlet : nullptr, options);
    if (!opened) throw Broken(opened.error().message());
    server = std::move(*opened);
    if (auto started = server->start(); !started) throw Broken(started.error().message());
  }

  std::unique_ptr<TestViewer> connect() { return std::make_unique<TestViewer>(connect_to(server->port())); }
  std::unique_ptr<TestViewer> viewer(const std::vector<int32_t>& encodings) {
    auto made = connect();
    made->log_in();
    made->send_encodings(encodings);
    return made;
  }
  bool shown_by(const TestViewer& viewer) const {
    const Screen::Size size = screen->size();
    if (viewer.canvas.width != size.width || viewer.canvas.height != size.height) return false;
    std::vector<uint32_t> row(size.width);
    for (uint32_t y = 0; y < size.height; ++y) {
      screen->read({0, y, size.width, 1}, row, false);
      if (!std::equal(row.begin(), row.end(), viewer.canvas.pixels.begin() + size_t{y} * size.width)) return false;
    }
    return true;
  }
};

// Waits for what another thread brings about.
template <typename Done>
bool eventually(Done done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// Why `viewer` is not let in; empty: it is.
inline std::string refusal(TestViewer& viewer, const TestViewer::Login& login) {
  try {
    viewer.log_in(login);
  } catch (const Broken& broken) {
    return broken.what();
  }
  return "";
}

}  // namespace skerry::display::test
