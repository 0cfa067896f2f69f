/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory, budget and containers of the template interpreter. Values are 16 bytes and copied freely; what they
 * point to lives in the run's pool and is not changed once another value can see it. Two exceptions keep
 * loops linear: a list or text may grow behind the end of everyone who holds it (its store), and namespaces
 * are written by "set".
 *
 * Dicts keep the order of insertion; past DICT_LINEAR entries an index by hash is kept beside them.
 */
#include "token/template/template_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* --- memory --------------------------------------------------------------------------------------------- */

enum { BLOCK_MIN = 16 * 1024, BLOCK_MAX = 1024 * 1024, ALIGN = 16 };

/* Under a memory checker every allocation is a block of its own, so that it sees one byte too far. */
#if defined(__SANITIZE_ADDRESS__)
#define SEPARATE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SEPARATE 1
#endif
#endif
#ifndef SEPARATE
#define SEPARATE 0
#endif

struct tmpl_block {
    struct tmpl_block *next;
    size_t size; /* with this header, which is one ALIGN unit */
};
_Static_assert(sizeof(struct tmpl_block) <= ALIGN, "the header fills one unit");

void tmpl_pool_init(struct tmpl_pool *p, size_t max)
{
    *p = (struct tmpl_pool){.max = max};
}

void tmpl_pool_finish(struct tmpl_pool *p)
{
    for (struct tmpl_block *b = p->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *p = (struct tmpl_pool){0};
}

void *tmpl_bytes(struct tmpl_run *c, size_t n)
{
    struct tmpl_pool *p = c->pool;
    size_t want = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (n > p->max || want > p->max - p->held) {
        tmpl_err(c, ERR_LIMIT, "more than %zu bytes of memory are needed", p->max);
        return NULL;
    }
    if (!SEPARATE && want <= (size_t)(p->end - p->at) && p->at) {
        void *r = p->at;
        p->at += want;
        return r;
    }
    bool own = SEPARATE || want > BLOCK_MIN / 4;
    size_t size = own ? (SEPARATE ? n : want) : p->held / 2;
    if (!own && size < BLOCK_MIN) size = BLOCK_MIN;
    if (!own && size > BLOCK_MAX) size = BLOCK_MAX;
    struct tmpl_block *b = malloc(ALIGN + size);
    if (!b) {
        tmpl_err(c, ERR_MEMORY, "%zu bytes more are not to be had", size);
        return NULL;
    }
    b->size = ALIGN + size;
    b->next = p->head;
    p->head = b;
    p->held += size;
    char *r = (char *)b + ALIGN;
    if (!own) {
        p->at = r + want;
        p->end = r + size;
    }
    return r;
}

void *tmpl_alloc(struct tmpl_run *c, size_t n, size_t size)
{
    size_t all;
    if (__builtin_mul_overflow(n, size, &all)) {
        tmpl_err(c, ERR_LIMIT, "more than %zu bytes of memory are needed", c->pool->max);
        return NULL;
    }
    void *p = tmpl_bytes(c, all ? all : 1);
    if (p) memset(p, 0, all);
    return p;
}

/* --- errors and budget ---------------------------------------------------------------------------------- */

int tmpl_err(struct tmpl_run *c, int code, const char *fmt, ...)
{
    char msg[ERR_MSG_MAX / 2];
    va_list ap;
    if (c->code < 0) return c->code; /* the first one counts */
    c->code = code;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    return err(c->e, code, "chat template, line %u column %u: %s", c->line, c->col, msg);
}

int tmpl_step(struct tmpl_run *c, size_t n)
{
    if (c->code < 0) return c->code;
    if (n > c->steps) return tmpl_err(c, ERR_LIMIT, "more than %d steps are needed", TEMPLATE_STEPS_MAX);
    c->steps -= n;
    return 0;
}

int tmpl_enter(struct tmpl_run *c)
{
    int code = tmpl_step(c, 1);
    if (code < 0) return code;
    if (++c->value_depth <= TEMPLATE_VALUE_DEPTH_MAX) return 0;
    return tmpl_err(c, ERR_LIMIT, "a value holds lists or objects more than %d deep",
                    TEMPLATE_VALUE_DEPTH_MAX);
}

/* --- constructors --------------------------------------------------------------------------------------- */

struct tval tmpl_none(void)
{
    return (struct tval){.type = TV_NONE, .trusted = true};
}

struct tval tmpl_bool(bool b)
{
    return (struct tval){.type = TV_BOOL, .trusted = true, .u.b = b};
}

struct tval tmpl_int(int64_t i, bool trusted)
{
    return (struct tval){.type = TV_INT, .trusted = trusted, .u.i = i};
}

struct tval tmpl_float(double f, bool trusted)
{
    return (struct tval){.type = TV_FLOAT, .trusted = trusted, .u.f = f};
}

struct tval tmpl_undef(enum tmpl_undef kind, const struct text *what)
{
    return (struct tval){.type = TV_UNDEF, .kind = (uint8_t)kind, .trusted = true, .u.s = what};
}

int tmpl_undef_err(struct tmpl_run *c, struct tval v)
{
    static const struct text NOTHING = {.p = "", .trusted = true};
    const struct text *t = v.u.s ? v.u.s : &NOTHING;
    switch (v.kind) {
    case UNDEF_NAME:
        return tmpl_err(c, ERR_FORMAT, "'%.*s' is undefined", STR_ARG(*t));
    case UNDEF_ATTR:
        return tmpl_err(c, ERR_FORMAT, "there is no attribute or item '%.*s'", STR_ARG(*t));
    case UNDEF_UNSAFE:
        return tmpl_err(c, ERR_FORMAT, "access to '%.*s' is not allowed", STR_ARG(*t));
    default:
        return tmpl_err(c, ERR_FORMAT, "%.*s", STR_ARG(*t));
    }
}

const char *tmpl_type_name(struct tval v)
{
    static const char *const NAME[] = {"nothing",   "undefined", "None",  "bool",  "int",      "float",
                                       "str",       "list",      "tuple", "dict",  "range",    "view",
                                       "generator", "namespace", "loop",  "macro", "function", "cycler"};
    return NAME[v.type];
}

bool tmpl_trusted(struct tval v)
{
    return v.type == TV_STR ? !v.u.s->mark && v.u.s->trusted : v.trusted;
}

double tmpl_as_float(struct tval v)
{
    return v.type == TV_FLOAT ? v.u.f : (double)tmpl_as_int(v);
}

/* --- lists ---------------------------------------------------------------------------------------------- */

int tmpl_list_new(struct tmpl_run *c, enum tmpl_type type, struct tval *out)
{
    struct tlist *l = TMPL_NEW(c, struct tlist, 1);
    if (!l || !(l->store = TMPL_NEW(c, struct tlist_store, 1))) return c->code;
    *out = (struct tval){.type = (uint8_t)type, .trusted = true, .u.list = l};
    return 0;
}

static int store_reserve(struct tmpl_run *c, struct tlist_store *st, size_t more)
{
    if (st->cap - st->used >= more) return 0;
    size_t cap = st->cap ? 2 * st->cap : 4;
    while (cap < st->used + more) cap *= 2; /* counts stay far below 2^40: the pool is smaller */
    struct tval *v = tmpl_alloc(c, cap, sizeof *v);
    if (!v) return c->code;
    if (st->used) memcpy(v, st->v, st->used * sizeof *v);
    st->v = v;
    st->cap = cap;
    return 0;
}

int tmpl_list_add(struct tmpl_run *c, struct tlist *l, struct tval v)
{
    int code = store_reserve(c, l->store, 1);
    if (code < 0) return code;
    l->v = l->store->v;
    l->v[l->n++] = v;
    l->store->used = l->n;
    return 0;
}

int tmpl_list_concat(struct tmpl_run *c, struct tval a, struct tval b, struct tval *out)
{
    const struct tlist *x = a.u.list, *y = b.u.list;
    struct tlist_store *st = x->store;
    int code = tmpl_step(c, y->n / 8 + 1);
    if (code < 0 || (code = tmpl_list_new(c, a.type, out)) < 0) return code;
    out->trusted = a.trusted && b.trusted;
    if (x->n && x->v == st->v && x->n == st->used && st->cap - st->used >= y->n) {
        out->u.list->store = st; /* grow in place: nobody sees past x->n */
    } else {
        if ((code = tmpl_step(c, x->n / 8)) < 0) return code;
        st = out->u.list->store;
        if (x->n > SIZE_MAX / 64 - y->n || (code = store_reserve(c, st, x->n + y->n)) < 0)
            return tmpl_err(c, ERR_LIMIT, "a list is too long");
        if (x->n) memcpy(st->v, x->v, x->n * sizeof *x->v);
        st->used = x->n;
    }
    if (y->n) memmove(st->v + st->used, y->v, y->n * sizeof *y->v);
    st->used += y->n;
    out->u.list->v = st->v;
    out->u.list->n = st->used;
    return 0;
}

/* --- dicts ---------------------------------------------------------------------------------------------- */

enum { DICT_LINEAR = 8 };

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 29;
}

/* Values that are equal have equal hashes. 0, 1 for a value that cannot be a key, negative. */
static int hash(struct tmpl_run *c, struct tval v, unsigned depth, uint64_t *h)
{
    if (depth > TEMPLATE_VALUE_DEPTH_MAX) return tmpl_err(c, ERR_LIMIT, "a tuple is nested too deeply");
    switch (v.type) {
    case TV_STR: {
        size_t i = 0;
        uint64_t x;
        *h = mix(*h, v.u.s->n);
        for (; i + 8 <= v.u.s->n; i += 8) {
            memcpy(&x, v.u.s->p + i, 8);
            *h = mix(*h, x);
        }
        x = 0;
        if (i < v.u.s->n) memcpy(&x, v.u.s->p + i, v.u.s->n - i);
        *h = mix(*h, x);
        return tmpl_step(c, v.u.s->n / 128);
    }
    case TV_FLOAT:
        if (v.u.f >= -9.2e18 && v.u.f <= 9.2e18 && (double)(int64_t)v.u.f == v.u.f) {
            *h = mix(*h, (uint64_t)(int64_t)v.u.f);
        } else {
            uint64_t bits;
            memcpy(&bits, &v.u.f, sizeof bits);
            *h = mix(*h, bits);
        }
        return 0;
    case TV_BOOL:
    case TV_INT:
        *h = mix(*h, (uint64_t)tmpl_as_int(v));
        return 0;
    case TV_TUPLE:
        for (size_t i = 0; i < v.u.list->n; i++) {
            int code = tmpl_step(c, 1);
            if (code == 0) code = hash(c, v.u.list->v[i], depth + 1, h);
            if (code) return code;
        }
        return 0;
    case TV_LIST:
    case TV_DICT:
    case TV_VIEW:
        return 1;
    case TV_NONE:
    case TV_UNDEF:
        *h = mix(*h, v.type);
        return 0;
    default:
        *h = mix(*h, (uint64_t)(uintptr_t)v.u.list);
        return 0;
    }
}

static bool hashable(struct tval v, unsigned depth)
{
    if (v.type == TV_LIST || v.type == TV_DICT || v.type == TV_VIEW) return false;
    if (v.type != TV_TUPLE) return true;
    if (depth > TEMPLATE_VALUE_DEPTH_MAX) return true; /* hash() reports it */
    for (size_t i = 0; i < v.u.list->n; i++) {
        if (!hashable(v.u.list->v[i], depth + 1)) return false;
    }
    return true;
}

bool tmpl_hashable(struct tval v)
{
    return hashable(v, 0);
}

int tmpl_dict_new(struct tmpl_run *c, struct tval *out)
{
    struct tdict *d = TMPL_NEW(c, struct tdict, 1);
    if (!d) return c->code;
    *out = (struct tval){.type = TV_DICT, .trusted = true, .u.dict = d};
    return 0;
}

/* Index of k, or d->n. */
static int find(struct tmpl_run *c, const struct tdict *d, struct tval k, size_t *at, uint64_t *h)
{
    bool same = false;
    *h = 0;
    int code = hash(c, k, 0, h);
    if (code > 0) return tmpl_err(c, ERR_FORMAT, "a %s cannot be the key of a dict", tmpl_type_name(k));
    if (code < 0) return code;
    if (!d->slot) {
        for (*at = 0; *at < d->n; ++*at) {
            if ((code = tmpl_equal(c, d->p[*at].k, k, &same)) < 0) return code;
            if (same) return 0;
        }
        return 0;
    }
    for (size_t i = *h & (d->n_slot - 1); d->slot[i]; i = (i + 1) & (d->n_slot - 1)) {
        *at = d->slot[i] - 1;
        if ((code = tmpl_step(c, 1)) < 0 || (code = tmpl_equal(c, d->p[*at].k, k, &same)) < 0) return code;
        if (same) return 0;
    }
    *at = d->n;
    return 0;
}

static void slot_put(struct tdict *d, uint64_t h, size_t at)
{
    size_t i = h & (d->n_slot - 1);
    while (d->slot[i]) i = (i + 1) & (d->n_slot - 1);
    d->slot[i] = (uint32_t)at + 1;
}

int tmpl_dict_set(struct tmpl_run *c, struct tdict *d, struct tval k, struct tval v)
{
    size_t at;
    uint64_t h;
    int code = find(c, d, k, &at, &h);
    if (code < 0) return code;
    if (at < d->n) {
        d->p[at].v = v;
        return 0;
    }
    if (d->n == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 4;
        struct tpair *p = TMPL_NEW(c, struct tpair, cap);
        if (!p) return c->code;
        if (d->n) memcpy(p, d->p, d->n * sizeof *p);
        d->p = p;
        d->cap = cap;
    }
    d->p[d->n++] = (struct tpair){k, v};
    if (d->slot && 2 * d->n <= d->n_slot) {
        slot_put(d, h, at);
    } else if (d->n > DICT_LINEAR) {
        d->n_slot = d->n_slot ? 2 * d->n_slot : 4 * DICT_LINEAR;
        if (!(d->slot = TMPL_NEW(c, uint32_t, d->n_slot))) return c->code;
        for (size_t i = 0; i < d->n; i++) {
            h = 0;
            if ((code = hash(c, d->p[i].k, 0, &h)) != 0)
                return code < 0 ? code : tmpl_err(c, ERR_INTERNAL, "a key changed");
            slot_put(d, h, i);
        }
    }
    return 0;
}

int tmpl_dict_get(struct tmpl_run *c, const struct tdict *d, struct tval k, struct tval *out)
{
    size_t at;
    uint64_t h;
    int code = find(c, d, k, &at, &h);
    if (code < 0) return code;
    if (at == d->n) return 0;
    *out = d->p[at].v;
    return 1;
}

int tmpl_dict_getz(struct tmpl_run *c, const struct tdict *d, struct str k, struct tval *out)
{
    struct text t = {.p = k.p, .n = k.n, .n_cp = k.n, .trusted = true};
    return tmpl_dict_get(c, d, (struct tval){.type = TV_STR, .u.s = &t}, out);
}

/* --- sorting -------------------------------------------------------------------------------------------- */

int tmpl_sort(struct tmpl_run *c, struct tval *v, struct tval *key, size_t n, bool reverse)
{
    struct tval *v2 = TMPL_NEW(c, struct tval, n + 1), *key2 = TMPL_NEW(c, struct tval, n + 1);
    struct tval *v_out = v, *key_out = key;
    if (!v2 || !key2) return c->code;
    for (size_t run = 1; run < n; run *= 2) { /* merge neighbours of `run` sorted values each */
        for (size_t lo = 0; lo < n; lo += 2 * run) {
            size_t mid = lo + run < n ? lo + run : n, hi = lo + 2 * run < n ? lo + 2 * run : n;
            for (size_t i = lo, j = mid, k = lo; k < hi; k++) {
                bool right = i == mid;
                if (i < mid && j < hi) {
                    int code = reverse ? tmpl_less(c, key[i], key[j], OP_LT, &right)
                                       : tmpl_less(c, key[j], key[i], OP_LT, &right);
                    if (code < 0 || (code = tmpl_step(c, 1)) < 0) return code;
                }
                size_t from = right ? j++ : i++;
                v2[k] = v[from];
                key2[k] = key[from];
            }
        }
        struct tval *t = v;
        v = v2;
        v2 = t;
        t = key;
        key = key2;
        key2 = t;
    }
    if (v != v_out) {
        memcpy(v_out, v, n * sizeof *v);
        memcpy(key_out, key, n * sizeof *key);
    }
    return 0;
}
