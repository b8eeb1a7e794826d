// How requests of FUSE pass between skerry-vm, which has the guest's device, and skerry-fs, which has the folder.
//
// There are a few slots in shared memory. skerry-vm copies a request into one and says so by an Ask; skerry-fs answers in the
// same slot and says so by a Done. Neither trusts the other: skerry-fs takes what it decides on out of the slot before it looks at
// it, and skerry-vm makes the header of the answer itself and only copies what follows.
#pragma once

#include <cstddef>
#include <cstdint>

namespace skerry::share {

constexpr unsigned kSlots = 8;  // requests that are under way at a time
// The most data of one READ or WRITE: the 256 pages that a guest puts into one request.
constexpr size_t kMaxData = size_t{1} << 20;
// What stands before the data: the header and the operation's own part.
constexpr size_t kRequestBytes = kMaxData + 4096, kAnswerBytes = kMaxData;
constexpr size_t kSlotBytes = kRequestBytes + kAnswerBytes;

// On the socket, each a message of its own.
struct Ask {
  uint32_t slot;
  uint32_t size;  // of the request, with its header
  uint32_t room;  // of the guest's buffer for the answer, without its header
};
struct Done {
  uint32_t slot;
  uint32_t size;   // of the answer, without its header
  uint32_t error;  // an errno value, or 0
};
static_assert(sizeof(Ask) == 12 && sizeof(Done) == 12);

constexpr int kSlotsFd = 4;  // skerry-fs's descriptor of the memory, behind kHelperControl

}  // namespace skerry::share
