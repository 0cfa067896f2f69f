/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-512 VNNI: vpdpbusd of 64 bytes. See peak.h. */
#include <immintrin.h>

#define PEAK_VEC __m512i
#define PEAK_ONE _mm512_set1_epi8(1)
#define PEAK_STEP(s, a, b) _mm512_dpbusd_epi32(s, a, b)
#define PEAK_OPS 128
#define PEAK_IN(v) "v"(v)
#include "kern/peak_body.h"

peak_fn peak_avx512;
uint64_t peak_avx512(uint64_t rounds)
{
    PEAK_LOOP(rounds);
}
