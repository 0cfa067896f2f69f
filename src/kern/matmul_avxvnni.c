/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix product, compiled for avxvnni: see matmul_avx2_body.h. */
#define MATMUL_NAME matmul_avxvnni
#include "kern/matmul_avx2_body.h"
