/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition: which steps of the body each of several chips runs. Layers stay in order, so the chips form a
 * line; a cut lies before the addition that ends a half layer, where two vectors of floats are all that goes
 * on: the residual stream and what is to be added. Cuts are where the weights divide most evenly; the table
 * of embeddings counts on the first chip, the output head on the last.
 */
#include <math.h>
#include <stdlib.h>
#include "chip/lpu/lpu.h"

static double bytes_of(const struct weight *w) /* in the slices: one for each code, two where codes have 16 bits */
{
    return (double)w->n * w->k * (mat_tier(w->t->type, w->role) == ACT_A16_256 ? 2 : 1);
}

static double weights_of(const struct program *p, const struct step *s)
{
    double n = 0;
    for (int j = 0; s->kind == STEP_MATMUL && j < s->n; j++) n += bytes_of(&p->weights[s->mat[j].w]);
    for (int j = 0; s->kind == STEP_ROWS && j < s->n; j++)
        if (s->row[j].kind == ROW_EMBED) n += bytes_of(&p->weights[s->row[j].w]);
    return n;
}

static bool is_cut(const struct program *p, int i)
{
    const struct step *s = &p->steps[i];
    return i > 0 && i < p->n_body && s->kind == STEP_ROWS && s->row[0].kind == ROW_ADD;
}

bool lpu_crosses(const struct program *p, int buffer, int cut)
{
    const struct buffer *b = &p->buffers[buffer];
    for (int i = 0; i < MODEL_ROPES; i++)
        if (buffer == p->turn[i]) return false;
    return b->first >= 0 && b->first < cut && b->last >= cut && !b->head;
}

int lpu_partition(const struct program *p, int n, int *cut, struct err *e)
{
    double all = 0, so_far = 0;
    int cuts = 0, found = 0;
    for (int i = 0; i < p->n_steps; i++) all += weights_of(p, &p->steps[i]), cuts += is_cut(p, i);
    if (n > cuts + 1) return err(e, ERR_LIMIT, "this model can be cut into %d parts at most, not %d", cuts + 1, n);
    cut[0] = 0;
    for (int i = 0; i < p->n_body && found < n - 1; i++) {
        if (is_cut(p, i)) {
            double after = 0; /* the next possible cut would be farther from the ideal */
            int j = i;
            do after += weights_of(p, &p->steps[j++]);
            while (j < p->n_body && !is_cut(p, j));
            double want = all * (found + 1) / n;
            if (fabs(so_far - want) <= fabs(so_far + after - want) || cuts == n - 1 - found) cut[++found] = i;
            cuts--;
        }
        so_far += weights_of(p, &p->steps[i]);
    }
    cut[n] = p->n_body;
    return found == n - 1 ? 0 : err(e, ERR_INTERNAL, "no %d cuts were found", n - 1);
}
