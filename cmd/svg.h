/* SPDX-License-Identifier: Apache-2.0 */
/*
 * svg: the charts of a report, as elements inside a page: curves over axes, and bars made of parts. Written
 * here and not by a plotting program, because a report must come out wherever the one binary runs. Text is
 * escaped; colours are classes c0..c7 of the page.
 */
#ifndef TUTTI_CMD_SVG_H
#define TUTTI_CMD_SVG_H

#include <stdbool.h>
#include "base/buf.h"

enum { SVG_COLOURS = 8, SVG_PARTS_MAX = 8 };

struct svg_curve {
    const char *name;
    const double *x, *y; /* [n]; points that are not finite, or not above 0 on a log axis, are left out */
    int n;
    bool dashed;
};

struct svg_axes {
    const char *title, *x, *y;
    bool log_x, log_y;
    double limit_y;      /* a line across; 0: none */
    double mark_x;       /* a line upright with mark_text; 0: none */
    const char *mark_text;
};

void svg_curves(struct buf *out, const struct svg_axes *a, const struct svg_curve *c, int n);

struct svg_bar {
    const char *name;
    double from;                 /* where the first part begins */
    double part[SVG_PARTS_MAX];  /* lengths; not finite counts as 0 */
    const char *text;            /* behind the bar */
};

/* parts: names of parts for the legend, [n_parts], or NULL. mark: a line upright at this value; 0: none. */
void svg_bars(struct buf *out, const char *title, const char *unit, const struct svg_bar *b, int n,
              const char *const *parts, int n_parts, double mark);

/* Text as the inside of an element or of an attribute in quotes. */
void svg_text(struct buf *out, const char *text);

#endif
