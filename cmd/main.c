/* SPDX-License-Identifier: Apache-2.0 */
/* tutti: dispatches to one file per command (cmd.h lists them). */
#include <stdio.h>
#include <string.h>
#include "cmd.h"
#include "kern/kern.h"
#include "serve/engine.h"

struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
#define X(name, summary) {#name, summary, cmd_##name},
    CMD_LIST(X)
#undef X
};

enum { N_COMMANDS = sizeof commands / sizeof *commands, EXIT_USAGE = 2 };

static void print_usage(FILE *f)
{
    fprintf(f, "usage: tutti COMMAND ...\n\n");
    for (int i = 0; i < N_COMMANDS; i++) fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(f, "  %-10s print the version\n  %-10s print this list\n", "version", "help");
    fprintf(f, "\n'tutti COMMAND --help' says what a command takes.\n");
}

/* Source of the manual page tutti(1) for scdoc; the commands have theirs (args.c). */
static void print_man(void)
{
    printf("tutti(1)\n\n# NAME\n\ntutti - run language models on any chip, with the same bits on all of them\n\n"
           "# SYNOPSIS\n\n*tutti* _COMMAND_ ...\n\n# COMMANDS\n\n");
    for (int i = 0; i < N_COMMANDS; i++) printf("*%s*\n\t%s; see *tutti-%s*(1)\n\n", commands[i].name, commands[i].summary, commands[i].name);
    printf("*version*\n\tprint the version\n\n*help* [_COMMAND_]\n\tprint the list of commands, or what one takes\n\n"
           "# EXIT STATUS\n\n0 on success, 2 for a wrong command line, another value for other faults; the fault is one line on standard "
           "error.\n\n# ENVIRONMENT\n\n"
           "*TUTTI_ISA*\n\tinstruction set to use instead of the best one\n\n"
           "*TUTTI_CACHE*\n\tfolder of pulled models\n\n"
           "*TUTTI_HUB*\n\tbase address that *tutti pull* _org/repo_ asks\n");
}

static int run_command(const char *name, int argc, char **argv)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0) return commands[i].run(argc, argv);
    fprintf(stderr, "tutti: unknown command '%s'; 'tutti help' lists the commands\n", name);
    return EXIT_USAGE;
}

/* The contract's id says which bits this build computes; the sets are those that this machine can run. */
static void print_version(void)
{
    char id[65];
    engine_contract_id(id);
    printf("tutti " TUTTI_VERSION "\ncontract NC1 %s\nkernels ", id);
    for (int i = 0; i < kern_count(); i++)
        if (kern_usable(i)) printf(" %s", kern_at(i)->name);
    putchar('\n');
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (!*name) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        print_version();
        return 0;
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        if (argc < 3) {
            print_usage(stdout);
            return 0;
        }
        if (strcmp(argv[2], "--man") == 0) {
            print_man();
            return 0;
        }
        char help[] = "--help";
        char *sub[] = {argv[2], help, NULL};
        return run_command(argv[2], 2, sub);
    }
    return run_command(name, argc - 1, argv + 1);
}
