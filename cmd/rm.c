/* SPDX-License-Identifier: Apache-2.0 */
/* tutti rm: removes pulled models from the user's cache. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "args.h"
#include "base/progress.h"
#include "cmd.h"
#include "file/cache.h"

static const struct args_doc doc = {
    .name = "rm",
    .synopsis = "NAME...",
    .summary = "removes pulled models, and unfinished downloads of that name, without asking",
    .text = "NAME is as tutti list shows it.",
};

/* The whole name is wanted here: a start of it that fits must not remove anything. */
static int remove_model(const char *name, struct err *e)
{
    char size[BYTES_TEXT_MAX];
    uint64_t freed = 0;
    struct cache_model *m = malloc(sizeof *m);
    if (!m) return err(e, ERR_MEMORY, "out of memory");
    int partial = cache_remove_partial(name, &freed, e);
    int rc = partial < 0 ? partial : cache_find(name, m, e);
    if (rc == 0 && strcmp(m->name, name) != 0) rc = ERR_NOT_FOUND;
    if (rc == 0) {
        freed += m->bytes;
        rc = cache_remove(m, e);
    } else if (rc == ERR_NOT_FOUND) {
        rc = partial > 0
                 ? 0
                 : err(e, ERR_NOT_FOUND, "no pulled model is named '%s'; 'tutti list' shows them", name);
    }
    if (rc == 0) printf("removed %s, freed %s\n", name, bytes_text(freed, size));
    free(m);
    return rc;
}

int cmd_rm(int argc, char **argv)
{
    static const struct arg table[] = {{0}};
    int status = 0, at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (at == argc) return args_fault(&doc, "expected a NAME; 'tutti list' shows them");
    for (int i = at; i < argc; i++) {
        struct err e = {0};
        int rc = remove_model(argv[i], &e);
        if (rc) {
            fprintf(stderr, "tutti rm: %s\n", e.msg);
            status = err_exit_status(rc);
        }
    }
    return status;
}
