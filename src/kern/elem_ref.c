/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise operations, the reference: see elem_body.h. */
#define ELEM_TABLE elem_kern_ref
#include "kern/elem_body.h"
