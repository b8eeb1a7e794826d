#include "virtio/gpu.hpp"

#include <gmock/gmock.h>

#include "base/units.hpp"
#include "display/edid.hpp"
#include "unit/virtio/gpu_rig.hpp"

namespace skerry::virtio::test {
namespace {

using namespace gpu;
using Words = std::vector<uint32_t>;
using Size = display::Screen::Size;
using testing::Each;
using testing::ElementsAre;

TEST(Gpu, APictureIsOnTheScreenOnceItIsFlushed) {
  GpuRig rig;
  rig.picture(7, 2, 2, {0x010203, 0x040506, 0x070809, 0x0a0b0c});
  EXPECT_EQ(rig.screen->size(), (Size{8, 8}));
  EXPECT_EQ(rig.scan_out(7, {0, 0, 2, 2}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.screen->size(), (Size{2, 2}));
  EXPECT_THAT(rig.shown(), ElementsAre(0x010203, 0x040506, 0x070809, 0x0a0b0c));

  EXPECT_EQ(rig.detach(7), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.attach(7, {rig.memory_with({0x111111, 0x222222, 0x333333, 0x444444})}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.transfer(7, {0, 0, 2, 2}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_THAT(rig.shown(), ElementsAre(0x010203, 0x040506, 0x070809, 0x0a0b0c)) << "it is not flushed";
  EXPECT_EQ(rig.flush(7, {1, 0, 1, 2}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_THAT(rig.shown(), ElementsAre(0x010203, 0x222222, 0x070809, 0x444444)) << "one column is";
  EXPECT_EQ(rig.flush(7, {0, 0, 2, 2}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_THAT(rig.shown(), ElementsAre(0x111111, 0x222222, 0x333333, 0x444444));
  EXPECT_GT(rig.driver.transport.interrupts[0], 0u);
}

TEST(Gpu, APartIsShownAndAPartIsTransferred) {
  GpuRig rig;
  Words words(16);
  for (uint32_t i = 0; i < 16; ++i) words[i] = i + 1;
  rig.picture(1, 4, 4, words);
  EXPECT_EQ(rig.scan_out(1, {1, 2, 2, 2}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_THAT(rig.shown(), ElementsAre(10, 11, 14, 15));
  // A rectangle of 2 x 2: its rows are as far apart in the backing as those of the whole.
  EXPECT_EQ(rig.transfer(1, {2, 2, 2, 2}, 4 * 4), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.flush(1, {0, 0, 4, 4}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_THAT(rig.shown(), ElementsAre(10, 5, 14, 9));
}

TEST(Gpu, ABackingMayBeInPieces) {
  GpuRig rig;
  const MemEntry whole = rig.memory_with({0x010203, 0x040506, 0x070809, 0x0a0b0c});
  EXPECT_EQ(rig.create(1, 2, 2), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.attach(1, {{whole.addr, 3, 0}, {whole.addr + 100, 0, 0}, {whole.addr + 3, 6, 0}, {whole.addr + 9, 7, 0}}),
            VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.transfer(1, {0, 0, 2, 2}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.scan_out(1, {0, 0, 2, 2}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_THAT(rig.shown(), ElementsAre(0x010203, 0x040506, 0x070809, 0x0a0b0c));
}

TEST(Gpu, EveryFormatIsShownInItsColours) {
  const struct {
    uint32_t format;
    const char* order;  // of bytes
  } formats[] = {{VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, "BGRA"}, {VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, "BGRA"},
                 {VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, "ARGB"}, {VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, "ARGB"},
                 {VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, "RGBA"}, {VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, "ABGR"},
                 {VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, "ABGR"}, {VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, "RGBA"}};
  const std::map<char, uint32_t> parts = {{'A', 0xee}, {'R', 0x12}, {'G', 0x34}, {'B', 0x56}};
  for (const auto& [format, order] : formats) {
    SCOPED_TRACE(format);
    GpuRig rig;
    uint32_t word = 0;
    for (unsigned i = 0; i < 4; ++i) word |= parts.at(order[i]) << 8 * i;
    rig.picture(1, 2, 1, {word, 0}, format);
    EXPECT_EQ(rig.scan_out(1, {0, 0, 2, 1}), VIRTIO_GPU_RESP_OK_NODATA);
    EXPECT_THAT(rig.shown(), ElementsAre(0x123456, 0));
  }
}

TEST(Gpu, WhatIsWrongIsToldAsTheSpecificationHasIt) {
  GpuRig rig;
  EXPECT_EQ(rig.create(0, 1, 1), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
  EXPECT_EQ(rig.create(1, 0, 1), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
  EXPECT_EQ(rig.create(1, 1, 16385), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
  EXPECT_EQ(rig.create(1, 1, 1, 5), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) << "no such format";
  EXPECT_EQ(rig.create(1, 16384, 16384), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
  EXPECT_EQ(rig.create(1, 4, 4), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.create(1, 4, 4), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) << "it is there";
  EXPECT_EQ(rig.unref(2), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
  EXPECT_EQ(rig.attach(2, {{0, 4096, 0}}), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
  EXPECT_EQ(rig.attach(1, {}), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
  EXPECT_EQ(rig.attach(1, {{~uint64_t{0}, 4096, 0}}), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
  EXPECT_EQ(rig.attach(1, {{Resources::kHome, 4096, 0}}), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) << "memory of the device";
  const ResourceAttachBacking more{GpuRig::of(VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING), 1, 1000};
  EXPECT_EQ(rig.does(more, Bytes(16)), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) << "fewer entries than it says";
  EXPECT_EQ(rig.detach(1), VIRTIO_GPU_RESP_ERR_UNSPEC) << "there is none";
  EXPECT_EQ(rig.transfer(1, {0, 0, 4, 4}), VIRTIO_GPU_RESP_ERR_UNSPEC);
  EXPECT_EQ(rig.attach(1, {{0x1000, 64, 0}}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.attach(1, {{0x1000, 64, 0}}), VIRTIO_GPU_RESP_ERR_UNSPEC) << "it has one";
  EXPECT_EQ(rig.transfer(3, {0, 0, 4, 4}), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
  EXPECT_EQ(rig.transfer(1, {0, 0, 5, 4}), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
  EXPECT_EQ(rig.transfer(1, {0xffff'ffff, 0, 2, 4}), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
  EXPECT_EQ(rig.transfer(1, {0, 0, 4, 4}, 1), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) << "the backing ends before it";
  EXPECT_EQ(rig.transfer(1, {0, 0, 4, 4}, ~uint64_t{0}), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
  EXPECT_EQ(rig.transfer(1, {0, 0, 0, 4}, 1), VIRTIO_GPU_RESP_OK_NODATA) << "nothing";
  EXPECT_EQ(rig.flush(3, {0, 0, 1, 1}), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
  EXPECT_EQ(rig.flush(1, {0, 0, 1, 5}), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
  EXPECT_EQ(rig.scan_out(1, {0, 0, 4, 4}, 1), VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID);
  EXPECT_EQ(rig.scan_out(3, {0, 0, 4, 4}), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
  EXPECT_EQ(rig.scan_out(1, {1, 0, 4, 4}), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
  EXPECT_EQ(rig.scan_out(1, {0, 0, 4, 0}), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
  EXPECT_EQ(rig.does(GetEdid{GpuRig::of(VIRTIO_GPU_CMD_GET_EDID), 1, 0}), VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID);
  EXPECT_EQ(rig.does(GpuRig::of(VIRTIO_GPU_CMD_SET_SCANOUT)), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) << "too short";
  EXPECT_EQ(rig.does(GpuRig::of(0x0108)), VIRTIO_GPU_RESP_ERR_UNSPEC) << "capability sets are 3D's";
  EXPECT_EQ(rig.does(uint32_t{VIRTIO_GPU_CMD_GET_DISPLAY_INFO}), VIRTIO_GPU_RESP_ERR_UNSPEC) << "less than a header";
  EXPECT_EQ(rig.cursor(9, 0, 0), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
  EXPECT_EQ(rig.cursor(1, 0, 0), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) << "a cursor has 64 x 64";
  EXPECT_EQ(rig.screen->size(), (Size{8, 8}));
  EXPECT_EQ(rig.driver.transport.why, "");
}

TEST(Gpu, ABackingThatIsNoMemoryIsToldWhenItIsRead) {
  GpuRig rig;
  EXPECT_EQ(rig.create(1, 4, 4), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.attach(1, {{0x8000'0000, 4096, 0}}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.transfer(1, {0, 0, 4, 4}), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
}

TEST(Gpu, AFenceIsInTheAnswer) {
  GpuRig rig;
  ResourceCreate2d command{GpuRig::of(VIRTIO_GPU_CMD_RESOURCE_CREATE_2D), 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 1, 1};
  command.hdr.fence_id = 0x1234567890;
  const auto header_of = [](const Bytes& answer) {
    Header header{};
    EXPECT_EQ(answer.size(), sizeof header);
    std::memcpy(&header, answer.data(), sizeof header);
    return header;
  };
  Header header = header_of(rig.ask(command));
  EXPECT_EQ(header.flags, 0u);
  EXPECT_EQ(header.fence_id, 0u) << "it was not asked for";
  command.hdr.flags = VIRTIO_GPU_FLAG_FENCE;
  command.resource_id = 2;
  header = header_of(rig.ask(command));
  EXPECT_EQ(header.type, static_cast<uint32_t>(VIRTIO_GPU_RESP_OK_NODATA));
  EXPECT_EQ(header.flags, VIRTIO_GPU_FLAG_FENCE);
  EXPECT_EQ(header.fence_id, 0x1234567890u);
  header = header_of(rig.ask(command));
  EXPECT_EQ(header.type, static_cast<uint32_t>(VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID));
  EXPECT_EQ(header.flags, VIRTIO_GPU_FLAG_FENCE) << "an error passes it too";
}

TEST(Gpu, WhatResourcesTakeOnTheHostIsBounded) {
  GpuRig rig;
  EXPECT_EQ(rig.create(1, 8192, 4096), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.create(2, 8192, 4096), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.create(3, 1, 1), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
  EXPECT_EQ(rig.unref(1), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.create(3, 1, 1), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.create(4, 8192, 4096), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
  EXPECT_EQ(rig.create(4, 8192, 4095), VIRTIO_GPU_RESP_OK_NODATA) << "what is left";
}

TEST(Gpu, TheNumberOfResourcesAndOfTheirPiecesIsBounded) {
  GpuRig rig;
  for (uint32_t id = 1; id <= Resources::kMost; ++id) ASSERT_EQ(rig.create(id, 1, 1), VIRTIO_GPU_RESP_OK_NODATA) << id;
  EXPECT_EQ(rig.create(Resources::kMost + 1, 1, 1), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
  EXPECT_EQ(rig.attach(1, std::vector<MemEntry>(Resources::kMostEntries - 1, {0, 1, 0})), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.attach(2, std::vector<MemEntry>(2, {0, 1, 0})), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
  EXPECT_EQ(rig.attach(2, {{0, 1, 0}}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.attach(3, {{0, 1, 0}}), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
  EXPECT_EQ(rig.detach(2), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.attach(3, {{0, 1, 0}}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.unref(1), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.attach(4, std::vector<MemEntry>(1000, {0, 1, 0})), VIRTIO_GPU_RESP_OK_NODATA);
}

TEST(Gpu, ANewPictureHasNothingOfTheOldOne) {
  GpuRig rig;
  rig.picture(1, 2, 2, Words(4, 0xffffff));
  EXPECT_EQ(rig.scan_out(1, {0, 0, 2, 2}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.unref(1), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_THAT(rig.shown(), Each(0)) << "it is on the screen no more";
  EXPECT_EQ(rig.create(2, 2, 2), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.scan_out(2, {0, 0, 2, 2}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_THAT(rig.shown(), Each(0));
}

TEST(Gpu, AScanoutIsSwitchedOffByNoResource) {
  GpuRig rig;
  rig.picture(1, 2, 2, Words(4, 0xffffff));
  EXPECT_EQ(rig.scan_out(1, {0, 0, 2, 2}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.scan_out(0, {}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_THAT(rig.shown(), Each(0));
  EXPECT_EQ(rig.flush(1, {0, 0, 2, 2}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_THAT(rig.shown(), Each(0)) << "it is not the one that is shown";
}

// --- the monitor -----------------------------------------------------------------------------------------------------

Size told_size(GpuRig& rig) {
  const Bytes answer = rig.ask(GpuRig::of(VIRTIO_GPU_CMD_GET_DISPLAY_INFO));
  EXPECT_EQ(answer.size(), sizeof(Header) + sizeof(DisplayInfo));
  DisplayInfo info{};
  std::memcpy(&info, answer.data() + sizeof(Header), sizeof info);
  EXPECT_EQ(info[0].enabled, 1u);
  EXPECT_EQ(info[1].enabled, 0u);
  return {info[0].r.width, info[0].r.height};
}

TEST(Gpu, TheMonitorSaysWhichSizeItLikesAndAViewerMayChangeThat) {
  GpuRig rig;
  EXPECT_EQ(config_field<uint32_t>(*rig.gpu, 8), 1u) << "one scanout";
  EXPECT_EQ(config_field<uint32_t>(*rig.gpu, 12), 0u) << "no capability sets";
  EXPECT_EQ(told_size(rig), Gpu::kFirstSize);
  EXPECT_EQ(config_field<uint32_t>(*rig.gpu, 0), 0u);
  EXPECT_TRUE(rig.screen->ask_for_size({1600, 900}));
  rig.turn();
  EXPECT_EQ(rig.driver.transport.config_interrupts, 1u);
  EXPECT_EQ(config_field<uint32_t>(*rig.gpu, 0), VIRTIO_GPU_EVENT_DISPLAY);
  EXPECT_EQ(told_size(rig), (Size{1600, 900}));
  rig.gpu->write_config(4, bytes_of_value(VIRTIO_GPU_EVENT_DISPLAY));
  EXPECT_EQ(config_field<uint32_t>(*rig.gpu, 0), 0u);
  const Bytes answer = rig.ask(GetEdid{GpuRig::of(VIRTIO_GPU_CMD_GET_EDID), 0, 0});
  EXPECT_EQ(GpuRig::type_of(answer), VIRTIO_GPU_RESP_OK_EDID);
  ASSERT_EQ(answer.size(), sizeof(Header) + sizeof(EdidAnswer));
  const auto edid = display::make_edid({1600, 900});
  EXPECT_TRUE(std::equal(edid.begin(), edid.end(), answer.begin() + sizeof(Header) + 8));
  EXPECT_TRUE(rig.screen->ask_for_size({1600, 900}));
  rig.turn();
  EXPECT_EQ(rig.driver.transport.config_interrupts, 1u) << "it is that already";
  EXPECT_TRUE(rig.screen->ask_for_size({1, 8192}));
  EXPECT_EQ(told_size(rig), (Size{320, 4095})) << "within limits";
}

TEST(Gpu, WithoutTheFeatureThereIsNoEdid) {
  GpuRig rig(0);
  EXPECT_EQ(rig.does(GetEdid{GpuRig::of(VIRTIO_GPU_CMD_GET_EDID), 0, 0}), VIRTIO_GPU_RESP_ERR_UNSPEC);
}

TEST(Gpu, TheCursorIsAboveThePicture) {
  GpuRig rig;
  rig.picture(1, 100, 100, Words(10000, 0x000010));
  EXPECT_EQ(rig.scan_out(1, {0, 0, 100, 100}), VIRTIO_GPU_RESP_OK_NODATA);
  Words image(64 * 64, 0);
  image[0] = 0xff00ff00;
  image[65] = 0x80800000;  // half of red
  rig.picture(2, 64, 64, image, VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM);
  EXPECT_EQ(rig.cursor(2, 10, 20, 3, 4), VIRTIO_GPU_RESP_OK_NODATA);
  const auto at = [&](uint32_t x, uint32_t y) { return rig.shown(true)[y * 100 + x]; };
  EXPECT_EQ(at(10, 20), 0x00ff00u) << "its position is that of its first pixel";
  EXPECT_EQ(at(11, 21), 0x800008u);
  EXPECT_EQ(at(12, 20), 0x000010u);
  EXPECT_EQ(rig.unref(2), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.does(rig.cursor_command(VIRTIO_GPU_CMD_MOVE_CURSOR, 0, 30, 20), {}, 1), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(at(30, 20), 0x00ff00u) << "it stays when its picture goes";
  EXPECT_EQ(at(10, 20), 0x000010u);
  EXPECT_EQ(rig.does(rig.cursor_command(VIRTIO_GPU_CMD_MOVE_CURSOR, 0, 0xffff'ffff, 0xffff'ffff), {}, 1), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(at(0, 0), 0x800008u) << "a little off the screen";
  EXPECT_EQ(rig.cursor(0, 30, 20), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(at(30, 20), 0x000010u) << "there is none";
  EXPECT_EQ(rig.does(rig.cursor_command(0x0100, 0, 0, 0), {}, 1), VIRTIO_GPU_RESP_ERR_UNSPEC) << "no command of this queue";
}

TEST(Gpu, ACursorWithoutAlphaIsOpaque) {
  GpuRig rig;
  rig.picture(1, 100, 100, Words(10000, 0x000010));
  EXPECT_EQ(rig.scan_out(1, {0, 0, 100, 100}), VIRTIO_GPU_RESP_OK_NODATA);
  rig.picture(2, 64, 64, Words(64 * 64, 0x00abcdef));
  EXPECT_EQ(rig.cursor(2, 0, 0, 1000, 1000), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.shown(true)[0], 0xabcdefu);
}

// --- life ------------------------------------------------------------------------------------------------------------

TEST(Gpu, ManyPixelsTakeSeveralTurnsAndAreThereAtRest) {
  GpuRig rig;
  const MemEntry white = rig.memory_with(Words(2048 * 1024, 0xffffff));
  EXPECT_EQ(rig.create(1, 2048, 1024), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.attach(1, {white}), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_EQ(rig.scan_out(1, {0, 0, 2048, 1024}), VIRTIO_GPU_RESP_OK_NODATA);
  const Bytes flush = bytes_of_value(ResourceFlush{GpuRig::of(VIRTIO_GPU_CMD_RESOURCE_FLUSH), {0, 0, 2048, 1024}, 1, 0});
  rig.driver.ring(0).add({rig.guest.put(bytes_of_value(rig.transfer_command(1, {0, 0, 2048, 1024}, 0)))}, {rig.answer_room});
  rig.driver.ring(0).add({rig.guest.put(flush)}, {rig.answer_room});
  rig.driver.notify(0);
  EXPECT_FALSE(rig.take(0));
  rig.loop->poll(0);
  const auto transferred = rig.take(0);
  ASSERT_TRUE(transferred);
  EXPECT_EQ(GpuRig::type_of(*transferred), VIRTIO_GPU_RESP_OK_NODATA);
  EXPECT_FALSE(rig.take(0)) << "the flush is under way";
  bool at_rest = false;
  rig.gpu->quiesce([&] { at_rest = true; });
  EXPECT_TRUE(at_rest);
  ASSERT_TRUE(rig.take(0)) << "what was under way is done";
  EXPECT_THAT(rig.shown(), Each(0xffffff));
  rig.give(0, GpuRig::of(VIRTIO_GPU_CMD_GET_DISPLAY_INFO));
  rig.turn();
  EXPECT_FALSE(rig.take(0)) << "at rest nothing is taken";
  rig.gpu->resume();
  rig.driver.notify(0);
  EXPECT_TRUE(rig.take(0));
}

TEST(Gpu, AfterAResetThereIsNothing) {
  GpuRig rig;
  rig.picture(1, 2, 2, Words(4, 0xffffff));
  EXPECT_EQ(rig.scan_out(1, {0, 0, 2, 2}), VIRTIO_GPU_RESP_OK_NODATA);
  rig.driver.deactivate();
  EXPECT_THAT(rig.shown(), Each(0));
  EXPECT_THAT(rig.guest.memory.device_content(Resources::kHome).first(16), Each(std::byte{0}));
}

TEST(Gpu, ManyCommandsAndAnAnswerWithoutRoomAreTaken) {
  GpuRig rig;
  for (int i = 0; i < 40; ++i) rig.driver.ring(0).add({rig.guest.put(bytes_of_value(GpuRig::of(VIRTIO_GPU_CMD_GET_DISPLAY_INFO)))}, {});
  rig.driver.notify(0);
  rig.turn();
  EXPECT_EQ(rig.driver.ring(0).take_all().size(), 40u);
  for (int i = 0; i < 40; ++i) {
    rig.driver.ring(1).add({rig.guest.put(bytes_of_value(rig.cursor_command(VIRTIO_GPU_CMD_MOVE_CURSOR, 0, 1, 1)))}, {});
    if (rig.driver.ring(1).free() == 0) {
      rig.driver.notify(1);
      rig.turn();
      rig.driver.ring(1).take_all();
    }
  }
  rig.driver.ring(0).make_available(999);
  rig.driver.notify(0);
  EXPECT_FALSE(rig.driver.transport.why.empty()) << "a broken ring is told";
}

// --- state -----------------------------------------------------------------------------------------------------------

struct StateRig : TurnedLoop {
  StateRig() { clock.stop(); }
  ~StateRig() { gpu->deactivate(); }
  void follow(StateRig& other) {
    clock.restore(other.clock.now());
    guest.follow(other.guest);
    const auto from = other.guest.memory.device_content(Resources::kHome).first(kUsed);
    std::ranges::copy(from, guest.memory.device_content(Resources::kHome).begin());
  }
  bus::Device& device() { return adapter; }

  static constexpr size_t kUsed = 1 * MiB;
  Guest guest{4 << 20};
  std::unique_ptr<display::Screen> screen = *display::Screen::create({8, 8});
  std::unique_ptr<Gpu> gpu = *Gpu::create("gpu0", *loop, guest.memory, *screen);
  AsBusDevice adapter{*gpu};
  std::unique_ptr<LoadedDriver> driver;
};

// A command with small numbers, so that it is about something.
Bytes random_command(std::mt19937_64& random) {
  const auto id = static_cast<uint32_t>(random() % 4);
  const auto header = GpuRig::of(static_cast<uint32_t>(random() % 8 ? 0x101 + random() % 7 : 0x300 + random() % 2));
  const auto small = [&] { return static_cast<uint32_t>(random() % 40); };
  const Rect rect{small() % 4, small() % 4, small(), small()};
  switch (header.type) {
    case VIRTIO_GPU_CMD_RESOURCE_CREATE_2D: {
      const uint32_t side = random() % 2 ? 64 : 1 + small();
      return bytes_of_value(ResourceCreate2d{header, id, 1 + small() % 4, side, side});
    }
    case VIRTIO_GPU_CMD_SET_SCANOUT: return bytes_of_value(SetScanout{header, rect, 0, id});
    case VIRTIO_GPU_CMD_RESOURCE_FLUSH: return bytes_of_value(ResourceFlush{header, rect, id, 0});
    case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D: return bytes_of_value(TransferToHost2d{header, rect, small(), id, 0});
    case VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING: {
      Bytes command = bytes_of_value(ResourceAttachBacking{header, id, 2});
      for (int i = 0; i < 2; ++i) {
        const Bytes entry = bytes_of_value(MemEntry{random() % (1 << 20), static_cast<uint32_t>(random() % 20000), 0});
        command.insert(command.end(), entry.begin(), entry.end());
      }
      return command;
    }
    case VIRTIO_GPU_CMD_UPDATE_CURSOR:
    case VIRTIO_GPU_CMD_MOVE_CURSOR: return bytes_of_value(UpdateCursor{header, {0, small(), small(), 0}, id, small(), small(), 0});
    default: return bytes_of_value(OfResource{header, id, 0});
  }
}

skerry::test::Trace drive(StateRig& rig, std::mt19937_64& random) {
  skerry::test::Trace trace;
  rig.gpu->show();
  rig.driver = std::make_unique<LoadedDriver>(*rig.gpu, rig.guest, VIRTIO_GPU_F_EDID | feature::kVersion1);
  const Buffer answer = rig.guest.room(512);
  for (unsigned step = 0; step < 60; ++step) {
    const Bytes command = random_command(random);
    const unsigned queue = command[1] == 3 ? 1 : 0;
    rig.driver->rings[queue]->add({rig.guest.put(command)}, {answer});
    rig.gpu->notified(queue);
    rig.turn();
    note_used(rig.guest, *rig.driver, {{answer.address, 4}}, trace);
    if (random() % 8 == 0) rig.screen->ask_for_size({static_cast<uint32_t>(random() % 5000), 600});
    if (random() % 8 == 0) rig.gpu->write_config(4, bytes_of_value(VIRTIO_GPU_EVENT_DISPLAY));
    trace.push_back(config_field<uint32_t>(*rig.gpu, 0));
  }
  const Size size = rig.screen->size();
  std::vector<uint32_t> pixels(size.rect().area());
  rig.screen->read(size.rect(), pixels, true);
  trace.insert(trace.end(), pixels.begin(), pixels.end());
  rig.driver->quiesce();
  return trace;
}

TEST(Gpu, StateSurvives) { skerry::test::run_state_test<StateRig>(8, drive); }

TEST(Gpu, ASavedScreenIsTheSameAgain) {
  GpuRig rig;
  rig.picture(5, 4, 4, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
  EXPECT_EQ(rig.scan_out(5, {1, 1, 2, 2}), VIRTIO_GPU_RESP_OK_NODATA);
  rig.picture(6, 64, 64, Words(64 * 64, 0xffff0000), VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM);
  EXPECT_EQ(rig.cursor(6, 1, 1), VIRTIO_GPU_RESP_OK_NODATA);
  const Words before = rig.shown(true);
  EXPECT_THAT(before, ElementsAre(6, 7, 10, 0xff0000));
  AsBusDevice saved(*rig.gpu);
  StateRig copy;
  std::ranges::copy(rig.guest.memory.device_content(Resources::kHome).first(StateRig::kUsed),
                    copy.guest.memory.device_content(Resources::kHome).begin());
  ASSERT_TRUE(skerry::test::load(copy.adapter, skerry::test::save(saved)));
  copy.gpu->show();
  ASSERT_EQ(copy.screen->size(), (Size{2, 2}));
  Words after(4);
  copy.screen->read({0, 0, 2, 2}, after, true);
  EXPECT_EQ(after, before);
}

}  // namespace
}  // namespace skerry::virtio::test
