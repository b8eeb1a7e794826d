#include "net/frame_ring.hpp"
#include "net/frame_stream.hpp"
#include "unit/net/packets.hpp"

namespace skerry::net {
namespace {

Bytes on_the_stream(const Bytes& frame) {
  Bytes bytes;
  put32(bytes, static_cast<uint32_t>(frame.size()));
  append(bytes, frame);
  return bytes;
}

// Feeds `stream` in pieces of random size, and collects the frames.
std::vector<Bytes> read_in_pieces(FrameReader& reader, const Bytes& stream, std::mt19937_64& random, bool& broken) {
  std::vector<Bytes> frames;
  broken = false;
  for (size_t at = 0; at < stream.size() && !broken;) {
    const auto space = reader.space();
    EXPECT_FALSE(space.empty());
    const size_t size = std::min({space.size(), stream.size() - at, size_t{1} + random() % 70'000});
    std::memcpy(space.data(), stream.data() + at, size);
    reader.filled(size);
    at += size;
    for (;;) {
      std::span<uint8_t> frame;
      const auto got = reader.next(frame);
      if (got == FrameReader::Got::kFrame) frames.emplace_back(frame.begin(), frame.end());
      else {
        broken = got == FrameReader::Got::kBroken;
        break;
      }
    }
  }
  return frames;
}

TEST(FrameStream, FramesComeOutAsTheyWentInHoweverTheyAreCut) {
  auto random = make_random();
  FrameReader reader;
  std::vector<Bytes> sent;
  Bytes stream;
  for (int i = 0; i < 200; ++i) {
    Bytes frame(i % 7 == 0 ? kMaxFrame : random() % 2000, static_cast<uint8_t>(i));
    append(stream, on_the_stream(frame));
    sent.push_back(std::move(frame));
  }
  bool broken = false;
  EXPECT_EQ(read_in_pieces(reader, stream, random, broken), sent);
  EXPECT_FALSE(broken);
}

TEST(FrameStream, ALengthThatNoFrameHasBreaksIt) {
  auto random = make_random();
  for (const uint32_t length : {static_cast<uint32_t>(kMaxFrame) + 1, 0x80000000u, 0xffffffffu}) {
    FrameReader reader;
    Bytes stream = on_the_stream(Bytes(100, 1));
    put32(stream, length);
    append(stream, Bytes(100, 2));
    bool broken = false;
    EXPECT_EQ(read_in_pieces(reader, stream, random, broken).size(), 1u);
    EXPECT_TRUE(broken);
  }
}

TEST(FrameStream, TheRestOfAFrameIsWhatWasNotSent) {
  const Bytes first(10, 1), second(20, 2);
  const iovec parts[] = {{const_cast<uint8_t*>(first.data()), 10}, {const_cast<uint8_t*>(second.data()), 20}};
  Bytes whole = first;
  append(whole, second);
  for (size_t done = 0; done <= 30; ++done) {
    FrameRest rest;
    rest.keep(parts, done);
    EXPECT_EQ(Bytes(rest.left().begin(), rest.left().end()),
              Bytes(whole.begin() + static_cast<long>(done), whole.end()));
    rest.sent(rest.left().size());
    EXPECT_TRUE(rest.empty());
  }
}

class FrameRing : public ::testing::Test {
 protected:
  bool put(const Bytes& bytes) {
    const size_t half = bytes.size() / 2;
    const iovec parts[] = {{const_cast<uint8_t*>(bytes.data()), half},
                           {const_cast<uint8_t*>(bytes.data()) + half, bytes.size() - half}};
    return writer_.put(parts);
  }
  RingReader::Got take(Bytes& into) {
    into.assign(kMaxRecord, 0);
    size_t size = 0;
    const auto got = reader_.take(into, size);
    into.resize(size);
    return got;
  }
  RingMemory memory_ = std::move(RingMemory::create()).value();
  RingWriter writer_{memory_.control(0), memory_.bytes(0)};
  RingReader reader_{memory_.control(0), memory_.bytes(0)};
};

TEST_F(FrameRing, RecordsComeOutAsTheyWentIn) {
  auto random = make_random();
  std::vector<Bytes> there;
  for (int i = 0; i < 3000; ++i) {
    Bytes record(random() % (random() % 8 ? 2000 : kMaxRecord + 1), static_cast<uint8_t>(i));
    if (put(record)) there.push_back(record);
    while (!there.empty() && random() % 3) {
      Bytes got;
      ASSERT_EQ(take(got), RingReader::Got::kRecord);
      ASSERT_EQ(got, there.front());
      there.erase(there.begin());
    }
  }
}

TEST_F(FrameRing, SaysWhenItIsFullAndWhenThereIsRoomAgain) {
  unsigned count = 0;
  while (put(Bytes(1000))) ++count;
  EXPECT_GT(count, kRingBytes / 1100);
  EXPECT_FALSE(writer_.wait_for_room());
  Bytes got;
  EXPECT_EQ(take(got), RingReader::Got::kRecord);
  EXPECT_TRUE(reader_.writer_must_wake());
  EXPECT_FALSE(reader_.writer_must_wake()) << "once for each wait";
  while (take(got) == RingReader::Got::kRecord) --count;
  EXPECT_EQ(count, 1u);
  EXPECT_TRUE(writer_.wait_for_room());
  EXPECT_FALSE(put(Bytes(kMaxRecord + 1)));
}

TEST_F(FrameRing, WakesAReaderOnceForEachSleep) {
  EXPECT_TRUE(put(Bytes(1)));
  EXPECT_FALSE(writer_.reader_must_wake()) << "it is awake";
  EXPECT_FALSE(reader_.sleep()) << "something is there";
  Bytes got;
  EXPECT_EQ(take(got), RingReader::Got::kRecord);
  EXPECT_TRUE(reader_.sleep());
  EXPECT_TRUE(put(Bytes(1)));
  EXPECT_TRUE(writer_.reader_must_wake());
  EXPECT_FALSE(writer_.reader_must_wake());
}

TEST_F(FrameRing, TheOtherSideCannotMakeItShorter) {
  EXPECT_NE(::ftruncate(memory_.fd(), 0), 0);
}

TEST_F(FrameRing, WhateverTheOtherSideWritesThereIsRefusedOrARecord) {
  auto random = make_random();
  RingControl& control = memory_.control(0);
  for (int i = 0; i < 20'000; ++i) {
    RingReader reader(control, memory_.bytes(0));
    RingWriter writer(control, memory_.bytes(0));
    control.read = static_cast<uint32_t>(random());
    control.written = static_cast<uint32_t>(random() % 2 ? random() : random() % (2 * kRingBytes));
    const uint32_t length = static_cast<uint32_t>(random() % 2 ? random() : random() % (2 * kMaxRecord));
    std::memcpy(memory_.bytes(0), &length, sizeof length);
    Bytes into(kMaxRecord);
    size_t size = 0;
    for (int j = 0; j < 4 && reader.take(into, size) == RingReader::Got::kRecord; ++j) ASSERT_LE(size, kMaxRecord);
    const Bytes record(random() % kMaxRecord);
    const iovec part{const_cast<uint8_t*>(record.data()), record.size()};
    (void)writer.put({&part, 1});
  }
}

TEST_F(FrameRing, TwoThreadsLoseNoRecordAndNoWakeUp) {
  constexpr uint32_t kRecords = 100'000;
  // Stand-ins for the two eventfds.
  std::atomic<uint32_t> wake_reader{0}, wake_writer{0};
  std::thread reader([&] {
    Bytes into(kMaxRecord);
    for (uint32_t next = 0; next < kRecords;) {
      size_t size = 0;
      const auto got = reader_.take(into, size);
      if (got == RingReader::Got::kRecord) {
        uint32_t number = 0;
        std::memcpy(&number, into.data(), sizeof number);
        ASSERT_EQ(number, next++);
        if (next % 16 == 0 && reader_.writer_must_wake()) wake_writer.fetch_add(1), wake_writer.notify_one();
        continue;
      }
      ASSERT_EQ(got, RingReader::Got::kNothing);
      if (reader_.writer_must_wake()) wake_writer.fetch_add(1), wake_writer.notify_one();
      const uint32_t seen = wake_reader;
      if (reader_.sleep()) wake_reader.wait(seen);
    }
    if (reader_.writer_must_wake()) wake_writer.fetch_add(1), wake_writer.notify_one();
  });
  for (uint32_t number = 0; number < kRecords;) {
    Bytes record(4 + number % 3000);
    std::memcpy(record.data(), &number, sizeof number);
    if (put(record)) {
      ++number;
      if (writer_.reader_must_wake()) wake_reader.fetch_add(1), wake_reader.notify_one();
      continue;
    }
    const uint32_t seen = wake_writer;
    if (!writer_.wait_for_room()) wake_writer.wait(seen);
  }
  reader.join();
}

}  // namespace
}  // namespace skerry::net
