/* SPDX-License-Identifier: Apache-2.0 */
/* Progress: see progress.h. */
#include "base/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)
#define TTY_PERIOD_NS (NS_PER_S / 10)
#define LINE_PERIOD_NS (5 * NS_PER_S)
enum { BAR_CELLS = 24, DEFAULT_COLUMNS = 80 };

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

const char *bytes_text(uint64_t n, char out[BYTES_TEXT_MAX])
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double v = (double)n;
    int u = 0;
    for (; v >= 999.5 && u < 6; u++) v /= 1000;
    snprintf(out, BYTES_TEXT_MAX, u == 0 || v >= 99.95 ? "%.0f %s" : "%.1f %s", v, unit[u]);
    return out;
}

/* "43.9 / 92.9 MB  12.1 MB/s  ETA 0:04" */
static void format_numbers(const struct progress *p, char *out, size_t cap)
{
    char done[BYTES_TEXT_MAX], total[BYTES_TEXT_MAX], rate[BYTES_TEXT_MAX];
    double s = (double)(now_ns() - p->t_start_ns) / (double)NS_PER_S;
    double per_s = s > 0.2 ? (double)(p->done - p->start) / s : 0;
    int n = snprintf(out, cap, "%s", bytes_text(p->done, done));
    if (p->total) n += snprintf(out + n, cap - (size_t)n, " of %s", bytes_text(p->total, total));
    if (per_s < 1) return;
    n += snprintf(out + n, cap - (size_t)n, "  %s/s", bytes_text((uint64_t)per_s, rate));
    if (p->done < p->total) {
        uint64_t eta_s = (uint64_t)((double)(p->total - p->done) / per_s) + 1;
        if (eta_s < 360000)
            snprintf(out + n, cap - (size_t)n, "  ETA %d:%02d", (int)(eta_s / 60), (int)(eta_s % 60));
    }
}

static void draw(struct progress *p)
{
    char numbers[96], bar[BAR_CELLS + 1], line[320];
    unsigned percent = p->total ? (unsigned)((p->done < p->total ? p->done : p->total) * 100 / p->total) : 0;
    format_numbers(p, numbers, sizeof numbers);
    for (int i = 0; i < BAR_CELLS; i++) {
        int full = (int)percent * BAR_CELLS / 100;
        bar[i] = i < full ? '=' : i == full ? '>' : ' ';
    }
    bar[BAR_CELLS] = 0;
    if (p->tty) {
        struct winsize w;
        int cols = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : DEFAULT_COLUMNS;
        if (!p->total)
            snprintf(line, sizeof line, "%s  %s", p->label, numbers);
        else
            snprintf(line, sizeof line, "%s  [%s] %3u %%  %s", p->label, bar, percent, numbers);
        if ((int)strlen(line) >= cols) snprintf(line, sizeof line, "%3u %%  %s", percent, numbers);
        fprintf(stderr, "\r\033[K%.*s", cols - 1, line);
    } else if (p->total) {
        fprintf(stderr, "%s: %u %%, %s\n", p->label, percent, numbers);
    } else {
        fprintf(stderr, "%s: %s\n", p->label, numbers);
    }
    fflush(stderr);
    p->drawn = true;
}

void progress_begin(struct progress *p, const char *label, uint64_t start, uint64_t total, bool quiet)
{
    *p = (struct progress){.start = start, .done = start, .total = total, .quiet = quiet};
    snprintf(p->label, sizeof p->label, "%s", label);
    p->tty = isatty(STDERR_FILENO) == 1;
    p->t_start_ns = now_ns();
    p->t_shown_ns = p->tty ? 0 : p->t_start_ns;
}

void progress_update(struct progress *p, uint64_t done)
{
    p->done = done < p->start ? p->start : done;
    if (p->quiet) return;
    int64_t t = now_ns();
    if (t - p->t_shown_ns < (p->tty ? TTY_PERIOD_NS : LINE_PERIOD_NS)) return;
    p->t_shown_ns = t;
    draw(p);
}

void progress_end(struct progress *p, bool finished)
{
    if (p->quiet) return;
    if (finished || p->drawn) draw(p);
    if (p->tty && p->drawn) fputc('\n', stderr);
}
