/* SPDX-License-Identifier: Apache-2.0 */
/* The datasheets of data/chips/ as part of the program, so that an installed program needs no folder of its own. */
#include "chip/sheet_data.h"

#define SHEET(name)                                                                                                   \
    __asm__(".section .rodata\n"                                                                                      \
            ".hidden sheet_text_" #name "\n.global sheet_text_" #name "\nsheet_text_" #name ":\n"                     \
            ".incbin \"data/chips/" #name ".ini\"\n"                                                                  \
            ".hidden sheet_end_" #name "\n.global sheet_end_" #name "\nsheet_end_" #name ":\n.byte 0\n.previous\n"); \
    extern const char sheet_text_##name[], sheet_end_##name[];

SHEET(lpu)

const struct sheet_data sheet_data[] = {{"lpu", sheet_text_lpu, sheet_end_lpu}, {0}};
