// SPDX-License-Identifier: Apache-2.0
// Plays and records by ALSA's ioctls (sound/asound.h) on card 0, and turns its mixer up. Frames are numbered: left has the lower half of
// the frame's number, right the upper half and 1 more, so that no frame is silence.
//
//   sound mixer
//   sound play NAME BITS RATE MILLISECONDS
//   sound record NAME BITS RATE MILLISECONDS

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <sound/asound.h>

enum { kChannels = 2, kTries = 10, kPeriods = 8 };

static void fail(const char* what) {
  printf("SND ERROR %s: %s\n", what, strerror(errno));
  exit(1);
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

// --- the mixer: everything as loud as it goes, and nothing mute -------------------------------------------------------

static void mixer(void) {
  int control = open("/dev/snd/controlC0", O_RDWR);
  if (control < 0) fail("controlC0");
  static struct snd_ctl_elem_id ids[64];
  struct snd_ctl_elem_list list = {.space = 64, .pids = ids};
  if (ioctl(control, SNDRV_CTL_IOCTL_ELEM_LIST, &list) < 0) fail("elements");
  for (unsigned i = 0; i < list.used; ++i) {
    struct snd_ctl_elem_info info = {.id = ids[i]};
    if (ioctl(control, SNDRV_CTL_IOCTL_ELEM_INFO, &info) < 0) fail("element");
    const int is_switch = info.type == SNDRV_CTL_ELEM_TYPE_BOOLEAN;
    if (!(info.access & SNDRV_CTL_ELEM_ACCESS_WRITE) || (!is_switch && info.type != SNDRV_CTL_ELEM_TYPE_INTEGER)) continue;
    struct snd_ctl_elem_value value = {.id = ids[i]};
    for (unsigned j = 0; j < info.count; ++j) value.value.integer.value[j] = is_switch ? 1 : info.value.integer.max;
    if (ioctl(control, SNDRV_CTL_IOCTL_ELEM_WRITE, &value) < 0) fail((const char*)ids[i].name);
    printf("SND control %s\n", ids[i].name);
  }
  close(control);
}

// --- PCM ---------------------------------------------------------------------------------------------------------------

struct Pcm {
  int fd;
  unsigned bits, rate;
  size_t period;  // frames
};

static void set_mask(struct snd_pcm_hw_params* params, int which, unsigned bit) {
  struct snd_mask* mask = &params->masks[which - SNDRV_PCM_HW_PARAM_FIRST_MASK];
  memset(mask->bits, 0, sizeof mask->bits);
  mask->bits[bit / 32] = 1u << bit % 32;
}

static void set_interval(struct snd_pcm_hw_params* params, int which, unsigned value) {
  struct snd_interval* interval = &params->intervals[which - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL];
  *interval = (struct snd_interval){.min = value, .max = value, .integer = 1};
}

static struct Pcm open_pcm(int capture, unsigned bits, unsigned rate) {
  struct Pcm pcm = {open(capture ? "/dev/snd/pcmC0D0c" : "/dev/snd/pcmC0D0p", O_RDWR), bits, rate, rate / 10 / 32 * 32};
  if (pcm.fd < 0) fail("pcm");
  struct snd_pcm_hw_params hardware;
  memset(&hardware, 0, sizeof hardware);
  for (int i = 0; i <= SNDRV_PCM_HW_PARAM_LAST_MASK - SNDRV_PCM_HW_PARAM_FIRST_MASK; ++i) memset(hardware.masks[i].bits, 0xff, sizeof hardware.masks[i].bits);
  for (int i = 0; i <= SNDRV_PCM_HW_PARAM_LAST_INTERVAL - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL; ++i) hardware.intervals[i].max = ~0u;
  hardware.rmask = hardware.info = ~0u;
  set_mask(&hardware, SNDRV_PCM_HW_PARAM_ACCESS, SNDRV_PCM_ACCESS_RW_INTERLEAVED);
  set_mask(&hardware, SNDRV_PCM_HW_PARAM_FORMAT, bits == 16 ? SNDRV_PCM_FORMAT_S16_LE : SNDRV_PCM_FORMAT_S32_LE);
  set_interval(&hardware, SNDRV_PCM_HW_PARAM_CHANNELS, kChannels);
  set_interval(&hardware, SNDRV_PCM_HW_PARAM_RATE, rate);
  set_interval(&hardware, SNDRV_PCM_HW_PARAM_PERIOD_SIZE, pcm.period);
  set_interval(&hardware, SNDRV_PCM_HW_PARAM_PERIODS, kPeriods);
  if (ioctl(pcm.fd, SNDRV_PCM_IOCTL_HW_PARAMS, &hardware) < 0) fail("format");
  // What is behind the last frame is silence; positions have times.
  const unsigned long boundary = (1ul << 62) / (kPeriods * pcm.period) * (kPeriods * pcm.period);
  struct snd_pcm_sw_params software = {.tstamp_mode = SNDRV_PCM_TSTAMP_ENABLE, .period_step = 1, .avail_min = pcm.period,
                                       .start_threshold = capture ? 1 : kPeriods * pcm.period, .stop_threshold = kPeriods * pcm.period,
                                       .boundary = boundary, .proto = SNDRV_PCM_VERSION, .tstamp_type = SNDRV_PCM_TSTAMP_TYPE_MONOTONIC};
  if (ioctl(pcm.fd, SNDRV_PCM_IOCTL_SW_PARAMS, &software) < 0) fail("thresholds");
  software.silence_size = software.boundary;  // as the kernel has it
  if (ioctl(pcm.fd, SNDRV_PCM_IOCTL_SW_PARAMS, &software) < 0) fail("silence");
  return pcm;
}

static void number(const struct Pcm* pcm, void* buffer, uint32_t first, size_t frames) {
  for (size_t i = 0; i < frames; ++i) {
    const uint16_t left = (uint16_t)(first + i), right = (uint16_t)(((first + i) >> 16) + 1);
    if (pcm->bits == 16) ((uint16_t*)buffer)[2 * i] = left, ((uint16_t*)buffer)[2 * i + 1] = right;
    else ((uint32_t*)buffer)[2 * i] = (uint32_t)left << 16, ((uint32_t*)buffer)[2 * i + 1] = (uint32_t)right << 16;
  }
}

// How far the position is before what has been played by the clock, in frames; less than 0 if it is behind.
static long ahead(const struct Pcm* pcm) {
  struct snd_pcm_status status = {0};
  if (ioctl(pcm->fd, SNDRV_PCM_IOCTL_STATUS, &status) < 0) fail("status");
  if (status.state != SNDRV_PCM_STATE_RUNNING) return -(long)pcm->rate;
  const int64_t ns = (status.tstamp.tv_sec - status.trigger_tstamp.tv_sec) * 1000000000LL + status.tstamp.tv_nsec - status.trigger_tstamp.tv_nsec;
  return (long)status.hw_ptr - (long)(ns * pcm->rate / 1000000000);
}

// Frames that were moved, or less if the guest was too slow.
static uint32_t move(const struct Pcm* pcm, int capture, uint32_t frames, long* most_ahead) {
  void* buffer = malloc(pcm->period * kChannels * sizeof(uint32_t));
  const size_t frame = kChannels * pcm->bits / 8;
  uint32_t done = 0, told = 0;
  while (done < frames) {
    const size_t part = frames - done < pcm->period ? frames - done : pcm->period;
    struct snd_xferi transfer = {.buf = buffer, .frames = part};
    if (capture) memset(buffer, 0x55, part * frame);
    else number(pcm, buffer, done, part);
    if (ioctl(pcm->fd, capture ? SNDRV_PCM_IOCTL_READI_FRAMES : SNDRV_PCM_IOCTL_WRITEI_FRAMES, &transfer) < 0) {
      if (errno == EPIPE) break;
      fail("transfer");
    }
    if (transfer.result < 1) fail("nothing transferred");
    for (size_t i = 0; capture && i < (size_t)transfer.result * frame; ++i)
      if (((uint8_t*)buffer)[i]) fail("no silence");
    done += transfer.result;
    const long now_ahead = ahead(pcm);
    if (now_ahead > *most_ahead) *most_ahead = now_ahead;
    if (done / pcm->rate > told) printf("SND at %u s\n", told = done / pcm->rate);
  }
  free(buffer);
  return done;
}

static void run(int capture, const char* name, unsigned bits, unsigned rate, unsigned milliseconds) {
  const uint32_t frames = (uint32_t)((uint64_t)rate * milliseconds / 1000);
  struct Pcm pcm = open_pcm(capture, bits, rate);
  for (int i = 0; i < kTries; ++i) {
    if (ioctl(pcm.fd, SNDRV_PCM_IOCTL_PREPARE) < 0) fail("prepare");
    printf("SND %s begins\n", name);
    long most_ahead = -(long)rate;
    const int64_t begin = now_ms();
    int good = move(&pcm, capture, frames, &most_ahead) == frames;
    if (good && !capture) good = ioctl(pcm.fd, SNDRV_PCM_IOCTL_DRAIN) == 0;
    const int64_t took = now_ms() - begin;
    if (capture) ioctl(pcm.fd, SNDRV_PCM_IOCTL_DROP);
    if (!good) {
      printf("SND %s was too slow\n", name);
      continue;
    }
    printf("SND %s done: %u frames, %lld ms, %ld frames ahead\n", name, frames, (long long)took, most_ahead);
    close(pcm.fd);
    return;
  }
  errno = EPIPE;
  fail("too slow");
}

int main(int count, char** words) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (count == 2 && strcmp(words[1], "mixer") == 0) mixer();
  else if (count == 6) run(strcmp(words[1], "record") == 0, words[2], atoi(words[3]), atoi(words[4]), atoi(words[5]));
  else return 1;
  return 0;
}
