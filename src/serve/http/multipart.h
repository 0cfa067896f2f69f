/* SPDX-License-Identifier: Apache-2.0 */
/* multipart: the parts of a body of multipart/form-data (RFC 7578), as views of it. */
#ifndef TUTTI_SERVE_HTTP_MULTIPART_H
#define TUTTI_SERVE_HTTP_MULTIPART_H

#include "base/err.h"
#include "base/str.h"

enum { MULTIPART_PARTS_MAX = 64, MULTIPART_BOUNDARY_MAX = 200 };

struct multipart {
    struct str rest;                          /* what is not read yet */
    char boundary[MULTIPART_BOUNDARY_MAX + 5]; /* "\r\n--" and the boundary */
    size_t n_boundary;
    int n_parts;
};

struct multipart_part {
    struct str name, filename; /* p NULL: none */
    struct str data;
};

/* content_type: the header's value, may be NULL. ERR_FORMAT says what is wrong. */
int multipart_begin(struct multipart *m, const char *content_type, struct str body, struct err *e);
/* 1: *part is the next one; 0: there is none; or an error. */
int multipart_next(struct multipart *m, struct multipart_part *part, struct err *e);

#endif
