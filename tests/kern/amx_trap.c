/* SPDX-License-Identifier: Apache-2.0 */
/*
 * amx_trap: carries out tile instructions on an x86-64 processor without AMX. There they raise SIGILL; the
 * handler decodes them (their machine code: what the assembler made of kern/amx_tile.h, with the compiler's
 * registers and order) and does what the instruction manual says on tiles in memory, one set per thread. What
 * the manual forbids ends the program, and so does a SIGILL of any other instruction. A product takes AVX-512
 * VNNI and a signal, which costs most, serves all tile instructions in a row, so that whole models can be run
 * this way.
 */
#include "amx_trap.h"

#include <immintrin.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

static _Thread_local struct {
    uint8_t cfg[64]; /* as ldtilecfg reads it */
    uint8_t byte[8][16][64];
} tile;

static void refuse(const char *what, const uint8_t *at)
{
    fprintf(stderr, "amx_trap: %s:", what);
    for (int i = 0; i < 9; i++) fprintf(stderr, " %02x", at[i]);
    fprintf(stderr, "\n");
    abort();
}

static int rows(int t)
{
    return tile.cfg[48 + t];
}

static int colsb(int t)
{
    return tile.cfg[16 + 2 * t] | tile.cfg[17 + 2 * t] << 8;
}

/* General register n of the interrupted code, in the order of the encoding. */
static uint64_t reg(const ucontext_t *u, int n)
{
    static const int at[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return (uint64_t)u->uc_mcontext.gregs[at[n]];
}

/* The memory operand at modrm: base and stride (the index, scaled); *len its bytes. */
static uint8_t *operand(const ucontext_t *u, const uint8_t *modrm, int index_high, int base_high,
                        uint64_t *stride, int *len)
{
    int mod = modrm[0] >> 6, rm = modrm[0] & 7;
    const uint8_t *p = modrm + 1;
    uint64_t base = 0;
    *stride = 0;
    if (rm == 4) {
        int index = (p[0] >> 3 & 7) | index_high, b = p[0] & 7;
        if (index != 4) *stride = reg(u, index) << (p[0] >> 6);
        if (b == 5 && mod == 0) refuse("operand without a base", modrm);
        base = reg(u, b | base_high);
        p++;
    } else if (rm == 5 && mod == 0) {
        int32_t d;
        memcpy(&d, p, 4);
        *len = 5;
        return (uint8_t *)(uintptr_t)(uint64_t)(p + 4) + d; /* relative to the next instruction */
    } else {
        base = reg(u, rm | base_high);
    }
    if (mod == 1) base += (uint64_t)(int64_t)(int8_t)*p, p++;
    if (mod == 2) {
        int32_t d;
        memcpy(&d, p, 4);
        base += (uint64_t)(int64_t)d, p += 4;
    }
    *len = (int)(p - modrm);
    return (uint8_t *)(uintptr_t)base;
}

static void configure(const uint8_t *cfg, const uint8_t *at)
{
    memset(&tile, 0, sizeof tile);
    memcpy(tile.cfg, cfg, 64);
    if (cfg[0] != 1 || cfg[1] != 0) refuse("palette or start row", at);
    for (int i = 2; i < 16; i++)
        if (cfg[i]) refuse("reserved byte", at);
    for (int t = 0; t < 16; t++) {
        int some = cfg[48 + t] != 0, r = cfg[48 + t], c = cfg[16 + 2 * t] | cfg[17 + 2 * t] << 8;
        if (r > 16 || c > 64 || some != (c != 0) || (t > 7 && some)) refuse("shape of a tile", at);
    }
}

/* The even or odd bytes of words as words. */
#define VNNI static inline __attribute__((target("avx512f,avx512bw,avx512vnni")))
VNNI __m512i words(__m512i v, int odd, int is_signed)
{
    if (!odd) v = _mm512_slli_epi16(v, 8);
    return is_signed ? _mm512_srai_epi16(v, 8) : _mm512_srli_epi16(v, 8);
}

/* c += a * b by words, which hold every byte and whose products of pairs fit int32; sums wrap as the
 * instruction's do. */
VNNI void multiply(int c, int a, int b, int a_signed, int b_signed, const uint8_t *at)
{
    if (a == b || b == c || a == c) refuse("a tile twice", at);
    if (!rows(a) || !rows(b) || rows(a) != rows(c) || colsb(b) != colsb(c) || colsb(a) != 4 * rows(b))
        refuse("shapes", at);
    __m512i even[16], odd[16];
    for (int k = 0; k < rows(b); k++) {
        __m512i v = _mm512_loadu_si512(tile.byte[b][k]);
        even[k] = words(v, 0, b_signed), odd[k] = words(v, 1, b_signed);
    }
    __mmask16 columns = (__mmask16)((1u << colsb(c) / 4) - 1);
    for (int m = 0; m < rows(c); m++) {
        int32_t x[2][16];
        __m512i v = _mm512_loadu_si512(tile.byte[a][m]), sum = _mm512_loadu_si512(tile.byte[c][m]);
        _mm512_storeu_si512(x[0], words(v, 0, a_signed));
        _mm512_storeu_si512(x[1], words(v, 1, a_signed));
        for (int k = 0; k < rows(b); k++) {
            sum = _mm512_dpwssd_epi32(sum, even[k], _mm512_set1_epi32(x[0][k]));
            sum = _mm512_dpwssd_epi32(sum, odd[k], _mm512_set1_epi32(x[1][k]));
        }
        _mm512_mask_storeu_epi32(tile.byte[c][m], columns, sum);
    }
}

/* VEX: c4, R X B map, W vvvv L pp, opcode, modrm; all of map 0f38, W 0, L 0 */
static int is_tile(const uint8_t *at)
{
    return at[0] == 0xc4 && (at[1] & 31) == 2 && (at[2] & 0x84) == 0 &&
           (at[3] == 0x49 || at[3] == 0x4b || at[3] == 0x5e);
}

/* Carries out the instruction at `at`; its length. */
static int execute(const ucontext_t *u, const uint8_t *at)
{
    int pp = at[2] & 3, vvvv = ~at[2] >> 3 & 15, r = at[4] >> 3 & 7, rm = at[4] & 7, mem = at[4] >> 6 != 3, len = 1;
    int index_high = at[1] & 0x40 ? 0 : 8, base_high = at[1] & 0x20 ? 0 : 8;
    uint64_t stride = 0;
    uint8_t *p = mem ? operand(u, at + 4, index_high, base_high, &stride, &len) : NULL;
    if (at[3] == 0x49 && mem && pp == 0 && r == 0) { /* ldtilecfg */
        configure(p, at);
    } else if (at[3] == 0x49 && !mem && pp == 0) { /* tilerelease */
        memset(&tile, 0, sizeof tile);
    } else if (!tile.cfg[0]) {
        refuse("tiles are not configured", at);
    } else if (at[3] == 0x49 && !mem && pp == 3) { /* tilezero */
        if (!rows(r)) refuse("no such tile", at);
        memset(tile.byte[r], 0, sizeof tile.byte[r]);
    } else if (at[3] == 0x4b && mem && rm == 4 &&
               (pp == 3 || pp == 1 || pp == 2)) { /* tileloadd, tileloaddt1, tilestored */
        if (!rows(r)) refuse("no such tile", at);
        if (pp != 2) memset(tile.byte[r], 0, sizeof tile.byte[r]);
        for (int i = 0; i < rows(r); i++, p += stride) {
            if (pp == 2)
                memcpy(p, tile.byte[r][i], (size_t)colsb(r));
            else
                memcpy(tile.byte[r][i], p, (size_t)colsb(r));
        }
    } else if (at[3] == 0x5e && !mem) { /* tdpb uu, us (pp 2: su; pp 1: us), ss */
        multiply(r, rm, vvvv, pp == 3 || pp == 2, pp == 3 || pp == 1, at);
    } else {
        refuse("unknown instruction", at);
    }
    return 4 + len;
}

/* A signal serves all tile instructions up to the next other one. */
static void on_sigill(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info;
    ucontext_t *u = context;
    const uint8_t *at = (const uint8_t *)(uintptr_t)(uint64_t)u->uc_mcontext.gregs[REG_RIP];
    if (!is_tile(at)) refuse("no tile instruction", at);
    while (is_tile(at)) at += execute(u, at);
    u->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)at;
}

void amx_trap_begin(struct sigaction *before)
{
    static struct sigaction here;
    here.sa_sigaction = on_sigill;
    here.sa_flags = SA_SIGINFO;
    sigaction(SIGILL, &here, before);
}

void amx_trap_end(const struct sigaction *before)
{
    sigaction(SIGILL, before, NULL);
    if (tile.cfg[0]) refuse("tiles stay configured", tile.cfg);
}
