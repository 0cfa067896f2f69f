/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of JSON Schema. Bounds become regular expressions over decimal digits: "at least 37.5" is a longer
 * integer part, or one that is greater at its first different digit, or 37 and a fraction of at least .5;
 * what lies between two bounds is the intersection. Zero and below mirror this with a minus sign.
 *
 * Lengths are bounded, so that a number ends: NUMBER_DIGITS before the point and as many behind, exponents of
 * two digits, and none where there are bounds.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "token/grammar/schema.h"

enum { NUMBER_DIGITS = 15, MULTIPLE_MAX = 20000, TEXT_MAX = 400 };

struct bound {
    bool set, open; /* open: the value itself is out */
    double v;
};

struct range {
    struct bound lo, hi;
    double multiple[8];
    int n_multiple;
};

static void raise_to(struct bound *b, double v, bool open)
{
    if (!b->set || v > b->v) *b = (struct bound){true, open, v};
    else if (!(v < b->v)) b->open |= open;
}

static void lower_to(struct bound *b, double v, bool open)
{
    if (!b->set || v < b->v) *b = (struct bound){true, open, v};
    else if (!(v > b->v)) b->open |= open;
}

static struct range range_of(const struct leaves *l)
{
    struct range r = {0};
    for (int i = 0; i < l->n; i++) {
        const json_t *s = l->p[i].s, *v, *x;
        /* Draft 4 has true and false beside minimum, later drafts a number. */
        x = json_object_get(s, "exclusiveMinimum");
        if (json_is_number(v = json_object_get(s, "minimum"))) raise_to(&r.lo, json_number_value(v), json_is_true(x));
        if (json_is_number(x)) raise_to(&r.lo, json_number_value(x), true);
        x = json_object_get(s, "exclusiveMaximum");
        if (json_is_number(v = json_object_get(s, "maximum"))) lower_to(&r.hi, json_number_value(v), json_is_true(x));
        if (json_is_number(x)) lower_to(&r.hi, json_number_value(x), true);
        if (json_is_number(v = json_object_get(s, "multipleOf")) && r.n_multiple < 8)
            r.multiple[r.n_multiple++] = json_number_value(v);
    }
    return r;
}

void schema_number_bounds(const struct leaves *l, double *lo, double *hi)
{
    struct range r = range_of(l);
    *lo = r.lo.set ? r.lo.v : -HUGE_VAL;
    *hi = r.hi.set ? r.hi.v : HUGE_VAL;
}

double schema_number_step(const struct leaves *l)
{
    struct range r = range_of(l);
    double step = 1;
    for (int i = 0; i < r.n_multiple; i++)
        if (r.multiple[i] > step && !(r.multiple[i] > floor(r.multiple[i]))) step = r.multiple[i];
    return step;
}

static bool is_multiple(double q)
{
    return !(fabs(q - nearbyint(q)) > 1e-9 * fmin(1, fabs(q))); /* 0.3 of 0.1, but not 1 of 1e9 */
}

bool schema_number_fits(const struct leaves *l, double v)
{
    struct range r = range_of(l);
    if (r.lo.set && (v < r.lo.v || (r.lo.open && !(v > r.lo.v)))) return false;
    if (r.hi.set && (v > r.hi.v || (r.hi.open && !(v < r.hi.v)))) return false;
    for (int i = 0; i < r.n_multiple; i++)
        if (r.multiple[i] > 0 && !is_multiple(v / r.multiple[i])) return false;
    return true;
}

/* --- one side of zero: texts whose magnitude is above or below a bound ------------------------------------ */

/* The digits of v >= 0, without an exponent; fraction without zeros at its end. */
static void split_decimal(double v, char whole[TEXT_MAX], char fraction[TEXT_MAX])
{
    char text[TEXT_MAX];
    int digits = 0;
    for (digits = 0; digits < 20; digits++) { /* the shortest that is v again */
        snprintf(text, sizeof text, "%.*f", digits, fabs(v));
        double back = strtod(text, NULL);
        if (!(back < fabs(v)) && !(back > fabs(v))) break;
    }
    char *dot = strchr(text, '.');
    if (dot) *dot = 0;
    snprintf(whole, TEXT_MAX, "%.*s", TEXT_MAX - 1, text);
    snprintf(fraction, TEXT_MAX, "%.*s", TEXT_MAX - 1, dot ? dot + 1 : "");
    for (size_t n = strlen(fraction); n && fraction[n - 1] == '0'; n--) fraction[n - 1] = 0;
}

static void any_fraction(struct buf *b, bool fraction)
{
    if (fraction) buf_printf(b, "(\\.\\d{1,%d})?", NUMBER_DIGITS);
}

/* Whole parts greater or less than w, each followed by any fraction, as alternatives that begin with '|'. */
static void whole_differs(struct buf *b, const char *w, bool greater, bool fraction)
{
    int n = (int)strlen(w);
    struct buf f;
    buf_init(&f, TEXT_MAX);
    any_fraction(&f, fraction);
    const char *frac = f.p ? f.p : "";
    for (int k = 0; k < n; k++) {
        int digit = w[k] - '0', lo = greater ? digit + 1 : k == 0 && n > 1 ? 1 : 0, hi = greater ? 9 : digit - 1;
        if (lo <= hi) buf_printf(b, "|%.*s[%d-%d]\\d{%d}%s", k, w, lo, hi, n - k - 1, frac);
    }
    if (greater && n < NUMBER_DIGITS) buf_printf(b, "|[1-9]\\d{%d,%d}%s", n, NUMBER_DIGITS - 1, frac);
    if (!greater && n > 1) buf_printf(b, "|(0|[1-9]\\d{0,%d})%s", n - 2, frac);
    buf_finish(&f);
}

/* Texts of magnitude at least (at most) v, as a list of alternatives. */
static void side(struct buf *b, double v, bool open, bool at_least, bool fraction)
{
    char w[TEXT_MAX], f[TEXT_MAX];
    split_decimal(v, w, f);
    buf_append_z(b, "[^\\x00-\\x{10FFFF}]"); /* matches nothing */
    whole_differs(b, w, at_least, fraction);
    if (!fraction) {
        bool exact = !*f;
        if (at_least ? exact && !open : !(exact && open))
            buf_printf(b, "|%s", w); /* 37 <= 37.5, but 38 is the first above */
        return;
    }
    if (at_least && !*f) {
        if (open)
            buf_printf(b, "|%s\\.0{0,%d}[1-9]\\d{0,%d}", w, NUMBER_DIGITS - 1, NUMBER_DIGITS - 1);
        else
            buf_printf(b, "|%s(\\.\\d{1,%d})?", w, NUMBER_DIGITS);
    } else if (at_least) {
        for (size_t k = 0; f[k]; k++)
            if (f[k] < '9') buf_printf(b, "|%s\\.%.*s[%c-9]\\d{0,%d}", w, (int)k, f, f[k] + 1, NUMBER_DIGITS);
        if (open)
            buf_printf(b, "|%s\\.%s0{0,5}[1-9]\\d{0,%d}", w, f, NUMBER_DIGITS);
        else
            buf_printf(b, "|%s\\.%s\\d{0,%d}", w, f, NUMBER_DIGITS);
    } else if (!*f) {
        if (!open) buf_printf(b, "|%s(\\.0{1,%d})?", w, NUMBER_DIGITS);
    } else {
        buf_printf(b, "|%s", w);
        for (size_t k = 1; f[k]; k++) buf_printf(b, "|%s\\.%.*s", w, (int)k, f);
        for (size_t k = 0; f[k]; k++)
            if (f[k] > '0') buf_printf(b, "|%s\\.%.*s[0-%c]\\d{0,%d}", w, (int)k, f, f[k] - 1, NUMBER_DIGITS);
        if (!open) buf_printf(b, "|%s\\.%s0{0,5}", w, f);
    }
}

static const struct dfa *of_text(struct schema *x, struct buf *b)
{
    struct pattern *p;
    struct dfa *d = NULL;
    if (b->failed) return schema_no_memory(x), NULL;
    if (x->rc) return NULL;
    x->rc = pattern_parse(&x->a, buf_str(b), PATTERN_WHOLE, &p, &d, x->e);
    if (!x->rc && p) x->rc = dfa_of_pattern(&x->a, p, &d, x->e);
    return x->rc ? NULL : d;
}

/* Texts without a sign whose magnitude lies between the bounds. */
static const struct dfa *magnitudes(struct schema *x, struct bound lo, struct bound hi, bool fraction, bool whole)
{
    struct buf b;
    struct dfa *both = NULL;
    buf_init(&b, 1 << 20);
    if (lo.set && lo.v >= 0)
        side(&b, lo.v, lo.open, true, fraction);
    else {
        buf_printf(&b, "(0|[1-9]\\d{0,%d})", NUMBER_DIGITS - 1);
        any_fraction(&b, fraction);
    }
    const struct dfa *low = of_text(x, &b);
    buf_clear(&b);
    if (hi.set && low) {
        side(&b, hi.v, hi.open, false, fraction);
        const struct dfa *high = of_text(x, &b);
        if (high && !x->rc) x->rc = dfa_and(&x->a, low, high, &both, x->e);
        low = both;
    }
    if (!whole && low && !x->rc) { /* numbers that are not whole: another digit than 0 behind the point */
        buf_clear(&b);
        buf_append_z(&b, "\\d+\\.\\d*[1-9]\\d*");
        const struct dfa *part = of_text(x, &b);
        if (part) x->rc = dfa_and(&x->a, low, part, &both, x->e);
        low = both;
    }
    buf_finish(&b);
    return x->rc ? NULL : low;
}

/* Digit strings that are multiples of m: the state is the remainder, one more state is the start. */
static const struct dfa *multiples(struct schema *x, int m)
{
    static const uint32_t from[] = {0, '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '9' + 1};
    struct dfa *d = ARENA_NEW(&x->a, struct dfa, 1);
    int n = m + 1, w = 12;
    if (d) *d = (struct dfa){n, w, from, ARENA_NEW(&x->a, int32_t, (size_t)n * 12), ARENA_NEW(&x->a, bool, (size_t)n)};
    if (!d || !d->next || !d->accept) return schema_no_memory(x), NULL;
    for (int s = 0; s < n; s++) {
        d->next[s * w] = d->next[s * w + 11] = -1;
        for (int k = 0; k < 10; k++) d->next[s * w + 1 + k] = ((s ? s - 1 : 0) * 10 + k) % m + 1;
        d->accept[s] = s == 1;
    }
    return d;
}

/* multipleOf as a whole number that its values are multiples of; 0: of no help. 0.01 has all whole numbers. */
static int whole_multiple(struct schema *x, double m, const char *path)
{
    if (m <= 0) return schema_fail(x, ERR_FORMAT, path, "'multipleOf' is not above 0"), 0;
    for (int k = 1; k <= 1000; k++) { /* k times m is whole: multiples of that are multiples of m */
        double v = m * k, near = nearbyint(v);
        if (near >= 1 && fabs(v - near) < 1e-9 * near && near <= MULTIPLE_MAX) return (int)near;
    }
    schema_fail(x, ERR_UNSUPPORTED, path, "'multipleOf' of %g is not supported", m);
    return 0;
}

static uint32_t plain_number(struct schema *x, bool fraction)
{
    uint32_t *rule = fraction ? &x->number : &x->integer;
    struct buf b;
    if (*rule) return *rule;
    buf_init(&b, TEXT_MAX);
    buf_printf(&b, "-?(0|[1-9]\\d{0,%d})", NUMBER_DIGITS - 1);
    if (fraction) buf_printf(&b, "(\\.\\d{1,%d})?([eE][+-]?\\d{1,2})?", NUMBER_DIGITS);
    const struct dfa *d = of_text(x, &b);
    buf_finish(&b);
    *rule = grammar_rule(x->g, fraction ? "number" : "integer");
    if (d && grammar_dfa(x->g, x->g->rule[*rule].start, x->g->rule[*rule].final, d, TEXT_PLAIN)) schema_no_memory(x);
    return *rule;
}

static void emit(struct schema *x, const struct dfa *d, const struct range *r, const char *path,
                 bool negative, uint32_t from, uint32_t to)
{
    for (int i = 0; i < r->n_multiple && d && !x->rc; i++) {
        int m = whole_multiple(x, r->multiple[i], path);
        if (x->rc || m == 1) continue;
        const struct dfa *mult = multiples(x, m);
        struct dfa *both = NULL;
        if (mult) x->rc = dfa_and(&x->a, d, mult, &both, x->e);
        d = both;
    }
    if (!d || x->rc) return;
    if (negative) from = grammar_literal(x->g, from, STR("-"));
    if (grammar_dfa(x->g, from, to, d, TEXT_PLAIN)) schema_no_memory(x);
}

/* Numbers of l but for v: those below it and those above. */
static void without(struct schema *x, const struct leaves *l, unsigned types, json_t *v, uint32_t from, uint32_t to)
{
    static const char *const key[2] = {"exclusiveMaximum", "exclusiveMinimum"};
    for (int i = 0; i < 2 && !x->rc; i++) {
        struct leaves part = {0};
        for (int k = 0; k < l->n; k++) leaves_add(x, &part, l->p[k].s, l->p[k].path);
        leaves_add(x, &part, schema_keep(x, json_pack("{s:O}", key[i], v)), l->p[0].path);
        if (!x->rc) schema_number(x, &part, types, from, to);
    }
}

void schema_number(struct schema *x, const struct leaves *l, unsigned types, uint32_t from, uint32_t to)
{
    struct range r = range_of(l);
    bool fraction = types & TYPE_FRACTION && !r.n_multiple, whole = types & TYPE_INTEGER;
    const char *path = l->p[0].path;
    if (r.n_multiple && !(types & TYPE_INTEGER)) return;
    for (int i = 0; i < l->n; i++) {
        size_t k;
        json_t *v;
        json_array_foreach (json_object_get(l->p[i].s, KEY_NOT_ENUM), k, v)
            if (json_is_number(v) && schema_number_fits(l, json_number_value(v))) {
                without(x, l, types, v, from, to);
                return;
            }
    }
    if (!r.lo.set && !r.hi.set && !r.n_multiple && whole) {
        grammar_eps(x->g, grammar_call(x->g, from, plain_number(x, fraction)), to);
        return;
    }
    struct bound zero = {true, false, 0}, neg_lo = {r.hi.set, r.hi.open, -r.hi.v},
                 neg_hi = {r.lo.set, r.lo.open, -r.lo.v};
    bool positive = !r.hi.set || r.hi.v > 0 || (!(r.hi.v < 0) && !r.hi.open), negative = !r.lo.set || r.lo.v < 0;
    if (positive)
        emit(x,
             magnitudes(x,
                        r.lo.set && r.lo.v > 0      ? r.lo
                        : r.lo.set && !(r.lo.v < 0) ? r.lo
                                                    : zero,
                        r.hi, fraction, whole),
             &r, path, false, from, to);
    if (negative)
        emit(x, magnitudes(x, r.hi.set && r.hi.v <= 0 ? neg_lo : zero, neg_hi, fraction, whole), &r, path,
             true, from, to);
}
