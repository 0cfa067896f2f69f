/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix product, compiled for avx2: see matmul_avx2_body.h. */
#define MATMUL_NAME matmul_avx2
#include "kern/matmul_avx2_body.h"
