/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuse: a ROWS step that follows a ROWS step joins it (row by row there is nothing to wait for), and products of the
 * same vector in a row become one MATMUL step. Saves a meeting of all workers each time. Afterwards a buffer that is
 * used by a single ROWS step, and is not an output, becomes local: one row per worker instead of one per token.
 */
#include "program/program.h"

static bool joins(const struct step *a, const struct step *b)
{
    if (a->kind != b->kind) return false;
    if (a->kind == STEP_ROWS) return a->n + b->n <= PROGRAM_ROW_OPS;
    if ((a->kind != STEP_MATMUL && a->kind != STEP_EXPERTS) || a->n + b->n > PROGRAM_MATS ||
        a->n_expert != b->n_expert)
        return false;
    for (int i = 0; i < a->n; i++) /* no product of another's output */
        for (int j = 0; j < b->n; j++)
            if (a->mat[i].dst == b->mat[j].src) return false;
    return true;
}

struct span {
    struct program *p;
    int step;
};

static void note_use(void *ud, int buffer, bool write)
{
    struct span *s = ud;
    struct buffer *b = &s->p->buffers[buffer];
    if (b->first < 0) b->first = s->step;
    b->last = s->step;
    (void)write;
}

int program_fuse(struct program *p, struct err *e)
{
    int n = 0, n_body = p->n_body;
    for (int i = 0; i < p->n_steps; i++) {
        struct step *s = &p->steps[i], *last = n ? &p->steps[n - 1] : NULL;
        if (i == n_body) p->n_body = n;
        if (last && i != n_body && joins(last, s)) {
            for (int j = 0; j < s->n; j++) {
                if (s->kind == STEP_ROWS)
                    last->row[last->n++] = s->row[j];
                else
                    last->mat[last->n++] = s->mat[j];
            }
            if (last->layer != s->layer) last->layer = s->layer;
            continue;
        }
        p->steps[n++] = *s;
    }
    p->n_steps = n;
    for (int i = 0; i < p->n_buffers; i++) p->buffers[i].first = p->buffers[i].last = -1;
    for (int i = 0; i < n; i++) step_uses(p, &p->steps[i], note_use, &(struct span){p, i});
    for (int i = 0; i < p->n_buffers; i++) {
        struct buffer *b = &p->buffers[i];
        b->local = b->first >= 0 && b->first == b->last && p->steps[b->first].kind == STEP_ROWS &&
                   b->kind == BUFFER_FLOAT && !b->slots && i != p->logits && i != p->hidden;
    }
    (void)e;
    return 0;
}
