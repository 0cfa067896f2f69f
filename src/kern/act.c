/* SPDX-License-Identifier: Apache-2.0 */
/* Layout of quantised activations: see act.h. */
#include "kern/act.h"

#include <string.h>

static size_t pad64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

/* Sizes of the parts, in bytes, in the order they lie in memory. */
static size_t sizes(struct act *a, enum act_tier tier, int k, int n_tok, size_t part[5])
{
    size_t toks = (size_t)(n_tok + ACT_TILE - 1) / ACT_TILE * ACT_TILE, total = 0;
    *a = (struct act){.tier = tier, .k = k};
    a->k64 = tier == ACT_A16_256 || tier == ACT_A16_W8 ? (k + 31) / 32 : (k + 63) / 64;
    a->groups = tier == ACT_A8_32 ? (k + 31) / 32 : (k + 255) / 256;
    a->sums = tier == ACT_A8_32 || tier == ACT_A16_W8 ? (k + 31) / 32 : tier == ACT_A8_256 ? (k + 15) / 16 : 0;
    part[0] = pad64(toks * (size_t)a->k64 * 64);
    part[1] = tier == ACT_A16_256 ? part[0] : 0;
    part[2] = pad64(toks * (size_t)a->groups * 4);
    part[3] = pad64(toks * (size_t)a->sums * 4);
    part[4] = tier == ACT_A8_32 ? part[2] : 0;
    for (int i = 0; i < 5; i++) total += part[i];
    return total;
}

size_t act_bytes(enum act_tier tier, int k, int n_tok)
{
    struct act a;
    size_t part[5];
    return sizes(&a, tier, k, n_tok, part);
}

void act_init(struct act *a, enum act_tier tier, int k, int n_tok, void *mem)
{
    size_t part[5];
    char *p = mem;
    sizes(a, tier, k, n_tok, part);
    act_tokens(a, n_tok);
    a->q = (int8_t *)p, p += part[0];
    a->qh = part[1] ? (int8_t *)p : NULL, p += part[1];
    a->d = (float *)(void *)p, p += part[2];
    a->ns = (int32_t *)(void *)p, p += part[3];
    a->sd = part[4] ? (float *)(void *)p : NULL;
}

/* A line of codes: 64 of one byte, or 32 of two bytes. */
static size_t read_line(const struct act *a, int tok, int line, uint8_t out[64])
{
    const int8_t *low = act_line(a, tok, line);
    int left = a->tier == ACT_A8_32 || a->tier == ACT_A8_256 ? a->k - 64 * line : 2 * (a->k - 32 * line);
    size_t n = left < 64 ? (size_t)left : 64;
    memcpy(out, low, 64);
    if (a->tier == ACT_A16_W8) {
        for (int i = 0; i < 32; i++) memcpy(out + 2 * act_word(i), low + 2 * i, 2);
    } else if (a->tier == ACT_A16_256) {
        int16_t lo[32], hi[32];
        memcpy(lo, low, sizeof lo);
        memcpy(hi, a->qh + (low - a->q), sizeof hi);
        for (int i = 0; i < 32; i++) {
            out[2 * act_word(i)] = (uint8_t)lo[i];
            out[2 * act_word(i) + 1] = (uint8_t)hi[i];
        }
    }
    return n;
}

void act_row(const struct act *a, int tok, void (*put)(void *ud, const void *p, size_t n), void *ud)
{
    uint8_t codes[64];
    for (int i = 0; i < a->k64; i++) put(ud, codes, read_line(a, tok, i, codes));
    for (int i = 0; i < a->groups; i++) {
        uint32_t u;
        uint8_t le[4];
        memcpy(&u, &a->d[act_at(a, a->groups, tok, i)], sizeof u);
        for (int j = 0; j < 4; j++) le[j] = (uint8_t)(u >> 8 * j);
        put(ud, le, sizeof le);
    }
}

void act_copy(struct act *a, int to, int from)
{
    for (int l = 0; l < a->k64; l++) {
        memcpy(act_line(a, to, l), act_line(a, from, l), 64);
        if (a->qh) memcpy(act_line(a, to, l) + (a->qh - a->q), act_line(a, from, l) + (a->qh - a->q), 64);
    }
    for (int g = 0; g < a->groups; g++) a->d[act_at(a, a->groups, to, g)] = a->d[act_at(a, a->groups, from, g)];
    for (int s = 0; s < a->sums; s++) a->ns[act_at(a, a->sums, to, s)] = a->ns[act_at(a, a->sums, from, s)];
    for (int g = 0; a->sd && g < a->groups; g++)
        a->sd[act_at(a, a->groups, to, g)] = a->sd[act_at(a, a->groups, from, g)];
}
