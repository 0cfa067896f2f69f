/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of the smallest types: see iq.h. */
#include "kern/iq.h"

#include "kern/grid.h"

static uint32_t get16(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8;
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) | get16(p + 2) << 16;
}

/* n weights from entry i of a book: its digits, with the bits of high above them. */
static void put(uint8_t *code, enum grid_book book, uint32_t i, uint32_t high, int n)
{
    const uint8_t *digit = grid_entry(book, (int)i);
    int above = n == 4 ? 3 : 2;
    for (int j = 0; j < n; j++) code[j] = (uint8_t)(digit[j] | (high >> j & 1) << above);
}

/* What codes 8 i .. 8 i + 7 (IQ3: 4 i .. 4 i + 3) are. */
static void entry_of(enum dtype type, const uint8_t *b, int i, uint8_t *code)
{
    const uint8_t *own = b + 2;
    switch (type) {
    case DTYPE_IQ1_S: {
        uint32_t h = get16(own + 32 + i / 4 * 2);
        put(code, GRID_IQ1, own[i] | (h >> (3 * (i % 4)) & 7) << 8, h >> 15 ? 255 : 0, 8);
        break;
    }
    case DTYPE_IQ1_M: { /* no d in front */
        uint32_t h = b[32 + i / 2] >> (i % 2 * 4);
        put(code, GRID_IQ1, b[i] | (h & 7) << 8, h & 8 ? 255 : 0, 8);
        break;
    }
    case DTYPE_IQ2_XXS: {
        const uint8_t *p = own + i / 4 * 8;
        put(code, GRID_IQ2_XXS, p[i % 4], grid_signs(get32(p + 4) >> (7 * (i % 4))), 8);
        break;
    }
    case DTYPE_IQ2_XS: put(code, GRID_IQ2_XS, get16(own + 2 * i) & 511, grid_signs(get16(own + 2 * i) >> 9), 8); break;
    case DTYPE_IQ2_S: put(code, GRID_IQ2_S, own[i] | (own[64 + i / 4] >> (i % 4 * 2) & 3u) << 8, own[32 + i], 8); break;
    case DTYPE_IQ3_XXS: {
        uint32_t signs = grid_signs(get32(own + 64 + i / 8 * 4) >> (7 * (i % 8 / 2)));
        put(code, GRID_IQ3_XXS, own[i], signs >> (i % 2 * 4), 4);
        break;
    }
    default: /* IQ3_S */
        put(code, GRID_IQ3_S, own[i] | (own[64 + i / 8] >> (i % 8) & 1u) << 8,
            (uint32_t)own[72 + i / 2] >> (i % 2 * 4), 4);
    }
}

/* The stored sub-scale of 16 codes (IQ3: of 32). */
static uint32_t sub_of(enum dtype type, const uint8_t *b, int j)
{
    const uint8_t *own = b + 2;
    switch (type) {
    case DTYPE_IQ1_S: return get16(own + 32 + j / 2 * 2) >> 12 & 7;
    case DTYPE_IQ1_M: return get16(b + 48 + j / 4 * 2) >> (3 * (j % 4)) & 7;
    case DTYPE_IQ2_XXS: return get32(own + j / 2 * 8 + 4) >> 28;
    case DTYPE_IQ2_XS: return own[64 + j / 2] >> (j % 2 * 4) & 15u;
    case DTYPE_IQ2_S: return own[72 + j / 2] >> (j % 2 * 4) & 15u;
    case DTYPE_IQ3_XXS: return get32(own + 64 + 4 * j) >> 28;
    default: return own[104 + j / 2] >> (j % 2 * 4) & 15u; /* IQ3_S */
    }
}

void iq_decode(enum dtype type, const uint8_t *block, struct iq_group *g)
{
    int is_3 = type == DTYPE_IQ3_XXS || type == DTYPE_IQ3_S, n = is_3 ? 4 : 8;
    for (int i = 0; i < 256 / n; i++) entry_of(type, block, i, g->code + n * i);
    for (int j = 0; j < (is_3 ? 8 : 16); j++) g->sub[j] = (uint8_t)(2 * sub_of(type, block, j) + 1);
    g->d = (uint16_t)get16(block);
    if (type != DTYPE_IQ1_M) return;
    g->d = 0; /* four bits in each of the words of sub-scales */
    for (int i = 0; i < 4; i++) g->d |= (uint16_t)(get16(block + 48 + 2 * i) >> 12 << 4 * i);
}

/* Digit i of a byte that stands for a fraction in base 3: the highest after i multiplications, modulo 256. */
static uint8_t trit(uint8_t byte, int i)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    return (uint8_t)((uint8_t)(byte * power[i]) * 3 >> 8);
}

uint16_t iq_ternary(enum dtype type, const uint8_t *block, uint8_t *code)
{
    switch (type) {
    case DTYPE_TQ1_0:
        for (int i = 0; i < 160; i++) code[i] = trit(block[i % 32], i / 32);
        for (int i = 0; i < 80; i++) code[160 + i] = trit(block[32 + i % 16], i / 16);
        for (int i = 0; i < 16; i++) code[240 + i] = trit(block[48 + i % 4], i / 4);
        return (uint16_t)get16(block + 52);
    case DTYPE_TQ2_0:
        for (int i = 0; i < 256; i++) code[i] = block[32 * (i / 128) + i % 32] >> (i / 32 % 4 * 2) & 3;
        return (uint16_t)get16(block + 64);
    case DTYPE_Q1_0:
        for (int i = 0; i < 128; i++) code[i] = (uint8_t)((block[2 + i / 8] >> i % 8 & 1) * 2);
        return (uint16_t)get16(block);
    default: /* Q2_0 */
        for (int i = 0; i < 64; i++) code[i] = block[2 + i / 4] >> (i % 4 * 2) & 3;
        return (uint16_t)get16(block);
    }
}
