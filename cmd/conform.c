/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tutti conform: does a back end give the contract's bits? Of the chips that are asked for, those without
 * code of their own run on the kernels of this CPU: each back end is run once, whatever the number of chips,
 * and every chip gets its line.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "chip/conform.h"
#include "chip/sheet.h"
#include "cmd.h"
#include "common.h"

enum { CHIPS_MAX = 128 };

struct report {
    const struct conform *c;
    const char *chip;
    bool verbose, bar;
    int differ;
};

struct chips {
    struct chosen {
        char name[TIMED_NAME_MAX];
        const char *end; /* what executes for it: the name of a back end */
    } at[CHIPS_MAX];
    int n;
};

static void told(void *ud, const struct conform_vector *v, enum conform_end end, const char *text)
{
    static const char *const word[] = {"equal", "DIFFERS", "refused"};
    struct report *r = ud;
    r->differ += end == CONFORM_DIFFERS;
    if (r->bar)
        fprintf(stderr, "\r\033[K%s  %d of %d models  %s, %d bits of cache", r->chip, r->c->done,
                r->c->models, v->type, v->kv_bits);
    if (end == CONFORM_EQUAL && !r->verbose) return;
    if (end == CONFORM_DIFFERS && r->differ > 1 && !r->verbose) return; /* the first one says most */
    if (r->bar) fputs("\r\033[K", stderr);
    printf("%-8s kv %-2d", v->type, v->kv_bits);
    if (v->chunk) printf("  chunk %-3d  %d others", v->chunk, v->others);
    printf("  %s%s%s\n", word[end], *text ? ": " : "", text);
    fflush(stdout);
}

static int add(struct chips *l, const char *name, size_t n, struct err *e)
{
    struct figures f;
    struct chosen *c = &l->at[l->n];
    if (l->n == CHIPS_MAX) return err(e, ERR_LIMIT, "more than %d chips", CHIPS_MAX);
    if (n >= sizeof c->name) return err(e, ERR_USAGE, "--chip: a name of %zu bytes", n);
    memcpy(c->name, name, n);
    c->name[n] = 0;
    const struct chip_ops *ops = chip_named(c->name);
    if (!ops) { /* a chip of which there is a datasheet only, or none */
        int rc = figures_open(&f, c->name, NULL, e);
        if (rc) return rc;
        figures_close(&f);
    }
    c->end = ops ? ops->name : "cpu";
    l->n++;
    return 0;
}

/* "a,b", or "all": what executes programs here, then every other datasheet. */
static int choose(struct chips *l, const char *list, struct err *e)
{
    int rc = 0;
    if (strcmp(list, "all") != 0) {
        for (const char *s = list; !rc && s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
            rc = add(l, s, strcspn(s, ","), e);
        return rc;
    }
    for (int i = 0; chip_at(i) && !rc; i++) rc = add(l, chip_at(i)->name, strlen(chip_at(i)->name), e);
    for (int i = 0; sheet_chip(i) && !rc; i++)
        if (!chip_named(sheet_chip(i))) rc = add(l, sheet_chip(i), strlen(sheet_chip(i)), e);
    return rc;
}

/* Runs one back end, then a line for each chip that it executes for; 0 or an exit status. */
static int run_end(const struct args_doc *doc, const struct chips *l, const char *end, struct conform *c, bool verbose)
{
    struct err e = {0};
    char id[65];
    struct report r = {.c = c, .chip = end, .verbose = verbose, .bar = isatty(STDERR_FILENO) == 1};
    c->chip = end, c->told = told, c->ud = &r;
    int rc = conform_run(c, &e);
    if (r.bar) fputs("\r\033[K", stderr);
    if (rc) return common_fail(doc, &e);
    engine_contract_id(id);
    for (int i = 0; i < l->n; i++) {
        const struct chosen *x = &l->at[i];
        if (strcmp(x->end, end) != 0) continue;
        if (r.differ)
            printf("NOT conforming: %s differs in %d of %d vectors from contract %.16s", x->name, r.differ,
                   c->vectors, id);
        else
            printf("%s: %s gives the bits of contract %.16s in %d vectors",
                   c->equal ? "conforming" : "nothing was run", x->name, id, c->equal);
        if (c->unsupported) printf("; %d models refused", c->unsupported);
        puts(strcmp(x->name, end) ? "; no code of its own here: the kernels of this CPU run its programs" : "");
    }
    fflush(stdout);
    return r.differ ? err_exit_status(ERR_MISMATCH) : c->equal ? 0 : err_exit_status(ERR_UNSUPPORTED);
}

int cmd_conform(int argc, char **argv)
{
    static const struct args_doc doc = {
        "conform", "", "run the contract's vectors on a back end",
        "Makes a small model of every weight type and runs a text through it on the back end under test: token by token, in chunks, beside other "
        "sequences, with caches of 16 and 8 bits. Every bit of every logit is compared with the scalar reference. Prints 'conforming', or the first "
        "difference. What a back end refuses to load is counted apart. Half a minute of one core for the CPU (and every chip that it executes for, once "
        "for all of them), two minutes for lpu, which is simulated instruction by instruction."};
    struct conform c = {.n_threads = 2};
    struct chips l = {.n = 0};
    struct err e = {0};
    const char *chip = "cpu";
    bool verbose = false;
    int status;
    const struct arg table[] = {
        {"chip", 0, ARG_STR, &chip, "A,B",
         "under test: cpu (default), lpu, any chip of 'tutti chips', a datasheet's path; 'all': every chip",
         0, 0},
        {"isa", 0, ARG_STR, &c.isa, "NAME", "its instruction set (default: the best)", 0, 0},
        {"type", 0, ARG_STR, &c.type, "TYPE", "this weight type only: Q4_K ...", 0, 0},
        {"threads", 't', ARG_INT, &c.n_threads, "N", "worker threads (default: 2)", 1, POOL_ARG_MAX},
        {"verbose", 'v', ARG_FLAG, &verbose, NULL, "a line for every vector", 0, 0},
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (at != argc) return args_fault(&doc, "takes no argument; see tutti conform --help");
    if (choose(&l, chip, &e)) return common_fail(&doc, &e);
    int worst = 0;
    for (int i = 0; chip_at(i); i++) {
        bool any = false;
        for (int j = 0; j < l.n; j++) any = any || !strcmp(l.at[j].end, chip_at(i)->name);
        if (!any || !(status = run_end(&doc, &l, chip_at(i)->name, &c, verbose))) continue;
        if (status == err_exit_status(ERR_USAGE)) return status; /* said once */
        worst = worst ? worst : status;
    }
    return worst;
}
