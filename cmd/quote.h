/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a file as text that is safe to print: names, pieces and values never steer a terminal. */
#ifndef TUTTI_CMD_QUOTE_H
#define TUTTI_CMD_QUOTE_H

#include "base/buf.h"

/*
 * Appends s between double quotes, at most max_bytes of it (then ... after the quote): whole code points stay, quotes,
 * backslashes, \n, \t and \r are escaped, control characters become \u00NN and bytes that are not UTF-8 \xNN. Without
 * bytes of the last kind the result is a JSON string.
 */
void quote_append(struct buf *out, struct str s, size_t max_bytes);
/* The same without the quotes, and quotes and backslashes as they are: for names in tables. */
void quote_append_bare(struct buf *out, struct str s, size_t max_bytes);

#endif
