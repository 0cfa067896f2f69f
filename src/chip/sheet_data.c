/* SPDX-License-Identifier: Apache-2.0 */
/* The datasheets of data/chips/ as part of the program, so that an installed program needs no folder of its own. */
#include "chip/sheet_data.h"

#define SHEET(name)                                                                                                   \
    __asm__(".section .rodata\n"                                                                                      \
            ".hidden sheet_text_" #name "\n.global sheet_text_" #name "\nsheet_text_" #name ":\n"                     \
            ".incbin \"data/chips/" #name ".ini\"\n"                                                                  \
            ".hidden sheet_end_" #name "\n.global sheet_end_" #name "\nsheet_end_" #name ":\n.byte 0\n.previous\n"); \
    extern const char sheet_text_##name[], sheet_end_##name[];

/* clang-format off */
SHEET(lpu)
SHEET(a100)
SHEET(h100)
SHEET(h200)
SHEET(h800)
SHEET(gh200)
SHEET(b200)
SHEET(gb200)
SHEET(b300)
SHEET(gb300)
SHEET(rtx4090)
SHEET(rtxpro6000)
SHEET(tpuv4)
SHEET(tpuv5e)
SHEET(tpuv5p)
SHEET(tpuv6e)
SHEET(tpuv7)
SHEET(gc200)
SHEET(bow)
SHEET(wse3)
SHEET(sn40l)
SHEET(lp30)
SHEET(warboy)
SHEET(rngd)
SHEET(atom)
SHEET(rebel)
SHEET(x220)
SHEET(x330)
SHEET(dxm1)
SHEET(dxm1m)
SHEET(colossus)
SHEET(zen5)

#define ROW(name) {#name, sheet_text_##name, sheet_end_##name}
const struct sheet_data sheet_data[] = {
    ROW(lpu), ROW(a100), ROW(h100), ROW(h200), ROW(h800), ROW(gh200),
    ROW(b200), ROW(gb200), ROW(b300), ROW(gb300), ROW(rtx4090), ROW(rtxpro6000),
    ROW(tpuv4), ROW(tpuv5e), ROW(tpuv5p), ROW(tpuv6e), ROW(tpuv7), ROW(gc200),
    ROW(bow), ROW(wse3), ROW(sn40l), ROW(lp30), ROW(warboy), ROW(rngd),
    ROW(atom), ROW(rebel), ROW(x220), ROW(x330), ROW(dxm1), ROW(dxm1m),
    ROW(colossus), ROW(zen5),
    {0},
};
