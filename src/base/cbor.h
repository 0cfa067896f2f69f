/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CBOR (RFC 8949), the part of it that receipts use, in its deterministic form: shortest heads, definite
 * lengths, no tags. The reader refuses everything else, so that one content has one encoding and a hash of
 * bytes is a hash of contents.
 */
#ifndef TUTTI_BASE_CBOR_H
#define TUTTI_BASE_CBOR_H

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"

/* --- writing: faults stay in b->failed --- */
void cbor_put_uint(struct buf *b, uint64_t v);
void cbor_put_bytes(struct buf *b, const void *p, size_t n);
void cbor_put_text(struct buf *b, struct str s);
void cbor_put_array(struct buf *b, uint64_t n); /* n items follow */
void cbor_put_map(struct buf *b, uint64_t n);   /* n pairs follow */
void cbor_put_f32(struct buf *b, float v);      /* its bits, whatever they mean */

/* --- reading: after a fault every call returns 0 or an empty string, and `failed` says what was wrong first --- */
struct cbor {
    const uint8_t *p;
    size_t n, at;
    const char *failed; /* NULL: none */
};

void cbor_init(struct cbor *c, struct str bytes);
uint64_t cbor_uint(struct cbor *c, uint64_t max); /* more than max is a fault */
struct str cbor_bytes(struct cbor *c);            /* a view */
struct str cbor_text(struct cbor *c);             /* a view; UTF-8 was checked */
/* A count that could not fit the bytes that are left is a fault, as is one above max. */
uint64_t cbor_array(struct cbor *c, uint64_t max);
uint64_t cbor_map(struct cbor *c, uint64_t max);
float cbor_f32(struct cbor *c);
bool cbor_next_is_bytes(const struct cbor *c);
bool cbor_end(struct cbor *c); /* all was read, without a fault */

#endif
