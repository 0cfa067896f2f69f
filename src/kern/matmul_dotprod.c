/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix product, compiled for dotprod: see matmul_arm_body.h. */
#define MATMUL_NAME matmul_dotprod
#include "kern/matmul_arm_body.h"
