/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-VNNI: vpdpbusd of 32 bytes. See peak.h. */
#include <immintrin.h>

#define PEAK_VEC __m256i
#define PEAK_ONE _mm256_set1_epi8(1)
#define PEAK_STEP(s, a, b) _mm256_dpbusd_avx_epi32(s, a, b)
#define PEAK_OPS 64
#define PEAK_IN(v) "x"(v)
#include "kern/peak_body.h"

peak_fn peak_avxvnni;
uint64_t peak_avxvnni(uint64_t rounds)
{
    PEAK_LOOP(rounds);
}
