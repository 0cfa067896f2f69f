/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meter: the one thread that writes the ledger. Whoever finishes a request posts its row and goes on; the thread takes
 * all rows that wait, writes them in one transaction and tells each poster. While one transaction is on its way to the
 * disk the next rows gather, so that many clients share a write and none waits for more than two.
 *
 * A row that cannot be written now (full disk, database away) is told as a fault after METER_PATIENCE_S, and kept and
 * tried again until it is written or the server ends: the answer's last bytes did not leave, but the work was done.
 */
#ifndef TUTTI_SERVE_LEDGER_METER_H
#define TUTTI_SERVE_LEDGER_METER_H

#include "serve/ledger/ledger.h"

enum { METER_PATIENCE_S = 5, METER_ROWS_MAX = 100000 };

struct meter;
typedef void meter_done_fn(void *ud, int rc); /* on the meter's thread: copies and returns */

/* tick: called on the thread about once a second with the ledger, which belongs to the thread from now on. */
int meter_start(struct meter **m, struct ledger *l, void (*tick)(void *ud, struct ledger *l), void *ud, struct err *e);
/* done is called exactly once: 0 when the row is on the disk. Any thread, never waits. */
void meter_post(struct meter *m, const struct ledger_row *row, meter_done_fn *done, void *ud);
int meter_backlog(struct meter *m); /* rows that wait */
/* Writes what waits (gives up after METER_PATIENCE_S), ends the thread, closes the ledger. Accepts NULL. */
void meter_stop(struct meter *m);

#endif
