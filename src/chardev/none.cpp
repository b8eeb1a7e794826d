// "none": output vanishes, input never comes.
#include "chardev/backends.hpp"

namespace skerry::chardev {

namespace {
class None final : public Chardev {
 public:
  void connect(Frontend) override {}
  Result<void> start(EventLoop&) override { return ok(); }
  size_t write(std::span<const uint8_t> bytes) override { return bytes.size(); }
  void receive_ready() override {}
  void flush(int) override {}
};
}  // namespace

std::unique_ptr<Chardev> open_none() { return std::make_unique<None>(); }

}  // namespace skerry::chardev
