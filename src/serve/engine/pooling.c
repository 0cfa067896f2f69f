/* SPDX-License-Identifier: Apache-2.0 */
/* See pooling.h. */
#include "serve/engine/pooling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kern/num.h"

/* 2^24 rows (MODEL_CTX_MAX) of codes below 2^38 fit an int64. */
#define MEAN_RANGE 0x1p16f
#define MEAN_SCALE 0x1p22
#define RNE_ADD 0x1.8p52 /* doubles from here on have no fraction: adding it rounds what is below 2^51 */

int pooling_read(const struct gguf *g, struct str arch, enum pooling *out, struct err *e)
{
    static const enum pooling by_type[] = {POOLING_LAST, POOLING_MEAN, POOLING_FIRST, POOLING_LAST};
    char key[160];
    uint32_t type;
    snprintf(key, sizeof key, "%.*s.pooling_type", STR_ARG(arch));
    int rc = gguf_opt_u32(g, key, 0, &type, e);
    *out = type < sizeof by_type / sizeof *by_type ? by_type[type] : POOLING_UNKNOWN;
    return rc;
}

int pooling_rows(enum pooling how, int pos, int n, int n_text, int *n_rows)
{
    *n_rows = how == POOLING_MEAN ? n : how == POOLING_FIRST ? pos == 0 : pos + n == n_text;
    return how == POOLING_LAST ? n - 1 : 0;
}

int mean_init(struct mean *m, int n_embd, struct err *e)
{
    *m = (struct mean){.n_embd = n_embd, .sum = calloc((size_t)n_embd, sizeof *m->sum)};
    return m->sum ? 0 : err(e, ERR_MEMORY, "out of memory");
}

void mean_clear(struct mean *m)
{
    if (!m->sum) return;
    memset(m->sum, 0, (size_t)m->n_embd * sizeof *m->sum);
    m->n_rows = 0;
    m->out_of_range = false;
}

static int64_t code(float x)
{
    double y = (double)x * MEAN_SCALE + RNE_ADD, zero = RNE_ADD;
    int64_t a, b;
    memcpy(&a, &y, sizeof a);
    memcpy(&b, &zero, sizeof b);
    return a - b;
}

void mean_add(struct mean *m, const float *row)
{
    m->n_rows++;
    for (int i = 0; i < m->n_embd; i++) {
        if (!(row[i] < MEAN_RANGE && row[i] > -MEAN_RANGE)) m->out_of_range = true;
        else m->sum[i] += code(row[i]);
    }
}

int mean_write(const struct mean *m, float *out)
{
    if (m->out_of_range || m->n_rows == 0) return ERR_RANGE;
    for (int i = 0; i < m->n_embd; i++) out[i] = (float)m->sum[i] / (float)m->n_rows * (float)(1 / MEAN_SCALE);
    return 0;
}

void mean_finish(struct mean *m)
{
    free(m->sum);
    *m = (struct mean){0};
}
