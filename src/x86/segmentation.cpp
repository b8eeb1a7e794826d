#include "x86/segmentation.hpp"

namespace skerry::x86 {

Segment make_segment(uint16_t selector, Descriptor descriptor) {
  Segment segment;
  segment.selector = selector;
  segment.base = descriptor.base();
  segment.limit = descriptor.limit();
  segment.type = descriptor.type();
  segment.dpl = descriptor.dpl();
  segment.code_or_data = descriptor.code_or_data();
  segment.present = descriptor.present();
  segment.avl = descriptor.avl();
  segment.long_mode = descriptor.long_mode();
  segment.big = descriptor.big();
  segment.granular = descriptor.granular();
  segment.unusable = false;
  return segment;
}

Segment make_real_segment(uint16_t selector, bool v86) {
  Segment segment;
  segment.selector = selector;
  segment.base = static_cast<uint64_t>(selector) << 4;
  segment.limit = 0xffff;
  segment.type = segment_type::kWritable | segment_type::kAccessed;
  segment.dpl = v86 ? 3 : 0;
  segment.code_or_data = true;
  segment.present = true;
  segment.unusable = false;
  return segment;
}

Segment make_null_segment(uint16_t selector, uint8_t dpl) {
  Segment segment;
  segment.selector = selector;
  segment.dpl = dpl;
  segment.unusable = true;
  return segment;
}

}  // namespace skerry::x86
