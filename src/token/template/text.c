/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marked strings of the template interpreter: UTF-8 bytes and, beside them, one mark per byte that says
 * whether the byte may be part of a special token. A string of one kind carries no marks but a flag.
 * Everything that copies bytes goes through tmpl_build_*, which copies the marks too; slices share both.
 *
 * A finished string keeps its store, and concatenation appends in place if the left operand ends where its
 * store does, so that "text = text + part" in a loop stays linear.
 */
#include "token/template/template_int.h"

#include <utf8proc.h>

/* --- UTF-8 and Unicode ---------------------------------------------------------------------------------- */

size_t tmpl_utf8_next(const char *s, size_t n, uint32_t *cp)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0;
    uint32_t v = p[0];
    if (len == 1) {
        *cp = v;
        return 1;
    }
    *cp = 0xFFFD;
    if (len == 0 || len > n) return 1;
    v &= 0x7Fu >> len;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) return 1;
        v = v << 6 | (p[i] & 0x3F);
    }
    if ((len == 3 && v < 0x800) || (len == 4 && v < 0x10000) || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000))
        return 1;
    *cp = v;
    return len;
}

size_t tmpl_utf8_put(uint32_t cp, char *p)
{
    if (cp < 0x80) {
        p[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        p[0] = (char)(0xC0 | cp >> 6);
        p[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        p[0] = (char)(0xE0 | cp >> 12);
        p[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        p[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    p[0] = (char)(0xF0 | cp >> 18);
    p[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    p[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    p[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

size_t tmpl_utf8_count(const char *p, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) k += ((unsigned char)p[i] & 0xC0) != 0x80;
    return k;
}

static bool valid(struct str s)
{
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        if ((unsigned char)s.p[i] < 0x80) {
            i++;
            continue;
        }
        size_t k = tmpl_utf8_next(s.p + i, s.n - i, &cp);
        if (k == 1) return false;
        i += k;
    }
    return true;
}

bool tmpl_cp_space(uint32_t cp)
{
    if (cp < 0x80) return cp == ' ' || (cp >= 9 && cp <= 13) || (cp >= 0x1C && cp <= 0x1F);
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool tmpl_cp_printable(uint32_t cp)
{
    if (cp < 0x80) return cp >= 0x20 && cp < 0x7F;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    default:
        return true;
    }
}

bool tmpl_cp_cased(uint32_t cp)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)cp);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT ||
           (cp >= 0x2160 && cp <= 0x217F) || (cp >= 0x24B6 && cp <= 0x24E9) || cp == 0xAA || cp == 0xBA;
}

bool tmpl_cp_alpha(uint32_t cp)
{
    int k = utf8proc_category((utf8proc_int32_t)cp);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool tmpl_cp_decimal(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_ND;
}

bool tmpl_cp_digit(uint32_t cp) /* superscripts, subscripts and circled digits too */
{
    return tmpl_cp_decimal(cp) || cp == 0xB2 || cp == 0xB3 || cp == 0xB9 || cp == 0x2070 ||
           (cp >= 0x2074 && cp <= 0x2079) || (cp >= 0x2080 && cp <= 0x2089) || (cp >= 0x2460 && cp <= 0x2468);
}

bool tmpl_cp_numeric(uint32_t cp)
{
    int k = utf8proc_category((utf8proc_int32_t)cp);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool tmpl_cp_alnum(uint32_t cp)
{
    return tmpl_cp_alpha(cp) || tmpl_cp_numeric(cp);
}

/* Characters that the rule for a final sigma looks through. */
static bool case_ignorable(uint32_t cp)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)cp);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
           k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK || cp == '\'' || cp == '.' || cp == ':' ||
           cp == 0xB7 || cp == 0x2018 || cp == 0x2019 || cp == 0x2024 || cp == 0x2027;
}

/* --- building ------------------------------------------------------------------------------------------- */

struct tval tmpl_str(struct tmpl_run *c, struct str s, bool trusted)
{
    struct tval v = {.type = TV_MISSING};
    struct text *t = TMPL_NEW(c, struct text, 1);
    if (!t || tmpl_step(c, s.n / 64) < 0) return v;
    if (!valid(s)) {
        tmpl_err(c, ERR_FORMAT, "a string is not UTF-8");
        return v;
    }
    *t = (struct text){.p = s.p ? s.p : "", .n = s.n, .n_cp = tmpl_utf8_count(s.p, s.n), .trusted = trusted};
    v.type = TV_STR;
    v.u.s = t;
    return v;
}

int tmpl_str_out(struct tmpl_run *c, struct str s, bool trusted, struct tval *out)
{
    *out = tmpl_str(c, s, trusted);
    return out->type == TV_MISSING ? c->code : 0;
}

int tmpl_build_init(struct tmpl_build *b, struct tmpl_run *c)
{
    *b = (struct tmpl_build){.c = c, .st = TMPL_NEW(c, struct text_store, 1), .trusted = true};
    return b->st ? 0 : c->code;
}

static int grow(struct tmpl_run *c, struct text_store *st, size_t more)
{
    if (more > TEMPLATE_OUTPUT_MAX - st->used)
        return tmpl_err(c, ERR_LIMIT, "a text grows past %d bytes", TEMPLATE_OUTPUT_MAX);
    if (st->cap - st->used >= more) return 0;
    size_t cap = st->cap ? st->cap : 32;
    while (cap < st->used + more) cap *= 2;
    char *p = tmpl_bytes(c, cap + 1); /* one for a NUL */
    uint8_t *mark = NULL;
    if (!p || (st->mark && !(mark = tmpl_bytes(c, cap)))) return c->code;
    if (st->used) memcpy(p, st->p, st->used);
    if (mark && st->used) memcpy(mark, st->mark, st->used);
    st->p = p;
    st->mark = mark;
    st->cap = cap;
    return 0;
}

/* Appends to a store whose bytes so far are all `*trusted` unless it has marks. */
static int store_append(struct tmpl_run *c, struct text_store *st, bool *uniform, const char *p,
                        const uint8_t *mark, bool trusted, size_t n)
{
    int code;
    if (!n) return 0;
    if ((code = tmpl_step(c, n / 64)) < 0 || (code = grow(c, st, n)) < 0) return code;
    if (!st->mark && st->used == 0 && !mark) *uniform = trusted;
    if (!st->mark && (mark || trusted != *uniform)) {
        if (!(st->mark = tmpl_bytes(c, st->cap))) return c->code;
        memset(st->mark, *uniform, st->used);
    }
    memcpy(st->p + st->used, p, n);
    if (mark)
        memcpy(st->mark + st->used, mark, n);
    else if (st->mark)
        memset(st->mark + st->used, trusted, n);
    st->used += n;
    return 0;
}

int tmpl_build_bytes(struct tmpl_build *b, const char *p, const uint8_t *mark, bool trusted, size_t n)
{
    int code = store_append(b->c, b->st, &b->trusted, p, mark, trusted, n);
    if (code == 0) b->n_cp += tmpl_utf8_count(p, n);
    return code;
}

int tmpl_build_text(struct tmpl_build *b, const struct text *t)
{
    int code = store_append(b->c, b->st, &b->trusted, t->p, t->mark, t->trusted, t->n);
    if (code == 0) b->n_cp += t->n_cp;
    return code;
}

int tmpl_build_part(struct tmpl_build *b, const struct text *t, size_t at, size_t n)
{
    return tmpl_build_bytes(b, t->p + at, t->mark ? t->mark + at : NULL, t->trusted, n);
}

int tmpl_build_str(struct tmpl_build *b, struct str s, bool trusted)
{
    return tmpl_build_bytes(b, s.p, NULL, trusted, s.n);
}

int tmpl_build_z(struct tmpl_build *b, const char *z, bool trusted)
{
    return tmpl_build_bytes(b, z, NULL, trusted, strlen(z));
}

int tmpl_build_cp(struct tmpl_build *b, uint32_t cp, bool trusted)
{
    char p[4];
    return tmpl_build_bytes(b, p, NULL, trusted, tmpl_utf8_put(cp, p));
}

int tmpl_build_fill(struct tmpl_build *b, uint32_t cp, size_t n, bool trusted)
{
    char p[4], many[256];
    size_t k = tmpl_utf8_put(cp, p), per = sizeof many / k;
    for (size_t i = 0; i < per && i < n; i++) memcpy(many + i * k, p, k);
    if (n > TEMPLATE_OUTPUT_MAX)
        return tmpl_err(b->c, ERR_LIMIT, "a text grows past %d bytes", TEMPLATE_OUTPUT_MAX);
    while (n) {
        size_t m = n < per ? n : per;
        int code = tmpl_build_bytes(b, many, NULL, trusted, m * k);
        if (code < 0) return code;
        n -= m;
    }
    return 0;
}

static int finish(struct tmpl_run *c, struct text_store *st, bool trusted, size_t n_cp, struct tval *out)
{
    struct text *t = TMPL_NEW(c, struct text, 1);
    if (!t) return c->code;
    *t = (struct text){.p = st->p ? st->p : "",
                       .mark = st->mark,
                       .n = st->used,
                       .n_cp = n_cp,
                       .store = st,
                       .trusted = trusted};
    *out = (struct tval){.type = TV_STR, .u.s = t};
    return 0;
}

int tmpl_build_done(struct tmpl_build *b, struct tval *out)
{
    return finish(b->c, b->st, b->trusted, b->n_cp, out);
}

int tmpl_text_part(struct tmpl_run *c, const struct text *t, size_t at, size_t n, struct tval *out)
{
    struct text *r = TMPL_NEW(c, struct text, 1);
    int code = tmpl_step(c, n / 256);
    if (!r || code < 0) return c->code;
    *r = (struct text){.p = t->p + at, .mark = t->mark ? t->mark + at : NULL, .n = n, .trusted = t->trusted};
    r->n_cp = t->n_cp == t->n ? n : tmpl_utf8_count(r->p, n);
    *out = (struct tval){.type = TV_STR, .u.s = r};
    return 0;
}

int tmpl_text_concat(struct tmpl_run *c, const struct text *a, const struct text *b, struct tval *out)
{
    struct text_store *st = a->store;
    struct tmpl_build nb;
    int code;
    if (!a->n || !b->n) {
        *out = (struct tval){.type = TV_STR, .u.s = a->n ? a : b};
        return 0;
    }
    if (st && a->p + a->n == st->p + st->used && a->p == st->p && st->cap - st->used >= b->n &&
        (a->mark != NULL) == (st->mark != NULL)) {
        bool uniform = a->trusted;
        code = store_append(c, st, &uniform, b->p, b->mark, b->trusted, b->n);
        return code < 0 ? code : finish(c, st, uniform, a->n_cp + b->n_cp, out);
    }
    if ((code = tmpl_build_init(&nb, c)) < 0 || (code = tmpl_build_text(&nb, a)) < 0 ||
        (code = tmpl_build_text(&nb, b)) < 0)
        return code;
    return tmpl_build_done(&nb, out);
}

bool tmpl_text_trusted(const struct text *t, size_t at)
{
    return t->mark && at < t->n ? t->mark[at] : t->trusted;
}

size_t tmpl_text_offset(const struct text *t, size_t i_cp)
{
    if (i_cp >= t->n_cp) return t->n;
    if (t->n == t->n_cp) return i_cp;
    size_t at = 0;
    while (i_cp && at < t->n) {
        at++;
        while (at < t->n && ((unsigned char)t->p[at] & 0xC0) == 0x80) at++;
        i_cp--;
    }
    return at;
}

/* --- operations ----------------------------------------------------------------------------------------- */

static const struct special_case {
    uint32_t cp;
    const char *upper, *title;
} SPECIAL[] = {
#define X(cp, upper, title) {cp, upper, title},
#include "token/template/case.def"
#undef X
};

static const struct special_case *special_find(uint32_t cp)
{
    size_t lo = 0, hi = sizeof SPECIAL / sizeof *SPECIAL;
    if (cp < SPECIAL[0].cp) return NULL;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (SPECIAL[mid].cp == cp) return &SPECIAL[mid];
        if (SPECIAL[mid].cp < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* Whether the capital sigma at byte `at` ends a word: a cased letter before and none after. */
static bool final_sigma(const struct text *t, size_t at)
{
    bool before = false;
    uint32_t cp;
    for (size_t i = at; i > 0;) {
        i--;
        while (i > 0 && ((unsigned char)t->p[i] & 0xC0) == 0x80) i--;
        tmpl_utf8_next(t->p + i, t->n - i, &cp);
        if (case_ignorable(cp)) continue;
        before = tmpl_cp_cased(cp);
        break;
    }
    for (size_t i = at + 2; before && i < t->n;) {
        i += tmpl_utf8_next(t->p + i, t->n - i, &cp);
        if (!case_ignorable(cp)) return !tmpl_cp_cased(cp);
    }
    return before;
}

static int put_case(struct tmpl_build *b, const struct text *t, size_t at, uint32_t cp, enum tmpl_case how)
{
    bool trusted = tmpl_text_trusted(t, at);
    if (how == CASE_LOWER) {
        if (cp == 0x130) return tmpl_build_z(b, "i\xCC\x87", trusted);
        if (cp == 0x3A3) return tmpl_build_cp(b, final_sigma(t, at) ? 0x3C2 : 0x3C3, trusted);
        return tmpl_build_cp(b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp), trusted);
    }
    const struct special_case *sc = special_find(cp);
    if (sc) return tmpl_build_z(b, how == CASE_UPPER ? sc->upper : sc->title, trusted);
    utf8proc_int32_t u = (utf8proc_int32_t)cp;
    return tmpl_build_cp(b, (uint32_t)(how == CASE_UPPER ? utf8proc_toupper(u) : utf8proc_totitle(u)),
                         trusted);
}

/* A character at which jinja2's title filter begins a new word. */
static bool title_break(uint32_t cp)
{
    return tmpl_cp_space(cp) || cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<';
}

int tmpl_text_case(struct tmpl_run *c, const struct text *t, enum tmpl_case how, struct tval *out)
{
    struct tmpl_build b;
    bool start = true; /* of a word */
    int code = tmpl_build_init(&b, c);
    if (code == 0) code = tmpl_step(c, t->n / 8);
    for (size_t at = 0; at < t->n && code == 0;) {
        uint32_t cp;
        size_t k = tmpl_utf8_next(t->p + at, t->n - at, &cp);
        enum tmpl_case now = how;
        bool cased = how == CASE_TITLE && tmpl_cp_cased(cp);
        if (how == CASE_CAPITAL || how == CASE_TITLE) now = start ? CASE_TITLE : CASE_LOWER;
        if (how == CASE_TITLE_FILTER) now = start ? CASE_UPPER : CASE_LOWER;
        if (how == CASE_SWAP)
            now = utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_LU ? CASE_LOWER : CASE_UPPER;
        code = put_case(&b, t, at, cp, now);
        if (how == CASE_TITLE)
            start = !cased;
        else if (how == CASE_TITLE_FILTER)
            start = title_break(cp);
        else
            start = false;
        at += k;
    }
    return code < 0 ? code : tmpl_build_done(&b, out);
}

static bool in_set(const struct text *chars, const char *p, size_t n, uint32_t cp)
{
    if (!chars) return tmpl_cp_space(cp);
    for (size_t i = 0; i < chars->n;) {
        uint32_t x;
        size_t k = tmpl_utf8_next(chars->p + i, chars->n - i, &x);
        if (k == n && memcmp(chars->p + i, p, n) == 0) return true;
        i += k;
    }
    return false;
}

int tmpl_text_strip(struct tmpl_run *c, const struct text *t, const struct text *chars, int sides,
                    struct tval *out)
{
    size_t lo = 0, hi = t->n, set = chars ? chars->n / 64 : 0;
    int code = 0;
    while (sides & STRIP_LEFT && lo < hi) {
        uint32_t cp;
        size_t k = tmpl_utf8_next(t->p + lo, hi - lo, &cp);
        if (!in_set(chars, t->p + lo, k, cp)) break;
        if ((code = tmpl_step(c, set)) < 0) return code;
        lo += k;
    }
    while (sides & STRIP_RIGHT && lo < hi) {
        uint32_t cp;
        size_t at = hi - 1;
        while (at > lo && ((unsigned char)t->p[at] & 0xC0) == 0x80) at--;
        tmpl_utf8_next(t->p + at, hi - at, &cp);
        if (!in_set(chars, t->p + at, hi - at, cp)) break;
        if ((code = tmpl_step(c, set)) < 0) return code;
        hi = at;
    }
    if (lo == 0 && hi == t->n) {
        *out = (struct tval){.type = TV_STR, .u.s = t};
        return 0;
    }
    return tmpl_text_part(c, t, lo, hi - lo, out);
}

bool tmpl_text_find(struct tmpl_run *c, struct str hay, struct str needle, size_t from, size_t *at)
{
    if (from > hay.n || needle.n > hay.n - from) return false;
    if (!needle.n) {
        *at = from;
        return true;
    }
    const char *hit = memmem(hay.p + from, hay.n - from, needle.p, needle.n);
    size_t walked = hit ? (size_t)(hit - hay.p) - from : hay.n - from;
    if (tmpl_step(c, walked / 64 + 1) < 0 || !hit) return false;
    *at = (size_t)(hit - hay.p);
    return true;
}

int tmpl_text_replace(struct tmpl_run *c, const struct text *t, const struct text *from,
                      const struct text *to, int64_t limit, struct tval *out)
{
    struct tmpl_build b;
    size_t at = 0, hit;
    int code = tmpl_build_init(&b, c);
    while (code == 0 && limit != 0 && tmpl_text_find(c, tmpl_view(t), tmpl_view(from), at, &hit)) {
        size_t step = 0;
        if (!from->n && hit < t->n) { /* between characters, and at both ends */
            uint32_t cp;
            step = tmpl_utf8_next(t->p + hit, t->n - hit, &cp);
        }
        if ((code = tmpl_build_part(&b, t, at, hit - at)) < 0 || (code = tmpl_build_text(&b, to)) < 0 ||
            (code = tmpl_build_part(&b, t, hit, step)) < 0)
            return code;
        at = hit + from->n + step;
        if (limit > 0) limit--;
        if (!from->n && !step) break;
        code = tmpl_step(c, 1);
    }
    if (code < 0 || c->code < 0) return c->code;
    if ((code = tmpl_build_part(&b, t, at, t->n - at)) < 0) return code;
    return tmpl_build_done(&b, out);
}

size_t tmpl_text_line(struct str s, size_t at, size_t *next)
{
    while (at < s.n) {
        uint32_t cp;
        size_t k = tmpl_utf8_next(s.p + at, s.n - at, &cp);
        if ((cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 ||
            cp == 0x2029) {
            *next = at + k;
            if (cp == '\r' && *next < s.n && s.p[*next] == '\n') ++*next;
            return at;
        }
        at += k;
    }
    *next = s.n;
    return s.n;
}

int tmpl_text_escape(struct tmpl_run *c, const struct text *t, struct tval *out)
{
    struct tmpl_build b;
    size_t from = 0;
    int code = tmpl_build_init(&b, c);
    for (size_t i = 0; i < t->n && code == 0; i++) {
        const char *z;
        switch (t->p[i]) {
        case '&':
            z = "&amp;";
            break;
        case '<':
            z = "&lt;";
            break;
        case '>':
            z = "&gt;";
            break;
        case '\'':
            z = "&#39;";
            break;
        case '"':
            z = "&#34;";
            break;
        default:
            continue;
        }
        code = tmpl_build_part(&b, t, from, i - from);
        if (code == 0) code = tmpl_build_z(&b, z, tmpl_text_trusted(t, i));
        from = i + 1;
    }
    if (code < 0 || (code = tmpl_build_part(&b, t, from, t->n - from)) < 0 ||
        (code = tmpl_build_done(&b, out)) < 0)
        return code;
    out->markup = true;
    return 0;
}
