/* SPDX-License-Identifier: Apache-2.0 */
/* Instead of ledger/postgresql.c in a build without libpq. */
#include "serve/ledger/ledger_int.h"

static int open_db(struct ledger **l, const char *where, struct err *e)
{
    (void)l;
    (void)where;
    return err(e, ERR_UNSUPPORTED,
               "this build has no PostgreSQL: install libpq-dev and build again, or use --ledger PATH");
}

const struct ledger_ops ledger_postgresql = {.open = open_db};
