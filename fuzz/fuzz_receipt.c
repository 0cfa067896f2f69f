/* SPDX-License-Identifier: Apache-2.0 */
/* Receipts from strangers: as bytes, base64 or JSON. What is read and written again is the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "serve/receipt/receipt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena a;
    struct receipt r;
    struct err e;
    arena_init(&a);
    if (receipt_read_any(&r, (struct str){(const char *)data, n}, 0, &a, &e) == 0) {
        struct buf b;
        buf_init(&b, RECEIPT_BYTES_MAX);
        receipt_put_spec(&r.spec, &b); /* one content has one encoding */
        must(b.failed || str_eq(buf_str(&b), r.spec_bytes));
        receipt_is_signed(&r);
        buf_finish(&b);
    }
    arena_finish(&a);
    return 0;
}
