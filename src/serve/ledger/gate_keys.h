/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_keys: the gate of a server with keys, limits and a ledger.
 *
 *   enter   finds the key (or refuses: 401)
 *   admit   takes the request and its prompt from the key's limits (or refuses: 429, 413 if it can never
 *           pass, 400 when the month's money is spent)
 *   leave   charges what the answer used and waits until its row is in the ledger
 *
 * The flex tier has ten times the limits. Batches are not limited but by money, and have the lowest turn.
 * What ends in a status of 500 or more costs nothing. Keys that others make or revoke are seen within two
 * seconds. Where the ledger is shared, sums by day and month are read anew every few seconds, so that several
 * servers respect one limit; limits per minute are each server's own.
 */
#ifndef TUTTI_SERVE_LEDGER_GATE_KEYS_H
#define TUTTI_SERVE_LEDGER_GATE_KEYS_H

#include "serve/ledger/gate.h"

struct gate_keys_options {
    const char *ledger; /* as ledger_open */
    const char *prices; /* a file, or NULL: nothing costs */
    bool required;      /* without a known key nobody enters */
};

int gate_keys_open(const struct gate **g, const struct gate_keys_options *o, struct err *e);
void gate_keys_close(const struct gate *g); /* after the last leave; accepts NULL */

#endif
