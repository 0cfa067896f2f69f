/* SPDX-License-Identifier: Apache-2.0 */
/* checkkern_amx: the real matmul_amx on a processor without AMX, its tile instructions carried out by amx_trap.c. */
#include "tables.h"

#if defined(__x86_64__)
#include "amx_trap.h"

/* With the handler in place for this call only, so that a SIGILL elsewhere stays one. */
void matmul_amx_trapped(float *y, size_t stride, const struct mat *w, int p0, int p1, const struct act *x,
                        int t0, int n_tok)
{
    struct sigaction before;
    amx_trap_begin(&before);
    matmul_amx(y, stride, w, p0, p1, x, t0, n_tok);
    amx_trap_end(&before);
}
#endif
