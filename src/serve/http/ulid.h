/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identifiers of requests and files: 48 bits of milliseconds since 1970, then 80 random bits, as 26
 * characters of Crockford's base 32 in lower case. They sort by time, those of one process in the order in
 * which they were made (within a millisecond the random bits count on), and collide with nobody's, so several
 * servers may share a ledger.
 */
#ifndef TUTTI_SERVE_HTTP_ULID_H
#define TUTTI_SERVE_HTTP_ULID_H

enum { ULID_CHARS = 26 };

void ulid_make(char out[ULID_CHARS + 1]);

#endif
