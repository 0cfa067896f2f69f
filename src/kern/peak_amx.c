/* SPDX-License-Identifier: Apache-2.0 */
/* AMX: tdpbssd of full tiles (16 x 64 by 64 x 16 bytes) into four sums. See peak.h. */
#include "kern/amx_tile.h"
#include "kern/peak.h"

peak_fn peak_amx;
uint64_t peak_amx(uint64_t rounds)
{
    struct amx_config cfg = {.palette = 1};
    for (int t = 0; t < AMX_TILES; t++) cfg.colsb[t] = AMX_COLSB, cfg.rows[t] = AMX_ROWS;
    amx_configure(&cfg);
    amx_zero(0);
    amx_zero(1);
    amx_zero(2);
    amx_zero(3);
    amx_zero(4);
    amx_zero(5);
    for (uint64_t n = 0; n < rounds; n++) {
        amx_dpbssd(0, 4, 5);
        amx_dpbssd(1, 4, 5);
        amx_dpbssd(2, 4, 5);
        amx_dpbssd(3, 4, 5);
    }
    amx_release();
    return rounds * 4 * 2 * 16 * 16 * 64;
}
