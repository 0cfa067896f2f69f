/* SPDX-License-Identifier: Apache-2.0 */
/*
 * figures: what the datasheet of a chip says, of any class: one list of figures (figures.def), of which each
 * class needs some. Figures that are not published may be assumed: "memory.rate=1200", class of evidence
 * *guessed*.
 */
#ifndef TUTTI_PLAN_OP_FIGURES_H
#define TUTTI_PLAN_OP_FIGURES_H

#include <stdbool.h>
#include "chip/sheet.h"

enum figure {
#define FIGURE(section, key, unit, min, max, whole) FIGURE_##section##_##key,
#include "plan/op/figures.def"
    FIGURES
};

enum { FIGURES_NAME_MAX = 64, FIGURES_NAMES_MAX = 8, FIGURES_ASSUMED_MAX = 64 };

struct figures_names { /* of a list with commas */
    char name[FIGURES_NAMES_MAX][FIGURES_NAME_MAX];
    int n;
};

struct figures {
    struct sheet sheet;            /* items by enum figure */
    char chip[FIGURES_NAME_MAX];   /* "h100" */
    struct figures_names aliases;  /* "H100-SXM-80GB", ...: what measurements call it */
    struct figures_names like;     /* aliases of chips that lend their fitted constants, nearest first */
};

/*
 * name: a chip of the tree, an alias of one, or the path of a sheet (with '/' or ".ini"). assumed: NULL, or
 * "section.key=value" texts that end with NULL; they replace what the sheet says.
 */
int figures_open(struct figures *f, const char *name, const char *const *assumed, struct err *e);
void figures_close(struct figures *f); /* accepts a zeroed struct */

static inline double figures_value(const struct figures *f, enum figure i) /* NAN: not published */
{
    return f->sheet.items[i].value;
}

static inline bool figures_has(const struct figures *f, enum figure i)
{
    return !__builtin_isnan(figures_value(f, i));
}

const struct sheet_figure *figures_about(enum figure i);
bool figures_has_name(const struct figures_names *names, const char *name);

#endif
