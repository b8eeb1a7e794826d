// Floating point and vectors. Compiled without automatic vectors: what is vector code here says so.
#include <immintrin.h>

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

const struct row vector_rows[] = {
    {"vector", "matmul", "multiply-add", MATRIX* MATRIX* MATRIX, run_matmul, NULL, NULL},
    {"vector", "sse2-sum", "16 B", SSE_VECTORS, run_sum, set_up_arrays, NULL},
    {"vector", "sse2-triad", "16 B", SSE_VECTORS, run_triad, set_up_arrays, NULL},
    {"vector", "aes", "block of 16 B", AES_BLOCKS, run_aes, set_up_arrays, lacks_aes},
    {"vector", "avx2-dot", "32 B", AVX_VECTORS, run_avx2, set_up_arrays, lacks_avx2},
    {0},
};
