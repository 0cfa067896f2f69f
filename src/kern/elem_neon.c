/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise operations, compiled for neon: see elem_body.h. */
#define ELEM_TABLE elem_kern_neon
#include "kern/elem_body.h"
