/* SPDX-License-Identifier: Apache-2.0 */
/*
 * amx_tile: the AMX instructions that matmul_amx.c uses. A tile is a literal number 0..7.
 *
 * Own asm in place of the compilers' intrinsics: gcc 12's _tile_loadconfig says that it reads 8 of the 64
 * bytes, and its _tile_loadd that it reads nothing, so that stores to a tile's memory may be dropped or moved
 * past it (numerics, hazard 14). Here each instruction that reads or writes memory is a barrier for the
 * compiler.
 *
 * With -DAMX_EMULATE the same names are plain C on a set of tiles per thread, with the semantics of the
 * instruction manual; what raises an exception there ends the program here. So does one thing that hardware
 * allows: to configure without a release in between, which would be a caller's leak.
 */
#ifndef TUTTI_KERN_AMX_TILE_H
#define TUTTI_KERN_AMX_TILE_H

#include <stddef.h>
#include <stdint.h>

enum { AMX_ROWS = 16, AMX_COLSB = 64, AMX_TILES = 8 }; /* palette 1 */

/* The operand of ldtilecfg. */
struct amx_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t colsb[16]; /* bytes of a row */
    uint8_t rows[16];
};
_Static_assert(sizeof(struct amx_config) == 64, "ldtilecfg reads 64 bytes");

#ifndef AMX_EMULATE

static inline void amx_configure(const struct amx_config *c)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(*c) : "memory");
}

static inline void amx_release(void)
{
    __asm__ volatile("tilerelease" : : : "memory");
}

#define amx_zero(t) __asm__ volatile("tilezero %%tmm" #t : :)
/* rows of a tile from and to memory, stride bytes apart */
#define amx_load(t, p, stride)                                                                               \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"((const void *)(p)), "r"((size_t)(stride)) : "memory")
#define amx_store(t, p, stride)                                                                              \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"((void *)(p)), "r"((size_t)(stride)) : "memory")
/* c[m][n] += sum over k of a[m][k] * b[k/4][n][k%4], int32; s or u: a and b are signed or unsigned bytes */
#define AMX_DP(op, c, a, b) __asm__ volatile(op " %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)
#define amx_dpbssd(c, a, b) AMX_DP("tdpbssd", c, a, b)
#define amx_dpbsud(c, a, b) AMX_DP("tdpbsud", c, a, b)
#define amx_dpbusd(c, a, b) AMX_DP("tdpbusd", c, a, b)
#define amx_dpbuud(c, a, b) AMX_DP("tdpbuud", c, a, b)

#else

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct {
    bool on;
    struct amx_config cfg;
    uint8_t byte[AMX_TILES][AMX_ROWS][AMX_COLSB];
} amx;

static inline void amx_must(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "amx_tile: %s\n", what);
    abort();
}

static inline void amx_configure(const struct amx_config *c)
{
    amx_must(!amx.on, "configured twice");
    amx_must(c->palette == 1, "palette is not 1");
    amx_must(c->start_row == 0, "start row is not 0"); /* only an interrupted load has one */
    for (int i = 0; i < 14; i++) amx_must(c->reserved[i] == 0, "reserved byte is not 0");
    for (int t = 0; t < 16; t++) {
        amx_must(t < AMX_TILES || (c->rows[t] == 0 && c->colsb[t] == 0), "a tile that does not exist is configured");
        amx_must(c->rows[t] <= AMX_ROWS && c->colsb[t] <= AMX_COLSB, "a tile is too large");
        amx_must((c->rows[t] == 0) == (c->colsb[t] == 0), "a tile has rows or columns, not both");
    }
    memset(&amx, 0, sizeof amx);
    amx.on = true;
    amx.cfg = *c;
}

static inline void amx_release(void)
{
    memset(&amx, 0, sizeof amx);
}

static inline void amx_check(int t)
{
    amx_must(amx.on, "not configured");
    amx_must(t >= 0 && t < AMX_TILES && amx.cfg.rows[t] != 0, "tile is not configured");
}

static inline void amx_zero(int t)
{
    amx_check(t);
    memset(amx.byte[t], 0, sizeof amx.byte[t]);
}

static inline void amx_load(int t, const void *p, size_t stride)
{
    amx_zero(t); /* what lies past rows and colsb becomes zero */
    for (size_t r = 0; r < amx.cfg.rows[t]; r++) memcpy(amx.byte[t][r], (const char *)p + r * stride, amx.cfg.colsb[t]);
}

static inline void amx_store(int t, void *p, size_t stride)
{
    amx_check(t);
    for (size_t r = 0; r < amx.cfg.rows[t]; r++) memcpy((char *)p + r * stride, amx.byte[t][r], amx.cfg.colsb[t]);
}

static inline int32_t amx_byte(uint8_t v, bool is_signed)
{
    return is_signed && v > 127 ? (int32_t)v - 256 : v;
}

static inline void amx_dp(int c, int a, int b, bool a_signed, bool b_signed)
{
    const struct amx_config *f = &amx.cfg;
    amx_check(a), amx_check(b), amx_check(c);
    amx_must(a != b && b != c && a != c, "product of a tile with itself");
    amx_must(f->colsb[a] % 4 == 0 && f->colsb[b] % 4 == 0 && f->colsb[c] % 4 == 0, "columns are not dwords");
    amx_must(f->rows[a] == f->rows[c] && f->colsb[b] == f->colsb[c] && f->colsb[a] / 4 == f->rows[b],
             "shapes do not fit");
    for (int m = 0; m < f->rows[c]; m++) {
        uint32_t row[AMX_COLSB / 4];
        memcpy(row, amx.byte[c][m], sizeof row);
        for (int k = 0; k < f->colsb[a] / 4; k++)
            for (int n = 0; n < f->colsb[c] / 4; n++)
                for (int i = 0; i < 4; i++)
                    row[n] += (uint32_t)(amx_byte(amx.byte[a][m][4 * k + i], a_signed) *
                                         amx_byte(amx.byte[b][k][4 * n + i], b_signed)); /* wraps, as there */
        memcpy(amx.byte[c][m], row, sizeof row);
    }
}

#define amx_dpbssd(c, a, b) amx_dp(c, a, b, true, true)
#define amx_dpbsud(c, a, b) amx_dp(c, a, b, true, false)
#define amx_dpbusd(c, a, b) amx_dp(c, a, b, false, true)
#define amx_dpbuud(c, a, b) amx_dp(c, a, b, false, false)

#endif
#endif
