/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower: each node of the graph becomes one step (attention two), in the same order. A vector that feeds matrices is
 * quantised right after it is made, once per tier that its matrices need.
 */
#include <string.h>
#include "program/program.h"

struct lower {
    struct program *p;
    const struct graph *g;
    int *buffer_of;                  /* [value] */
    int (*codes_of)[ACT_TIERS];      /* [value][tier], -1 */
    bool head;
    struct err *e;
    int rc;
};

static void *grow(struct lower *l, void *list, int n, int *cap, size_t size)
{
    void *q = arena_grow(&l->p->arena, list, n, cap, size);
    if (!q) l->rc = err(l->e, ERR_MEMORY, "out of memory");
    return q;
}

static struct step *add_step(struct lower *l, enum step_kind kind, int layer)
{
    struct program *p = l->p;
    struct step *s = grow(l, p->steps, p->n_steps, &p->cap_steps, sizeof *s);
    if (!s) return NULL;
    p->steps = s;
    s += p->n_steps++;
    *s = (struct step){.kind = kind, .layer = layer};
    return s;
}

static void add_row(struct lower *l, int layer, struct row_op op)
{
    struct step *s = add_step(l, STEP_ROWS, layer);
    if (!s) return;
    s->n = 1;
    s->row[0] = op;
}

static int add_buffer(struct lower *l, const char *name, enum buffer_kind kind, enum act_tier tier, int width)
{
    struct program *p = l->p;
    struct buffer *b = grow(l, p->buffers, p->n_buffers, &p->cap_buffers, sizeof *b);
    if (!b) return -1;
    p->buffers = b;
    b[p->n_buffers] = (struct buffer){.name = name, .kind = kind, .tier = tier, .width = width, .head = l->head};
    return p->n_buffers++;
}

static int value_buffer(struct lower *l, int value)
{
    if (l->buffer_of[value] < 0)
        l->buffer_of[value] = add_buffer(l, l->g->values[value].name, BUFFER_FLOAT, 0, l->g->values[value].width);
    return l->buffer_of[value];
}

/* Tied embeddings are one matrix: a table first, and then the head. */
static int add_weight(struct lower *l, const struct tensor *t, enum mat_role role)
{
    struct program *p = l->p;
    for (int i = 0; i < p->n_weights; i++)
        if (p->weights[i].t == t) {
            if (role == MAT_HEAD) p->weights[i].role = role;
            return i;
        }
    struct mat m;
    if (!l->rc && (l->rc = mat_init(&m, t->type, (int64_t)t->ne[1], (int64_t)t->ne[0], l->e)))
        err_prefix(l->e, "tensor '%.*s'", STR_ARG(t->name));
    if (l->rc) return -1;
    struct weight *w = grow(l, p->weights, p->n_weights, &p->cap_weights, sizeof *w);
    if (!w) return -1;
    p->weights = w;
    w[p->n_weights] = (struct weight){.t = t, .n = (int)t->ne[1], .k = (int)t->ne[0], .role = role};
    return p->n_weights++;
}

static int add_vector(struct lower *l, const struct tensor *t)
{
    struct program *p = l->p;
    struct model m = {.arena = p->arena}; /* the vectors live as long as the program */
    size_t n = (size_t)t->ne[0], padded = (n + PANEL - 1) / PANEL * PANEL;
    const float *x = model_floats(&m, t, l->e);
    float *copy = x ? ARENA_NEW(&m.arena, float, padded) : NULL;
    p->arena = m.arena;
    struct vector *v = copy ? grow(l, p->vectors, p->n_vectors, &p->cap_vectors, sizeof *v) : NULL;
    if (!v) {
        l->rc = l->e && l->e->code ? l->e->code : ERR_MEMORY;
        return -1;
    }
    memcpy(copy, x, n * sizeof *copy);
    p->vectors = v;
    v[p->n_vectors] = (struct vector){t, copy};
    return p->n_vectors++;
}

static enum mat_role role_of(const struct lower *l, const struct node *n)
{
    return n->out == l->g->logits ? MAT_HEAD : MAT_BODY;
}

/* Quantises a value for every tier that later products of it need. */
static void quantise(struct lower *l, int node)
{
    int value = l->g->nodes[node].out;
    for (int i = node + 1; i < l->g->n_nodes && !l->rc; i++) {
        const struct node *n = &l->g->nodes[i];
        if (n->op != OP_MATMUL || n->in[0] != value) continue;
        if (!mat_layout(n->w->type)) {
            l->rc = err(l->e, ERR_UNSUPPORTED, "tensor '%.*s': weight type %s is not supported", STR_ARG(n->w->name), dtype_name(n->w->type));
            return;
        }
        enum act_tier tier = mat_tier(n->w->type, role_of(l, n));
        int *c = &l->codes_of[value][tier];
        if (*c >= 0) continue;
        *c = add_buffer(l, l->g->values[value].name, BUFFER_CODES, tier, l->g->values[value].width);
        add_row(l, l->g->nodes[node].layer, (struct row_op){ROW_QUANT, *c, l->buffer_of[value], -1, -1, 0});
    }
}

static void lower_node(struct lower *l, int i)
{
    const struct node *n = &l->g->nodes[i];
    struct step *s;
    switch (n->op) {
    case OP_EMBED:
        add_row(l, n->layer, (struct row_op){ROW_EMBED, value_buffer(l, n->out), -1, -1, add_weight(l, n->w, MAT_BODY), 0});
        break;
    case OP_NORM:
        add_row(l, n->layer, (struct row_op){ROW_NORM, value_buffer(l, n->out), l->buffer_of[n->in[0]], -1, add_vector(l, n->w), 0});
        break;
    case OP_ROPE:
        add_row(l, n->layer, (struct row_op){ROW_ROPE, l->buffer_of[n->in[0]], l->p->turn, -1, -1, n->n_head});
        break;
    case OP_GATE:
        add_row(l, n->layer, (struct row_op){ROW_GATE, value_buffer(l, n->out), l->buffer_of[n->in[0]], l->buffer_of[n->in[1]], -1, 0});
        break;
    case OP_ADD:
        add_row(l, n->layer, (struct row_op){ROW_ADD, l->buffer_of[n->in[0]], l->buffer_of[n->in[1]], -1, -1, 0});
        break;
    case OP_SELECT: { /* what follows is the head */
        int from = l->buffer_of[n->in[0]];
        l->p->n_body = l->p->n_steps;
        l->head = true;
        l->buffer_of[n->out] = -1;
        add_row(l, n->layer, (struct row_op){ROW_SELECT, value_buffer(l, n->out), from, -1, -1, 0});
        break;
    }
    case OP_MATMUL: {
        int w = add_weight(l, n->w, role_of(l, n)), bias = n->bias ? add_vector(l, n->bias) : -1, dst = value_buffer(l, n->out);
        if (l->rc || !(s = add_step(l, STEP_MATMUL, n->layer))) return;
        s->n = 1;
        s->mat[0] = (struct step_mat){w, bias, l->codes_of[n->in[0]][mat_tier(n->w->type, role_of(l, n))], dst};
        break;
    }
    case OP_ATTEND:
        if (!(s = add_step(l, STEP_STORE, n->layer))) return;
        s->attn.k = l->buffer_of[n->in[1]], s->attn.v = l->buffer_of[n->in[2]];
        s->attn.q = s->attn.out = -1;
        if (!(s = add_step(l, STEP_ATTEND, n->layer))) return;
        s->attn.q = l->buffer_of[n->in[0]], s->attn.out = value_buffer(l, n->out);
        s->attn.k = s->attn.v = -1;
        break;
    }
    if (!l->rc && n->op != OP_ROPE && n->op != OP_ADD && n->op != OP_SELECT) quantise(l, i);
}

int program_lower(struct program *p, struct err *e)
{
    const struct graph *g = &p->model->graph;
    struct lower l = {.p = p, .g = g, .e = e};
    l.buffer_of = ARENA_NEW(&p->arena, int, (size_t)g->n_values);
    l.codes_of = arena_alloc(&p->arena, (size_t)g->n_values, sizeof *l.codes_of);
    if (!l.buffer_of || !l.codes_of) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < g->n_values; i++) {
        l.buffer_of[i] = -1;
        for (int t = 0; t < ACT_TIERS; t++) l.codes_of[i][t] = -1;
    }
    p->turn = add_buffer(&l, "turn", BUFFER_FLOAT, 0, p->model->h.rope.dim);
    add_row(&l, -1, (struct row_op){ROW_TURN, p->turn, -1, -1, -1, 0});
    for (int i = 0; i < g->n_nodes && !l.rc; i++) lower_node(&l, i);
    if (!l.rc) p->logits = l.buffer_of[g->logits];
    return l.rc;
}
