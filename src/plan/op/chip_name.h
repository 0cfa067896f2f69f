/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chip_name: spellings of a chip's name. "NVIDIA H200 141GB HBM3e", "H200-SXM-141GB" and "h200_sxm" are one
 * chip: letters and digits of the words that tell it, without makers, forms and kinds of memory. Words that
 * are not known to say nothing tell something: "H100-PCIe" is not "H100".
 */
#ifndef TUTTI_PLAN_OP_CHIP_NAME_H
#define TUTTI_PLAN_OP_CHIP_NAME_H

#include <stdbool.h>

bool chip_name_same(const char *a, const char *b);
double chip_name_gb(const char *name); /* 141; 0: it names no size */

#endif
