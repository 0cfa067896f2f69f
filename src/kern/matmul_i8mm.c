/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix product, compiled for i8mm: see matmul_arm_body.h. */
#define MATMUL_NAME matmul_i8mm
#include "kern/matmul_arm_body.h"
