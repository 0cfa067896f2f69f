/* SPDX-License-Identifier: Apache-2.0 */
/* See args.h. */
#include "args.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 64, EXIT_USAGE = 2, OPT_HELP = 1000, OPT_MAN, OPT_FIRST = 256 };

int args_fault(const struct args_doc *doc, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "tutti %s: ", doc->name);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    return EXIT_USAGE;
}

static void print_help(const struct args_doc *doc, const struct arg *table)
{
    printf("usage: tutti %s [options]%s%s\n\n%s\n", doc->name, *doc->synopsis ? " " : "", doc->synopsis, doc->summary);
    if (doc->text) printf("\n%s\n", doc->text);
    printf("\noptions:\n");
    for (const struct arg *a = table; a->name; a++) {
        char left[64];
        if (a->letter)
            snprintf(left, sizeof left, "  -%c, --%s%s%s", a->letter, a->name, a->value ? " " : "",
                     a->value ? a->value : "");
        else
            snprintf(left, sizeof left, "      --%s%s%s", a->name, a->value ? " " : "", a->value ? a->value : "");
        printf("%-30s %s\n", left, a->help);
    }
    printf("%-30s %s\n", "      --help", "this text");
}

/* Source of a manual page for scdoc. */
static void print_man(const struct args_doc *doc, const struct arg *table)
{
    printf("tutti-%s(1)\n\n# NAME\n\ntutti-%s - %s\n\n# SYNOPSIS\n\n*tutti %s* [options] %s\n\n", doc->name,
           doc->name, doc->summary, doc->name, doc->synopsis);
    if (doc->text) printf("# DESCRIPTION\n\n%s\n\n", doc->text);
    printf("# OPTIONS\n\n");
    for (const struct arg *a = table; a->name; a++) {
        if (a->letter) printf("*-%c*, ", a->letter);
        printf("*--%s*", a->name);
        if (a->value) printf(" _%s_", a->value);
        printf("\n\t%s\n\n", a->help);
    }
    printf(
        "*--help*\n\tPrints a summary of the options.\n\n# EXIT STATUS\n\n"
        "0 on success, 2 for a wrong command line, another value for other faults; the fault is one line on standard error.\n\n"
        "# SEE ALSO\n\n*tutti*(1)\n");
}

static bool parse_number(const char *s, double min, double max, double *out)
{
    char *end;
    errno = 0;
    *out = strtod(s, &end);
    return *s && !*end && !errno && *out >= min && *out <= max;
}

static bool parse_size(const char *s, uint64_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    double x = strtod(s, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (end == s || errno || !(x >= 0)) return false;
    if (unit) {
        for (long i = unit - units; i >= 0; i--) x *= 1024;
        end++;
        if (*end == 'i') end++;
    }
    if (*end == 'B') end++;
    *out = x < 0x1p63 ? (uint64_t)x : 0;
    return !*end && x < 0x1p63;
}

static int set(const struct args_doc *doc, const struct arg *a, const char *v)
{
    double x;
    char *end;
    switch (a->kind) {
    case ARG_FLAG: *(bool *)a->to = true; return 0;
    case ARG_STR: *(const char **)a->to = v; return 0;
    case ARG_U64:
        errno = 0;
        *(uint64_t *)a->to = strtoull(v, &end, 0);
        if (!*v || *v == '-' || *end || errno)
            return args_fault(doc, "--%s takes a whole number of 64 bits, got '%s'", a->name, v);
        return 0;
    case ARG_SIZE:
        if (parse_size(v, a->to)) return 0;
        return args_fault(doc, "--%s takes a size such as 512M or 8G, got '%s'", a->name, v);
    case ARG_FLOAT:
        if (!parse_number(v, a->min, a->max, &x))
            return args_fault(doc, "--%s takes a number in %g..%g, got '%s'", a->name, a->min, a->max, v);
        *(float *)a->to = (float)x;
        return 0;
    case ARG_INT:
        if (!parse_number(v, a->min, a->max, &x) || x != (double)(int)x)
            return args_fault(doc, "--%s takes a whole number in %.0f..%.0f, got '%s'", a->name, a->min, a->max, v);
        *(int *)a->to = (int)x;
        return 0;
    case ARG_STRS: {
        struct arg_strs *l = a->to;
        if (l->n == ARG_LIST_MAX) return args_fault(doc, "--%s was given more than %d times", a->name, ARG_LIST_MAX);
        l->p[l->n++] = v;
        return 0;
    }
    case ARG_INTS: {
        struct arg_ints *l = a->to;
        char word[32];
        for (l->n = 0; *v; v += strcspn(v, ","), v += *v == ',') {
            snprintf(word, sizeof word, "%.*s", (int)strcspn(v, ","), v);
            if (l->n == ARG_LIST_MAX || !parse_number(word, a->min, a->max, &x) || x != (double)(int)x)
                return args_fault(doc, "--%s takes whole numbers in %.0f..%.0f with commas between, got '%s'",
                                  a->name, a->min, a->max, v);
            l->p[l->n++] = (int)x;
        }
        return 0;
    }
    }
    return EXIT_USAGE;
}

int args_parse(const struct args_doc *doc, const struct arg *table, int argc, char **argv, int *status)
{
    struct option opts[OPTIONS_MAX] = {{0}};
    char letters[2 * OPTIONS_MAX + 2] = "";
    int n = 0;
    size_t nl = 0;
    for (; table[n].name && n < OPTIONS_MAX - 3; n++) {
        int has = table[n].kind == ARG_FLAG ? no_argument : required_argument;
        opts[n] = (struct option){table[n].name, has, NULL, OPT_FIRST + n};
        if (!table[n].letter) continue;
        letters[nl++] = table[n].letter;
        if (has) letters[nl++] = ':';
    }
    opts[n] = (struct option){"help", no_argument, NULL, OPT_HELP};
    opts[n + 1] = (struct option){"man", no_argument, NULL, OPT_MAN};
    *status = 0;
    optind = 1;
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, letters, opts, NULL)) != -1;) {
        if (o == OPT_HELP) {
            print_help(doc, table);
            return -1;
        }
        if (o == OPT_MAN) {
            print_man(doc, table);
            return -1;
        }
        const struct arg *a = NULL;
        if (o >= OPT_FIRST && o < OPT_FIRST + n) a = &table[o - OPT_FIRST];
        for (int i = 0; i < n && !a; i++)
            if (o != '?' && table[i].letter == o) a = &table[i];
        if (!a) {
            const char *word = optind > 1 ? argv[optind - 1] : "?";
            *status = args_fault(
                doc, "option '%s' is unknown or lacks its value; 'tutti %s --help' lists the options", word,
                doc->name);
            return -1;
        }
        if ((*status = set(doc, a, optarg))) return -1;
    }
    return optind;
}
