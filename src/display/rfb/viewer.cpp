#include "display/rfb/viewer.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/log.hpp"

namespace skerry::display::rfb {

namespace {

constexpr size_t kReadAtOnce = 16 * 1024;
// One turn of the loop does no more for one viewer than this; then come the others.
constexpr unsigned kReadsPerTurn = 4, kMessagesPerTurn = 2048, kRectsPerTurn = 8;
// What a viewer has not read: with this much nothing is composed for it. The last rectangle may come on top.
constexpr size_t kMaxOutput = 512 * 1024;
// While it hears something: neither sound nor pictures wait for much of the other.
constexpr size_t kMaxOutputWithSound = 64 * 1024;
constexpr size_t kKeptOutput = 64 * 1024;
// 60 pictures a second: what changes more often is sent as it is then.
constexpr int64_t kBetweenUpdates = 16'000'000;

}  // namespace

Viewer::Viewer(Shared& shared, UniqueFd socket, std::string name)
    : shared_(shared),
      socket_(std::move(socket)),
      name_(std::move(name)),
      plain_(plain_channel(socket_.get())),
      timer_(*shared.loop, [this] { on_timer(); }),
      handshake_(std::make_unique<Handshake>(shared.security, out_)) {}

Viewer::~Viewer() {
  if (socket_) shared_.loop->remove(socket_.get());
}

Result<void> Viewer::start() {
  auto added = shared_.loop->add(socket_.get(), EPOLLIN, [this](uint32_t events) { on_socket(events); });
  if (!added) {
    socket_.reset();
    return added;
  }
  deadline_ = timer_.now() + shared_.handshake_ns;
  timer_.set(deadline_);
  go_on();
  return ok();
}

void Viewer::end(std::string_view why) {
  if (std::exchange(ended_, true)) return;
  log::debug(log::Category::kDisplay, "viewer {}: ends: {}", name_, why);
  timer_.cancel();
  shared_.loop->remove(socket_.get());
  session_.reset();  // lets go of its keys
  shared_.ended();
}

// Where nothing is read the end of the connection would be told for ever.
void Viewer::on_socket(uint32_t events) {
  if (!listens() && (events & (EPOLLHUP | EPOLLERR)) != 0) return end("the connection has ended");
  go_on();
}

// The handshake's end, a password that may be looked at now, or the time of the next update.
void Viewer::on_timer() {
  if (ended_) return;
  if (let_in() && !closes_) return go_on();
  if (check_waits_) {
    try_check();
    return go_on();
  }
  if (timer_.now() >= deadline_) end("it takes too long");
}

void Viewer::go_on_soon() {
  if (std::exchange(goes_on_, true)) return;
  shared_.loop->post([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    goes_on_ = false;
    go_on();
  });
}

void Viewer::go_on() {
  if (ended_) return;
  if (tls_handshake_ && !tls_step()) return;
  if (!read_some()) return end("the connection has ended");
  take_input();
  if (ended_) return;
  send();
  if (!ended_) flush();
}

void Viewer::update() {
  if (ended_ || !let_in() || closes_) return;
  send();
  if (!ended_) flush();
}

// On the thread of who plays, with the Outlet's lock held.
void Viewer::heard() {
  shared_.loop->post([this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) update();
  });
}

// --- input -----------------------------------------------------------------------------------------------------------

// No more than is needed to go on with.
bool Viewer::read_some() {
  const size_t limit = session_ ? Session::kMaxMessage + kReadAtOnce : Handshake::kMaxMessage;
  for (unsigned reads = 0; reads < kReadsPerTurn && !closes_ && !check_waits_ && !waits_for_tls(); ++reads) {
    if (in_.size() >= limit) return true;
    std::array<uint8_t, kReadAtOnce> buffer;
    const ptrdiff_t got = channel().read(std::span(buffer).first(std::min(buffer.size(), limit - in_.size())));
    if (got == Channel::kGone) return false;
    if (got == Channel::kNotNow) return true;
    put_bytes(in_, std::span(buffer).first(static_cast<size_t>(got)));
    take_input();
    if (ended_) return true;
  }
  if (!closes_ && !check_waits_ && !waits_for_tls() && channel().has_more()) go_on_soon();
  return true;
}

void Viewer::take_input() {
  size_t taken = 0;
  for (unsigned count = 0; !ended_ && !closes_; ++count) {
    const auto rest = std::span<const uint8_t>(in_).subspan(taken);
    if (count == kMessagesPerTurn) {
      go_on_soon();
      break;
    }
    size_t used = 0;
    if (session_) {
      const auto consumed = session_->consume(rest);
      if (!consumed) {
        shared_.complaints.say("viewer {}: {}; it has been disconnected", name_, consumed.error().message());
        return end("it broke the protocol");
      }
      used = *consumed;
      if (used == 0) break;
    } else if (check_waits_ || waits_for_tls() || !handshake_step(rest, used)) {
      break;
    }
    taken += used;
  }
  in_.erase(in_.begin(), in_.begin() + static_cast<ptrdiff_t>(taken));
}

// --- the handshake ---------------------------------------------------------------------------------------------------

// False: it needs more of the viewer.
bool Viewer::handshake_step(std::span<const uint8_t> in, size_t& used) {
  const Handshake::Step step = handshake_->consume(in, used);
  if (step == Handshake::Step::kNeedsMore) return false;
  // What is there already has come without protection, and must not count as if it had.
  if (step == Handshake::Step::kStartTls && in.size() > used) {
    end("it sent something before TLS had begun");
    return true;
  }
  after(step);
  return true;
}

void Viewer::after(Handshake::Step step) {
  switch (step) {
    case Handshake::Step::kNeedsMore:
    case Handshake::Step::kGoesOn:
      break;
    case Handshake::Step::kStartTls:
      starts_tls_ = true;
      break;
    case Handshake::Step::kCheckLater:
      check_waits_ = true;
      try_check();
      break;
    case Handshake::Step::kDone:
      begin_session();
      break;
    case Handshake::Step::kRefused:
      shared_.complaints.say("viewer {}: {}; it is not let in", name_, handshake_->why());
      closes_ = true;
      break;
  }
}

void Viewer::try_check() {
  const int64_t now = timer_.now();
  if (now < shared_.guesses.next()) return timer_.set(shared_.guesses.next());
  check_waits_ = false;
  deadline_ = now + shared_.handshake_ns;
  timer_.set(deadline_);
  after(handshake_->check(shared_.guesses, now));
}

// False: that is all for now.
bool Viewer::tls_step() {
  const TlsChannel::Handshake result = tls_->handshake();
  if (result == TlsChannel::Handshake::kNotNow) {
    watch();
    return false;
  }
  if (result == TlsChannel::Handshake::kFailed) {
    shared_.complaints.say("viewer {}: TLS: {}; it is not let in", name_, tls_->why_failed());
    end("no TLS");
    return false;
  }
  tls_handshake_ = false;
  after(handshake_->tls_done());
  return true;
}

void Viewer::begin_session() {
  timer_.cancel();
  if (!handshake_->shared()) shared_.alone(this);
  if (shared_.full()) {
    shared_.complaints.say("viewer {}: there are as many as may be; it is not let in", name_);
    return end("too many");
  }
  session_ = std::make_unique<Session>(
      shared_.screen, shared_.input, shared_.outlet, [this] { heard(); }, shared_.facts, out_);
  handshake_.reset();
  log::debug(log::Category::kDisplay, "viewer {}: is let in", name_);
}

// --- output ----------------------------------------------------------------------------------------------------------

size_t Viewer::most_output() const { return session_->audio().plays() ? kMaxOutputWithSound : kMaxOutput; }

// A piece of sound and a rectangle in turn. Nothing comes in the midst of an update (RFC 6143, 7.6.1), which is why
// they are short while there is sound.
void Viewer::send() {
  if (!session_ || closes_) return;
  for (unsigned rects = 0; out_.size() - written_ < most_output(); ++rects) {
    if (rects == kRectsPerTurn) return go_on_soon();
    const bool sound = !session_->updates().in_update() && session_->audio().put(out_);
    const bool picture = send_picture();
    if (ended_ || (!sound && !picture)) return;
  }
}

// The next rectangle. False: there is none, or it is not time yet.
bool Viewer::send_picture() {
  Updates& updates = session_->updates();
  const bool begins = !updates.in_update();
  if (begins) {
    if (!updates.wants_pixels()) return false;
    if (timer_.now() < next_update_) {
      timer_.set(next_update_);
      return false;
    }
    updates.keep_short(session_->audio().plays());
  }
  switch (updates.step(out_)) {
    case Updates::Step::kSent:
      if (begins) next_update_ = timer_.now() + (updates.leaves_rest() ? 0 : kBetweenUpdates);
      return true;
    case Updates::Step::kNothing:
      return false;
    case Updates::Step::kFailed:
      log::warn("viewer {}: there is no memory to compress pictures for it; it has been disconnected", name_);
      end("no memory");
  }
  return false;
}

void Viewer::flush() {
  if (!write_some()) return end("the connection has ended");
  if (closes_ && out_.empty()) return end("it has been told why");
  // The rest of an update, or a sound, that was waiting for room. Where there is none, the socket will tell.
  if (session_ && (session_->updates().in_update() || session_->audio().waits()) && out_.size() < most_output())
    go_on_soon();
  watch();
}

// False: the viewer has gone.
bool Viewer::write_some() {
  while (written_ < out_.size() && !tls_handshake_) {
    const ptrdiff_t sent = channel().write(std::span<const uint8_t>(out_).subspan(written_));
    if (sent == Channel::kGone) return false;
    if (sent == Channel::kNotNow) break;
    written_ += static_cast<size_t>(sent);
  }
  out_.erase(out_.begin(), out_.begin() + static_cast<ptrdiff_t>(std::exchange(written_, 0)));
  if (out_.empty() && out_.capacity() > kKeptOutput) Bytes().swap(out_);
  if (!out_.empty() || !std::exchange(starts_tls_, false)) return true;
  tls_ = shared_.security.tls->channel(socket_.get());
  tls_handshake_ = tls_ != nullptr;
  if (tls_handshake_) go_on_soon();
  return tls_handshake_;
}

void Viewer::watch() {
  if (ended_) return;
  const bool more_to_send = !out_.empty() || (tls_handshake_ && tls_->waits_to_write());
  shared_.loop->modify(socket_.get(), (listens() ? uint32_t{EPOLLIN} : 0u) | (more_to_send ? uint32_t{EPOLLOUT} : 0u));
}

}  // namespace skerry::display::rfb
