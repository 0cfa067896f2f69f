/* SPDX-License-Identifier: Apache-2.0 */
/*
 * matmul_ref: the definition of the matrix product, to the bit (contract sections 3.3, 3.4, 4.3). Read this
 * file to know what a matrix product *is* here; the other matmul_*.c only compute it faster.
 *
 * Per output and token:
 *
 *   tot = +0
 *   for each segment of 1024 along k:            (the last may be shorter)
 *       acc = +0
 *       for each step of the segment:            (32 or 256 codes)
 *           acc = fold(acc)
 *       tot = tot + acc
 *   y = tot
 *
 *   fold, 32-block types, A8/32      acc = fma(float(I), fl(w*d), acc);
 *                                    with offsets  acc = fma(m, fl(float(S)*d), acc)
 *   fold, NVFP4, A8/32               the first 16 codes, then the others: acc = fma(float(I), fl(w*d), acc)
 *   fold, Q8_0, A16/256              t = fma(float(I_b), w_b, t) for the 32-blocks b of the group, from +0;
 *                                    acc = fma(t, d, acc)
 *   fold, K-quants, N4, A8/256       acc = fma(float(I), fl(w*d), acc);
 *                                    with mins     acc = fma(-float(J), fl(wmin*d), acc)
 *   fold, W16, A16/256               acc = fma(fma(float(HI), 256, float(LO)), fl(w*d), acc)
 *
 * I = sum of sub*code*q, J = sum over sub-blocks of min * sum of q, S = sum of q; W16: HI = sum of code*(q >>
 * 8), LO = sum of code*(q & 255). All are exact int32.
 */
#include <string.h>
#include "kern/arith.h"
#include "kern/kern.h"

enum { SEGMENT = ARITH_SEGMENT };

struct fold {
    float tot[ACT_TILE][PANEL], acc[ACT_TILE][PANEL];
};

static int q8_at(const struct act *x, int tok, int k)
{
    return act_line(x, tok, k / 64)[k % 64];
}

static void step_block32(struct fold *f, const struct mat *w, int p, int b, const struct act *x, int t0, int n_tok)
{
    int16_t code[32][PANEL];
    float d[PANEL], m[PANEL];
    mat_codes(w, p, b, code);
    mat_scales(w, p, b, d, m);
    for (int t = 0; t < n_tok; t++) {
        float dx = x->d[act_at(x, x->groups, t0 + t, b)], sd = x->sd[act_at(x, x->groups, t0 + t, b)];
        for (int r = 0; r < PANEL; r++) {
            int32_t sum = 0;
            for (int i = 0; i < 32; i++) sum += code[i][r] * q8_at(x, t0 + t, 32 * b + i);
            float acc = fma32((float)sum, d[r] * dx, f->acc[t][r]);
            f->acc[t][r] = w->lay->m ? fma32(m[r], sd, acc) : acc;
        }
    }
}

/* NVFP4: the first 16 codes have one scale, the others another. */
static void step_pair(struct fold *f, const struct mat *w, int p, int b, const struct act *x, int t0, int n_tok)
{
    int16_t code[32][PANEL];
    float d[2][PANEL], none[PANEL];
    mat_codes(w, p, b, code);
    for (int h = 0; h < 2; h++) mat_scales(w, p, 2 * b + h, d[h], none);
    for (int t = 0; t < n_tok; t++) {
        float dx = x->d[act_at(x, x->groups, t0 + t, b)];
        for (int r = 0; r < PANEL; r++) {
            for (int h = 0; h < 2; h++) {
                int32_t sum = 0;
                for (int i = 16 * h; i < 16 * h + 16; i++) sum += code[i][r] * q8_at(x, t0 + t, 32 * b + i);
                f->acc[t][r] = fma32((float)sum, d[h][r] * dx, f->acc[t][r]);
            }
        }
    }
}

static void step_q8_a16(struct fold *f, const struct mat *w, int p, int g, const struct act *x, int t0, int n_tok)
{
    float sum[ACT_TILE][PANEL] = {{0}};
    for (int b = 8 * g; b < 8 * g + 8 && b < w->k / 32; b++) {
        int16_t code[32][PANEL], q[32];
        float d[PANEL], m[PANEL];
        mat_codes(w, p, b, code);
        mat_scales(w, p, b, d, m);
        for (int t = 0; t < n_tok; t++) {
            memcpy(q, act_line(x, t0 + t, b), 64);
            for (int r = 0; r < PANEL; r++) {
                int32_t s = 0;
                for (int i = 0; i < 32; i++) s += code[act_word(i)][r] * q[i];
                sum[t][r] = fma32((float)s, d[r], sum[t][r]);
            }
        }
    }
    for (int t = 0; t < n_tok; t++)
        for (int r = 0; r < PANEL; r++)
            f->acc[t][r] = fma32(sum[t][r], x->d[act_at(x, x->groups, t0 + t, g)], f->acc[t][r]);
}

static void step_k256(struct fold *f, const struct mat *w, int p, int g, const struct act *x, int t0, int n_tok)
{
    int32_t isum[ACT_TILE][PANEL] = {{0}}, jsum[ACT_TILE][PANEL] = {{0}};
    int size = mat_sub_size(w->type);
    for (int b = 0; b < 8 && 8 * g + b < w->k / 32; b++) {
        int16_t code[32][PANEL];
        mat_codes(w, p, 8 * g + b, code);
        for (int h = 0; h < 32; h += size) {
            int32_t sub[PANEL], min[PANEL];
            mat_subs(w, p, g, (32 * b + h) / size, sub, min);
            for (int t = 0; t < n_tok; t++) {
                int32_t s = 0;
                for (int i = h; i < h + size; i++) s += q8_at(x, t0 + t, 256 * g + 32 * b + i);
                for (int r = 0; r < PANEL; r++) {
                    int32_t sum = 0;
                    for (int i = h; i < h + size; i++) sum += code[i][r] * q8_at(x, t0 + t, 256 * g + 32 * b + i);
                    isum[t][r] += sub[r] * sum;
                    jsum[t][r] += min[r] * s;
                }
            }
        }
    }
    float d[PANEL], m[PANEL];
    mat_scales(w, p, g, d, m);
    for (int t = 0; t < n_tok; t++) {
        float dx = x->d[act_at(x, x->groups, t0 + t, g)];
        for (int r = 0; r < PANEL; r++) {
            float acc = fma32((float)isum[t][r], d[r] * dx, f->acc[t][r]);
            f->acc[t][r] = w->lay->m ? fma32(-(float)jsum[t][r], m[r] * dx, acc) : acc;
        }
    }
}

static void step_w16(struct fold *f, const struct mat *w, int p, int g, const struct act *x, int t0, int n_tok)
{
    int32_t hi[ACT_TILE][PANEL] = {{0}}, lo[ACT_TILE][PANEL] = {{0}};
    for (int b = 8 * g; b < 8 * g + 8 && b < w->k / 32; b++) {
        int16_t code[32][PANEL];
        mat_codes(w, p, b, code);
        for (int t = 0; t < n_tok; t++) {
            int16_t xl[32], xh[32];
            memcpy(xl, act_line(x, t0 + t, b), 64);
            memcpy(xh, act_line(x, t0 + t, b) + (x->qh - x->q), 64);
            for (int i = 0; i < 32; i++)
                for (int r = 0; r < PANEL; r++)
                    hi[t][r] += code[act_word(i)][r] * xh[i], lo[t][r] += code[act_word(i)][r] * xl[i];
        }
    }
    float d[PANEL], m[PANEL];
    mat_scales(w, p, g, d, m);
    for (int t = 0; t < n_tok; t++) {
        float dx = x->d[act_at(x, x->groups, t0 + t, g)];
        for (int r = 0; r < PANEL; r++) {
            float sum = fma32((float)hi[t][r], 256.0f, (float)lo[t][r]);
            f->acc[t][r] = fma32(sum, d[r] * dx, f->acc[t][r]);
        }
    }
}

static void panel_tile(float *y, size_t stride, const struct mat *w, int p, const struct act *x, int t0, int n_tok)
{
    struct fold f;
    int span = x->tier == ACT_A8_32 ? 32 : 256, steps = (w->k + span - 1) / span;
    memset(&f, 0, sizeof f);
    for (int s = 0; s < steps; s++) {
        switch (x->tier) {
        case ACT_A8_32: (w->lay->span == 16 ? step_pair : step_block32)(&f, w, p, s, x, t0, n_tok); break;
        case ACT_A8_256: step_k256(&f, w, p, s, x, t0, n_tok); break;
        case ACT_A16_W8: step_q8_a16(&f, w, p, s, x, t0, n_tok); break;
        default: step_w16(&f, w, p, s, x, t0, n_tok);
        }
        if ((s + 1) * span % SEGMENT == 0 || s + 1 == steps) {
            for (int t = 0; t < n_tok; t++)
                for (int r = 0; r < PANEL; r++) f.tot[t][r] = f.tot[t][r] + f.acc[t][r], f.acc[t][r] = 0;
        }
    }
    for (int t = 0; t < n_tok; t++) memcpy(y + (size_t)t * stride, f.tot[t], sizeof f.tot[t]);
}

void matmul_ref(float *y, size_t stride, const struct mat *w, int p0, int p1, const struct act *x, int t0, int n_tok);
void matmul_ref(float *y, size_t stride, const struct mat *w, int p0, int p1, const struct act *x, int t0, int n_tok)
{
    for (int p = p0; p < p1; p++) {
        for (int t = 0; t < n_tok; t += ACT_TILE) {
            int n = n_tok - t < ACT_TILE ? n_tok - t : ACT_TILE;
            panel_tile(y + (size_t)(t0 + t) * stride + (size_t)p * PANEL, stride, w, p, x, t0 + t, n);
        }
    }
}
