/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fuzz target does with a grammar that was compiled: writes a text byte by byte as the bytes of `seed`
 * choose among those that may come. There must always be one, or the text may end; a limit that is met is
 * said.
 */
#ifndef TUTTI_FUZZ_GRAMMAR_WALK_H
#define TUTTI_FUZZ_GRAMMAR_WALK_H

#include <stdlib.h>
#include "token/grammar/grammar_int.h"

enum { WALK_BYTES = 48 };

static inline void grammar_walk(struct grammar *g, const uint8_t *seed, size_t n_seed)
{
    struct stacks stacks;
    struct heads now = {.p = calloc(GRAMMAR_HEADS_MAX, sizeof *now.p)},
                 next = {.p = calloc(GRAMMAR_HEADS_MAX, sizeof *next.p)};
    must(now.p && next.p && stacks_init(&stacks) == 0);
    uint32_t start = frame_start(g, g->root);
    int rc = start >= FRAME_FIRST ? heads_add(g, &stacks, &now, start, STACK_EMPTY) : ERR_LIMIT;
    for (size_t i = 0; !rc && i < WALK_BYTES; i++) {
        unsigned first = n_seed ? seed[(i * 7) % n_seed] : 0, tried = 0;
        next.n = 0;
        for (; !rc && tried < 256 && !next.n; tried++)
            rc = heads_step(g, &stacks, &now, (uint8_t)(first + tried * 37), &next);
        if (rc) break;
        must(next.n || now.end);
        if (!next.n) break;
        must(heads_dist(g, &stacks, &next) < GRAMMAR_FAR);
        struct heads t = now;
        now = next;
        next = t;
    }
    must(!rc || g->error.code);
    free(now.p);
    free(next.p);
    stacks_finish(&stacks);
}

#endif
