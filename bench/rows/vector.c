// Floating point and vectors. Compiled without automatic vectors: what is vector code here says so.
#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "rows.h"

enum { MATRIX = 32 };

static void run_matmul(uint64_t repetitions) {
  static double a[MATRIX][MATRIX], b[MATRIX][MATRIX], c[MATRIX][MATRIX];
  for (int i = 0; i < MATRIX; ++i) {
    for (int j = 0; j < MATRIX; ++j) {
      a[i][j] = i + 0.5 * j;
      b[i][j] = j - 0.25 * i;
    }
  }
  while (repetitions--) {
    for (int i = 0; i < MATRIX; ++i) {
      for (int j = 0; j < MATRIX; ++j) {
        double sum = 0;
        for (int k = 0; k < MATRIX; ++k) sum += a[i][k] * b[k][j];
        c[i][j] = sum;
      }
    }
    KEEP(&c);
  }
}

// Scalar code with divisions and square roots: bodies that attract each other
enum { BODIES = 5, PAIRS = BODIES * (BODIES - 1) / 2 };

struct body {
  double at[3], speed[3], mass;
};

static void run_nbody(uint64_t repetitions) {
  static struct body bodies[BODIES];
  for (int i = 0; i < BODIES; ++i) {
    bodies[i] = (struct body){{i, 2.0 * i + 1, 3.0 - i}, {0.1 * i, 0.2, -0.1 * i}, 1.0 / (i + 1)};
  }
  while (repetitions--) {
    for (int i = 0; i < BODIES; ++i) {
      for (int j = i + 1; j < BODIES; ++j) {
        struct body *one = &bodies[i], *other = &bodies[j];
        double apart[3], square = 0;
        for (int k = 0; k < 3; ++k) {
          apart[k] = one->at[k] - other->at[k];
          square += apart[k] * apart[k];
        }
        const double pull = 0.001 / (square * sqrt(square));
        for (int k = 0; k < 3; ++k) {
          one->speed[k] -= apart[k] * other->mass * pull;
          other->speed[k] += apart[k] * one->mass * pull;
        }
      }
    }
    for (int i = 0; i < BODIES; ++i) {
      for (int k = 0; k < 3; ++k) bodies[i].at[k] += 0.001 * bodies[i].speed[k];
    }
    KEEP(bodies);
  }
}

// The C library chooses their code by what the processor offers, in a guest by what the guest's does.
enum { MATH_CALLS = 4 * 64 };

static void run_libm(uint64_t repetitions) {
  while (repetitions--) {
    double sum = 0;
    for (int i = 0; i < MATH_CALLS / 4; ++i) {
      double of = 0.1 + 0.37 * i;
      KEEP(&of);
      sum += sin(of) + exp(-of) + pow(of, 1.7) + log(of);
    }
    KEEP(&sum);
  }
}

enum { MEBIBYTE = 1 << 20, COPIES = 64 };
static uint8_t copy_from[MEBIBYTE] __attribute__((aligned(64)));
static uint8_t copy_to[MEBIBYTE] __attribute__((aligned(64)));

static void set_up_copy(void) { memset(copy_from, 7, sizeof copy_from); }

// Through a pointer, so that it is the library's and not the compiler's own
static void* (*volatile library_memcpy)(void*, const void*, size_t) = memcpy;

static inline void copy(uint64_t times, size_t bytes) {
  while (times--) library_memcpy(copy_to, copy_from, bytes);
}
static void run_memcpy_64(uint64_t repetitions) { copy(COPIES * repetitions, 64); }
static void run_memcpy_4k(uint64_t repetitions) { copy(COPIES * repetitions, 4096); }
static void run_memcpy_1m(uint64_t repetitions) { copy(repetitions, MEBIBYTE); }

// Three arrays of 8 KiB: in the first-level cache, so that instructions are measured and not memory
enum { DOUBLES = 1024, SSE_VECTORS = DOUBLES / 2, AVX_VECTORS = DOUBLES / 4 };
static double x[DOUBLES] __attribute__((aligned(64)));
static double y[DOUBLES] __attribute__((aligned(64)));
static double z[DOUBLES] __attribute__((aligned(64)));

static void set_up_arrays(void) {
  for (int i = 0; i < DOUBLES; ++i) {
    y[i] = i;
    z[i] = 1.0 / (i + 1);
  }
}

static void run_sum(uint64_t repetitions) {
  __m128d a = _mm_setzero_pd(), b = a, c = a, d = a;
  while (repetitions--) {
    for (int i = 0; i < DOUBLES; i += 8) {
      a = _mm_add_pd(a, _mm_load_pd(&y[i]));
      b = _mm_add_pd(b, _mm_load_pd(&y[i + 2]));
      c = _mm_add_pd(c, _mm_load_pd(&y[i + 4]));
      d = _mm_add_pd(d, _mm_load_pd(&y[i + 6]));
    }
    KEEP_MEMORY();
  }
  _mm_store_pd(x, _mm_add_pd(_mm_add_pd(a, b), _mm_add_pd(c, d)));
}

static void run_triad(uint64_t repetitions) {
  const __m128d factor = _mm_set1_pd(3.0);
  while (repetitions--) {
    for (int i = 0; i < DOUBLES; i += 2) {
      _mm_store_pd(&x[i], _mm_add_pd(_mm_load_pd(&y[i]), _mm_mul_pd(factor, _mm_load_pd(&z[i]))));
    }
    KEEP_MEMORY();
  }
}

enum { AES_BLOCKS = 256, AES_ROUNDS = 10 };

static const char* lacks_aes(void) { return __builtin_cpu_supports("aes") ? NULL : "AES"; }

// Counter mode with four blocks at a time, as libraries do it
static __attribute__((target("aes"))) void run_aes(uint64_t repetitions) {
  const __m128i* keys = (const __m128i*)y;
  __m128i* out = (__m128i*)x;
  while (repetitions--) {
    for (int block = 0; block < AES_BLOCKS; block += 4) {
      __m128i a = _mm_xor_si128(_mm_set1_epi64x(block), keys[0]),
              b = _mm_xor_si128(_mm_set1_epi64x(block + 1), keys[0]);
      __m128i c = _mm_xor_si128(_mm_set1_epi64x(block + 2), keys[0]),
              d = _mm_xor_si128(_mm_set1_epi64x(block + 3), keys[0]);
      for (int round = 1; round < AES_ROUNDS; ++round) {
        a = _mm_aesenc_si128(a, keys[round]);
        b = _mm_aesenc_si128(b, keys[round]);
        c = _mm_aesenc_si128(c, keys[round]);
        d = _mm_aesenc_si128(d, keys[round]);
      }
      out[block] = _mm_aesenclast_si128(a, keys[AES_ROUNDS]);
      out[block + 1] = _mm_aesenclast_si128(b, keys[AES_ROUNDS]);
      out[block + 2] = _mm_aesenclast_si128(c, keys[AES_ROUNDS]);
      out[block + 3] = _mm_aesenclast_si128(d, keys[AES_ROUNDS]);
    }
    KEEP_MEMORY();
  }
}

static const char* lacks_avx2(void) { return __builtin_cpu_supports("avx2") ? NULL : "AVX2"; }

static __attribute__((target("avx2"))) void run_avx2(uint64_t repetitions) {
  const __m256i *left = (const __m256i*)y, *right = (const __m256i*)z;
  __m256i a = _mm256_setzero_si256(), b = a;
  while (repetitions--) {
    for (int i = 0; i < AVX_VECTORS; i += 2) {
      a = _mm256_add_epi32(a, _mm256_madd_epi16(left[i], right[i]));
      b = _mm256_add_epi32(b, _mm256_madd_epi16(left[i + 1], right[i + 1]));
    }
    KEEP_MEMORY();
  }
  _mm256_store_si256((__m256i*)x, _mm256_add_epi32(a, b));
}

static __attribute__((target("avx2"))) void run_avx2_triad(uint64_t repetitions) {
  const __m256d factor = _mm256_set1_pd(3.0);
  while (repetitions--) {
    for (int i = 0; i < DOUBLES; i += 4) {
      _mm256_store_pd(&x[i], _mm256_add_pd(_mm256_load_pd(&y[i]), _mm256_mul_pd(factor, _mm256_load_pd(&z[i]))));
    }
    KEEP_MEMORY();
  }
}

static const char* lacks_sha(void) {
  unsigned a, b = 0, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_SHA ? NULL : "SHA";
}

// Four rounds of SHA-256 with the next four words of the message, from the words m0 to m3
#define SHA_ROUNDS(m0, m1, m2, m3, constant)                                      \
  do {                                                                            \
    __m128i sum = _mm_add_epi32(m0, _mm_set1_epi32(constant));                    \
    state1 = _mm_sha256rnds2_epu32(state1, state0, sum);                          \
    state0 = _mm_sha256rnds2_epu32(state0, state1, _mm_shuffle_epi32(sum, 0x0E)); \
    m0 = _mm_add_epi32(_mm_sha256msg1_epu32(m0, m1), _mm_alignr_epi8(m3, m2, 4)); \
    m0 = _mm_sha256msg2_epu32(m0, m3);                                            \
  } while (0)

enum { SHA_BLOCKS = 64, SHA_ROUNDS_OF_16 = 4 };

// The instructions in the order of SHA-256; the constants are not its own, so the sum is not one.
static __attribute__((target("sha,sse4.1"))) void run_sha(uint64_t repetitions) {
  const __m128i* message = (const __m128i*)y;
  __m128i state0 = _mm_set1_epi32(0x6A09E667), state1 = _mm_set1_epi32(0x510E527F);
  while (repetitions--) {
    for (int block = 0; block < SHA_BLOCKS; ++block) {
      __m128i a = message[4 * block], b = message[4 * block + 1], c = message[4 * block + 2],
              d = message[4 * block + 3];
      const __m128i before0 = state0, before1 = state1;
      for (int round = 0; round < SHA_ROUNDS_OF_16; ++round) {
        SHA_ROUNDS(a, b, c, d, 0x428A2F98);
        SHA_ROUNDS(b, c, d, a, 0x71374491);
        SHA_ROUNDS(c, d, a, b, 0x3956C25B);
        SHA_ROUNDS(d, a, b, c, 0x59F111F1);
      }
      state0 = _mm_add_epi32(state0, before0);
      state1 = _mm_add_epi32(state1, before1);
    }
    KEEP_MEMORY();
  }
  _mm_store_si128((__m128i*)x, _mm_xor_si128(state0, state1));
}

const struct row vector_rows[] = {
    {"vector", "matmul", "multiply-add", MATRIX* MATRIX* MATRIX, run_matmul, NULL, NULL},
    {"vector", "nbody", "pair", PAIRS, run_nbody, NULL, NULL},
    {"vector", "libm", "call", MATH_CALLS, run_libm, NULL, NULL},
    {"vector", "memcpy-64", "copy of 64 B", COPIES, run_memcpy_64, set_up_copy, NULL},
    {"vector", "memcpy-4k", "copy of 4 KiB", COPIES, run_memcpy_4k, set_up_copy, NULL},
    {"vector", "memcpy-1m", "copy of 1 MiB", 1, run_memcpy_1m, set_up_copy, NULL},
    {"vector", "sse2-sum", "16 B", SSE_VECTORS, run_sum, set_up_arrays, NULL},
    {"vector", "sse2-triad", "16 B", SSE_VECTORS, run_triad, set_up_arrays, NULL},
    {"vector", "aes", "block of 16 B", AES_BLOCKS, run_aes, set_up_arrays, lacks_aes},
    {"vector", "sha", "block of 64 B", SHA_BLOCKS, run_sha, set_up_arrays, lacks_sha},
    {"vector", "avx2-dot", "32 B", AVX_VECTORS, run_avx2, set_up_arrays, lacks_avx2},
    {"vector", "avx2-triad", "32 B", AVX_VECTORS, run_avx2_triad, set_up_arrays, lacks_avx2},
    {0},
};
