/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rope.c: the steps of rope.h, in fixed point.
 *
 * A number is a signed 256-bit integer (two's complement, least significant word first) in units of
 * 2^-192: 63 bits before the point, 192 behind it. Products and quotients are cut off, not rounded; with
 * a few hundred of them the error stays below 2^-170, far from the 2^-64 that a step resolves. Speed does
 * not matter: a table is made once per model, in about a millisecond.
 *
 *   ln m      2 atanh((m-1)/(m+1)), the odd power series; ln of 2^e m by adding e ln 2
 *   exp x     x = k ln 2 + r; Taylor series of r / 256; eight squarings; a shift by k
 *   pi        Machin: 16 atan(1/5) - 4 atan(1/239)
 */
#include "kern/rope.h"

#include <inttypes.h>

#include "base/err.h"

enum { WORDS = 4, FRAC_WORDS = 3, FRAC_BITS = 192 };

typedef unsigned __int128 u128;

struct fix {
    uint64_t w[WORDS];
};

static struct fix fix_int(int64_t v)
{
    return (struct fix){{0, 0, 0, (uint64_t)v}};
}

static bool fix_negative(struct fix a)
{
    return a.w[WORDS - 1] >> 63;
}

static bool fix_zero(struct fix a)
{
    return !(a.w[0] | a.w[1] | a.w[2] | a.w[3]);
}

static struct fix fix_add(struct fix a, struct fix b)
{
    u128 carry = 0;
    for (int i = 0; i < WORDS; i++) {
        carry += (u128)a.w[i] + b.w[i];
        a.w[i] = (uint64_t)carry;
        carry >>= 64;
    }
    return a;
}

static struct fix fix_neg(struct fix a)
{
    u128 carry = 1;
    for (int i = 0; i < WORDS; i++) {
        carry += ~a.w[i];
        a.w[i] = (uint64_t)carry;
        carry >>= 64;
    }
    return a;
}

static struct fix fix_sub(struct fix a, struct fix b)
{
    return fix_add(a, fix_neg(b));
}

static bool fix_less(struct fix a, struct fix b)
{
    return fix_negative(fix_sub(a, b));
}

static struct fix fix_abs(struct fix a)
{
    return fix_negative(a) ? fix_neg(a) : a;
}

static struct fix fix_mul(struct fix a, struct fix b)
{
    bool neg = fix_negative(a) != fix_negative(b);
    uint64_t p[2 * WORDS] = {0};
    a = fix_abs(a);
    b = fix_abs(b);
    for (int i = 0; i < WORDS; i++) {
        u128 carry = 0;
        for (int j = 0; j < WORDS; j++) {
            carry += (u128)a.w[i] * b.w[j] + p[i + j];
            p[i + j] = (uint64_t)carry;
            carry >>= 64;
        }
        p[i + WORDS] = (uint64_t)carry;
    }
    struct fix r = {{p[FRAC_WORDS], p[FRAC_WORDS + 1], p[FRAC_WORDS + 2], p[FRAC_WORDS + 3]}};
    return neg ? fix_neg(r) : r;
}

static struct fix fix_mul_small(struct fix a, uint32_t m)
{
    u128 carry = 0;
    for (int i = 0; i < WORDS; i++) { /* right for negative numbers too, modulo 2^256 */
        carry += (u128)a.w[i] * m;
        a.w[i] = (uint64_t)carry;
        carry >>= 64;
    }
    return a;
}

static struct fix fix_div_small(struct fix a, uint32_t d)
{
    bool neg = fix_negative(a);
    u128 rest = 0;
    a = fix_abs(a);
    for (int i = WORDS - 1; i >= 0; i--) {
        rest = rest << 64 | a.w[i];
        a.w[i] = (uint64_t)(rest / d);
        rest %= d;
    }
    return neg ? fix_neg(a) : a;
}

/* Left by k >= 0 or right by -k, of a number that is not negative. */
static struct fix fix_shift(struct fix a, int k)
{
    for (; k > 0; k--) a = fix_add(a, a);
    for (; k < 0; k++)
        for (int i = 0; i < WORDS; i++) a.w[i] = a.w[i] >> 1 | (i + 1 < WORDS ? a.w[i + 1] << 63 : 0);
    return a;
}

/* The highest bit that is set, from 1; 0 if none is. */
static int fix_bits(struct fix a)
{
    int i = WORDS - 1;
    while (i >= 0 && !a.w[i]) i--;
    return i < 0 ? 0 : 64 * (i + 1) - __builtin_clzll(a.w[i]);
}

/* a / b by long division, one bit at a time from the highest of a; b is not 0 and the quotient fits. */
static struct fix fix_div(struct fix a, struct fix b)
{
    bool neg = fix_negative(a) != fix_negative(b);
    struct fix rest = {{0}}, q = {{0}};
    a = fix_abs(a);
    b = fix_abs(b);
    for (int i = fix_bits(a) + FRAC_BITS - 1; i >= 0; i--) {
        rest = fix_add(rest, rest);
        if (i >= FRAC_BITS) rest.w[0] |= a.w[(i - FRAC_BITS) / 64] >> ((i - FRAC_BITS) % 64) & 1;
        struct fix less = fix_sub(rest, b);
        if (fix_negative(less)) continue;
        rest = less;
        if (i < 64 * WORDS) q.w[i / 64] |= (uint64_t)1 << i % 64;
    }
    return neg ? fix_neg(q) : q;
}

/* z + z^3/3 + z^5/5 ... (sign 1) or z - z^3/3 + z^5/5 ... (sign -1): atanh and atan of a small z. */
static struct fix fix_arc(struct fix z, int sign)
{
    struct fix zz = fix_mul(z, z), sum = z;
    uint32_t k = 3;
    for (struct fix p = fix_mul(z, zz); !fix_zero(p); p = fix_mul(p, zz), k += 2) {
        struct fix term = fix_div_small(p, k);
        sum = sign > 0 || k % 4 == 1 ? fix_add(sum, term) : fix_sub(sum, term);
    }
    return sum;
}

static struct fix fix_pi(void)
{
    struct fix a = fix_arc(fix_div_small(fix_int(1), 5), -1);
    struct fix b = fix_arc(fix_div_small(fix_int(1), 239), -1);
    return fix_sub(fix_mul_small(a, 16), fix_mul_small(b, 4));
}

static struct fix fix_ln_2(void)
{
    return fix_mul_small(fix_arc(fix_div_small(fix_int(1), 3), 1), 2);
}

/* ln of a number > 0. */
static struct fix fix_ln(struct fix a)
{
    const struct fix one = fix_int(1), two = fix_int(2);
    int e = 0;
    for (; !fix_less(a, two); e++) a = fix_shift(a, -1);
    for (; fix_less(a, one); e--) a = fix_shift(a, 1);
    struct fix ln_m = fix_mul_small(fix_arc(fix_div(fix_sub(a, one), fix_add(a, one)), 1), 2);
    struct fix ln_e = fix_mul_small(fix_ln_2(), (uint32_t)(e < 0 ? -e : e));
    return e < 0 ? fix_sub(ln_m, ln_e) : fix_add(ln_m, ln_e);
}

/* exp of a number <= 0. */
static struct fix fix_exp(struct fix x, struct fix ln_2)
{
    int k = 0;
    for (; fix_negative(x); k--) x = fix_add(x, ln_2); /* at most 128 times: base is an fp32 */
    x = fix_shift(x, -8);
    struct fix sum = fix_int(1), term = fix_int(1);
    for (uint32_t n = 1; !fix_zero(term); n++) {
        term = fix_div_small(fix_mul(term, x), n);
        sum = fix_add(sum, term);
    }
    for (int i = 0; i < 8; i++) sum = fix_mul(sum, sum);
    return fix_shift(sum, k);
}

/* The exact value of x, 2^-40 <= x < 2^40. */
static struct fix fix_f32(float x)
{
    uint32_t u = f32_bits(x);
    struct fix m = {{(u & 0x7fffffu) | 0x800000u, 0, 0, 0}};
    return fix_shift(m, (int)(u >> 23) - 150 + FRAC_BITS);
}

/* Nearest fp32, ties to even, of a number in [2^-40, 2^40). */
static float fix_round_f32(struct fix a)
{
    int e = 0;
    for (; a.w[3] >= (uint64_t)1 << 24; e++)
        a.w[0] = a.w[0] | (a.w[0] & 1u) << 1, a = fix_shift(a, -1); /* the lost bit stays as a trace */
    for (; a.w[3] < (uint64_t)1 << 23; e--) a = fix_shift(a, 1);
    const uint64_t half = (uint64_t)1 << 63;
    bool rest = a.w[0] | a.w[1] | (a.w[2] & (half - 1));
    uint32_t m = (uint32_t)a.w[3];
    m += (a.w[2] & half) && (rest || (m & 1));
    return (float)m * pow2f(e);
}

static int64_t fix_floor(struct fix a)
{
    return (int64_t)a.w[WORDS - 1];
}

static int64_t fix_ceil(struct fix a)
{
    return fix_floor(a) + (a.w[0] | a.w[1] | a.w[2] ? 1 : 0);
}

/* What all pairs of one table share. */
struct work {
    const struct rope_config *cfg;
    struct fix ln_base, ln_2, two_pi, factor;
    struct fix yarn_low, yarn_high; /* pairs up to low keep theta, from high on they are divided */
};

/* YaRN: the (fractional) pair that turns `rotations` times over the original context. */
static struct fix yarn_pair(const struct work *w, float rotations)
{
    struct fix wave = fix_div(fix_f32(w->cfg->orig_ctx), fix_mul(fix_f32(rotations), w->two_pi));
    struct fix num = fix_mul_small(fix_ln(wave), (uint32_t)w->cfg->dim);
    return fix_div(num, fix_mul_small(w->ln_base, 2));
}

static struct fix blend(struct fix a, struct fix b, struct fix part_of_b)
{
    return fix_add(a, fix_mul(fix_sub(b, a), part_of_b));
}

/* theta_i of the model's metadata. */
static struct fix theta(const struct work *w, int i)
{
    const struct rope_config *c = w->cfg;
    const struct fix zero = fix_int(0), one = fix_int(1);
    struct fix x = fix_div_small(fix_mul_small(w->ln_base, 2 * (uint32_t)i), (uint32_t)c->dim);
    struct fix t = fix_exp(fix_neg(x), w->ln_2);
    if (c->freq_factors) t = fix_div(t, fix_f32(c->freq_factors[i]));
    if (c->scaling == ROPE_PLAIN) return t;
    struct fix slow = fix_div(t, w->factor);
    if (c->scaling == ROPE_LINEAR) return slow;
    struct fix keep; /* how much of t remains: 0..1 */
    if (c->scaling == ROPE_LLAMA3) {
        struct fix low = fix_f32(c->low_freq), high = fix_f32(c->high_freq);
        struct fix waves = fix_div(fix_mul(fix_f32(c->orig_ctx), t), w->two_pi);
        if (fix_less(waves, low)) return slow;
        if (fix_less(high, waves)) return t;
        keep = fix_div(fix_sub(waves, low), fix_sub(high, low));
    } else {
        struct fix span = fix_sub(w->yarn_high, w->yarn_low), past = fix_sub(fix_int(i), w->yarn_low);
        if (!fix_less(zero, span)) return fix_less(zero, past) ? slow : t;
        keep = fix_sub(one, fix_div(past, span));
    }
    keep = fix_less(keep, zero) ? zero : fix_less(one, keep) ? one : keep;
    return blend(slow, t, keep);
}

/* lo <= x <= hi, as a message of the world being wrong. */
static int range_check(const char *what, float x, float lo, float hi, struct err *e)
{
    if (x >= lo && x <= hi) return 0;
    return err(e, ERR_FORMAT, "rope: %s is %g, expected a number from %g to %g", what, (double)x, (double)lo,
               (double)hi);
}

static int config_check(const struct rope_config *c, struct err *e)
{
    const float tiny = 0x1p-20f, large = 0x1p30f; /* far beyond any model, and all quotients fit 63 bits */
    int rc;
    if (c->dim < 2 || c->dim > ROPE_MAX_DIM || c->dim % 2)
        return err(e, ERR_FORMAT, "rope: dimension is %d, expected an even number from 2 to %d", c->dim,
                   ROPE_MAX_DIM);
    if ((rc = range_check("base", c->base, 1.0f, 0x1p40f, e)) ||
        (rc = range_check("attention factor", c->attn, tiny, large, e)))
        return rc;
    for (int i = 0; c->freq_factors && i < c->dim / 2; i++)
        if ((rc = range_check("a frequency factor", c->freq_factors[i], tiny, large, e))) return rc;
    switch (c->scaling) {
    case ROPE_PLAIN:
        return 0;
    case ROPE_LINEAR:
        return range_check("scaling factor", c->factor, tiny, large, e);
    case ROPE_LLAMA3:
        if ((rc = range_check("scaling factor", c->factor, tiny, large, e)) ||
            (rc = range_check("original context", c->orig_ctx, 1.0f, large, e)) ||
            (rc = range_check("low frequency factor", c->low_freq, tiny, 0x1p20f, e)) ||
            (rc = range_check("high frequency factor", c->high_freq, tiny, 0x1p20f, e)))
            return rc;
        if (c->high_freq <= c->low_freq)
            return err(e, ERR_FORMAT, "rope: high frequency factor %g is not above the low one, %g",
                       (double)c->high_freq, (double)c->low_freq);
        return 0;
    case ROPE_YARN:
        if ((rc = range_check("scaling factor", c->factor, tiny, large, e)) ||
            (rc = range_check("original context", c->orig_ctx, 1.0f, large, e)) ||
            (rc = range_check("beta fast", c->beta_fast, tiny, large, e)) ||
            (rc = range_check("beta slow", c->beta_slow, tiny, large, e)))
            return rc;
        return range_check("base (with yarn)", c->base, 1.5f, 0x1p40f, e); /* its logarithm divides */
    }
    return err(e, ERR_UNSUPPORTED, "rope: scaling kind %d is unknown", (int)c->scaling);
}

static void yarn_prepare(struct work *w)
{
    struct fix low = yarn_pair(w, w->cfg->beta_fast), high = yarn_pair(w, w->cfg->beta_slow),
               last = fix_int(w->cfg->dim - 1);
    if (!w->cfg->yarn_exact) low = fix_int(fix_floor(low)), high = fix_int(fix_ceil(high));
    w->yarn_low = fix_negative(low) ? fix_int(0) : low;
    w->yarn_high = fix_less(last, high) ? last : high;
}

/* attn * (1 + ln(factor) / 10) for a factor above 1. */
static float yarn_attn(const struct work *w)
{
    if (w->cfg->attn_final || w->cfg->factor <= 1.0f) return w->cfg->attn;
    struct fix m = fix_add(fix_int(1), fix_div_small(fix_ln(w->factor), 10));
    return fix_round_f32(fix_mul(fix_f32(w->cfg->attn), m));
}

int rope_init(struct rope *r, const struct rope_config *cfg, uint64_t *step, struct err *e)
{
    int rc = config_check(cfg, e);
    if (rc) return rc;
    struct work w = {.cfg = cfg,
                     .ln_base = fix_ln(fix_f32(cfg->base)),
                     .ln_2 = fix_ln_2(),
                     .two_pi = fix_mul_small(fix_pi(), 2)};
    *r = (struct rope){.n = cfg->dim / 2, .attn = cfg->attn, .step = step};
    if (cfg->scaling != ROPE_PLAIN) w.factor = fix_f32(cfg->factor);
    if (cfg->scaling == ROPE_YARN) {
        yarn_prepare(&w);
        r->attn = yarn_attn(&w);
    }
    for (int i = 0; i < r->n; i++) {
        struct fix turns = fix_div(theta(&w, i), w.two_pi);
        step[i] = turns.w[2] + (turns.w[1] >> 63); /* modulo whole turns */
    }
    return 0;
}

void rope_angles(const struct rope *r, uint64_t pos, float *restrict c, float *restrict s)
{
    const uint64_t *step = r->step;
    float attn = r->attn;
    for (int i = 0; i < r->n; i++) {
        float x, y;
        rope_phase(pos * step[i], &x, &y);
        c[i] = x * attn;
        s[i] = y * attn;
    }
}

void rope_powers(float base, int dim, float *v)
{
    const struct fix ln_base = fix_ln(fix_f32(base)), ln_2 = fix_ln_2();
    for (int i = 0; i < dim / 2; i++) {
        struct fix x = fix_div_small(fix_mul_small(ln_base, 2 * (uint32_t)i), (uint32_t)dim);
        v[i] = fix_round_f32(fix_div(fix_int(1), fix_exp(fix_neg(x), ln_2)));
    }
}

float rope_long_attn(float scale, float orig)
{
    struct fix v = fix_add(fix_int(1), fix_div(fix_ln(fix_f32(scale)), fix_ln(fix_f32(orig))));
    return fix_round_f32(fix_mul(v, fix_exp(fix_neg(fix_shift(fix_ln(v), -1)), fix_ln_2()))); /* v e^(-ln(v) / 2) */
}
