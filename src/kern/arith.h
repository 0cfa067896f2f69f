/* SPDX-License-Identifier: Apache-2.0 */
/* The constants of arith.def for C: ARITH_NAME (integers, and bit patterns of floats), ARITH_F32(NAME). */
#ifndef TUTTI_KERN_ARITH_H
#define TUTTI_KERN_ARITH_H

#include "kern/num.h"

#define ARITH_CONST(name, bits, what) static const uint32_t ARITH_##name = bits;
#define ARITH_INT(name, value, what) enum { ARITH_##name = value };
#include "kern/arith.def"

/* The fp32 constant NAME of arith.def. */
#define ARITH_F32(name) f32_from_bits(ARITH_##name)

#endif
