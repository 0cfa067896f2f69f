/* SPDX-License-Identifier: Apache-2.0 */
/* arm64 without the dot product: smull of 8 bytes and its pairwise addition. See peak.h. */
#include <arm_neon.h>

#define PEAK_VEC int32x4_t
#define PEAK_ONE vreinterpretq_s32_s8(vdupq_n_s8(1))
#define PEAK_HALF(v) vget_low_s8(vreinterpretq_s8_s32(v))
#define PEAK_STEP(s, a, b) vpadalq_s16(s, vmull_s8(PEAK_HALF(a), PEAK_HALF(b)))
#define PEAK_OPS 16
#define PEAK_IN(v) "w"(v)
#include "kern/peak_body.h"

peak_fn peak_neon;
uint64_t peak_neon(uint64_t rounds)
{
    PEAK_LOOP(rounds);
}
