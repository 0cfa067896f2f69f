/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise operations, compiled for avx512: see elem_body.h. */
#define ELEM_TABLE elem_kern_avx512
#include "kern/elem_body.h"
