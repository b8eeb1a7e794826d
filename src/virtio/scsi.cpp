#include "virtio/scsi.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <utility>

#include "virtio/buffer_ranges.hpp"

namespace skerry::virtio {

using namespace scsi_layout;
namespace scsi = devices::scsi;

namespace {
constexpr uint16_t kOtherQueueSize = 64;  // of control and event queue
constexpr uint32_t kMaxSectors = 16384;   // of 512 bytes, that units take in one command
constexpr uint32_t kCommandsPerUnit = 128;
constexpr uint32_t kMostSizes = 255;  // of sense_size and cdb_size
constexpr uint64_t kBytesPerTurn =
    256 * 1024;  // then the guest is told what is there, and goes on beside the next ones
constexpr scsi::Sense kInvalidMessage{0x0b, 0x49, 0x00};

// None: an attribute that there is not, as ACA without such a condition (SAM-5, 5.3.1).
std::optional<ScsiTask::Attribute> attribute_of(uint8_t task_attr) {
  switch (task_attr & 7) {
    case VIRTIO_SCSI_S_SIMPLE:
      return ScsiTask::Attribute::kSimple;
    case VIRTIO_SCSI_S_ORDERED:
      return ScsiTask::Attribute::kOrdered;
    case VIRTIO_SCSI_S_HEAD:
      return ScsiTask::Attribute::kHeadOfQueue;
    default:
      return std::nullopt;
  }
}

template <typename T>
bool read_struct(const memory::GuestMemory& memory, const Chain& chain, T& to) {
  return chain.read(memory, 0, {reinterpret_cast<uint8_t*>(&to), sizeof to}) == sizeof to;
}
template <typename T>
std::span<const uint8_t> bytes_of(const T& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof value};
}
}  // namespace

// --- life ------------------------------------------------------------------------------------------------------------

Scsi::Scsi(std::string name, EventLoop& loop, memory::GuestMemory& memory, Units units, Options options)
    : Device(std::move(name), loop, memory),
      options_(options),
      targets_(units.size()),
      sense_size_(VIRTIO_SCSI_SENSE_DEFAULT_SIZE),
      cdb_size_(VIRTIO_SCSI_CDB_DEFAULT_SIZE),
      requests_(loop, [this](unsigned queue) { notified(queue); }) {
  assert(options_.queues >= 1 && options_.queues <= 60 && options_.queue_size >= 4 && !units.empty() &&
         units.size() <= 256);
  for (size_t i = 0; i < units.size(); ++i) targets_[i].unit = std::move(units[i]);
}

std::vector<uint16_t> Scsi::queue_sizes() const {
  std::vector<uint16_t> sizes(kFirstRequestQueue, kOtherQueueSize);
  sizes.insert(sizes.end(), options_.queues, options_.queue_size);
  return sizes;
}

void Scsi::activate(uint64_t, std::span<Queue> queues, Transport& transport) { requests_.begin(queues, transport); }

void Scsi::deactivate() {
  requests_.discard();
  for (Target& target : targets_) target.tasks.doom(ScsiTask::Fate::kReset);
  requests_.end();
  for (Target& target : targets_) target.unit->reset();
  sense_size_.store(VIRTIO_SCSI_SENSE_DEFAULT_SIZE);
  cdb_size_.store(VIRTIO_SCSI_CDB_DEFAULT_SIZE);
}

void Scsi::describe(state::Fields& fields) {
  uint32_t sense_size = sense_size_.load(), cdb_size = cdb_size_.load();
  fields.field("sense_size", sense_size, state::up_to(kMostSizes));
  fields.field("cdb_size", cdb_size, state::up_to(kMostSizes));
  sense_size_.store(sense_size);
  cdb_size_.store(cdb_size);
  fields.list("targets", targets_.size(),
              [&](size_t i) { fields.group("", [&] { targets_[i].unit->describe(fields); }); });
}

// --- configuration space ---------------------------------------------------------------------------------------------

void Scsi::read_config(uint32_t offset, std::span<uint8_t> to) {
  Config config{};
  config.num_queues = options_.queues;
  config.seg_max = options_.queue_size - 2u;  // request and response take two
  config.max_sectors = kMaxSectors;
  config.cmd_per_lun = kCommandsPerUnit;
  config.event_info_size = kEventSize;
  config.sense_size = sense_size_.load();
  config.cdb_size = cdb_size_.load();
  config.max_target = static_cast<uint16_t>(targets_.size() - 1);
  std::memcpy(to.data(), reinterpret_cast<const uint8_t*>(&config) + offset, to.size());
}

// Only two fields can be set (5.6.4). What would make no sense leaves them.
void Scsi::write_config(uint32_t offset, std::span<const uint8_t> from) {
  uint32_t value = 0;
  if (from.size() != sizeof value) return;
  std::memcpy(&value, from.data(), sizeof value);
  if (value > kMostSizes) return;
  if (offset == offsetof(Config, sense_size)) sense_size_.store(value);
  if (offset == offsetof(Config, cdb_size)) cdb_size_.store(value);
}

// --- queue work ------------------------------------------------------------------------------------------------------

void Scsi::notified(unsigned index) {
  if (index == kEventQueue || !requests_.working(index)) return;
  // A driver that refills the ring as fast as it is emptied does not keep the loop for itself.
  uint64_t bytes = 0;
  for (unsigned taken = 0; taken < requests_.size(index) && bytes < kBytesPerTurn; ++taken) {
    auto chain = requests_.take(index);
    if (!chain) return;
    bytes += chain->readable_size + chain->writable_size;
    if (index == kControlQueue) {
      spawn(control(*std::move(chain)));
    } else {
      Request request{.queue = index, .chain = *std::move(chain)};
      spawn(serve(std::move(request)));
    }
  }
  requests_.look_again(index);
}

// 5.6.6.1: a single level of units in a target.
Scsi::Address Scsi::address_of(std::span<const uint8_t, 8> lun) {
  constexpr uint8_t kSimpleAddress = 0x00, kFlatAddress = 0x40, kMethod = 0xc0;
  const bool rest_is_zero = std::all_of(lun.begin() + 4, lun.end(), [](uint8_t byte) { return byte == 0; });
  const bool known = lun[2] == kSimpleAddress || (lun[2] & kMethod) == kFlatAddress;
  if (lun[0] != 1 || lun[1] >= targets_.size() || !known || !rest_is_zero) return {};
  return {&targets_[lun[1]], (lun[2] & ~kMethod) == 0 && lun[3] == 0};
}

// --- commands --------------------------------------------------------------------------------------------------------

Task<void> Scsi::serve(Request request) {
  co_await perform(request);
  Target* const target = request.target;
  complete(request);
  if (target) target->tasks.leave(request.task);  // which may answer who has aborted it
}

// The layout may be cut as the driver likes (2.7.4). False: it has no room for an answer.
bool Scsi::read_header(Request& request, Address& address) {
  CommandRequest header;
  const uint32_t cdb_size = cdb_size_.load();
  request.request_size = sizeof header + cdb_size;
  request.response_size = sizeof request.response + sense_size_.load();
  if (request.chain.readable_size < request.request_size || request.chain.writable_size < request.response_size)
    return false;
  read_struct(memory_, request.chain, header);
  request.chain.read(memory_, sizeof header,
                     std::span(request.cdb).first(std::min<size_t>(cdb_size, request.cdb.size())));
  address = address_of(header.lun);
  request.task.id = header.id;
  const auto attribute = attribute_of(header.task_attr);
  if (!address.target)
    request.response.response = VIRTIO_SCSI_S_BAD_TARGET;
  else if (request.room_in() > 0 && request.room_out() > 0)  // VIRTIO_SCSI_F_INOUT is not offered
    request.response.response = VIRTIO_SCSI_S_FAILURE;
  else if (!attribute)
    fail(request, kInvalidMessage);
  else
    request.task.attribute = *attribute;
  return true;
}

Task<void> Scsi::perform(Request& request) {
  Address address;
  if (!read_header(request, address)) {
    request.response_size = 0;
    co_return;
  }
  if (request.response.response != VIRTIO_SCSI_S_OK || request.response.status != GOOD) co_return;
  if (!address.unit) co_return co_await execute(absent_, request);
  request.target = address.target;
  co_await request.target->tasks.enter(request.task);
  if (request.task.fate == ScsiTask::Fate::kRuns) co_await execute(*request.target->unit, request);
  if (request.task.fate == ScsiTask::Fate::kRuns) co_return;
  request.response = {};
  request.sense.clear();
  request.response.response = request.task.fate == ScsiTask::Fate::kReset ? VIRTIO_SCSI_S_RESET : VIRTIO_SCSI_S_ABORTED;
}

Task<void> Scsi::execute(scsi::Unit& unit, Request& request) {
  scsi::Command command = unit.begin(request.cdb);
  if (!co_await move(unit, command, request)) co_return;
  if (!command.failed) co_await unit.finish(command);
  if (command.failed) {
    request.moved = 0;  // of a part nothing is promised
    fail(request, unit.take_sense());
  }
}

// False: it is over, and the request says why.
Task<bool> Scsi::move(scsi::Unit& unit, scsi::Command& command, Request& request) {
  const bool in = command.to_host();
  if ((!in && !command.from_host()) || command.size == 0) co_return true;
  if (command.size > (in ? request.room_in() : request.room_out())) {
    request.response.response = VIRTIO_SCSI_S_OVERRUN;
    co_return false;
  }
  const auto& buffers = in ? request.chain.writable : request.chain.readable;
  const uint64_t skip = in ? request.response_size : request.request_size;
  if (!data_ranges(memory_, buffers, skip, command.size, in, request.ranges)) {
    request.response.response = VIRTIO_SCSI_S_FAILURE;
    co_return false;
  }
  co_await unit.move(command, 0, request.ranges);
  if (in) data_written(memory_, buffers, skip, command.size);  // even of what failed a part may be there
  request.moved = command.size;
  co_return true;
}

void Scsi::fail(Request& request, scsi::Sense sense) {
  request.response.status = CHECK_CONDITION;
  request.sense = scsi::sense_data(sense);
}

// A request without room for an answer comes back as it is.
void Scsi::complete(Request& request) {
  uint64_t written = request.response_size;
  if (written > 0 && !requests_.discarding()) {
    const uint64_t room = request.room_in() + request.room_out();  // one of them
    if (request.response.response == VIRTIO_SCSI_S_OK)
      request.response.residual = static_cast<uint32_t>(std::min<uint64_t>(room - request.moved, ~0u));
    request.sense.resize(std::min<size_t>(request.sense.size(), request.response_size - sizeof request.response));
    request.response.sense_len = static_cast<uint32_t>(request.sense.size());
    request.sense.resize(request.response_size - sizeof request.response);
    request.chain.write(memory_, 0, bytes_of(request.response));
    request.chain.write(memory_, sizeof request.response, request.sense);
    if (request.room_in() > 0) written += request.moved;
  }
  requests_.answer(request.queue, std::move(request.chain), static_cast<uint32_t>(std::min<uint64_t>(written, ~0u)));
}

// --- control ---------------------------------------------------------------------------------------------------------

Task<void> Scsi::control(Chain chain) {
  uint32_t type = 0;
  TaskManagement function;
  AsynchronousNotification notification;
  std::vector<uint8_t> answer;
  if (!read_struct(memory_, chain, type)) co_return requests_.answer(kControlQueue, std::move(chain), 0);
  if (type == VIRTIO_SCSI_T_TMF && read_struct(memory_, chain, function) && chain.writable_size > 0) {
    answer.assign(1, co_await manage(function));
  } else if ((type == VIRTIO_SCSI_T_AN_QUERY || type == VIRTIO_SCSI_T_AN_SUBSCRIBE) &&
             read_struct(memory_, chain, notification)) {
    // There are no notifications: none is pending, and none can be had.
    NotificationResponse response{};
    response.response = address_of(notification.lun).target ? VIRTIO_SCSI_S_OK : VIRTIO_SCSI_S_BAD_TARGET;
    const auto bytes = bytes_of(response);
    answer.assign(bytes.begin(), bytes.end());
  } else if (chain.writable_size > 0) {
    answer = {VIRTIO_SCSI_S_FUNCTION_REJECTED};
  }
  const size_t written = requests_.discarding() ? 0 : chain.write(memory_, 0, answer);
  requests_.answer(kControlQueue, std::move(chain), static_cast<uint32_t>(written));
}

// SAM-5, 7. There is one initiator, so its task set is the whole one.
Task<uint8_t> Scsi::manage(const TaskManagement& function) {
  using Fate = ScsiTask::Fate;
  const auto [target, is_unit] = address_of(function.lun);
  const uint64_t id = function.id;
  if (!target) co_return VIRTIO_SCSI_S_BAD_TARGET;
  if (!is_unit && function.subtype != VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET) co_return VIRTIO_SCSI_S_INCORRECT_LUN;
  switch (function.subtype) {
    case VIRTIO_SCSI_T_TMF_ABORT_TASK:
      co_await target->tasks.abort(id, Fate::kAborted);
      co_return VIRTIO_SCSI_S_FUNCTION_COMPLETE;
    case VIRTIO_SCSI_T_TMF_ABORT_TASK_SET:
    case VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET:
      co_await target->tasks.abort(std::nullopt, Fate::kAborted);
      co_return VIRTIO_SCSI_S_FUNCTION_COMPLETE;
    case VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET:
    case VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET:
      co_await target->tasks.abort(std::nullopt, Fate::kReset);
      target->unit->reset();
      co_return VIRTIO_SCSI_S_FUNCTION_COMPLETE;
    case VIRTIO_SCSI_T_TMF_QUERY_TASK:
      co_return target->tasks.has(id) ? VIRTIO_SCSI_S_FUNCTION_SUCCEEDED : VIRTIO_SCSI_S_FUNCTION_COMPLETE;
    case VIRTIO_SCSI_T_TMF_QUERY_TASK_SET:
      co_return target->tasks.has(std::nullopt) ? VIRTIO_SCSI_S_FUNCTION_SUCCEEDED : VIRTIO_SCSI_S_FUNCTION_COMPLETE;
    default:
      co_return VIRTIO_SCSI_S_FUNCTION_REJECTED;
  }
}

}  // namespace skerry::virtio
