/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise operations, compiled for avx2: see elem_body.h. */
#define ELEM_TABLE elem_kern_avx2
#include "kern/elem_body.h"
