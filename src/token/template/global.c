/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions every chat template may call: range, dict, namespace, joiner, cycler of jinja2, and
 * raise_exception and strftime_now of transformers. The date is the one the caller passed in; names of days
 * and months are English.
 */
#include "token/template/template_int.h"

#include <stdio.h>

#define GLOBAL(name) static int name(struct tmpl_run *c, struct tmpl_call *k, struct tval *out)

/* An int argument, or def if it is not given. */
static int int_arg(struct tmpl_run *c, struct tval v, int64_t def, int64_t *out)
{
    *out = def;
    if (v.type == TV_MISSING) return 0;
    if (v.type == TV_UNDEF) return tmpl_undef_err(c, v);
    if (!tmpl_is_int(v)) return tmpl_err(c, ERR_FORMAT, "an int is needed, not a %s", tmpl_type_name(v));
    *out = tmpl_as_int(v);
    return 0;
}

GLOBAL(call_range)
{
    int64_t start, stop, step;
    bool one = k->arg[1].type == TV_MISSING;
    int code;
    if ((code = int_arg(c, k->arg[0], 0, &start)) < 0 || (code = int_arg(c, k->arg[1], 0, &stop)) < 0 ||
        (code = int_arg(c, k->arg[2], 1, &step)) < 0)
        return code;
    if (one) {
        stop = start;
        start = 0;
    }
    if (step == 0) return tmpl_err(c, ERR_FORMAT, "range() with a step of zero");
    uint64_t n = 0, by = step > 0 ? (uint64_t)step : -(uint64_t)step;
    if (step > 0 && stop > start) n = ((uint64_t)stop - (uint64_t)start - 1) / by + 1;
    if (step < 0 && stop < start) n = ((uint64_t)start - (uint64_t)stop - 1) / by + 1;
    if (n > TEMPLATE_RANGE_MAX)
        return tmpl_err(c, ERR_LIMIT, "range() with more than %d items", TEMPLATE_RANGE_MAX);
    struct trange *r = TMPL_NEW(c, struct trange, 1);
    if (!r) return c->code;
    *r = (struct trange){start, step, (int64_t)n, stop};
    *out = (struct tval){.type = TV_RANGE, .trusted = true, .u.range = r};
    for (int i = 0; i < 3; i++) out->trusted &= k->arg[i].type == TV_MISSING || k->arg[i].trusted;
    return 0;
}

/* dict(mapping or pairs, name=value...), also the start of a namespace */
static int fill_dict(struct tmpl_run *c, struct tmpl_call *k, struct tdict *d)
{
    struct tval item, key;
    struct titer *it;
    int code = 0, more = 0;
    if (k->n_pos > 1) return tmpl_err(c, ERR_FORMAT, "at most one positional argument is taken");
    if (k->n_pos && (k->pos[0].type == TV_DICT || k->pos[0].type == TV_NS)) {
        const struct tdict *from = k->pos[0].u.dict;
        for (size_t i = 0; i < from->n && code == 0; i++) {
            if ((code = tmpl_step(c, 1)) == 0) code = tmpl_dict_set(c, d, from->p[i].k, from->p[i].v);
        }
    } else if (k->n_pos) {
        if ((code = tmpl_iter(c, k->pos[0], &it)) < 0) return code;
        while (code == 0 && (more = tmpl_next(c, it, &item)) > 0) {
            struct tval pair;
            if ((code = tmpl_to_list(c, item, TV_LIST, &pair)) < 0) return code;
            if (pair.u.list->n != 2) return tmpl_err(c, ERR_FORMAT, "dict() needs pairs");
            code = tmpl_dict_set(c, d, pair.u.list->v[0], pair.u.list->v[1]);
        }
        if (more < 0) return more;
    }
    for (size_t i = 0; i < k->n_kw && code == 0; i++) {
        if ((code = tmpl_str_out(c, k->kw_name[i], !k->kw_foreign, &key)) == 0)
            code = tmpl_dict_set(c, d, key, k->kw[i]);
    }
    return code;
}

GLOBAL(call_dict)
{
    int code = tmpl_dict_new(c, out);
    return code < 0 ? code : fill_dict(c, k, out->u.dict);
}

GLOBAL(call_namespace)
{
    int code = tmpl_dict_new(c, out);
    if (code < 0 || (code = fill_dict(c, k, out->u.dict)) < 0) return code;
    out->type = TV_NS;
    const struct tdict *d = out->u.dict;
    for (size_t i = 0; i < d->n; i++) {
        if (d->p[i].k.type == TV_STR && str_starts(tmpl_view(d->p[i].k.u.s), STR("_")))
            return tmpl_err(c, ERR_FORMAT, "a namespace takes no name that begins with '_'");
    }
    return 0;
}

GLOBAL(call_joiner)
{
    struct tcycle *j = TMPL_NEW(c, struct tcycle, 1);
    int code = j ? 0 : c->code;
    if (code == 0 && k->arg[0].type == TV_MISSING)
        code = tmpl_str_out(c, STR(", "), true, &j->sep);
    else if (code == 0)
        j->sep = k->arg[0];
    *out = (struct tval){.type = TV_CYCLE, .trusted = true, .u.cycle = j};
    return code;
}

GLOBAL(call_cycler)
{
    struct tcycle *j = TMPL_NEW(c, struct tcycle, 1);
    struct tval list;
    int code = j ? tmpl_list_new(c, TV_LIST, &list) : c->code;
    if (k->n_kw || !k->n_pos) return tmpl_err(c, ERR_FORMAT, "cycler() needs items");
    for (size_t i = 0; i < k->n_pos && code == 0; i++) code = tmpl_list_add(c, list.u.list, k->pos[i]);
    if (code < 0) return code;
    j->items = list.u.list;
    *out = (struct tval){.type = TV_CYCLE, .trusted = true, .u.cycle = j};
    return 0;
}

GLOBAL(call_raise)
{
    struct tval s;
    int code = tmpl_to_str(c, k->arg[0], &s);
    (void)out;
    if (code < 0) return code;
    int n = s.u.s->n < ERR_MSG_MAX - 1 ? (int)s.u.s->n : ERR_MSG_MAX - 1;
    c->code = ERR_USAGE; /* in the template's own words, without a place */
    return err(c->e, ERR_USAGE, "%.*s", n, s.u.s->p);
}

/* --- dates ---------------------------------------------------------------------------------------------- */

static const char *const DAY[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                  "Thursday", "Friday", "Saturday"};
static const char *const MONTH[] = {"January", "February", "March",     "April",   "May",      "June",
                                    "July",    "August",   "September", "October", "November", "December"};

/* At least two places, filled with pad unless the flag says otherwise. */
static bool put_two(char *z, size_t cap, char flag, char pad, int v)
{
    if (flag == '-') return snprintf(z, cap, "%d", v) >= 0;
    return snprintf(z, cap, flag == '_' || pad == ' ' ? "%2d" : "%02d", v) >= 0;
}

/* One directive; false if it is unknown. flag: '-' drops the padding, '_' pads with blanks. */
static bool date_part(char d, char flag, const struct tm *t, char *z, size_t cap)
{
    int hour12 = t->tm_hour % 12 ? t->tm_hour % 12 : 12, monday0 = (t->tm_wday + 6) % 7;
    char sub[3][16];
    switch (d) {
    case 'a':
        return snprintf(z, cap, "%.3s", DAY[t->tm_wday]) >= 0;
    case 'A':
        return snprintf(z, cap, "%s", DAY[t->tm_wday]) >= 0;
    case 'b':
    case 'h':
        return snprintf(z, cap, "%.3s", MONTH[t->tm_mon]) >= 0;
    case 'B':
        return snprintf(z, cap, "%s", MONTH[t->tm_mon]) >= 0;
    case 'C':
        return put_two(z, cap, flag, '0', (t->tm_year + 1900) / 100);
    case 'd':
        return put_two(z, cap, flag, '0', t->tm_mday);
    case 'e':
        return put_two(z, cap, flag, ' ', t->tm_mday);
    case 'f':
        return snprintf(z, cap, "000000") >= 0;
    case 'H':
        return put_two(z, cap, flag, '0', t->tm_hour);
    case 'k':
        return put_two(z, cap, flag, ' ', t->tm_hour);
    case 'I':
        return put_two(z, cap, flag, '0', hour12);
    case 'l':
        return put_two(z, cap, flag, ' ', hour12);
    case 'j':
        return snprintf(z, cap, flag == '-' ? "%d" : "%03d", t->tm_yday + 1) >= 0;
    case 'm':
        return put_two(z, cap, flag, '0', t->tm_mon + 1);
    case 'M':
        return put_two(z, cap, flag, '0', t->tm_min);
    case 'n':
        return snprintf(z, cap, "\n") >= 0;
    case 'p':
        return snprintf(z, cap, t->tm_hour < 12 ? "AM" : "PM") >= 0;
    case 'P':
        return snprintf(z, cap, t->tm_hour < 12 ? "am" : "pm") >= 0;
    case 'S':
        return put_two(z, cap, flag, '0', t->tm_sec);
    case 't':
        return snprintf(z, cap, "\t") >= 0;
    case 'u':
        return snprintf(z, cap, "%d", monday0 + 1) >= 0;
    case 'U':
        return put_two(z, cap, flag, '0', (t->tm_yday + 7 - t->tm_wday) / 7);
    case 'w':
        return snprintf(z, cap, "%d", t->tm_wday) >= 0;
    case 'W':
        return put_two(z, cap, flag, '0', (t->tm_yday + 7 - monday0) / 7);
    case 'y':
        return put_two(z, cap, flag, '0', (t->tm_year + 1900) % 100);
    case 'Y':
        return snprintf(z, cap, "%d", t->tm_year + 1900) >= 0;
    case 'z':
    case 'Z':
        z[0] = 0;
        return true; /* no time zone */
    case '%':
        return snprintf(z, cap, "%%") >= 0;
    case 'T':
    case 'X':
        return snprintf(z, cap, "%02d:%02d:%02d", t->tm_hour, t->tm_min, t->tm_sec) >= 0;
    case 'R':
        return snprintf(z, cap, "%02d:%02d", t->tm_hour, t->tm_min) >= 0;
    case 'r':
        return snprintf(z, cap, "%02d:%02d:%02d %s", hour12, t->tm_min, t->tm_sec,
                        t->tm_hour < 12 ? "AM" : "PM") >= 0;
    case 'D':
    case 'x':
        return snprintf(z, cap, "%02d/%02d/%02d", t->tm_mon + 1, t->tm_mday, (t->tm_year + 1900) % 100) >= 0;
    case 'F':
        return snprintf(z, cap, "%d-%02d-%02d", t->tm_year + 1900, t->tm_mon + 1, t->tm_mday) >= 0;
    case 'c':
        date_part('a', 0, t, sub[0], sizeof sub[0]);
        date_part('b', 0, t, sub[1], sizeof sub[1]);
        date_part('T', 0, t, sub[2], sizeof sub[2]);
        return snprintf(z, cap, "%s %s %2d %s %d", sub[0], sub[1], t->tm_mday, sub[2], t->tm_year + 1900) >=
               0;
    default:
        return false;
    }
}

GLOBAL(call_strftime)
{
    struct tmpl_build b;
    struct tm t;
    time_t now = (time_t)c->in->now_s;
    if (k->arg[0].type != TV_STR) return tmpl_err(c, ERR_FORMAT, "strftime_now() needs a text");
    const struct text *f = k->arg[0].u.s;
    if (!gmtime_r(&now, &t) || t.tm_year < -900 || t.tm_year > 8099)
        return tmpl_err(c, ERR_RANGE, "the time is not in the years 1000 to 9999");
    int code = tmpl_build_init(&b, c);
    for (size_t at = 0; at < f->n && code == 0;) {
        const char *hit = memchr(f->p + at, '%', f->n - at);
        size_t n = (hit ? (size_t)(hit - f->p) : f->n) - at, p;
        char z[80], flag = 0;
        if ((code = tmpl_step(c, 1)) < 0 || (code = tmpl_build_part(&b, f, at, n)) < 0) return code;
        at += n;
        p = at + 1;
        if (p < f->n && (f->p[p] == '-' || f->p[p] == '_')) flag = f->p[p++];
        if (p < f->n && date_part(f->p[p], flag, &t, z, sizeof z)) {
            code = tmpl_build_z(&b, z, tmpl_text_trusted(f, p));
            at = p + 1;
        } else if (at < f->n) { /* unknown: as it stands */
            code = tmpl_build_part(&b, f, at++, 1);
        }
    }
    return code < 0 ? code : tmpl_build_done(&b, out);
}

static const struct tmpl_native GLOBALS[] = {
    {"range", "start,stop,step", 1, call_range},
    {"dict", "*", 0, call_dict},
    {"namespace", "*", 0, call_namespace},
    {"joiner", "sep", 0, call_joiner},
    {"cycler", "*", 0, call_cycler},
    {"raise_exception", "message", 1, call_raise},
    {"strftime_now", "format", 1, call_strftime},
};

const struct tmpl_native *tmpl_global_find(struct str name)
{
    return tmpl_table_find(GLOBALS, sizeof GLOBALS / sizeof *GLOBALS, name);
}
