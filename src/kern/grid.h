/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grid: the code books of the IQ1, IQ2 and IQ3 types. An entry is a short vector of digits: 8 digits of 0..2 (IQ1: of
 * -1, 0, 1; IQ2: of 8, 25, 43), or 4 of 0..7 (IQ3). The format numbers the entries in ascending order of their value as
 * a number whose first digit is the lowest; so a book is a set, and grid.c has it as one bit for each possible vector.
 */
#ifndef TUTTI_KERN_GRID_H
#define TUTTI_KERN_GRID_H

#include <stdint.h>
#include "base/dtype.h"

enum grid_book { GRID_IQ2_XXS, GRID_IQ2_XS, GRID_IQ2_S, GRID_IQ1, GRID_IQ3_XXS, GRID_IQ3_S, GRID_BOOKS };

/* Entry i of a book: its digits, 8 or 4. Tables are made at the first call, by whichever thread makes it. */
const uint8_t *grid_entry(enum grid_book book, int i);

/* The 8 signs that 7 bits stand for: the eighth makes their number even. */
static inline uint8_t grid_signs(uint32_t bits)
{
    uint32_t p = bits & 127;
    p ^= p >> 4, p ^= p >> 2, p ^= p >> 1;
    return (uint8_t)((bits & 127) | (p & 1) << 7);
}

#endif
