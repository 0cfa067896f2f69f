/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stop strings in text that comes in parts. What might become a stop string is held back until it is clear that it
 * does not; when one is complete, nothing from its first byte on leaves.
 *
 *   text ─► stop_feed ─► what may be shown now          stop_flush ─► the rest, when the text ends without a match
 *
 * Which string ends the text does not depend on how the text is cut into parts: the one that is complete first, and
 * of several that end at the same byte the longest. Each string runs its own automaton (Knuth, Morris and Pratt 1977),
 * so a byte costs a few steps per string. Stop strings are whole UTF-8, so whole code points leave if whole ones come.
 */
#ifndef TUTTI_TOKEN_STOP_H
#define TUTTI_TOKEN_STOP_H

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

enum { STOP_STRINGS_MAX = 64, STOP_BYTES_MAX = 4096 };

struct stop {
    struct stop_string *list; /* [n] */
    int n;
    char *held;               /* bytes that may be the beginning of a stop string */
    size_t n_held;
    bool hit;                 /* a stop string was met */
    struct str met;           /* which one; borrowed from the list */
};

/* Copies the strings. ERR_USAGE for an empty or too long string, one that is not UTF-8, or too many. */
int stop_init(struct stop *s, const struct str *list, int n, struct err *e);
void stop_finish(struct stop *s); /* accepts a zeroed struct */
void stop_reset(struct stop *s);  /* for a new text */

/* Appends to out what may be shown. True when a stop string was met, now or before: then the text has ended. Allocates
 * nothing but out's growth. */
bool stop_feed(struct stop *s, struct str text, struct buf *out);
void stop_flush(struct stop *s, struct buf *out);

#endif
