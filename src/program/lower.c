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
    int (*placed_of)[ACT_TIERS];     /* the same, a row for each of the token's experts */
    int (*headed_of)[ACT_TIERS];     /* the same, a row for each head's part */
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

static int add_buffer(struct lower *l, const char *name, enum buffer_kind kind, enum act_tier tier, int width,
                      int slots)
{
    struct program *p = l->p;
    struct buffer *b = grow(l, p->buffers, p->n_buffers, &p->cap_buffers, sizeof *b);
    if (!b) return -1;
    p->buffers = b;
    b[p->n_buffers] = (struct buffer){.name = name,
                                      .kind = kind,
                                      .tier = tier,
                                      .width = width,
                                      .head = l->head,
                                      .slots = slots,
                                      .n_expert = slots ? p->model->h.n_expert : 0};
    return p->n_buffers++;
}

static int value_buffer(struct lower *l, int value)
{
    if (l->buffer_of[value] < 0)
        l->buffer_of[value] = add_buffer(l, l->g->values[value].name, BUFFER_FLOAT, 0,
                                         l->g->values[value].width, l->g->values[value].slots);
    return l->buffer_of[value];
}

static int put_weight(struct lower *l, const struct tensor *t, enum mat_role role, bool turned)
{
    struct program *p = l->p;
    struct mat m;
    struct weight v = {.t = t, .turned = turned, .role = role};
    if (!l->rc && (l->rc = mat_init(&m, t->type, (int64_t)t->ne[1], (int64_t)t->ne[0], l->e)))
        err_prefix(l->e, "tensor '%.*s'", STR_ARG(t->name));
    if (l->rc) return -1;
    v.n = (int)t->ne[turned ? 0 : 1], v.k = (int)t->ne[turned ? 1 : 0];
    struct weight *w = grow(l, p->weights, p->n_weights, &p->cap_weights, sizeof *w);
    if (!w) return -1;
    p->weights = w;
    w[p->n_weights] = v;
    return p->n_weights++;
}

static int new_weight(struct lower *l, const struct tensor *t, enum mat_role role)
{
    return put_weight(l, t, role, false);
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
    return new_weight(l, t, role);
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

/* The codes of a value that a product of a tier wants, made after `node` if they are not there yet. */
static void quantise_for(struct lower *l, int node, const struct node *product)
{
    int value = l->g->nodes[node].out;
    bool heads = product->op == OP_HEADS;
    const struct tensor *w = heads ? product->ws[0] : product->w;
    if (!mat_layout(w->type)) {
        new_weight(l, w, MAT_BODY); /* says what is wrong with it */
        return;
    }
    enum act_tier tier =
        heads && product->turned ? mat_tier(DTYPE_F32, MAT_BODY) : mat_tier(w->type, role_of(l, product));
    int *c = heads ? &l->headed_of[value][tier] : &l->codes_of[value][tier], width = l->g->values[value].width;
    if (*c >= 0) return;
    *c = add_buffer(l, l->g->values[value].name, BUFFER_CODES, tier, heads ? width / product->n_head : width, 0);
    if (*c >= 0 && heads) l->p->buffers[*c].heads = product->n_head;
    add_row(l, l->g->nodes[node].layer,
            (struct row_op){ROW_QUANT, .dst = *c, .src = l->buffer_of[value], .src2 = -1, .w = -1});
}

/* Quantises a value that was just written for every tier that products need of it before it is written again. */
static void quantise(struct lower *l, int node)
{
    int value = l->g->nodes[node].out;
    for (int t = 0; t < ACT_TIERS; t++) l->codes_of[value][t] = l->placed_of[value][t] = l->headed_of[value][t] = -1;
    for (int i = node + 1; i < l->g->n_nodes && !l->rc && l->g->nodes[i].out != value; i++) {
        const struct node *n = &l->g->nodes[i];
        if ((n->op == OP_MATMUL || n->op == OP_HEADS) && n->in[0] == value) quantise_for(l, node, n);
    }
}

/* Nodes that work row by row. */
static void lower_row(struct lower *l, const struct node *n)
{
    int in0 = n->in[0] < 0 ? -1 : l->buffer_of[n->in[0]];
    struct row_op r = {.dst = -1, .src = -1, .src2 = -1, .w = -1};
    static const enum row_op_kind kind[] = {
        [OP_EMBED] = ROW_EMBED, [OP_NORM] = ROW_NORM,   [OP_ROPE] = ROW_ROPE,     [OP_GATE] = ROW_GATE,
        [OP_ADD] = ROW_ADD,     [OP_SCALE] = ROW_SCALE, [OP_SELECT] = ROW_SELECT, [OP_CAP] = ROW_CAP,
        [OP_ROUTE] = ROW_ROUTE, [OP_MIX] = ROW_MIX,     [OP_DIM] = ROW_DIM,
        [OP_TAKE] = ROW_TAKE,
    };
    switch (n->op) {
    case OP_EMBED: r.dst = value_buffer(l, n->out), r.w = add_weight(l, n->w, MAT_BODY); break;
    case OP_NORM: r.dst = value_buffer(l, n->out), r.src = in0, r.w = add_vector(l, n->w), r.n_head = n->n_head; break;
    case OP_ROPE: r.dst = in0, r.src = l->p->turn[n->rope], r.n_head = n->n_head, r.rope = n->rope; break;
    case OP_GATE:
        r.dst = value_buffer(l, n->out), r.src = in0, r.src2 = l->buffer_of[n->in[1]], r.gate = n->gate;
        break;
    case OP_ADD: r.dst = in0, r.src = l->buffer_of[n->in[1]]; break;
    case OP_SCALE: r.dst = in0, r.scale = n->scale; break;
    case OP_CAP: r.dst = in0, r.scale = n->cap; break;
    case OP_ROUTE:
        r.dst = value_buffer(l, n->out), r.src = in0, r.w = n->w ? add_vector(l, n->w) : -1,
        r.route = n->route;
        break;
    case OP_MIX: r.dst = value_buffer(l, n->out), r.src = in0, r.src2 = l->buffer_of[n->in[1]]; break;
    case OP_DIM: r.dst = in0, r.src = l->buffer_of[n->in[1]]; break;
    case OP_TAKE: r.dst = value_buffer(l, n->out), r.src = in0, r.n_head = n->n_head, r.from = n->from; break;
    case OP_SELECT: /* what follows is the head */
        l->p->n_body = l->p->n_steps;
        l->head = true;
        l->buffer_of[n->out] = -1;
        r.dst = value_buffer(l, n->out), r.src = in0;
        break;
    case OP_MATMUL:
    case OP_EXPERTS:
    case OP_HEADS:
    case OP_ATTEND: return;
    }
    r.kind = kind[n->op];
    add_row(l, n->layer, r);
}

static void lower_matmul(struct lower *l, const struct node *n)
{
    int w = add_weight(l, n->w, role_of(l, n)), bias = n->bias ? add_vector(l, n->bias) : -1,
        dst = value_buffer(l, n->out);
    struct step *s = l->rc ? NULL : add_step(l, STEP_MATMUL, n->layer);
    if (!s) return;
    s->n = 1;
    if (n->out == l->g->logits) l->p->hidden = l->buffer_of[n->in[0]];
    s->mat[0] = (struct step_mat){w, bias, l->codes_of[n->in[0]][mat_tier(n->w->type, role_of(l, n))], dst};
}

static void lower_place(struct lower *l, const struct node *n)
{
    struct step *s = add_step(l, STEP_PLACE, n->layer);
    if (!s) return;
    s->place.route = l->buffer_of[n->out], s->place.n_expert = n->route->n_expert, s->place.n_used = n->route->n_used;
}

/* The input's codes go to the places of its experts, once for all products of one type. */
static void lower_experts(struct lower *l, const struct node *n)
{
    const struct value *in = &l->g->values[n->in[0]];
    int n_expert = n->route->n_expert, w = l->p->n_weights, bias = n->biases ? l->p->n_vectors : -1,
        dst = value_buffer(l, n->out);
    for (int i = 0; i < n_expert && !l->rc; i++) new_weight(l, n->ws[i], MAT_BODY);
    for (int i = 0; i < n_expert && n->biases && !l->rc; i++) add_vector(l, n->biases[i]);
    if (l->rc) return;
    enum act_tier tier = mat_tier(n->ws[0]->type, MAT_BODY);
    int *codes = &l->placed_of[n->in[0]][tier];
    if (*codes < 0) {
        *codes = add_buffer(l, in->name, BUFFER_CODES, tier, in->width, n->route->n_used);
        add_row(
            l, n->layer,
            (struct row_op){ROW_QUANT, .dst = *codes, .src = l->buffer_of[n->in[0]], .src2 = -1, .w = -1});
    }
    struct step *s = l->rc ? NULL : add_step(l, STEP_EXPERTS, n->layer);
    if (!s) return;
    s->n = 1;
    s->n_expert = n_expert;
    s->mat[0] = (struct step_mat){w, bias, *codes, dst};
}

static void lower_heads(struct lower *l, const struct node *n)
{
    int w = l->p->n_weights, dst = value_buffer(l, n->out);
    for (int i = 0; i < n->n_head && !l->rc; i++) put_weight(l, n->ws[i], MAT_BODY, n->turned);
    struct step *s = l->rc ? NULL : add_step(l, STEP_HEADS, n->layer);
    if (!s) return;
    s->n = 1;
    s->n_expert = n->n_head;
    s->mat[0] = (struct step_mat){
        w, -1, l->headed_of[n->in[0]][mat_tier(weight_type(&l->p->weights[w]), MAT_BODY)], dst};
}

static void lower_attend(struct lower *l, const struct node *n)
{
    struct step *s = add_step(l, STEP_STORE, n->layer);
    if (!s) return;
    s->attn.k = l->buffer_of[n->in[1]], s->attn.v = l->buffer_of[n->in[2]];
    s->attn.q = s->attn.out = s->attn.q_extra = -1;
    if (!(s = add_step(l, STEP_ATTEND, n->layer))) return;
    s->attn.q = l->buffer_of[n->in[0]], s->attn.out = value_buffer(l, n->out);
    s->attn.k = s->attn.v = -1;
    s->attn.q_extra = n->in[3] < 0 ? -1 : l->buffer_of[n->in[3]];
    s->attn.window = n->window, s->attn.warm = n->warm, s->attn.cap = n->cap;
    s->attn.sinks = n->w ? add_vector(l, n->w) : -1;
}

static void lower_node(struct lower *l, int i)
{
    const struct node *n = &l->g->nodes[i];
    if (n->op == OP_MATMUL)
        lower_matmul(l, n);
    else if (n->op == OP_ATTEND)
        lower_attend(l, n);
    else if (n->op == OP_EXPERTS)
        lower_experts(l, n);
    else if (n->op == OP_HEADS)
        lower_heads(l, n);
    else
        lower_row(l, n);
    if (!l->rc && n->op == OP_ROUTE) lower_place(l, n);
    if (!l->rc) quantise(l, i);
}

int program_lower(struct program *p, struct err *e)
{
    const struct graph *g = &p->model->graph;
    struct lower l = {.p = p, .g = g, .e = e};
    l.buffer_of = ARENA_NEW(&p->arena, int, (size_t)g->n_values);
    l.codes_of = arena_alloc(&p->arena, (size_t)g->n_values, sizeof *l.codes_of);
    l.placed_of = arena_alloc(&p->arena, (size_t)g->n_values, sizeof *l.placed_of);
    l.headed_of = arena_alloc(&p->arena, (size_t)g->n_values, sizeof *l.headed_of);
    if (!l.buffer_of || !l.codes_of || !l.placed_of || !l.headed_of) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < g->n_values; i++) {
        l.buffer_of[i] = -1;
        for (int t = 0; t < ACT_TIERS; t++) l.codes_of[i][t] = l.placed_of[i][t] = l.headed_of[i][t] = -1;
    }
    for (int i = 0; i < MODEL_ROPES; i++) {
        p->turn[i] = i < p->model->h.n_rope ? add_buffer(&l, "turn", BUFFER_FLOAT, 0, p->model->h.rope[i].dim, 0) : -1;
        if (p->turn[i] >= 0)
            add_row(&l, -1,
                    (struct row_op){ROW_TURN, .dst = p->turn[i], .src = -1, .src2 = -1, .w = -1, .rope = i});
    }
    for (int i = 0; i < g->n_nodes && !l.rc; i++) lower_node(&l, i);
    if (!l.rc) p->logits = l.buffer_of[g->logits];
    return l.rc;
}
