/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signing: the server's Ed25519 key, with which it signs receipts. The secret half is a line of text in a
 * file that only its owner can read; the public half is 64 hexadecimal digits, which the operator publishes
 * (also at /receipt-key).
 */
#ifndef TUTTI_SERVE_RECEIPT_SIGNING_H
#define TUTTI_SERVE_RECEIPT_SIGNING_H

#include <stdint.h>
#include "base/err.h"
#include "base/path.h"
#include "base/str.h"

enum { SIGNING_PUBLIC_BYTES = 32, SIGNING_SECRET_BYTES = 64, SIGNATURE_BYTES = 64, SIGNING_HEX = 64 };

struct signing {
    uint8_t public[SIGNING_PUBLIC_BYTES], secret[SIGNING_SECRET_BYTES];
};

/* $TUTTI_SIGNING, else signing.key beside the default ledger. */
int signing_default_path(struct path *p, struct err *e);
/* path NULL: the default one. ERR_NOT_FOUND if there is none, ERR_USAGE if others may read it. */
int signing_read(struct signing *s, const char *path, struct err *e);
/* A new key in a new file; ERR_USAGE if the file exists. */
int signing_make(struct signing *s, const char *path, struct err *e);

void signing_sign(const struct signing *s, struct str message, uint8_t signature[SIGNATURE_BYTES]);
bool signing_check(const uint8_t public[SIGNING_PUBLIC_BYTES], struct str message,
                   const uint8_t signature[SIGNATURE_BYTES]);

void signing_hex(const uint8_t public[SIGNING_PUBLIC_BYTES], char hex[SIGNING_HEX + 1]);
/* 64 hexadecimal digits, or the path of a file that holds them. */
int signing_parse(const char *text, uint8_t public[SIGNING_PUBLIC_BYTES], struct err *e);

#endif
