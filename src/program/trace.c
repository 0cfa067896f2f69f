/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace: reads a program back as its graph. Every step, in order, must be the next node of the graph, with
 * that node's weights, on the buffers that hold that node's values. What a buffer holds is learned from the
 * steps that wrote it. A value that is changed in place (rotation, residual) gets a new version, and codes
 * count only if they were made of the version that the graph means.
 */
#include "kern/num.h"
#include "program/program.h"

struct trace {
    const struct program *p;
    int node;        /* next node of the graph */
    bool turned[MODEL_ROPES]; /* cosines and sines are there */
    int placed;      /* route value whose places are known, -1 */
    int stored;      /* layer whose keys and values were stored last */
    int *buffer_of;  /* [value] that holds it, -1 */
    int *version;    /* [value] */
    int *value_in;   /* [buffer] that it holds, -1 */
    int *version_in; /* [buffer] of codes */
};

static bool holds(const struct trace *t, int value, int buffer)
{
    return value >= 0 && t->buffer_of[value] == buffer;
}

/* The value is now in this buffer, and nothing else is. */
static bool bind(struct trace *t, int value, int buffer)
{
    int old = t->value_in[buffer];
    if (old >= 0 && old != value) return false;
    t->value_in[buffer] = value;
    t->buffer_of[value] = buffer;
    t->version[value]++;
    return true;
}

static bool vector_is(const struct trace *t, int vector, const struct tensor *want)
{
    return want ? vector >= 0 && t->p->vectors[vector].t == want : vector < 0;
}

/* A node's row operation; false if it is another one. */
static bool is_node(struct trace *t, const struct node *n, const struct row_op *r, int step)
{
    switch (n->op) {
    case OP_EMBED: return r->kind == ROW_EMBED && t->p->weights[r->w].t == n->w && bind(t, n->out, r->dst);
    case OP_NORM:
        return r->kind == ROW_NORM && holds(t, n->in[0], r->src) && vector_is(t, r->w, n->w) &&
               r->n_head == n->n_head && bind(t, n->out, r->dst);
    case OP_GATE:
        return r->kind == ROW_GATE && r->gate == n->gate && holds(t, n->in[0], r->src) && holds(t, n->in[1], r->src2) &&
               bind(t, n->out, r->dst);
    case OP_ROPE:
        t->version[n->in[0]]++;
        return r->kind == ROW_ROPE && r->rope == n->rope && t->turned[n->rope] && r->src == t->p->turn[n->rope] &&
               holds(t, n->in[0], r->dst) && r->n_head == n->n_head;
    case OP_ADD:
        t->version[n->in[0]]++;
        return r->kind == ROW_ADD && holds(t, n->in[0], r->dst) && holds(t, n->in[1], r->src);
    case OP_SCALE:
        t->version[n->in[0]]++;
        return r->kind == ROW_SCALE && holds(t, n->in[0], r->dst) && f32_bits(r->scale) == f32_bits(n->scale);
    case OP_CAP:
        t->version[n->in[0]]++;
        return r->kind == ROW_CAP && holds(t, n->in[0], r->dst) && f32_bits(r->scale) == f32_bits(n->cap);
    case OP_ROUTE:
        t->placed = -1;
        return r->kind == ROW_ROUTE && r->route == n->route && holds(t, n->in[0], r->src) && vector_is(t, r->w, n->w) &&
               bind(t, n->out, r->dst);
    case OP_MIX:
        return r->kind == ROW_MIX && t->placed == n->in[1] && holds(t, n->in[0], r->src) &&
               holds(t, n->in[1], r->src2) && bind(t, n->out, r->dst);
    case OP_DIM:
        t->version[n->in[0]]++;
        return r->kind == ROW_DIM && holds(t, n->in[0], r->dst) && holds(t, n->in[1], r->src);
    case OP_TAKE:
        return r->kind == ROW_TAKE && holds(t, n->in[0], r->src) && r->n_head == n->n_head &&
               r->from == n->from && bind(t, n->out, r->dst);
    case OP_SELECT:
        return r->kind == ROW_SELECT && step == t->p->n_body && holds(t, n->in[0], r->src) &&
               bind(t, n->out, r->dst);
    case OP_MATMUL:
    case OP_EXPERTS:
    case OP_HEADS:
    case OP_ATTEND: break;
    }
    return false;
}

static bool trace_row(struct trace *t, const struct node *n, const struct row_op *r, int step)
{
    if (r->kind == ROW_TURN) return t->turned[r->rope] = r->dst == t->p->turn[r->rope];
    if (r->kind == ROW_QUANT) {
        int value = t->value_in[r->src];
        if (!holds(t, value, r->src) || (t->value_in[r->dst] >= 0 && t->value_in[r->dst] != value))
            return false;
        t->value_in[r->dst] = value;
        t->version_in[r->dst] = t->version[value];
        return true;
    }
    t->node++;
    return n && is_node(t, n, r, step);
}

static bool trace_mat(struct trace *t, const struct node *n, const struct step_mat *m)
{
    t->node++;
    return n && n->op == OP_MATMUL && t->p->weights[m->w].t == n->w && !t->p->weights[m->w].turned &&
           vector_is(t, m->bias, n->bias) && t->value_in[m->src] == n->in[0] &&
           t->version_in[m->src] == t->version[n->in[0]] && bind(t, n->out, m->dst);
}

/* The route of the last ROW_ROUTE, with its sizes. */
static bool trace_place(struct trace *t, const struct step *s)
{
    const struct graph *g = &t->p->model->graph;
    const struct node *n = t->node > 0 ? &g->nodes[t->node - 1] : NULL;
    if (!n || n->op != OP_ROUTE || !holds(t, n->out, s->place.route)) return false;
    t->placed = n->out;
    return s->place.n_expert == n->route->n_expert && s->place.n_used == n->route->n_used;
}

static bool trace_experts(struct trace *t, const struct node *n, const struct step *s, const struct step_mat *m)
{
    t->node++;
    if (!n || n->op != OP_EXPERTS || t->placed != n->in[1] || s->n_expert != n->route->n_expert ||
        (m->bias >= 0) != (n->biases != NULL))
        return false;
    for (int i = 0; i < s->n_expert; i++)
        if (t->p->weights[m->w + i].t != n->ws[i] ||
            (n->biases && t->p->vectors[m->bias + i].t != n->biases[i]))
            return false;
    return t->value_in[m->src] == n->in[0] && t->version_in[m->src] == t->version[n->in[0]] && bind(t, n->out, m->dst);
}

static bool trace_heads(struct trace *t, const struct node *n, const struct step *s, const struct step_mat *m)
{
    t->node++;
    if (!n || n->op != OP_HEADS || s->n_expert != n->n_head) return false;
    for (int i = 0; i < s->n_expert; i++)
        if (t->p->weights[m->w + i].t != n->ws[i] || t->p->weights[m->w + i].turned != n->turned) return false;
    return t->value_in[m->src] == n->in[0] && t->version_in[m->src] == t->version[n->in[0]] && bind(t, n->out, m->dst);
}

static bool trace_attn(struct trace *t, const struct node *n, const struct step *s)
{
    if (!n || n->op != OP_ATTEND || s->layer != n->layer) return false;
    if (s->kind == STEP_STORE) {
        t->stored = n->layer;
        return holds(t, n->in[1], s->attn.k) && holds(t, n->in[2], s->attn.v);
    }
    t->node++;
    return t->stored == n->layer && s->attn.window == n->window && s->attn.warm == n->warm &&
           f32_bits(s->attn.cap) == f32_bits(n->cap) && vector_is(t, s->attn.sinks, n->w) &&
           holds(t, n->in[0], s->attn.q) &&
           (n->in[3] < 0 ? s->attn.q_extra < 0 : holds(t, n->in[3], s->attn.q_extra)) &&
           bind(t, n->out, s->attn.out);
}

static const struct node *next(const struct trace *t)
{
    const struct graph *g = &t->p->model->graph;
    return t->node < g->n_nodes ? &g->nodes[t->node] : NULL;
}

static bool trace_step(struct trace *t, int i)
{
    const struct step *s = &t->p->steps[i];
    bool ok = true;
    if (s->kind == STEP_ROWS)
        for (int j = 0; j < s->n && ok; j++) ok = trace_row(t, next(t), &s->row[j], i);
    else if (s->kind == STEP_MATMUL)
        for (int j = 0; j < s->n && ok; j++) ok = trace_mat(t, next(t), &s->mat[j]);
    else if (s->kind == STEP_PLACE)
        ok = trace_place(t, s);
    else if (s->kind == STEP_EXPERTS)
        for (int j = 0; j < s->n && ok; j++) ok = trace_experts(t, next(t), s, &s->mat[j]);
    else if (s->kind == STEP_HEADS)
        for (int j = 0; j < s->n && ok; j++) ok = trace_heads(t, next(t), s, &s->mat[j]);
    else
        ok = trace_attn(t, next(t), s);
    return ok;
}

int program_trace(const struct program *p, struct err *e)
{
    const struct graph *g = &p->model->graph;
    struct arena a;
    arena_init(&a);
    struct trace t = {.p = p, .stored = -1, .placed = -1};
    t.buffer_of = ARENA_NEW(&a, int, (size_t)g->n_values);
    t.version = ARENA_NEW(&a, int, (size_t)g->n_values);
    t.value_in = ARENA_NEW(&a, int, (size_t)p->n_buffers);
    t.version_in = ARENA_NEW(&a, int, (size_t)p->n_buffers);
    int rc = t.buffer_of && t.version && t.value_in && t.version_in ? 0 : err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < g->n_values && !rc; i++) t.buffer_of[i] = -1;
    for (int i = 0; i < p->n_buffers && !rc; i++) t.value_in[i] = -1;
    for (int i = 0; i < p->n_steps && !rc; i++) {
        int node = t.node;
        if (!trace_step(&t, i))
            rc = err(e, ERR_INTERNAL, "program step %d is not node %d of the graph (%s)", i, node,
                     node < g->n_nodes ? op_name[g->nodes[node].op] : "none");
    }
    if (!rc && (t.node != g->n_nodes || !holds(&t, g->logits, p->logits)))
        rc = err(e, ERR_INTERNAL, "the program ends at node %d of %d", t.node, g->n_nodes);
    arena_finish(&a);
    return rc;
}
