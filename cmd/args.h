/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines by table: one table per command gives the parser, --help and the manual page (`tutti NAME --man`
 * prints it as scdoc source). Options are long, some have a letter; values are checked for range here.
 */
#ifndef TUTTI_CMD_ARGS_H
#define TUTTI_CMD_ARGS_H

#include <stdbool.h>
#include <stdint.h>

enum arg_kind {
    ARG_FLAG,  /* bool */
    ARG_INT,   /* int, min..max */
    ARG_U64,   /* uint64_t */
    ARG_FLOAT, /* float, min..max */
    ARG_STR,   /* const char * */
    ARG_STRS,  /* struct arg_strs, may be given several times */
    ARG_SIZE,  /* uint64_t, bytes: 512M, 8G, 1.5T; powers of 1024 */
    ARG_INTS,  /* struct arg_ints, comma-separated, min..max */
};

enum { ARG_LIST_MAX = 64 };
struct arg_strs {
    const char *p[ARG_LIST_MAX];
    int n;
};
struct arg_ints {
    int p[ARG_LIST_MAX];
    int n;
};

struct arg {
    const char *name; /* "threads"; NULL ends the table */
    char letter;      /* 't' or 0 */
    enum arg_kind kind;
    void *to;
    const char *value; /* "N" in the help */
    const char *help;
    double min, max;
};

struct args_doc {
    const char *name;     /* "run" */
    const char *synopsis; /* "MODEL [PROMPT]" */
    const char *summary;  /* one line */
    const char *text;     /* paragraphs; may be NULL */
};

/* Index of the first word that is no option (argv is permuted), or -1: *status is the exit status to return (help was
 * printed, or a fault was reported). */
int args_parse(const struct args_doc *doc, const struct arg *table, int argc, char **argv, int *status);

/* "tutti NAME: message" on stderr; returns exit status 2. */
int args_fault(const struct args_doc *doc, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
