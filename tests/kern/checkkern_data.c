/* SPDX-License-Identifier: Apache-2.0 */
/* Test data and guarded memory: see checkkern.h. */
#include "checkkern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "kern/num.h"

uint64_t rng_state;

uint64_t rnd(void)
{
    uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

float uniform(void)
{
    return (float)(int32_t)(rnd() >> 32) * 0x1p-31f;
}

/* --- guarded memory -------------------------------------------------------------------------------------- */

enum { MAX_MAPS = 64 };
static struct {
    void *at;
    size_t bytes;
} maps[MAX_MAPS];
static int n_maps;
static unsigned turn; /* not from rnd(): the data must not depend on how many variants run */

void *guard_alloc(size_t n, size_t align)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), shift = 0, body = (n + 64 + page - 1) / page * page;
    uint8_t *p = mmap(NULL, body + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED || n_maps == MAX_MAPS || mprotect(p + page, body, PROT_READ | PROT_WRITE)) {
        fprintf(stderr, "checkkern: no memory (%zu bytes)\n", n);
        exit(2);
    }
    maps[n_maps].at = p, maps[n_maps++].bytes = body + 2 * page;
    turn++;
    if (turn % 2)
        shift = (body - n) / align * align;
    else if (align == 4)
        shift = turn % 4 ? 4 * (1 + turn / 4 % 15) : 0;
    return memset(p + page + shift, 0xff, n);
}

void guard_release(void)
{
    while (n_maps) n_maps--, munmap(maps[n_maps].at, maps[n_maps].bytes);
}

/* --- fills ----------------------------------------------------------------------------------------------- */

const char *const fill_name[N_FILL] = {"normal", "outlier", "extreme", "tiny", "zero", "mixed", "bad"};

void fill_row(float *x, int n, enum fill f)
{
    static const uint32_t bad[] = {0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0x5d800000, 0x7f7fffff};
    for (int i = 0; i < n; i++) {
        float u = uniform();
        switch (f) {
        case FILL_NORMAL: x[i] = u + uniform(), x[i] = x[i] + uniform(); break;
        case FILL_OUTLIER: x[i] = rnd() % 97 ? u : 300 * u; break;
        case FILL_EXTREME: x[i] = rnd() & 1 ? 0x1.8p59f : -0x1.8p59f; break;
        case FILL_TINY: x[i] = u * 0x1p-58f; break;
        case FILL_ZERO: x[i] = rnd() & 1 ? 0.0f : -0.0f; break;
        case FILL_BAD: x[i] = rnd() % 41 ? u : f32_from_bits(bad[rnd() % 6]); break;
        default: x[i] = u * pow2f((int)(rnd() % 100) - 50);
        }
    }
}

/* --- weights --------------------------------------------------------------------------------------------- */

const enum dtype weight_types[N_TYPES] = {
    DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_Q5_0, DTYPE_Q5_1, DTYPE_Q8_0, DTYPE_IQ4_NL, DTYPE_MXFP4, DTYPE_Q2_K,
    DTYPE_Q3_K, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_IQ4_XS, DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_N4,
    DTYPE_Q1_0, DTYPE_Q2_0, DTYPE_TQ1_0, DTYPE_TQ2_0, DTYPE_NVFP4, DTYPE_IQ1_S, DTYPE_IQ1_M, DTYPE_IQ2_XXS,
    DTYPE_IQ2_XS, DTYPE_IQ2_S, DTYPE_IQ3_XXS, DTYPE_IQ3_S,
};

static void fill_floats(uint8_t *p, enum dtype type, int64_t k, int extreme)
{
    for (int64_t i = 0; i < k; i++) {
        float x = extreme ? (rnd() & 1 ? 1.0f : -1.0f) : uniform();
        if (!extreme) x = x * (rnd() % 61 ? 0.1f : 3.0f);
        uint16_t h = type == DTYPE_F16 ? f16_from_f32(x) : bf16_from_f32(x);
        if (type == DTYPE_F32)
            memcpy(p + 4 * i, &x, 4);
        else
            memcpy(p + 2 * i, &h, 2);
    }
}

void fill_weights(uint8_t *p, enum dtype type, int64_t k, int extreme)
{
    const struct dtype_info *info = dtype_info(type);
    if (type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16) {
        fill_floats(p, type, k, extreme);
        return;
    }
    if (type == DTYPE_N4) {
        uint8_t byte = rnd() & 1 ? 0x00 : rnd() & 1 ? 0xff : 0x80;
        for (uint64_t i = 0; i < dtype_row_bytes(type, (uint64_t)k); i++) p[i] = extreme ? byte : (uint8_t)rnd();
        for (int64_t g = 0; g < k; g += N4_GROUP, p += N4_GROUP_BYTES) {
            uint16_t d = f16_from_f32(uniform() * (rnd() % 13 ? 0.02f : 2.0f));
            memcpy(p, &d, 2);
        }
        return;
    }
    for (int64_t b = 0; b < k / info->block; b++, p += info->bytes) {
        uint8_t byte = rnd() & 1 ? 0x00 : rnd() & 1 ? 0xff : 0x80;
        for (uint32_t i = 0; i < info->bytes; i++) p[i] = extreme ? byte : (uint8_t)rnd();
        float u = uniform();
        uint16_t d = f16_from_f32(u * (rnd() % 13 ? 0.02f : 2.0f)), m = f16_from_f32(uniform() * 0.1f);
        if (type == DTYPE_NVFP4) continue; /* every byte is a scale */
        if (type == DTYPE_MXFP4) {
            p[0] = (uint8_t)(95 + rnd() % 60);
            continue;
        }
        if (type == DTYPE_IQ1_M) { /* four bits in each of four words */
            for (int i = 0; i < 4; i++) p[49 + 2 * i] = (uint8_t)((p[49 + 2 * i] & 15) | (d >> (4 * i) & 15) << 4);
            continue;
        }
        static const uint8_t at[DTYPE_ID_MAX] = {[DTYPE_Q6_K] = 208,
                                                 [DTYPE_Q3_K] = 108,
                                                 [DTYPE_Q2_K] = 80,
                                                 [DTYPE_TQ2_0] = 64,
                                                 [DTYPE_TQ1_0] = 52};
        memcpy(p + at[type], &d, 2);
        if (type == DTYPE_Q4_1 || type == DTYPE_Q5_1 || type == DTYPE_Q4_K || type == DTYPE_Q5_K) memcpy(p + 2, &m, 2);
        if (type == DTYPE_Q2_K) memcpy(p + 82, &m, 2);
    }
}

void make_mat(struct mat *m, enum dtype type, int n, int k, int extreme)
{
    struct err e;
    if (mat_init(m, type, n, k, &e)) fprintf(stderr, "checkkern: %s\n", e.msg), exit(2);
    size_t row = dtype_row_bytes(type, (uint64_t)k);
    uint8_t *rows = malloc(row * PANEL);
    if (!rows) exit(2);
    m->data = guard_alloc(mat_bytes(m), 64);
    for (int p = 0; p < m->n_panels; p++) {
        for (int r = 0; r < PANEL; r++) fill_weights(rows + row * (size_t)r, type, k, extreme);
        if (mat_pack(m, p, rows, row, &e)) fprintf(stderr, "checkkern: %s\n", e.msg), exit(2);
    }
    free(rows);
}
