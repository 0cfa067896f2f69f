/* SPDX-License-Identifier: Apache-2.0 */
/* tutti: dispatches to one file per command (cmd.h lists them). */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "cmd.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
#define X(name, summary) {#name, cmd_##name},
    CMD_LIST(X)
#undef X
};

enum { N_COMMANDS = sizeof commands / sizeof *commands, EXIT_USAGE = 2 };

int command_run(int argc, char **argv)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, argv[0]) == 0) return commands[i].run(argc, argv);
    fprintf(stderr, "tutti: unknown command '%s'; 'tutti help' lists the commands\n", argv[0]);
    return EXIT_USAGE;
}

/* Who starts the program may have closed these: no file or pipe of ours must take their place, and be written
 * to as output. The stand-ins fail as closed ones do. */
static void hold_standard_files(void)
{
    int fd;
    do fd = open("/", O_PATH);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) close(fd);
}

/* What standard output still holds is written here, where a full disk can be told; a command that failed has
 * said why. */
static int close_output(const char *name, int status)
{
    errno = 0;
    bool lost = ferror(stdout) != 0;
    if (fflush(stdout)) lost = true;
    if (!lost || status) return status;
    fprintf(stderr, "tutti %s: cannot write to standard output: %s\n", name,
            errno ? strerror(errno) : "the disk may be full");
    return err_exit_status(ERR_IO);
}

int main(int argc, char **argv)
{
    static char version[] = "version", help[] = "help";
    hold_standard_files();
    if (argc < 2 || !*argv[1]) {
        help_print(stderr);
        return EXIT_USAGE;
    }
    argc--, argv++;
    if (strcmp(argv[0], "--man") == 0) {
        help_print_man();
        return close_output("help", 0);
    }
    if (strcmp(argv[0], "--version") == 0) argv[0] = version;
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) argv[0] = help;
    const char *name = argv[0]; /* a command may permute argv */
    return close_output(name, command_run(argc, argv));
}
