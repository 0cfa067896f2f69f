/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: a chip's datasheet, as the simulated LPU and as the planner read one. What is taken has every
 * figure inside its bounds; what is refused has a message of one line. */
#include <stdint.h>
#include <string.h>
#include "chip/lpu/arch.h"
#include "plan/op/figures.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The list of all classes: every figure may be missing or n/p. */
static void read_any(struct str text)
{
    struct sheet s;
    struct err e = {0};
    int rc = sheet_read(&s, "fuzz.ini", text, figures_about(0), FIGURES, &e);
    if (rc) {
        must(e.code == rc && *e.msg && !strchr(e.msg, '\n'));
        return;
    }
    for (int i = 0; i < FIGURES; i++) {
        const struct sheet_item *it = &s.items[i];
        must(!it->line || (*it->source && (it->value != it->value || (it->value >= s.figures[i].min &&
                                                                      it->value <= s.figures[i].max))));
    }
    sheet_close(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_any((struct str){(const char *)data, size});
    struct lpu_arch a;
    struct err e = {0};
    int rc = lpu_arch_read(&a, "fuzz.ini", (struct str){(const char *)data, size}, &e);
    if (rc) {
        must(e.code == rc && *e.msg && !strchr(e.msg, '\n') && strncmp(e.msg, "fuzz.ini:", 9) == 0);
        return 0;
    }
    for (int i = 0; i < LPU_FIGURES; i++) {
        const struct sheet_item *it = &a.sheet.items[i];
        must(it->line > 0 && *it->source && it->value >= lpu_figures[i].min && it->value <= lpu_figures[i].max);
    }
    lpu_arch_close(&a);
    return 0;
}
