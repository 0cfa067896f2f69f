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
        char help[] = "--help";
        char *sub[] = {argv[2], help, NULL};
        return run_command(argv[2], 2, sub);
    }
    return run_command(name, argc - 1, argv + 1);
}
