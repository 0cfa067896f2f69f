/* SPDX-License-Identifier: Apache-2.0 */
/* The compiler: its passes in order. See program.h. */
#include <stdlib.h>
#include "program/program.h"

int program_compile(struct program **out, const struct model *m, const struct program_options *opt, struct err *e)
{
    if (opt->max_rows < 1 || opt->max_rows > PROGRAM_ROWS_MAX)
        return err(e, ERR_USAGE, "%d tokens per step: must be 1..%d", opt->max_rows, PROGRAM_ROWS_MAX);
    if (opt->max_out < 1 || opt->max_out > opt->max_rows)
        return err(e, ERR_USAGE, "%d rows of logits per pass: must be 1..%d", opt->max_out, opt->max_rows);
    struct program *p = calloc(1, sizeof *p);
    if (!p) return err(e, ERR_MEMORY, "out of memory");
    p->model = m;
    p->max_rows = opt->max_rows;
    p->max_out = opt->max_out;
    arena_init(&p->arena);
    int rc;
    if ((rc = program_lower(p, e)) || (rc = program_fuse(p, e)) || (rc = program_plan(p, e)) ||
        (rc = program_verify(p, e))) {
        program_close(p);
        return rc;
    }
    *out = p;
    return 0;
}

void program_close(struct program *p)
{
    if (!p) return;
    arena_finish(&p->arena);
    free(p);
}

void step_uses(const struct program *p, const struct step *s, void (*fn)(void *, int, bool), void *ud)
{
    switch (s->kind) {
    case STEP_ROWS:
        for (int i = 0; i < s->n; i++) {
            const struct row_op *r = &s->row[i];
            if (r->src >= 0) fn(ud, r->src, false);
            if (r->src2 >= 0) fn(ud, r->src2, false);
            if (r->kind == ROW_ADD || r->kind == ROW_ROPE || r->kind == ROW_SCALE || r->kind == ROW_CAP ||
                r->kind == ROW_DIM)
                fn(ud, r->dst, false); /* in place */
            fn(ud, r->dst, true);
        }
        break;
    case STEP_PLACE: fn(ud, s->place.route, false); break;
    case STEP_MATMUL:
    case STEP_EXPERTS:
    case STEP_HEADS:
        for (int i = 0; i < s->n; i++) fn(ud, s->mat[i].src, false);
        for (int i = 0; i < s->n; i++) fn(ud, s->mat[i].dst, true);
        break;
    case STEP_STORE:
        fn(ud, s->attn.k, false);
        fn(ud, s->attn.v, false);
        break;
    case STEP_ATTEND:
        fn(ud, s->attn.q, false);
        if (s->attn.q_extra >= 0) fn(ud, s->attn.q_extra, false);
        fn(ud, s->attn.out, true);
        break;
    }
    (void)p;
}
