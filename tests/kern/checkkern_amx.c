/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkkern_amx: runs the real matmul_amx on an x86-64 processor without AMX. Its tile instructions raise SIGILL; the
 * handler decodes them (their machine code: what the assembler made of kern/amx_tile.h, with the compiler's registers and
 * order) and carries them out on tiles in memory, by the instruction manual. What the manual forbids ends the program.
 */
#include "tables.h"

#if defined(__x86_64__)
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

static _Thread_local struct {
    uint8_t cfg[64]; /* as ldtilecfg reads it */
    uint8_t byte[8][16][64];
} tile;

static void refuse(const char *what, const uint8_t *at)
{
    fprintf(stderr, "checkkern_amx: %s:", what);
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
static uint8_t *operand(const ucontext_t *u, const uint8_t *modrm, int index_high, int base_high, uint64_t *stride, int *len)
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

static void multiply(int c, int a, int b, int a_signed, int b_signed, const uint8_t *at)
{
    if (a == b || b == c || a == c) refuse("a tile twice", at);
    if (!rows(a) || !rows(b) || rows(a) != rows(c) || colsb(b) != colsb(c) || colsb(a) != 4 * rows(b)) refuse("shapes", at);
    for (int m = 0; m < rows(c); m++)
        for (int n = 0; n < colsb(c) / 4; n++) {
            uint32_t sum;
            memcpy(&sum, &tile.byte[c][m][4 * n], 4);
            for (int k = 0; k < colsb(a); k++) {
                uint8_t x = tile.byte[a][m][k], y = tile.byte[b][k / 4][4 * n + k % 4];
                sum += (uint32_t)((a_signed ? (int8_t)x : x) * (b_signed ? (int8_t)y : y));
            }
            memcpy(&tile.byte[c][m][4 * n], &sum, 4);
        }
}

static void on_sigill(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info;
    ucontext_t *u = context;
    const uint8_t *at = (const uint8_t *)(uintptr_t)(uint64_t)u->uc_mcontext.gregs[REG_RIP];
    /* VEX: c4, R X B map, W vvvv L pp, opcode, modrm; all of map 0f38, W 0, L 0 */
    if (at[0] != 0xc4 || (at[1] & 31) != 2 || (at[2] & 0x84) != 0) refuse("no tile instruction", at);
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
    } else if (at[3] == 0x4b && mem && rm == 4 && (pp == 3 || pp == 1 || pp == 2)) { /* tileloadd, tileloaddt1, tilestored */
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
    u->uc_mcontext.gregs[REG_RIP] += 4 + len;
}

/* matmul_amx with the handler in place, so that a SIGILL elsewhere stays one. */
void matmul_amx_trapped(float *y, size_t stride, const struct mat *w, int p0, int p1, const struct act *x, int t0, int n_tok)
{
    static struct sigaction here;
    struct sigaction before;
    here.sa_sigaction = on_sigill;
    here.sa_flags = SA_SIGINFO;
    sigaction(SIGILL, &here, &before);
    matmul_amx(y, stride, w, p0, p1, x, t0, n_tok);
    sigaction(SIGILL, &before, NULL);
    if (tile.cfg[0]) refuse("tiles stay configured", tile.cfg);
}
#endif
