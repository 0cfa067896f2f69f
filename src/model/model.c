/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a model and what all families share: see model.h. */
#include "model/model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "kern/num.h"

const char *const op_name[] = {"embed", "norm",  "matmul",  "rope", "attend", "gate", "add",   "scale",
                               "cap",   "route", "experts", "mix",  "dim",    "take", "heads", "select"};

/* Written by the Makefile: FAMILY(name) for every family_name.c. */
#define FAMILY(name) extern const struct family family_##name;
#include "model/families.def"
#undef FAMILY
#define FAMILY(name) &family_##name,
static const struct family *const families[] = {
#include "model/families.def"
};
#undef FAMILY

const struct family *const *model_families(int *n)
{
    *n = (int)(sizeof families / sizeof *families);
    return families;
}

int model_open(struct model **out, const struct gguf *g, struct err *e)
{
    struct str arch;
    int rc = gguf_get_str(g, "general.architecture", &arch, e);
    if (rc) return rc;
    const struct family *f = NULL;
    char known[ERR_MSG_MAX / 2] = "";
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        size_t n = strlen(known);
        const char *too = families[i]->arch_too;
        snprintf(known + n, sizeof known - n, " %s%s%s", families[i]->arch, too ? " " : "", too ? too : "");
        if (str_eqz(arch, families[i]->arch) ||
            (families[i]->arch_too && str_eqz(arch, families[i]->arch_too)))
            f = families[i];
    }
    if (!f)
        return err(e, ERR_UNSUPPORTED, "architecture '%.*s' is not supported; this build runs:%s",
                   STR_ARG(arch), known);
    struct model *m = calloc(1, sizeof *m);
    if (!m) return err(e, ERR_MEMORY, "out of memory");
    m->file = g;
    m->h.arch = arch;
    arena_init(&m->arena);
    gguf_opt_str(g, "general.name", (struct str){"", 0}, &m->h.name, NULL);
    rc = f->build(m, e);
    if (rc) {
        model_close(m);
        return rc;
    }
    *out = m;
    return 0;
}

void model_close(struct model *m)
{
    if (!m) return;
    arena_finish(&m->arena);
    free(m);
}

void model_use_context(struct model *m, int n_ctx, enum rotation r)
{
    bool far = r == ROTATION_OF_CONTEXT ? n_ctx > m->h.ctx_short : r == ROTATION_LONG;
    if (m->h.ctx_short) m->h.rope[0].freq_factors = m->h.factors[far];
}

enum rotation model_rotation(const struct model *m)
{
    if (!m->h.ctx_short) return ROTATION_OF_CONTEXT;
    return m->h.rope[0].freq_factors == m->h.factors[1] ? ROTATION_LONG : ROTATION_SHORT;
}

const struct tensor *model_tensor(struct model *m, bool optional, int64_t n0, int64_t n1, struct err *e,
                                  const char *fmt, ...)
{
    char name[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    const struct tensor *t = gguf_tensor(m->file, name);
    if (!t) {
        if (!optional) err(e, ERR_FORMAT, "tensor '%s' is missing", name);
        return NULL;
    }
    uint64_t want1 = n1 ? (uint64_t)n1 : 1;
    if (t->ne[0] != (uint64_t)n0 || t->ne[1] != want1 || t->ne[2] != 1 || t->ne[3] != 1) {
        err(e, ERR_FORMAT,
            "tensor '%s': expected shape [%" PRId64 ", %" PRIu64 "], got [%" PRIu64 ", %" PRIu64 ", %" PRIu64
            ", %" PRIu64 "]",
            name, n0, want1, t->ne[0], t->ne[1], t->ne[2], t->ne[3]);
        return NULL;
    }
    return t;
}

/* From row `row` on, counted over all dimensions but the first. */
static struct tensor *view_new(struct model *m, const struct tensor *t, uint64_t row, uint64_t bytes)
{
    struct tensor *v = ARENA_NEW(&m->arena, struct tensor, 1);
    if (!v) return NULL;
    *v = *t;
    if (t->data)
        v->data = tensor_rows(t, row, 0, NULL);
    else
        v->maker_row += row;
    v->size_bytes = bytes;
    return v;
}

const struct tensor *model_rows(struct model *m, const struct tensor *t, uint64_t row0, uint64_t n)
{
    uint64_t row = dtype_row_bytes(t->type, t->ne[0]);
    must(row0 <= t->ne[1] && n <= t->ne[1] - row0);
    struct tensor *v = view_new(m, t, row0, n * row);
    if (v) v->ne[1] = n;
    return v;
}

const struct tensor *model_layer(struct model *m, const struct tensor *t, uint64_t i)
{
    uint64_t last = t->n_dims - 1, bytes = t->size_bytes / t->ne[last];
    must(t->n_dims > 1 && i < t->ne[last]);
    struct tensor *v = view_new(m, t, i * (bytes / dtype_row_bytes(t->type, t->ne[0])), bytes);
    if (v) v->ne[last] = 1, v->n_dims--;
    return v;
}

const struct tensor *model_part(struct model *m, const struct tensor *t, uint64_t from, uint64_t n)
{
    uint64_t element = dtype_row_bytes(t->type, 1);
    must(t->data && from <= t->ne[0] && n <= t->ne[0] - from);
    struct tensor *v = view_new(m, t, 0, n * element);
    if (v) v->data = (const char *)t->data + from * element, v->ne[0] = n;
    return v;
}

int graph_value(struct model *m, const char *name, int width)
{
    struct graph *g = &m->graph;
    struct value *v = arena_grow(&m->arena, g->values, g->n_values, &g->cap_values, sizeof *v);
    if (!v) return -1;
    g->values = v;
    v[g->n_values] = (struct value){name, width, 0};
    return g->n_values++;
}

struct node *graph_node(struct model *m, enum op op, int in0, int in1, int in2, int out)
{
    struct graph *g = &m->graph;
    struct node *n = arena_grow(&m->arena, g->nodes, g->n_nodes, &g->cap_nodes, sizeof *n);
    if (!n) return NULL;
    g->nodes = n;
    n[g->n_nodes] = (struct node){.op = op, .in = {in0, in1, in2, -1}, .out = out, .layer = -1};
    return &n[g->n_nodes++];
}

const float *model_floats(struct model *m, const struct tensor *t, struct err *e)
{
    float *x = ARENA_NEW(&m->arena, float, t->ne[0]);
    if (!x) {
        err(e, ERR_MEMORY, "out of memory");
        return NULL;
    }
    for (uint64_t i = 0; i < t->ne[0]; i++) {
        uint16_t h;
        switch (t->type) {
        case DTYPE_F32: memcpy(&x[i], (const char *)t->data + 4 * i, 4); break;
        case DTYPE_F16: memcpy(&h, (const char *)t->data + 2 * i, 2), x[i] = f32_from_f16(h); break;
        case DTYPE_BF16: memcpy(&h, (const char *)t->data + 2 * i, 2), x[i] = f32_from_bf16(h); break;
        default:
            err(e, ERR_UNSUPPORTED, "tensor '%.*s': a vector of type %s; expected F32, F16 or BF16", STR_ARG(t->name),
                dtype_name(t->type));
            return NULL;
        }
        if (abs_bits(x[i]) >= 0x5d800000u) {
            err(e, ERR_FORMAT, "tensor '%.*s': element %" PRIu64 " is NaN, infinite or at least 2^60",
                STR_ARG(t->name), i);
            return NULL;
        }
    }
    return x;
}
