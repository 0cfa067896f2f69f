/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target of multipart/form-data: the first line is the Content-Type, the rest the body. Parts lie within
 * the body, in order. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "serve/http/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(struct str part, struct str body)
{
    return !part.p || (part.p >= body.p && part.n <= body.n && part.p + part.n <= body.p + body.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct multipart m;
    struct multipart_part p;
    struct err e = {0};
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    if (!end) return 0;
    size_t n = (size_t)(end - data);
    char *type = malloc(n + 1);
    must(type != NULL);
    memcpy(type, data, n);
    type[n] = 0;
    struct str body = {(const char *)end + 1, size - n - 1};
    const char *last = body.p;
    int rc = multipart_begin(&m, type, body, &e);
    while (!rc && (rc = multipart_next(&m, &p, &e)) == 1) {
        must(inside(p.name, body) && inside(p.filename, body) && inside(p.data, body) && p.data.p >= last);
        last = p.data.p + p.data.n;
        rc = 0;
    }
    must(rc == 0 || e.msg[0]);
    free(type);
    return 0;
}
