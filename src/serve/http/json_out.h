/* SPDX-License-Identifier: Apache-2.0 */
/* Writing JSON into a buffer by hand, where building a tree for each token would cost more than the token's text. */
#ifndef TUTTI_SERVE_HTTP_JSON_OUT_H
#define TUTTI_SERVE_HTTP_JSON_OUT_H

#include <jansson.h>
#include "base/buf.h"
#include "base/err.h"

/* s as a JSON string with its quotes; what is not UTF-8 becomes U+FFFD. */
void json_quote(struct buf *out, struct str s);
void json_quote_or_null(struct buf *out, const char *z);
/* s as the inside of a JSON string. */
void json_escape(struct buf *out, struct str s);
/* x with 9 digits, which is enough to read any float back; null if it is not finite. */
void json_number(struct buf *out, double x);
/* The bytes of s: [72,105] */
void json_bytes(struct buf *out, struct str s);
/* A whole value of jansson, without blanks. */
void json_value(struct buf *out, const json_t *v);

#endif
