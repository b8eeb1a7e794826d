#include "devices/civil_time.hpp"

namespace skerry::devices {

namespace {
constexpr int64_t kDaysPerEra = 146'097;           // 400 years
constexpr int64_t kDaysFromYear0To1970 = 719'468;  // counted from 1 March of year 0
int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }
}  // namespace

// Years begin in March here, so that the leap day is the last of its year (Hinnant, "chrono-Compatible Low-Level Date
// Algorithms").
int64_t to_unix_seconds(const CivilTime& time) {
  const int64_t months = static_cast<int64_t>(time.month) - 1;
  const int64_t month = (months % 12 + 12) % 12 + 1;
  const int64_t year = time.year + floor_divide(months, 12) - (month <= 2 ? 1 : 0);
  const int64_t era = floor_divide(year, 400);
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + static_cast<int64_t>(time.day) - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  const int64_t days = era * kDaysPerEra + day_of_era - kDaysFromYear0To1970;
  return days * kSecondsPerDay + time.hour * int64_t{3600} + time.minute * int64_t{60} + time.second;
}

CivilTime from_unix_seconds(int64_t seconds) {
  const int64_t days_since_1970 = floor_divide(seconds, kSecondsPerDay);
  const int64_t second_of_day = seconds - days_since_1970 * kSecondsPerDay;
  const int64_t days = days_since_1970 + kDaysFromYear0To1970;
  const int64_t era = floor_divide(days, kDaysPerEra);
  const int64_t day_of_era = days - era * kDaysPerEra;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / (kDaysPerEra - 1)) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;

  CivilTime time;
  time.year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  time.month = static_cast<unsigned>(month);
  time.day = static_cast<unsigned>(day_of_year - (153 * month_from_march + 2) / 5 + 1);
  time.hour = static_cast<unsigned>(second_of_day / 3600);
  time.minute = static_cast<unsigned>(second_of_day / 60 % 60);
  time.second = static_cast<unsigned>(second_of_day % 60);
  time.weekday = static_cast<unsigned>(((days_since_1970 + 4) % 7 + 7) % 7);  // 1 January 1970 was a Thursday
  return time;
}

}  // namespace skerry::devices
