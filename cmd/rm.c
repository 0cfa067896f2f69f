/* SPDX-License-Identifier: Apache-2.0 */
/* tutti rm: removes pulled models from the user's cache. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/progress.h"
#include "cmd.h"
#include "file/cache.h"

static const char help[] = "usage: tutti rm NAME...\n"
                           "\n"
                           "Removes pulled models (and unfinished downloads of that name) without asking.\n"
                           "NAME is as 'tutti list' shows it.\n";

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
    enum { HELP = 1 };
    static const struct option options[] = {{"help", no_argument, NULL, HELP}, {NULL, 0, NULL, 0}};
    int status = 0;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o != HELP) return err_exit_status(ERR_USAGE);
        fputs(help, stdout);
        return 0;
    }
    if (optind == argc) {
        fprintf(stderr, "tutti rm: expected a NAME; 'tutti list' shows them\n");
        return err_exit_status(ERR_USAGE);
    }
    for (int i = optind; i < argc; i++) {
        struct err e = {0};
        int rc = remove_model(argv[i], &e);
        if (rc) {
            fprintf(stderr, "tutti rm: %s\n", e.msg);
            status = err_exit_status(rc);
        }
    }
    return status;
}
