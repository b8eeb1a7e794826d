#include "devices/tpm/swtpm.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "base/clock.hpp"

namespace skerry::devices::tpm {

namespace {

// tpm_ioctl.h, "Commands used by the non-CUSE TPMs". Everything is big-endian.
enum Command : uint32_t {
  CMD_GET_CAPABILITY = 0x01,
  CMD_INIT = 0x02,
  CMD_SHUTDOWN = 0x03,
  CMD_GET_TPMESTABLISHED = 0x04,
  CMD_SET_LOCALITY = 0x05,
  CMD_CANCEL_TPM_CMD = 0x09,
  CMD_GET_STATEBLOB = 0x0c,
  CMD_SET_STATEBLOB = 0x0d,
  CMD_STOP = 0x0e,
  CMD_SET_DATAFD = 0x10,
  CMD_SET_BUFFERSIZE = 0x11,
  CMD_GET_INFO = 0x12,
};
// What CMD_GET_CAPABILITY tells.
constexpr uint64_t PTM_CAP_INIT = 1 << 0, PTM_CAP_GET_TPMESTABLISHED = 1 << 2, PTM_CAP_SET_LOCALITY = 1 << 3;
constexpr uint64_t PTM_CAP_CANCEL_TPM_CMD = 1 << 5, PTM_CAP_GET_STATEBLOB = 1 << 8, PTM_CAP_SET_STATEBLOB = 1 << 9;
constexpr uint64_t PTM_CAP_STOP = 1 << 10, PTM_CAP_SET_DATAFD = 1 << 12, PTM_CAP_SET_BUFFERSIZE = 1 << 13, PTM_CAP_GET_INFO = 1 << 14;
constexpr uint64_t kNeeded = PTM_CAP_INIT | PTM_CAP_GET_TPMESTABLISHED | PTM_CAP_SET_LOCALITY | PTM_CAP_CANCEL_TPM_CMD |
                             PTM_CAP_GET_STATEBLOB | PTM_CAP_SET_STATEBLOB | PTM_CAP_STOP | PTM_CAP_SET_DATAFD | PTM_CAP_SET_BUFFERSIZE |
                             PTM_CAP_GET_INFO;
constexpr uint32_t PTM_INIT_FLAG_DELETE_VOLATILE = 1 << 0;  // so that it is not the next INIT's too
constexpr uint64_t SWTPM_INFO_TPMSPECIFICATION = 1 << 0;
// libtpms: "TPM_RETRY", the answer for a blob that there is none of.
constexpr uint32_t kNoSuchBlob = 0x800;
constexpr uint32_t kBlobTypes[State::kKinds] = {1, 2, 3};  // PTM_BLOB_TYPE_PERMANENT, _VOLATILE, _SAVESTATE
constexpr std::string_view kBlobNames[State::kKinds] = {"permanent state", "volatile state", "saved state"};
// Sizes of answers.
constexpr size_t kResult = 4, kCapabilities = 8, kEstablished = 8, kBufferSizes = 16, kBlobHeader = 16, kInfoHeader = 12;
constexpr size_t kMaxInfo = 3 * 1024;  // PTM_GETINFO_SIZE

void append(std::vector<uint8_t>& to, uint64_t value, unsigned size) {
  for (unsigned i = size; i-- > 0;) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

std::vector<uint8_t> words(std::initializer_list<uint32_t> values) {
  std::vector<uint8_t> bytes;
  for (const uint32_t value : values) append(bytes, value, 4);
  return bytes;
}

uint32_t word_at(std::span<const uint8_t> bytes, size_t offset) {
  return uint32_t{bytes[offset]} << 24 | uint32_t{bytes[offset + 1]} << 16 | uint32_t{bytes[offset + 2]} << 8 | bytes[offset + 3];
}

Result<void> check_result(std::span<const uint8_t> answer, std::string_view name) {
  const uint32_t result = word_at(answer, 0);
  if (result == 0) return ok();
  return error("refuses to {}: error {:#x}", name, result);
}

}  // namespace

Result<std::unique_ptr<Swtpm>> Swtpm::open(UniqueFd control, std::string label) {
  std::unique_ptr<Swtpm> swtpm(new Swtpm(std::move(control), std::move(label)));
  if (auto good = swtpm->shake_hands(); !good) return std::move(good).error();
  return swtpm;
}

// It ends when its sockets are closed; told so, it does at once.
Swtpm::~Swtpm() {
  if (failed_) return;
  if (loop_) {
    loop_->remove(control_.fd());
    loop_->remove(data_.fd());
  }
  control_.send(words({CMD_SHUTDOWN}));
  (void)control_.flush();
}

Result<void> Swtpm::shake_hands() {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    return errno_error(errno, fmt::format("{}: cannot make a socket for swtpm", label_));
  UniqueFd theirs(pair[1]);
  data_ = Channel(UniqueFd(pair[0]));
  ask_capabilities();
  ask_version();
  ask(CMD_STOP, "stop");
  ask_buffer_size();
  ask(CMD_SET_DATAFD, "take a socket (does another program use it?)", {}, std::move(theirs));
  return finish();
}

Result<void> Swtpm::start(EventLoop& loop) {
  if (auto good = finish(); !good) return good;
  const auto ready = [this](uint32_t) { progress(); };
  for (const int fd : {control_.fd(), data_.fd()})
    if (auto good = loop.add(fd, EPOLLIN, ready); !good) return good;
  loop_ = &loop;
  return ok();
}

void Swtpm::ask(uint32_t command, std::string_view name, std::vector<uint8_t> arguments, UniqueFd with) {
  std::vector<uint8_t> bytes = words({command});
  bytes.insert(bytes.end(), arguments.begin(), arguments.end());
  const auto check = [name](std::span<const uint8_t> answer) -> Result<size_t> {
    if (auto good = check_result(answer, name); !good) return std::move(good).error();
    return answer.size();
  };
  requests_.push_back({std::move(bytes), kResult, check, std::move(with)});
}

void Swtpm::ask_capabilities() {
  const auto check = [](std::span<const uint8_t> answer) -> Result<size_t> {
    const uint64_t lacking = kNeeded & ~(uint64_t{word_at(answer, 0)} << 32 | word_at(answer, 4));
    if (lacking) return error("cannot do what is needed of it (capabilities {:#x}); use swtpm 0.7 or newer", lacking);
    return answer.size();
  };
  requests_.push_back({words({CMD_GET_CAPABILITY}), kCapabilities, check, {}});
}

// TPM 1.2 has another language. The answer is JSON: {"TPMSpecification":{"family":"2.0",...}}.
void Swtpm::ask_version() {
  std::vector<uint8_t> bytes = words({CMD_GET_INFO});
  append(bytes, SWTPM_INFO_TPMSPECIFICATION, 8);
  append(bytes, 0, 8);  // offset, and padding
  const auto check = [](std::span<const uint8_t> answer) -> Result<size_t> {
    if (auto good = check_result(answer, "tell what it is"); !good) return std::move(good).error();
    const size_t length = word_at(answer, 8);
    if (length > kMaxInfo) return error("tells more about itself than it can");
    if (answer.size() < kInfoHeader + length) return kInfoHeader + length;
    const std::string_view text(reinterpret_cast<const char*>(answer.data()) + kInfoHeader, length);
    if (text.find("\"family\":\"2.0\"") == text.npos) return error("is no TPM 2.0; start it with --tpm2");
    return answer.size();
  };
  requests_.push_back({std::move(bytes), kInfoHeader, check, {}});
}

void Swtpm::ask_buffer_size() {
  const auto check = [](std::span<const uint8_t> answer) -> Result<size_t> {
    if (auto good = check_result(answer, "set the size of its buffer"); !good) return std::move(good).error();
    if (word_at(answer, 4) > kBufferSize)
      return error("has answers of {} bytes, more than the {} that there is room for", word_at(answer, 4), kBufferSize);
    return answer.size();
  };
  requests_.push_back({words({CMD_SET_BUFFERSIZE, kBufferSize}), kBufferSizes, check, {}});
}

// After CMD_STOP.
void Swtpm::ask_power_on(uint32_t flags) {
  ask(CMD_INIT, "start with the state it has", words({flags}));
  ask(CMD_SET_LOCALITY, "use locality 0", {0});
  const auto check = [this](std::span<const uint8_t> answer) -> Result<size_t> {
    if (auto good = check_result(answer, "tell of dynamic launches"); !good) return std::move(good).error();
    established_ = answer[4] != 0;
    return answer.size();
  };
  requests_.push_back({words({CMD_GET_TPMESTABLISHED}), kEstablished, check, {}});
}

void Swtpm::ask_for_blob(State::Kind kind, State& state) {
  const auto check = [kind, &state](std::span<const uint8_t> answer) -> Result<size_t> {
    if ((word_at(answer, 0) & kNoSuchBlob) == 0)
      if (auto good = check_result(answer, "give its state"); !good) return std::move(good).error();
    const size_t total = word_at(answer, 8), length = word_at(answer, 12);
    if (total != length || length > kMaxBlobSize) return error("gives {} of {} bytes of its {}", length, total, kBlobNames[kind]);
    if (answer.size() < kBlobHeader + length) return kBlobHeader + length;
    state.blobs[kind].flags = word_at(answer, 4);
    state.blobs[kind].content.assign(answer.begin() + kBlobHeader, answer.end());
    return answer.size();
  };
  requests_.push_back({words({CMD_GET_STATEBLOB, 0, kBlobTypes[kind], 0}), kBlobHeader, check, {}});
}

void Swtpm::power_cycle() {
  waiting_.clear();
  stale_ = executing_;
  cycle_wanted_ = true;
  progress();
}

void Swtpm::execute(std::vector<uint8_t> command) {
  waiting_ = std::move(command);
  progress();
}

// swtpm looks at it when it likes, perhaps after the command has ended, and it does no harm then.
void Swtpm::cancel() {
  if (!executing_ || stale_ || !requests_.empty()) return;
  ask(CMD_CANCEL_TPM_CMD, "cancel a command");
  progress();
}

Result<void> Swtpm::finish() {
  progress();
  const int64_t deadline = VmClock::host_now() + patience_;
  while (!failed_ && busy()) {
    const int64_t left = deadline - VmClock::host_now();
    if (left <= 0) return error("{}: swtpm does not answer; is another program connected to it, or is it stopped?", label_);
    const auto events = [](const Channel& channel) { return static_cast<short>(POLLIN | (channel.sending() ? POLLOUT : 0)); };
    pollfd fds[] = {{control_.fd(), events(control_), 0}, {data_.fd(), events(data_), 0}};
    (void)::poll(fds, std::size(fds), static_cast<int>(left / 1'000'000) + 1);
    progress();
  }
  if (failed_) return error("{}", why_);
  return ok();
}

Result<State> Swtpm::state() {
  if (auto good = finish(); !good) return std::move(good).error();
  State state;
  for (const State::Kind kind : {State::kPermanent, State::kVolatile, State::kSaveState}) ask_for_blob(kind, state);
  if (auto good = finish(); !good) {
    if (!failed_) fail(error("does not give its state"));  // what is outstanding would go to a variable that is gone
    return std::move(good).error();
  }
  return state;
}

Result<void> Swtpm::power_on(const State& state) {
  if (auto good = finish(); !good) return good;
  ask(CMD_STOP, "stop");
  for (size_t kind = 0; kind < state.blobs.size(); ++kind) {
    const State::Blob& blob = state.blobs[kind];
    if (blob.content.empty()) continue;
    std::vector<uint8_t> arguments = words({blob.flags, kBlobTypes[kind], static_cast<uint32_t>(blob.content.size())});
    arguments.insert(arguments.end(), blob.content.begin(), blob.content.end());
    ask(CMD_SET_STATEBLOB, "take the state that was saved", std::move(arguments));
  }
  ask_power_on(PTM_INIT_FLAG_DELETE_VOLATILE);
  return finish();
}

void Swtpm::progress() {
  if (failed_) return;
  if (auto good = work(); !good) return fail(good.error());
  watch();
}

// Does what can be done now.
Result<void> Swtpm::work() {
  for (bool more = true; more;) {
    begin();
    const auto controlled = work_on_control();
    if (!controlled) return controlled.error();
    const auto answered = work_on_data();
    if (!answered) return answered.error();
    more = *controlled || *answered;
  }
  return ok();
}

// What waits for the rest to be done.
void Swtpm::begin() {
  if (!requests_.empty() || executing_) return;
  if (cycle_wanted_) {
    cycle_wanted_ = false;
    ask(CMD_STOP, "stop");
    ask_power_on(0);
  } else if (!waiting_.empty()) {
    data_.send(waiting_);
    waiting_.clear();
    executing_ = true;
    stale_ = false;
  }
}

// True: a request has been answered.
Result<bool> Swtpm::work_on_control() {
  if (requests_.empty()) {
    if (auto silent = control_.check_silent(); !silent) return std::move(silent).error();
    return false;
  }
  Request& request = requests_.front();
  if (!std::exchange(request.sent, true)) control_.send(request.bytes, std::move(request.with));
  if (auto sent = control_.flush(); !sent) return std::move(sent).error();
  for (;;) {
    const auto there = control_.receive(request.answer);
    if (!there) return there.error();
    if (!*there) return false;
    const auto size = request.check(control_.received());
    if (!size) return size.error();
    if (*size == request.answer) break;
    request.answer = *size;
  }
  control_.forget_received();
  requests_.pop_front();
  return true;
}

// True: a command has been answered.
Result<bool> Swtpm::work_on_data() {
  if (!executing_) {
    if (!requests_.empty() && !loop_) return false;  // it may not have the other end yet
    if (auto silent = data_.check_silent(); !silent) return std::move(silent).error();
    return false;
  }
  if (auto sent = data_.flush(); !sent) return std::move(sent).error();
  auto there = data_.receive(kHeaderSize);
  if (!there || !*there) return there;
  const size_t size = word_at(data_.received(), 2);
  if (size < kHeaderSize || size > kBufferSize) return error("gives an answer of {} bytes", size);
  there = data_.receive(size);
  if (!there || !*there) return there;
  executing_ = false;
  if (!stale_ && events_.answered) events_.answered(data_.received());
  data_.forget_received();
  return true;
}

void Swtpm::watch() {
  if (!loop_) return;
  for (const Channel* channel : {&control_, &data_}) {
    const uint32_t wanted = channel->sending() ? EPOLLIN | EPOLLOUT : EPOLLIN;
    loop_->modify(channel->fd(), wanted);
  }
}

void Swtpm::fail(const Error& why) {
  why_ = fmt::format("{}: swtpm {}", label_, why.message());
  failed_ = true;
  requests_.clear();
  waiting_.clear();
  executing_ = cycle_wanted_ = false;
  if (!loop_) return;  // who waits tells
  loop_->remove(control_.fd());
  loop_->remove(data_.fd());
  loop_ = nullptr;
  if (events_.failed) events_.failed(why_);
}

}  // namespace skerry::devices::tpm
