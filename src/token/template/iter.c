/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Iteration in the template interpreter. Lists, texts (by code point), ranges and dicts give a fresh iterator
 * each time; the results of map, select, unique, batch and slice are generators as in Python: they do their
 * work when an item is asked for, give each item once, and have neither length nor subscripts.
 */
#include "token/template/template_int.h"

bool tmpl_iterable(struct tval v)
{
    return (tmpl_has_length(v) && v.type != TV_LOOP) || v.type == TV_ITER;
}

int tmpl_iter(struct tmpl_run *c, struct tval v, struct titer **it)
{
    if (!tmpl_iterable(v)) return tmpl_err(c, ERR_FORMAT, "a %s cannot be iterated over", tmpl_type_name(v));
    if (v.type == TV_ITER) {
        *it = v.u.iter;
        return 0;
    }
    if (!(*it = TMPL_NEW(c, struct titer, 1))) return c->code;
    (*it)->src = v;
    (*it)->view = v.type == TV_VIEW ? v.kind : VIEW_KEYS;
    (*it)->kind = v.type == TV_STR                         ? IT_TEXT
                  : v.type == TV_RANGE                     ? IT_RANGE
                  : v.type == TV_DICT || v.type == TV_VIEW ? IT_DICT
                                                           : IT_LIST;
    return 0;
}

struct tval tmpl_lazy(struct titer *it)
{
    return (struct tval){.type = TV_ITER, .trusted = true, .u.iter = it};
}

static int dict_item(struct tmpl_run *c, const struct titer *it, const struct tpair *p, struct tval *out)
{
    if (it->view != VIEW_ITEMS) {
        *out = it->view == VIEW_KEYS ? p->k : p->v;
        return 1;
    }
    int code = tmpl_list_new(c, TV_TUPLE, out);
    if (code < 0 || (code = tmpl_list_add(c, out->u.list, p->k)) < 0 ||
        (code = tmpl_list_add(c, out->u.list, p->v)) < 0)
        return code;
    out->trusted = it->src.trusted;
    return 1;
}

/* Item i of what a plain iterator goes over; the caller has checked the range. */
static int item_at(struct tmpl_run *c, const struct titer *it, int64_t i, struct tval *out)
{
    switch (it->src.type) {
    case TV_RANGE:
        *out = tmpl_int(tmpl_range_at(it->src.u.range, i), it->src.trusted);
        return 1;
    case TV_DICT:
    case TV_VIEW:
        return dict_item(c, it, &it->src.u.dict->p[i], out);
    default:
        *out = it->src.u.list->v[i];
        return 1;
    }
}

static int next_char(struct tmpl_run *c, struct titer *it, struct tval *out)
{
    const struct text *t = it->src.u.s;
    size_t at = (size_t)it->i;
    uint32_t cp;
    if (at >= t->n) return 0;
    size_t k = tmpl_utf8_next(t->p + at, t->n - at, &cp);
    it->i += (int64_t)k;
    int code = tmpl_text_part(c, t, at, k, out);
    return code < 0 ? code : 1;
}

static int path_parts(struct tmpl_run *c, struct tval v, const struct text *path, struct tval def,
                      struct tval *out)
{
    size_t from = 0;
    for (;;) {
        const char *dot = path->n > from ? memchr(path->p + from, '.', path->n - from) : NULL;
        size_t n = dot ? (size_t)(dot - path->p) - from : path->n - from;
        struct tval part;
        int64_t i;
        bool digits = n > 0;
        for (size_t k = 0; k < n; k++) digits &= path->p[from + k] >= '0' && path->p[from + k] <= '9';
        int code = tmpl_step(c, 1);
        if (code < 0) return code;
        if (digits && tmpl_parse_int((struct str){path->p + from, n}, 10, &i) == 0)
            part = tmpl_int(i, true);
        else if ((code = tmpl_text_part(c, path, from, n, &part)) < 0)
            return code;
        if ((code = tmpl_getitem(c, v, part, &v)) < 0) return code;
        if (v.type == TV_UNDEF && def.type != TV_MISSING && def.type != TV_NONE) v = def;
        if (!dot) break;
        from += n + 1;
    }
    *out = v;
    return 0;
}

int tmpl_attr_path(struct tmpl_run *c, struct tval v, struct tval path, struct tval def, struct tval *out)
{
    if (path.type == TV_MISSING || path.type == TV_NONE) {
        *out = v;
        return 0;
    }
    if (path.type == TV_STR) return path_parts(c, v, path.u.s, def, out);
    int code = tmpl_getitem(c, v, path, out);
    if (code == 0 && out->type == TV_UNDEF && def.type != TV_MISSING && def.type != TV_NONE) *out = def;
    return code;
}

int tmpl_path_key(struct tmpl_run *c, struct tval item, struct tval attr, bool case_sensitive,
                  struct tval *out)
{
    struct tval none = {.type = TV_MISSING};
    int code = tmpl_attr_path(c, item, attr, none, out);
    if (code == 0 && !case_sensitive && out->type == TV_STR)
        code = tmpl_text_case(c, out->u.s, CASE_LOWER, out);
    return code;
}

static int select_item(struct tmpl_run *c, struct titer *it, struct tval item, bool *take)
{
    struct tval v = item, none = {.type = TV_MISSING};
    int code = it->by_attr ? tmpl_attr_path(c, item, it->attr, none, &v) : 0;
    if (code < 0) return code;
    if (it->native) {
        struct tmpl_call k = it->call;
        k.self = v;
        if ((code = tmpl_native_call(c, it->native, &k, &v)) < 0) return code;
    }
    code = tmpl_truth(c, v, take);
    *take ^= it->negate;
    return code;
}

static int next_batch(struct tmpl_run *c, struct titer *it, struct tval *out)
{
    struct tval item;
    int more = 0, code = tmpl_list_new(c, TV_LIST, out);
    while (code == 0 && (it->size <= 0 || (int64_t)out->u.list->n < it->size) &&
           (more = tmpl_next(c, it->inner, &item)) > 0)
        code = tmpl_list_add(c, out->u.list, item);
    if (code < 0 || more < 0) return c->code;
    if (!out->u.list->n) return 0;
    bool fill = it->fill.type != TV_MISSING && it->fill.type != TV_NONE;
    while (fill && (int64_t)out->u.list->n < it->size) {
        if ((code = tmpl_step(c, 1)) < 0 || (code = tmpl_list_add(c, out->u.list, it->fill)) < 0) return code;
    }
    return 1;
}

/* Column it->i of it->size, all as long as they can be. it->src is a list by now. */
static int next_column(struct tmpl_run *c, struct titer *it, struct tval *out)
{
    const struct tlist *l = it->src.u.list;
    if (it->i >= it->size) return 0;
    int64_t n = (int64_t)l->n, per = n / it->size, extra = n % it->size, at = it->i++;
    int64_t lo = at * per + (at < extra ? at : extra), hi = lo + per + (at < extra);
    int code = tmpl_list_new(c, TV_LIST, out);
    for (int64_t i = lo; i < hi && code == 0; i++) code = tmpl_list_add(c, out->u.list, l->v[i]);
    if (code == 0 && at >= extra && it->fill.type != TV_MISSING && it->fill.type != TV_NONE)
        code = tmpl_list_add(c, out->u.list, it->fill);
    return code < 0 ? code : 1;
}

static int begin_lazy(struct tmpl_run *c, struct titer *it)
{
    bool any = true;
    int code = 0;
    it->begun = true;
    if (it->kind == IT_MAP || it->kind == IT_MAP_ATTR || it->kind == IT_SELECT) {
        if ((code = tmpl_truth(c, it->src, &any)) < 0) return code;
    }
    if (!any) return 0;
    if (it->kind == IT_SLICE) code = tmpl_to_list(c, it->src, TV_LIST, &it->src);
    return code < 0 ? code : tmpl_iter(c, it->src, &it->inner);
}

static int next_lazy(struct tmpl_run *c, struct titer *it, struct tval *out)
{
    bool take = false;
    struct tval item;
    int code = it->begun ? 0 : begin_lazy(c, it);
    if (code < 0 || !it->inner) return code;
    if (it->inner == it) return tmpl_err(c, ERR_FORMAT, "an iterator goes over itself");
    if (it->kind == IT_BATCH) return next_batch(c, it, out);
    if (it->kind == IT_SLICE) return next_column(c, it, out);
    do {
        if ((code = tmpl_next(c, it->inner, &item)) <= 0) return code;
        *out = item;
        if (it->kind == IT_MAP_ATTR) {
            code = tmpl_attr_path(c, item, it->attr, it->fill, out);
            return code < 0 ? code : 1;
        }
        if (it->kind == IT_MAP) {
            struct tmpl_call k = it->call;
            k.self = item;
            code = tmpl_native_call(c, it->native, &k, out);
            return code < 0 ? code : 1;
        }
        if (it->kind == IT_UNIQUE) {
            struct tval key, dummy;
            if ((code = tmpl_path_key(c, item, it->attr, it->case_sensitive, &key)) < 0 ||
                (code = tmpl_dict_get(c, it->seen, key, &dummy)) < 0)
                return code;
            take = code == 0;
            if (take && (code = tmpl_dict_set(c, it->seen, key, key)) < 0) return code;
        } else if ((code = select_item(c, it, item, &take)) < 0) {
            return code;
        }
    } while (!take);
    return 1;
}

int tmpl_next(struct tmpl_run *c, struct titer *it, struct tval *out)
{
    int64_t n = 0;
    int code = tmpl_step(c, 1);
    if (code < 0) return code;
    switch (it->kind) {
    case IT_TEXT:
        return next_char(c, it, out);
    case IT_LIST:
        if (it->src.type == TV_UNDEF) return 0;
        /* fall through */
    case IT_RANGE:
    case IT_DICT:
        if ((code = tmpl_length(c, it->src, &n)) < 0) return code;
        return it->i < n ? item_at(c, it, it->i++, out) : 0;
    case IT_REVERSED:
        if ((code = tmpl_length(c, it->src, &n)) < 0) return code;
        return it->i < n ? item_at(c, it, n - 1 - it->i++, out) : 0;
    default:
        /* A chain of lazy filters recurses once per link. */
        if (++c->depth > TEMPLATE_DEPTH_MAX) return tmpl_err(c, ERR_LIMIT, "iterators are nested too deeply");
        code = next_lazy(c, it, out);
        c->depth--;
        return code;
    }
}

int tmpl_to_list(struct tmpl_run *c, struct tval v, enum tmpl_type type, struct tval *out)
{
    struct tval list, item;
    struct titer *it;
    int code = tmpl_iter(c, v, &it), more = 0;
    if (code < 0 || (code = tmpl_list_new(c, type, &list)) < 0) return code;
    list.trusted = v.type == TV_STR ? true : v.trusted;
    while (code == 0 && (more = tmpl_next(c, it, &item)) > 0) code = tmpl_list_add(c, list.u.list, item);
    *out = list;
    return more < 0 ? more : code;
}
