/* SPDX-License-Identifier: Apache-2.0 */
/* AVX2 without VNNI: vpmaddubsw and the addition of its sums of int16. See peak.h. */
#include <immintrin.h>

#define PEAK_VEC __m256i
#define PEAK_ONE _mm256_set1_epi8(1)
#define PEAK_STEP(s, a, b) _mm256_add_epi16(s, _mm256_maddubs_epi16(a, b))
#define PEAK_OPS 64
#define PEAK_IN(v) "x"(v)
#include "kern/peak_body.h"

peak_fn peak_avx2;
uint64_t peak_avx2(uint64_t rounds)
{
    PEAK_LOOP(rounds);
}
