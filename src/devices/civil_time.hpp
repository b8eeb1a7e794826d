// Seconds and calendar dates (proleptic Gregorian), without the C library's time zones.
#pragma once

#include <cstdint>

namespace skerry::devices {

constexpr int64_t kSecondsPerDay = 86'400;

struct CivilTime {
  int64_t year = 1970;
  unsigned month = 1, day = 1;  // from 1
  unsigned hour = 0, minute = 0, second = 0;
  unsigned weekday = 0;  // 0 is Sunday; ignored by to_unix_seconds()
};

// Fields out of their range carry over into the next, as those of mktime() do.
int64_t to_unix_seconds(const CivilTime& time);
CivilTime from_unix_seconds(int64_t seconds);

}  // namespace skerry::devices
