/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkkern --bench: the matrix product of one thread against this machine's limits, both measured here: reading
 * bytes that no cache holds (1 and 2 tokens), and the instruction that multiplies codes, on registers only (from 8
 * tokens on; kern/peak.h). Time is that of the thread, so other programs disturb the figures but do not enter them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "checkkern.h"
#include "kern/peak.h"

enum {
    K = 4096,
    BIG = 128 << 20 /* bytes of weights that are read from memory */,
    MANY_ROWS = 1024,
    ROUNDS = 9,
    PEAK_ROUNDS = 1000000
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- limits ----------------------------------------------------------------------------------------------- */

static double read_limit(void) /* GB/s */
{
    uint64_t *p = guard_alloc(BIG, 64), sum[8] = {0};
    double best = 1e9;
    for (int r = 0; r < ROUNDS; r++) {
        double t0 = now();
        for (size_t i = 0; i < BIG / 8; i += 8)
            for (int j = 0; j < 8; j++) sum[j] += p[i + (size_t)j];
        double dt = now() - t0;
        best = dt < best ? dt : best;
    }
    for (int j = 0; j < 8; j++) __asm__ volatile("" : : "r"(sum[j]));
    guard_release();
    return BIG / best * 1e-9;
}

static double peak(const char *isa) /* TOPS, 0 if not known */
{
    double best = 0;
    peak_fn *fn = peak_of(isa);
    for (int r = 0; fn && r < ROUNDS; r++) {
        double t0 = now();
        double ops = (double)fn(PEAK_ROUNDS), v = ops / (now() - t0);
        best = v > best ? v : best;
    }
    return best * 1e-12;
}

/* --- one line --------------------------------------------------------------------------------------------- */

static void bench_one(enum dtype type, enum mat_role role, int v, int n_tok, double gbs, double tops)
{
    struct mat w;
    struct act a;
    enum act_tier tier = mat_tier(type, role);
    make_mat(&w, type, PANEL, K, 0);
    int n = n_tok <= 2 ? (int)(BIG / w.panel_bytes) * PANEL : MANY_ROWS;
    const uint8_t *panel = w.data;
    if (mat_init(&w, type, n, K, NULL)) exit(2);
    w.data = guard_alloc(mat_bytes(&w), 64);
    for (int p = 0; p < w.n_panels; p++) memcpy(w.data + (size_t)p * w.panel_bytes, panel, w.panel_bytes);
    act_init(&a, tier, K, n_tok, guard_alloc(act_bytes(tier, K, n_tok), 64));
    float *x = guard_alloc(K * 4, 4), *y = guard_alloc((size_t)n_tok * (size_t)n * 4, 4);
    for (int t = 0; t < n_tok; t++) fill_row(x, K, FILL_NORMAL), kern_at(v)->elem->quant(&a, t, x);
    double best = 1e9;
    for (int r = 0; r < ROUNDS; r++) {
        double t0 = now();
        kern_at(v)->matmul(y, (size_t)n, &w, 0, w.n_panels, &a, 0, n_tok);
        double dt = now() - t0;
        best = dt < best ? dt : best;
    }
    double g = (double)mat_bytes(&w) / best * 1e-9, o = 2.0 * n * K * n_tok / best * 1e-12;
    printf("%-7s %-5s %-8s %6d %9.2f", dtype_name(type), role == MAT_HEAD ? "head" : "body", kern_at(v)->name,
           n_tok, g);
    if (n_tok <= 2)
        printf(" %5.0f %%", 100 * g / gbs);
    else
        printf("       -");
    printf(" %9.3f", o);
    if (n_tok > 2 && tops > 0) printf(" %5.0f %%", 100 * o / tops);
    printf("\n");
    fflush(stdout);
    guard_release();
}

void bench(void)
{
    static const int toks[] = {1, 2, 8, 32, 128};
    double gbs = read_limit(), load[1] = {0};
    if (getloadavg(load, 1) != 1) load[0] = -1;
    printf("one thread, k = %d; load average %.1f; reading %.1f GB/s\n", K, load[0], gbs);
    for (int v = 0; v < kern_count(); v++) {
        if (!isa_selected(v)) continue;
        double tops = peak(kern_at(v)->name);
        if (tops > 0) printf("%s: multiplying bytes %.3f TOPS\n", kern_at(v)->name, tops);
        printf("type    use   isa      tokens      GB/s of read      TOPS of peak\n");
        for (int i = 0; i < N_TYPES; i++) {
            enum dtype type = weight_types[i];
            if (!selected(dtype_name(type))) continue;
            for (enum mat_role role = MAT_BODY; role <= MAT_HEAD; role++) {
                if (role && mat_tier(type, role) == mat_tier(type, MAT_BODY)) continue;
                for (int t = 0; t < 5; t++) bench_one(type, role, v, toks[t], gbs, tops);
            }
        }
    }
}
