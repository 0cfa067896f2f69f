/* SPDX-License-Identifier: Apache-2.0 */
/* See layers.h. */
#include "plan/class/layers.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "plan/class/class.h"

const char *const layers_piece_name[] = {"gate + up + down", "lm_head", "attention of prompts", "attention, decode"};

enum { GATE, UP, DOWN, SUMS };

struct reading {
    struct layers *l;
    const struct constants *known;
    struct device *fitted, *datasheet;
    struct shape shape;
    char model[64], strange[64]; /* strange: the last chip that has no datasheet */
    double (*sum)[SUMS]; /* [LAYERS_TOKENS_MAX] us; 0: no row */
};

static int add(struct layers_group *g, double ratio, double datasheet, bool held, struct err *e)
{
    g->rows++;
    if (!held) return 0;
    if (g->n == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 256;
        double *a = realloc(g->ratio, cap * sizeof *a);
        if (a) g->ratio = a;
        double *b = a ? realloc(g->datasheet, cap * sizeof *b) : NULL;
        if (!b) return err(e, ERR_MEMORY, "out of memory");
        g->datasheet = b;
        g->cap = cap;
    }
    g->ratio[g->n] = ratio;
    g->datasheet[g->n++] = datasheet;
    return 0;
}

/* us of some pieces of work on one chip. */
static double predict(const struct device *d, const struct shape *shape, const struct work *w, int n)
{
    struct device_setup s = {.shape = shape, .precision = device_precision("16-bit"), .tp = 1, .pp = 1};
    double us = 0;
    for (int i = 0; i < n; i++) us += 1e6 * class_seconds(d, &s, &w[i]);
    return us;
}

static int compare(struct reading *r, enum layers_piece piece, const struct work *w, int n, double us,
                   bool held, struct err *e)
{
    return add(&r->l->piece[piece], predict(r->fitted, &r->shape, w, n) / us,
               predict(r->datasheet, &r->shape, w, n) / us, held, e);
}

/* The chip and model of the current row; false: not those of the file, or unknown. */
static bool known_row(struct reading *r, const char *chip, const char *model)
{
    if (!r->fitted) {
        struct device_options opt = {.constants = r->known}, plain = {.constants = r->known, .datasheet_only = true};
        char name[64];
        snprintf(name, sizeof name, "%s", model);
        for (char *p = name; *p; p++) *p = (char)tolower((unsigned char)*p);
        if (!strcmp(r->strange, chip) || shape_open(&r->shape, name, NULL)) return false;
        if (device_open(&r->fitted, chip, &opt, NULL)) {
            snprintf(r->strange, sizeof r->strange, "%s", chip);
            return false;
        }
        if (device_open(&r->datasheet, chip, &plain, NULL)) return false;
        snprintf(r->l->chip, sizeof r->l->chip, "%s", chip);
        snprintf(r->model, sizeof r->model, "%s", model);
    }
    return r->datasheet && !strcmp(r->l->chip, chip) && !strcmp(r->model, model);
}

static uint64_t begin(const char *z)
{
    return measured_hash(MEASURED_HASH_BEGIN, str_from(z));
}

static int layer_row(struct reading *r, const char *op, double tokens, double us, struct str tokens_text, struct err *e)
{
    static const char *const parts[SUMS] = {"gate_proj", "up_proj", "down_proj"};
    if (!(tokens >= 1 && tokens < LAYERS_TOKENS_MAX)) return r->l->n_unknown++, 0;
    for (int i = 0; i < SUMS; i++)
        if (!strcmp(op, parts[i])) return r->sum[(int)tokens][i] = us, 0;
    if (strcmp(op, "lm_head")) return r->l->n_fused++, 0;
    struct work w = {.kind = WORK_PRODUCT,
                     .part = DEVICE_HEAD,
                     .times = 1,
                     .m = tokens,
                     .n = r->shape.vocab,
                     .k = r->shape.hidden};
    return compare(r, LAYERS_HEAD, &w, 1, us,
                   measured_hash(measured_hash(begin("layers"), str_from(op)), tokens_text) % 5 == 0, e);
}

/* Sums of token counts that have all parts. Where up is missing, its time is in another's row. */
static int sums(struct reading *r, struct err *e)
{
    int rc = 0;
    for (int t = 1; t < LAYERS_TOKENS_MAX && !rc; t++) {
        const double *us = r->sum[t];
        if (!(us[GATE] > 0 && us[DOWN] > 0)) continue;
        char text[16];
        snprintf(text, sizeof text, "%d", t);
        struct work w[] = {{.kind = WORK_PRODUCT, .times = 1, .m = t, .n = 2 * r->shape.inter, .k = r->shape.hidden},
                           {.kind = WORK_PRODUCT, .times = 1, .m = t, .n = r->shape.hidden, .k = r->shape.inter}};
        rc = compare(r, LAYERS_FFN, w, 2, us[GATE] + us[UP] + us[DOWN],
                     measured_hash(measured_hash(begin("layers"), STR("ffn")), str_from(text)) % 5 == 0, e);
    }
    return rc;
}

static int open_file(struct table **t, const char *dir, const char *name, struct err *e)
{
    char path[PATH_MAX];
    int rc = ERR_NOT_FOUND;
    for (int gz = 0; gz < 2 && rc == ERR_NOT_FOUND; gz++) {
        if (snprintf(path, sizeof path, "%s/%s%s", dir, name, gz ? ".gz" : "") >= (int)sizeof path)
            return err(e, ERR_LIMIT, "the path of '%s' is too long", dir);
        rc = table_open(t, path, e);
    }
    return rc;
}

static int columns(const struct table *t, const char *const *names, int *c, struct err *e)
{
    for (int i = 0; names[i]; i++)
        if ((c[i] = table_column(t, names[i], e)) < 0) return c[i];
    return 0;
}

static int number_above_0(const struct table *t, int column, double *out, struct err *e)
{
    int rc = table_number(t, column, out, e);
    return rc ? rc : *out > 0 ? 0 : err(e, ERR_FORMAT, "line %ld: latency_us is %g, not above 0", table_line(t), *out);
}

static int read_file(struct reading *r, const char *dir, const char *name, const char *const *names,
                     int (*row)(struct reading *r, const struct table *t, const int *c, struct err *e),
                     struct err *e)
{
    enum { COLUMNS_MAX = 8 };
    struct table *t = NULL;
    int c[COLUMNS_MAX], rc = open_file(&t, dir, name, e), got;
    if (rc) return rc;
    rc = columns(t, names, c, e);
    while (!rc && (got = table_next(t, e)) && !(rc = table_skip(&r->l->odd, got < 0 ? got : row(r, t, c, e), e))) {}
    table_close(t);
    return rc;
}

static int take_layer(struct reading *r, const struct table *t, const int *c, struct err *e)
{
    enum { CHIP, MODEL, OP, TOKENS, US };
    double tokens, us;
    int rc = table_number(t, c[TOKENS], &tokens, e);
    if (rc || (rc = number_above_0(t, c[US], &us, e))) return rc;
    if (known_row(r, table_cell(t, c[CHIP]).p, table_cell(t, c[MODEL]).p))
        return layer_row(r, table_cell(t, c[OP]).p, tokens, us, table_cell(t, c[TOKENS]), e);
    r->l->n_unknown++;
    return 0;
}

static int take_attention(struct reading *r, const struct table *t, const int *c, struct err *e)
{
    enum { CHIP, MODEL, PHASE, TOKENS, CACHED, BATCH, US };
    double tokens, cached, batch, us;
    int rc = table_number(t, c[CACHED], &cached, e);
    if (rc || (rc = table_number(t, c[TOKENS], &tokens, e)) || (rc = table_number(t, c[BATCH], &batch, e)) ||
        (rc = number_above_0(t, c[US], &us, e)))
        return rc;
    bool decode = !strcmp(table_cell(t, c[PHASE]).p, "decode");
    if (!known_row(r, table_cell(t, c[CHIP]).p, table_cell(t, c[MODEL]).p) ||
        !(batch >= 1 && cached >= 0 && (decode || tokens >= 1))) {
        r->l->n_unknown++;
        return 0;
    }
    const struct shape *m = &r->shape;
    struct work w = {.kind = decode ? WORK_DECODE : WORK_CONTEXT,
                     .part = DEVICE_ATTENTION,
                     .times = 1,
                     .batch = batch,
                     .length = decode ? cached + 1 : tokens,
                     .past = decode ? 0 : cached,
                     .heads = m->heads,
                     .kv_heads = m->kv_heads,
                     .head_dim = m->head_dim};
    uint64_t h = begin("attention");
    for (int i = PHASE; i <= BATCH; i++) h = measured_hash(h, table_cell(t, c[i]));
    return compare(r, decode ? LAYERS_DECODE : LAYERS_PREFILL, &w, 1, us, h % 5 == 0, e);
}

int layers_read(struct layers *l, const char *dir, const struct constants *known, struct err *e)
{
    static const char *const layer_columns[] = {"gpu", "model", "op", "tokens", "latency_us", NULL};
    static const char *const attention_columns[] = {
        "gpu", "model", "phase", "prefill_tokens", "kv_cached_tokens", "batch", "latency_us", NULL};
    struct reading r = {.l = l, .known = known, .sum = calloc(LAYERS_TOKENS_MAX, sizeof *r.sum)};
    *l = (struct layers){.n_fused = 0};
    if (!r.sum) return err(e, ERR_MEMORY, "out of memory");
    int one = read_file(&r, dir, "tpu_v6e_layers.csv", layer_columns, take_layer, e);
    if (!one) one = sums(&r, e);
    int two = one && one != ERR_NOT_FOUND
                  ? one
                  : read_file(&r, dir, "tpu_v6e_attention.csv", attention_columns, take_attention, e);
    device_close(r.fitted), device_close(r.datasheet);
    free(r.sum);
    int rc = one && one != ERR_NOT_FOUND ? one : two && two != ERR_NOT_FOUND ? two : one && two ? ERR_NOT_FOUND : 0;
    if (rc) layers_close(l);
    return rc;
}

void layers_close(struct layers *l)
{
    for (int i = 0; i < LAYERS_PIECES; i++) free(l->piece[i].ratio), free(l->piece[i].datasheet);
    *l = (struct layers){.n_fused = 0};
}
