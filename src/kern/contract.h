/* SPDX-License-Identifier: Apache-2.0 */
/* The numerics contract as text, and the self-test that a set of kernels computes it. */
#ifndef TUTTI_KERN_CONTRACT_H
#define TUTTI_KERN_CONTRACT_H

#include "kern/kern.h"

/* All rows of arith.def, one line each ("CONST NAME bits\n"): what the contract's id is a hash of. */
extern const char contract_text[];

/* A hash over the outputs of every operation of a table, on fixed inputs of every weight type (about two
 * milliseconds). */
uint64_t contract_selftest(const struct kern *k);

/* A row of n weights of any type that the contract knows, of modest size: the self-test's, and those of
 * `tutti conform`. n is whole blocks. */
void contract_row(uint64_t *rng, enum dtype type, uint8_t *row, int n);

/*
 * kern_select and contract_check in one. Without a name (isa NULL and no $TUTTI_ISA) the best set that passes is taken:
 * *refused is then the best one that this machine has but that failed, or NULL. A named set must pass.
 */
const struct kern *contract_select(const char *isa, const struct kern **refused, struct err *e);

/* 0 if the table gives the contract's bits, else ERR_MISMATCH: this CPU or this build computes something else. */
int contract_check(const struct kern *k, struct err *e);

#endif
