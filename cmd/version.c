/* SPDX-License-Identifier: Apache-2.0 */
/* tutti version: of the program, of the arithmetic, and the instruction sets of this machine. */
#include <stdio.h>
#include "args.h"
#include "cmd.h"
#include "kern/kern.h"
#include "serve/engine/engine.h"

int cmd_version(int argc, char **argv)
{
    static const struct args_doc doc = {
        "version", "", "print the version",
        "The contract's id says which bits this build computes: builds of the same id give the same answers. The kernels are the "
        "instruction sets that this machine can run."};
    static const struct arg table[] = {{0}};
    int status, at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (at != argc) return args_fault(&doc, "takes no words, got '%s'", argv[at]);
    char id[65];
    engine_contract_id(id);
    printf("tutti " TUTTI_VERSION "\ncontract NC1 %s\nkernels ", id);
    for (int i = 0; i < kern_count(); i++)
        if (kern_usable(i)) printf(" %s", kern_at(i)->name);
    putchar('\n');
    return 0;
}
