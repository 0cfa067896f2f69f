/* SPDX-License-Identifier: Apache-2.0 */
/* The chips that exist, and the checks that all of them share: see chip.h. */
#include "chip/chip.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct chip_ops *const chips[] = {&chip_cpu, &chip_lpu};

const struct chip_ops *chip_at(int i)
{
    return (size_t)i < sizeof chips / sizeof *chips ? chips[i] : NULL;
}

const struct chip_ops *chip_named(const char *name)
{
    size_t n = strcspn(name, ":");
    for (size_t i = 0; i < sizeof chips / sizeof *chips; i++)
        if (strlen(chips[i]->name) == n && strncmp(name, chips[i]->name, n) == 0) return chips[i];
    return NULL;
}

int chip_load(struct chip **c, const char *name, const struct program *p, const struct chip_options *opt, struct err *e)
{
    const struct chip_ops *ops = name ? chip_named(name) : chips[0];
    struct chip_options some = *opt;
    char known[256] = "", *end = NULL;
    for (size_t i = 0, n = 0; i < sizeof chips / sizeof *chips; i++, n = strlen(known))
        snprintf(known + n, sizeof known - n, " %s", chips[i]->name);
    if (!ops) return err(e, ERR_USAGE, "chip '%s' is unknown; known:%s", name, known);
    const char *colon = name ? strchr(name, ':') : NULL;
    long n = colon ? strtol(colon + 1, &end, 10) : 1;
    if (n < 1 || n > ops->max_chips || (end && (*end || end == colon + 1)))
        return err(e, ERR_USAGE, "chip '%s': expected a number of chips from 1 to %d after the colon", name,
                   ops->max_chips);
    some.n_chips = (int)n;
    return ops->load(c, p, &some, e);
}

static int check_rows(const int *row, int n, int rows, struct err *e)
{
    for (int i = 0; i < n; i++)
        if (row[i] <= (i ? row[i - 1] : -1) || row[i] >= rows)
            return err(e, ERR_USAGE, "batch: wanted row %d is out of order or outside %d rows", row[i], rows);
    return 0;
}

/* What the caller promises of a batch. */
static int check_batch(const struct chip *c, const struct batch *b, struct err *e)
{
    int rows = 0, n_vocab = c->program->model->h.n_vocab;
    for (int i = 0; i < b->n_parts; i++) {
        const struct batch_part *p = &b->parts[i];
        if (p->n < 1 || p->pos < 0 || p->n > c->program->max_rows - rows)
            return err(e, ERR_USAGE, "batch part %d: %d tokens at position %d do not fit a step of %d", i,
                       p->n, p->pos, c->program->max_rows);
        if ((int64_t)p->pos + p->n > (int64_t)p->seq->n_pages * ATTN_CHUNK)
            return err(e, ERR_USAGE, "batch part %d: positions up to %" PRId64 " have no KV pages", i,
                       (int64_t)p->pos + p->n);
        must(kv_page_holders(p->seq->pool, p->seq->page[p->pos / ATTN_CHUNK]) == 1); /* shared pages are full */
        if (p->pos > p->seq->fault)
            return err(e, ERR_RANGE,
                       "a number left the contract's range at position %" PRId64
                       " of this sequence: there is no result from there on",
                       p->seq->fault);
        for (int j = 0; j < p->n; j++)
            if (p->tokens[j] < 0 || p->tokens[j] >= n_vocab)
                return err(e, ERR_USAGE, "token id %d is outside the vocabulary of %d", p->tokens[j], n_vocab);
        rows += p->n;
    }
    int rc = check_rows(b->out, b->n_out, rows, e);
    if (!rc) rc = check_rows(b->hidden, b->n_hidden, rows, e);
    return rc ? rc : rows ? 0 : err(e, ERR_USAGE, "empty batch");
}

/* A chip that hands out rows by the sink only. */
struct spread {
    const struct batch *b;
    logits_fn *sink;
    void *ud;
};

static void by_one(void *ud, int i_out, const float *row, int status)
{
    const struct spread *s = ud;
    if (i_out < s->b->n_out)
        s->b->spread(s->ud, 0, i_out, row, status);
    else
        s->sink(s->ud, i_out, row, status);
}

int chip_step(struct chip *c, const struct batch *b, logits_fn *sink, void *ud, struct err *e)
{
    int rc = check_batch(c, b, e);
    if (rc) return rc;
    for (int i = 0; i < b->n_parts; i++) b->parts[i].seq->fault = KV_NO_FAULT; /* from pos on it is written anew */
    if (!b->spread || c->n_workers) rc = c->ops->step(c, b, sink, ud, e);
    else rc = c->ops->step(c, b, by_one, &(struct spread){b, sink, ud}, e);
    for (int i = 0; i < b->n_parts && !rc; i++)
        kv_seq_forget(b->parts[i].seq, (int64_t)b->parts[i].pos + b->parts[i].n);
    if (!rc && c->watch) c->watch(c->watch_ud, b);
    return rc;
}

bool chip_state(const struct chip *c, int i_out, void (*put)(void *ud, const void *p, size_t n), void *ud)
{
    if (!c->head) return false;
    act_row(c->head, i_out - c->head_first, put, ud);
    return true;
}

void chip_explain(const struct chip *c, struct buf *out)
{
    c->ops->explain(c, out);
}

int chip_timeline(const struct chip *c, struct buf *out, struct err *e)
{
    if (!c->ops->timeline)
        return err(e, ERR_UNSUPPORTED, "chip '%s' has no timeline: take a simulated one, as --chip lpu",
                   c->ops->name);
    return c->ops->timeline(c, out, e);
}

int chip_listing(const struct chip *c, const char *pass, struct buf *out, struct err *e)
{
    if (!c->ops->listing)
        return err(e, ERR_UNSUPPORTED,
                   "chip '%s' has no compiler passes: take a simulated one, as --chip lpu", c->ops->name);
    return c->ops->listing(c, pass, out, e);
}

bool chip_counters(const struct chip *c, struct chip_counters *n)
{
    if (!c->ops->counters) return false;
    c->ops->counters(c, n);
    return true;
}

int chip_cost(struct chip *c, int context, struct chip_cost *out, struct err *e)
{
    if (!c->ops->cost)
        return err(e, ERR_UNSUPPORTED, "chip '%s' announces no cycles: take a simulated one, as --chip lpu",
                   c->ops->name);
    return c->ops->cost(c, context, out, e);
}

void chip_unload(struct chip *c)
{
    if (c) c->ops->unload(c);
}

void chip_watch(struct chip *c, void (*watch)(void *ud, const struct batch *b), void *ud)
{
    c->watch = watch;
    c->watch_ud = ud;
}

int chip_limits(struct chip *c, size_t bytes, struct chip_limits *out, struct err *e)
{
    if (!c->ops->limits) return err(e, ERR_UNSUPPORTED, "chip '%s' has no limits to measure", c->ops->name);
    return c->ops->limits(c, bytes, out, e);
}

size_t chip_read(struct chip *c, size_t bytes)
{
    return c->ops->read ? c->ops->read(c, bytes) : 0;
}

void chip_time_steps(struct chip *c, uint64_t *ns)
{
    c->step_ns = ns;
}
