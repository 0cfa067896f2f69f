/* SPDX-License-Identifier: Apache-2.0 */
/* arm64 with matrices of bytes: smmla, 2x8 by 8x2. See peak.h. */
#include <arm_neon.h>

#define PEAK_VEC int32x4_t
#define PEAK_ONE vreinterpretq_s32_s8(vdupq_n_s8(1))
#define PEAK_STEP(s, a, b) vmmlaq_s32(s, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b))
#define PEAK_OPS 64
#define PEAK_IN(v) "w"(v)
#include "kern/peak_body.h"

peak_fn peak_i8mm;
uint64_t peak_i8mm(uint64_t rounds)
{
    PEAK_LOOP(rounds);
}
