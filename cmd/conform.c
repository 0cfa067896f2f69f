/* SPDX-License-Identifier: Apache-2.0 */
/* tutti conform: does a back end give the contract's bits? */
#include <stdio.h>
#include <string.h>
#include "chip/conform.h"
#include "cmd.h"
#include "common.h"

struct report {
    bool verbose;
    int differ;
};

static void told(void *ud, const struct conform_vector *v, enum conform_end end, const char *text)
{
    static const char *const word[] = {"equal", "DIFFERS", "refused"};
    struct report *r = ud;
    r->differ += end == CONFORM_DIFFERS;
    if (end == CONFORM_EQUAL && !r->verbose) return;
    if (end == CONFORM_DIFFERS && r->differ > 1 && !r->verbose) return; /* the first one says most */
    printf("%-8s kv %-2d", v->type, v->kv_bits);
    if (v->chunk) printf("  chunk %-3d  %d others", v->chunk, v->others);
    printf("  %s%s%s\n", word[end], *text ? ": " : "", text);
    fflush(stdout);
}

int cmd_conform(int argc, char **argv)
{
    static const struct args_doc doc = {
        "conform", "", "run the contract's vectors on a back end",
        "Makes a small model of every weight type and runs a text through it on the back end under test: token by token, in chunks, beside other "
        "sequences, with caches of 16 and 8 bits. Every bit of every logit is compared with the scalar reference. Prints 'conforming', or the first "
        "difference. What a back end refuses to load is counted apart."};
    struct report r = {.verbose = false};
    struct conform c = {.n_threads = 2, .told = told, .ud = &r};
    struct err e = {0};
    char id[65];
    int status;
    const struct arg table[] = {{"chip", 0, ARG_STR, &c.chip, "NAME", "back end under test: cpu (default), lpu", 0, 0},
                                {"isa", 0, ARG_STR, &c.isa, "NAME", "its instruction set (default: the best)", 0, 0},
                                {"type", 0, ARG_STR, &c.type, "TYPE", "this weight type only: Q4_K ...", 0, 0},
                                {"threads", 't', ARG_INT, &c.n_threads, "N", "worker threads (default: 2)", 1, POOL_ARG_MAX},
                                {"verbose", 'v', ARG_FLAG, &r.verbose, NULL, "a line for every vector", 0, 0},
                                {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (at != argc) return args_fault(&doc, "takes no argument; see tutti conform --help");
    const char *name = c.chip ? c.chip : "cpu";
    if (common_is_timed(c.chip)) { /* the CPU executes for it */
        struct figures f;
        if (figures_open(&f, c.chip, NULL, &e)) return common_fail(&doc, &e);
        figures_close(&f);
        printf("%s has no code of its own here: its programs run on the kernels of this CPU, which are tested\n", c.chip);
        c.chip = "cpu";
    }
    int rc = conform_run(&c, &e);
    if (rc) return common_fail(&doc, &e);
    engine_contract_id(id);
    if (r.differ) {
        printf("NOT conforming: %s differs in %d of %d vectors from contract %.16s\n", name, r.differ, c.vectors, id);
        return err_exit_status(ERR_MISMATCH);
    }
    printf("%s: %s gives the bits of contract %.16s in %d vectors", c.equal ? "conforming" : "nothing was run", name, id, c.equal);
    if (c.unsupported) printf("; %d models refused", c.unsupported);
    putchar('\n');
    return c.equal ? 0 : err_exit_status(ERR_UNSUPPORTED);
}
