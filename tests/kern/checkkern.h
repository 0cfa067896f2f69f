/* SPDX-License-Identifier: Apache-2.0 */
/* Test data, guarded memory and selections that checkkern's parts share. */
#ifndef TUTTI_CHECKKERN_H
#define TUTTI_CHECKKERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kern/kern.h"

/* splitmix64; every part of checkkern starts from the seed. */
extern uint64_t rng_state;
uint64_t rnd(void);
float uniform(void); /* (-1, 1) */

enum fill { FILL_NORMAL, FILL_OUTLIER, FILL_EXTREME, FILL_TINY, FILL_ZERO, FILL_MIXED, FILL_BAD, N_FILL };
extern const char *const fill_name[N_FILL];
void fill_row(float *x, int n, enum fill f);

/*
 * n bytes between two pages that cannot be touched, filled with 0xff (NaN, -1). By turns the bytes end at the page
 * behind, begin at the page before, or (align 4) lie at an odd multiple of 4. So reading past either end is a fault.
 * guard_release frees everything since the last call.
 */
void *guard_alloc(size_t n, size_t align);
void guard_release(void);

/* A packed matrix of random blocks; data from guard_alloc. extreme: codes all 00, ff or 80. fill_weights: one row. */
void fill_weights(uint8_t *row, enum dtype type, int64_t k, int extreme);
void make_mat(struct mat *m, enum dtype type, int n, int k, int extreme);

enum { N_TYPES = 29 };
extern const enum dtype weight_types[N_TYPES];

bool selected(const char *kern); /* --kern */
bool isa_selected(int i);        /* --isa, and usable; never the reference */

void bench(void);

#endif
