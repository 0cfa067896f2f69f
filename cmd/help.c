/* SPDX-License-Identifier: Apache-2.0 */
/* tutti help: the list of commands, or what one takes; and the manual page tutti(1), which is made of the same list. */
#include <stdio.h>
#include "args.h"
#include "cmd.h"

static const struct {
    const char *name, *summary;
} rows[] = {
#define X(name, summary) {#name, summary},
    CMD_LIST(X)
#undef X
};

enum { N_ROWS = sizeof rows / sizeof *rows };

void help_print(FILE *f)
{
    fprintf(f, "usage: tutti COMMAND ...\n\n");
    for (int i = 0; i < N_ROWS; i++) fprintf(f, "  %-10s %s\n", rows[i].name, rows[i].summary);
    fprintf(f, "\n'tutti COMMAND --help' says what a command takes.\n");
}

/* Source for scdoc; the commands have theirs (args.c). */
void help_print_man(void)
{
    printf("tutti(1)\n\n# NAME\n\ntutti - run language models on any chip, with the same bits on all of them\n\n"
           "# SYNOPSIS\n\n*tutti* _COMMAND_ ...\n\n# COMMANDS\n\n");
    for (int i = 0; i < N_ROWS; i++)
        printf("*%s*\n\t%s; see *tutti-%s*(1)\n\n", rows[i].name, rows[i].summary, rows[i].name);
    printf(
        "# EXIT STATUS\n\n0 on success, 2 for a wrong command line, another value for other faults; the fault is one line on standard "
        "error.\n\n# ENVIRONMENT\n\n"
        "*TUTTI_ISA*\n\tinstruction set to use instead of the best one\n\n"
        "*TUTTI_CACHE*\n\tfolder of pulled models\n\n"
        "*TUTTI_HUB*\n\tbase address that *tutti pull* _org/repo_ asks\n");
}

int cmd_help(int argc, char **argv)
{
    static const struct args_doc doc = {"help", "[COMMAND]", "print the list of commands, or what one takes", NULL};
    static const struct arg table[] = {{0}};
    int status, at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (argc - at > 1) return args_fault(&doc, "takes one COMMAND");
    if (at < argc) {
        char option[] = "--help";
        char *words[] = {argv[at], option, NULL};
        return command_run(2, words);
    }
    help_print(stdout);
    return 0;
}
