/* SPDX-License-Identifier: Apache-2.0 */
/* See limits.h. */
#include "limits.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common.h"

enum {
    PROBE_EVERY = 8,          /* steps, if a cache may hold weights: rare enough that it is theirs */
    PROBE_BYTES = 256 << 20,  /* at a time; of more weights some before every step */
};

/* "matmul q k v", "rows add norm quant": what a step does, without its place. */
static void name_step(const struct program *p, const struct step *s, char *out, size_t n)
{
    static const char *const kind[] = {"rows", "matmul", "store", "attend", "place", "experts"};
    size_t at = (size_t)snprintf(out, n, "%s", kind[s->kind]);
    for (int i = 0;
         i < s->n && at < n && (s->kind == STEP_ROWS || s->kind == STEP_MATMUL || s->kind == STEP_EXPERTS);
         i++)
        at += (size_t)snprintf(out + at, n - at, " %s",
                               s->kind == STEP_ROWS ? row_op_name[s->row[i].kind]
                                                    : p->buffers[s->mat[i].dst].name);
}

static int line_named(struct limits *l, const char *name)
{
    for (int i = 0; i < l->n; i++)
        if (strcmp(l->line[i].name, name) == 0) return i;
    if (l->n == LIMITS_LINES_MAX) return LIMITS_LINES_MAX - 1; /* the rest together */
    snprintf(l->line[l->n].name, sizeof l->line[l->n].name, "%s", name);
    return l->n++;
}

int limits_open(struct limits *l, struct engine *en, struct err *e)
{
    const struct program *p = en->program;
    double weights = 0;
    *l = (struct limits){.en = en};
    l->ns = calloc((size_t)p->n_steps, sizeof *l->ns);
    l->line_of = calloc((size_t)p->n_steps, sizeof *l->line_of);
    if (!l->ns || !l->line_of) return err(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < p->n_steps; i++) {
        char name[sizeof l->line->name];
        name_step(p, &p->steps[i], name, sizeof name);
        l->line_of[i] = line_named(l, name);
        if (p->steps[i].kind == STEP_MATMUL) weights += step_cost(p, &p->steps[i], 1, &(struct kv_cost){0}).bytes;
    }
    l->weights = (size_t)weights;
    return chip_limits(en->chip, l->weights, &l->chip, e);
}

void limits_close(struct limits *l)
{
    free(l->ns);
    free(l->line_of);
    *l = (struct limits){0};
}

void limits_begin(struct limits *l)
{
    memset(l->ns, 0, (size_t)l->en->program->n_steps * sizeof *l->ns);
    for (int i = 0; i < l->n; i++) l->line[i].s = l->line[i].times = 0, l->line[i].cost = (struct step_cost){0};
    l->read_bytes = l->read_s = l->probes = 0;
    chip_time_steps(l->en->chip, l->ns);
}

static void count_steps(struct limits *l, int from, int to, int rows, const struct kv_cost *kv)
{
    for (int i = from; i < to; i++) {
        struct limits_line *line = &l->line[l->line_of[i]];
        struct step_cost c = step_cost(l->en->program, &l->en->program->steps[i], rows, kv);
        line->times++;
        line->cost.bytes += c.bytes;
        line->cost.ops += c.ops;
    }
}

void limits_count(struct limits *l, int n_seqs, int n, int pos, int n_out)
{
    const struct program *p = l->en->program;
    struct kv_cost kv = {l->en->kv->shape.type, (double)n_seqs * (pos + n), (double)n_seqs * n * (pos + (n + 1) / 2.0)};
    count_steps(l, 0, p->n_body, n_seqs * n, &kv);
    for (int i = 0; i < n_out; i += p->max_out)
        count_steps(l, p->n_body, p->n_steps, n_out - i < p->max_out ? n_out - i : p->max_out, &kv);
}

double limits_probe(struct limits *l)
{
    bool large = l->weights > PROBE_BYTES;
    if (l->probes++ % PROBE_EVERY && !large) return 0;
    double t = common_now();
    l->read_bytes += (double)chip_read(l->en->chip, large ? PROBE_BYTES : l->weights);
    t = common_now() - t;
    l->read_s += t;
    return t;
}

double limits_read(const struct limits *l)
{
    return l->read_bytes > 0 ? l->read_bytes / l->read_s : l->chip.read;
}

void limits_end(struct limits *l)
{
    chip_time_steps(l->en->chip, NULL);
    for (int i = 0; i < l->en->program->n_steps; i++) l->line[l->line_of[i]].s += 1e-9 * (double)l->ns[i];
}

double limits_bound(const struct limits *l, const struct limits_line *line, bool *reads)
{
    double read = line->cost.bytes / limits_read(l),
           multiply = l->chip.multiply > 0 ? line->cost.ops / l->chip.multiply : 0;
    *reads = read >= multiply;
    return *reads ? read : multiply;
}

static struct limits_line total_of(const struct limits *l, double *bound)
{
    struct limits_line t = {.name = "all"};
    bool reads;
    *bound = 0;
    for (int i = 0; i < l->n; i++) {
        t.s += l->line[i].s;
        t.times += l->line[i].times;
        t.cost.bytes += l->line[i].cost.bytes;
        t.cost.ops += l->line[i].cost.ops;
        *bound += limits_bound(l, &l->line[i], &reads);
    }
    return t;
}

static void print_line(const struct limits_line *x, double all_s, double bound, const char *by)
{
    printf("| %-34s | %7d | %9.3f | %5.1f %% | %9.2f | %9.3f | %7.1f | %7.3f | ", x->name, x->times,
           1e3 * x->s, 100 * x->s / all_s, 1e-6 * x->cost.bytes, 1e-9 * x->cost.ops,
           1e-9 * x->cost.bytes / x->s, 1e-12 * x->cost.ops / x->s);
    if (bound > 0)
        printf("%-8s | %5.0f %% |\n", by, 100 * bound / x->s);
    else
        printf("%-8s | %7s |\n", "", "");
}

void limits_print(const struct limits *l, const char *test)
{
    double bound;
    bool reads;
    struct limits_line t = total_of(l, &bound);
    printf("\n%s: limits of %d workers: reading %.1f GB/s", test, l->chip.workers, 1e-9 * limits_read(l));
    if (l->read_bytes > 0) printf(" of weights between the steps (%.1f at best)", 1e-9 * l->chip.read);
    if (l->chip.multiply > 0) printf("; multiplying bytes %.2f TOPS (%s)", 1e-12 * l->chip.multiply, l->chip.unit);
    if (l->chip.meet > 0) printf("; meeting after a step %.2f us", 1e6 * l->chip.meet);
    printf("\n\n| %-34s | %7s | %9s | %7s | %9s | %9s | %7s | %7s | %-8s | %7s |\n", "steps", "times", "ms",
           "of time", "MB", "Gop", "GB/s", "TOPS", "limit", "of it");
    printf("| %.34s | %.6s: | %.8s: | %.6s: | %.8s: | %.8s: | %.6s: | %.6s: | %.8s | %.6s: |\n", "----------------------------------", "---------", "---------",
           "---------", "---------", "---------", "---------", "---------", "---------", "---------");
    for (int i = 0; i < l->n; i++) {
        if (!l->line[i].times) continue;
        double b = limits_bound(l, &l->line[i], &reads);
        print_line(&l->line[i], t.s, b, reads ? "read" : "multiply");
    }
    print_line(&t, t.s, bound, "");
    printf("\n");
}

json_t *limits_json(const struct limits *l, const char *test)
{
    json_t *steps = json_array();
    for (int i = 0; i < l->n; i++) {
        const struct limits_line *x = &l->line[i];
        bool reads;
        if (!x->times) continue;
        double b = limits_bound(l, x, &reads);
        json_array_append_new(
            steps, json_pack("{s:s, s:i, s:f, s:f, s:f, s:s, s:f}", "steps", x->name, "times", x->times,
                             "seconds", x->s, "bytes", x->cost.bytes, "ops", x->cost.ops, "limit",
                             b > 0 ? reads ? "read" : "multiply" : "", "of_limit", b / x->s));
    }
    return json_pack("{s:s, s:i, s:f, s:f, s:f, s:s, s:f, s:o}", "test", test, "workers", l->chip.workers,
                     "read_bytes_per_s", limits_read(l), "read_bytes_per_s_best", l->chip.read,
                     "multiply_ops_per_s", l->chip.multiply, "unit", l->chip.unit, "meeting_s", l->chip.meet,
                     "steps", steps);
}

static void write_chart(const struct limits *l, const char *test, const char *path, FILE *f)
{
    fprintf(
        f,
        "set terminal svg size 900,560 background 'white'\nset output '%s'\nset title \"%s: %d workers, %s\" noenhanced\n",
        path, test, l->chip.workers, l->chip.unit);
    fprintf(
        f,
        "set logscale xy\nset grid\nset key outside right noenhanced\nset xlabel 'operations per byte read'\nset ylabel 'TOPS'\n"
        "set xrange [0.5:2000]\nset yrange [0.001:*]\nread = %g\nmultiply = %g\n"
        "plot (x * read < multiply ? x * read : multiply) with lines lw 2 lc 'black' title 'limit'",
        1e-12 * limits_read(l), l->chip.multiply > 0 ? 1e-12 * l->chip.multiply : 1e9);
    for (int i = 0; i < l->n; i++)
        if (l->line[i].cost.ops > 0) fprintf(f, ", '-' using 1:2 with points pt 7 ps 1 title \"%s\"", l->line[i].name);
    fprintf(f, "\n");
    for (int i = 0; i < l->n; i++)
        if (l->line[i].cost.ops > 0)
            fprintf(f, "%g %g\ne\n", l->line[i].cost.ops / l->line[i].cost.bytes,
                    1e-12 * l->line[i].cost.ops / l->line[i].s);
}

int limits_plot(const struct limits *l, const char *test, const char *path, struct err *e)
{
    char name[] = "gnuplot", *argv[] = {name, NULL};
    if (strpbrk(path, "'\n\\"))
        return err(e, ERR_USAGE, "'%s': no quotes, backslashes or line ends in the name of a chart", path);
    FILE *f = tmpfile(); /* the script, gnuplot's standard input */
    if (!f) return err(e, ERR_IO, "cannot make a temporary file: %s", strerror(errno));
    write_chart(l, test, path, f);
    bool bad = fflush(f) || ferror(f) || lseek(fileno(f), 0, SEEK_SET);
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, fileno(f), STDIN_FILENO);
    pid_t pid;
    int status = -1, failed = bad ? EIO : posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    fclose(f);
    if (failed) return err(e, ERR_IO, "cannot start gnuplot: %s", strerror(failed));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return status ? err(e, ERR_IO, "gnuplot could not draw '%s'", path) : 0;
}
