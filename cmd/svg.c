/* SPDX-License-Identifier: Apache-2.0 */
/* See svg.h. */
#include "svg.h"

#include <math.h>
#include <stdio.h>

enum {
    WIDTH = 720,
    HEIGHT = 340,
    LEFT = 64,
    RIGHT = 150,
    TOP = 30,
    BOTTOM = 46,
    TICKS = 6,
    BAR = 22,
    BAR_LEFT = 120,
    BAR_RIGHT = 190
};

struct scale {
    double lo, hi; /* values; logarithms on a log axis */
    bool log;
    double from, to; /* pixels */
};

void svg_text(struct buf *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '<') buf_append_z(out, "&lt;");
        else if (*p == '>') buf_append_z(out, "&gt;");
        else if (*p == '&') buf_append_z(out, "&amp;");
        else if (*p == '"') buf_append_z(out, "&quot;");
        else buf_append_char(out, *p);
    }
}

static bool shows(const struct scale *s, double v)
{
    return isfinite(v) && (!s->log || v > 0);
}

static void stretch(struct scale *s, double v)
{
    if (!shows(s, v)) return;
    double x = s->log ? log10(v) : v;
    if (x < s->lo) s->lo = x;
    if (x > s->hi) s->hi = x;
}

/* Never empty; linear axes begin at 0. */
static void settle(struct scale *s)
{
    if (!s->log && s->lo > 0) s->lo = 0;
    if (!(s->lo < s->hi)) s->lo = s->log ? -1 : 0, s->hi = 1;
    if (s->log) s->lo -= 0.05, s->hi += 0.05;
    else s->hi += 0.04 * (s->hi - s->lo);
}

static double place(const struct scale *s, double v)
{
    double x = ((s->log ? log10(v) : v) - s->lo) / (s->hi - s->lo);
    return s->from + fmin(1, fmax(0, x)) * (s->to - s->from);
}

static double step_of(const struct scale *s)
{
    double raw = (s->hi - s->lo) / TICKS, ten = pow(10, floor(log10(raw)));
    return raw / ten > 5 ? 10 * ten : raw / ten > 2 ? 5 * ten : raw / ten > 1 ? 2 * ten : ten;
}

/* Calls for every tick with its value: 1, 2, 5 of each power of ten on a log axis. */
static void ticks(struct buf *out, const struct scale *s, bool upright, double other_from, double other_to)
{
    static const double in_ten[] = {1, 2, 5};
    double step = step_of(s);
    int first = (int)ceil(s->log ? floor(s->lo) : s->lo / step), last = (int)floor(s->log ? ceil(s->hi) : s->hi / step);
    for (int i = first; i <= last; i++)
        for (int k = 0; k < (s->log && s->hi - s->lo < 2.5 ? 3 : 1); k++) {
            double v = s->log ? in_ten[k] * pow(10, i) : i * step;
            double at = s->log ? log10(v) : v;
            if (at < s->lo - 1e-9 || at > s->hi + 1e-9) continue;
            double p = place(s, v);
            if (upright)
                buf_printf(
                    out,
                    "<path class=g d='M%.1f %.1fV%.1f'/><text x='%.1f' y='%.1f' text-anchor=middle>%.6g</text>",
                    p, other_from, other_to, p, other_to + 14, v);
            else
                buf_printf(
                    out,
                    "<path class=g d='M%.1f %.1fH%.1f'/><text x='%.1f' y='%.1f' text-anchor=end>%.6g</text>",
                    other_from, p, other_to, other_from - 6, p + 4, v);
        }
}

static void begin(struct buf *out, const char *title, int height)
{
    buf_printf(out, "<svg viewBox='0 0 %d %d' role=img aria-label=\"", WIDTH, height);
    svg_text(out, title);
    buf_printf(out, "\"><text class=t x='%d' y='16'>", 8);
    svg_text(out, title);
    buf_append_z(out, "</text>");
}

static void legend(struct buf *out, int i, const char *name, double x, double y, bool dashed)
{
    buf_printf(out, "<path class='l c%d%s' d='M%.1f %.1fh18'/><text x='%.1f' y='%.1f'>", i % SVG_COLOURS,
               dashed ? " d" : "", x, y - 4, x + 24, y);
    svg_text(out, name);
    buf_append_z(out, "</text>");
}

static void draw_curve(struct buf *out, int i, const struct svg_curve *c, const struct scale *x, const struct scale *y)
{
    const char *move = "M";
    buf_printf(out, "<path class='l c%d%s' d='", i % SVG_COLOURS, c->dashed ? " d" : "");
    for (int k = 0; k < c->n; k++) {
        if (!shows(x, c->x[k]) || !shows(y, c->y[k])) continue;
        buf_printf(out, "%s%.1f %.1f", move, place(x, c->x[k]), place(y, c->y[k]));
        move = "L";
    }
    buf_append_z(out, "'/>");
    for (int k = 0; k < c->n; k++)
        if (shows(x, c->x[k]) && shows(y, c->y[k]))
            buf_printf(out, "<circle class=c%d cx='%.1f' cy='%.1f' r=2.5><title>%.4g, %.4g</title></circle>",
                       i % SVG_COLOURS, place(x, c->x[k]), place(y, c->y[k]), c->x[k], c->y[k]);
}

void svg_curves(struct buf *out, const struct svg_axes *a, const struct svg_curve *c, int n)
{
    struct scale x = {HUGE_VAL, -HUGE_VAL, a->log_x, LEFT, WIDTH - RIGHT},
                 y = {HUGE_VAL, -HUGE_VAL, a->log_y, HEIGHT - BOTTOM, TOP};
    for (int i = 0; i < n; i++)
        for (int k = 0; k < c[i].n; k++) {
            if (!shows(&x, c[i].x[k]) || !shows(&y, c[i].y[k])) continue;
            stretch(&x, c[i].x[k]);
            stretch(&y, c[i].y[k]);
        }
    if (a->limit_y > 0) stretch(&y, a->limit_y);
    settle(&x), settle(&y);
    begin(out, a->title, HEIGHT);
    ticks(out, &x, true, TOP, HEIGHT - BOTTOM);
    ticks(out, &y, false, LEFT, WIDTH - RIGHT);
    buf_printf(out, "<text x='%d' y='%d' text-anchor=middle>", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10);
    svg_text(out, a->x);
    buf_printf(out, "</text><text transform='translate(14 %d) rotate(-90)' text-anchor=middle>",
               (TOP + HEIGHT - BOTTOM) / 2);
    svg_text(out, a->y);
    buf_append_z(out, "</text>");
    if (a->limit_y > 0)
        buf_printf(out, "<path class=m d='M%d %.1fH%d'/><text x='%d' y='%.1f'>limit</text>", LEFT,
                   place(&y, a->limit_y), WIDTH - RIGHT, LEFT + 4, place(&y, a->limit_y) - 4);
    if (a->mark_x > 0) {
        buf_printf(out, "<path class=m d='M%.1f %dV%d'/><text x='%.1f' y='%d'>", place(&x, a->mark_x), TOP,
                   HEIGHT - BOTTOM, place(&x, a->mark_x) + 4, TOP + 12);
        svg_text(out, a->mark_text);
        buf_append_z(out, "</text>");
    }
    for (int i = 0; i < n; i++) draw_curve(out, i, &c[i], &x, &y);
    for (int i = 0; i < n; i++) legend(out, i, c[i].name, WIDTH - RIGHT + 12, TOP + 12 + 18 * i, c[i].dashed);
    buf_append_z(out, "</svg>\n");
}

void svg_bars(struct buf *out, const char *title, const char *unit, const struct svg_bar *b, int n,
              const char *const *parts, int n_parts, double mark)
{
    int height = TOP + 20 + n * BAR + BOTTOM, legend_end = TOP + 40 + 18 * n_parts;
    if (parts && height < legend_end) height = legend_end;
    struct scale x = {HUGE_VAL, -HUGE_VAL, false, BAR_LEFT, WIDTH - BAR_RIGHT};
    for (int i = 0; i < n; i++) {
        double end = b[i].from;
        stretch(&x, b[i].from);
        for (int k = 0; k < SVG_PARTS_MAX; k++) end += isfinite(b[i].part[k]) ? b[i].part[k] : 0;
        stretch(&x, end);
    }
    settle(&x);
    begin(out, title, height);
    ticks(out, &x, true, TOP + 16, height - BOTTOM);
    for (int i = 0; parts && i < n_parts; i++)
        legend(out, i, parts[i], WIDTH - BAR_RIGHT + 84, TOP + 30 + 18 * i, false);
    for (int i = 0; i < n; i++) {
        double at = b[i].from, y = TOP + 20 + i * BAR;
        buf_printf(out, "<text x='%d' y='%.1f' text-anchor=end>", BAR_LEFT - 8, y + 13);
        svg_text(out, b[i].name);
        buf_append_z(out, "</text>");
        for (int k = 0; k < SVG_PARTS_MAX; k++) {
            if (!isfinite(b[i].part[k]) || b[i].part[k] <= 0) continue;
            buf_printf(
                out, "<rect class=c%d x='%.1f' y='%.1f' width='%.1f' height='%d'><title>%.4g</title></rect>",
                k % SVG_COLOURS, place(&x, at), y, place(&x, at + b[i].part[k]) - place(&x, at), BAR - 6,
                b[i].part[k]);
            at += b[i].part[k];
        }
        if (b[i].text) {
            buf_printf(out, "<text x='%.1f' y='%.1f'>", place(&x, at) + 5, y + 13);
            svg_text(out, b[i].text);
            buf_append_z(out, "</text>");
        }
    }
    if (mark > 0) buf_printf(out, "<path class=m d='M%.1f %dV%d'/>", place(&x, mark), TOP + 16, height - BOTTOM);
    buf_printf(out, "<text x='%d' y='%d' text-anchor=middle>", (BAR_LEFT + WIDTH - BAR_RIGHT) / 2, height - 12);
    svg_text(out, unit);
    buf_append_z(out, "</text></svg>\n");
}
