/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sheet: a chip's datasheet, data/chips/NAME.ini: every figure with unit, evidence class and source.
 *
 *   [section]
 *   figure = number unit | measured, fitted, published or assumed | source
 *   figure = n/p unit | class | what is known        (only where the chip can do without)
 *
 * A chip lists the figures it needs (struct sheet_figure); the reader refuses what is unknown, missing, given
 * twice, in another unit, outside its bounds or without source, with file:line. Section [about] holds free
 * text. The sheets of the tree are part of the program; sheet_open also takes a path, for what-if questions.
 */
#ifndef TUTTI_CHIP_SHEET_H
#define TUTTI_CHIP_SHEET_H

#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"

enum evidence {
    EVIDENCE_MEASURED,
    EVIDENCE_FITTED,
    EVIDENCE_PUBLISHED,
    EVIDENCE_ASSUMED,
    EVIDENCE_GUESSED
}; /* best first */
extern const char *const evidence_name[];

static inline enum evidence evidence_worse(enum evidence a, enum evidence b)
{
    return a > b ? a : b;
}

struct sheet_figure { /* what a chip asks for */
    const char *section, *key, *unit;
    double min, max;
    bool whole;    /* must be a whole number */
    bool optional; /* may be absent or n/p */
};

struct sheet_item { /* what the sheet says; the same index as its figure */
    double value; /* NAN: not published */
    enum evidence evidence;
    const char *source;
    int line;
};

struct sheet_text {
    const char *key, *text;
};

enum { SHEET_BYTES_MAX = 1 << 20, SHEET_TEXTS = 16 };

struct sheet {
    const char *file; /* for messages */
    const struct sheet_figure *figures;
    struct sheet_item *items; /* [n] */
    int n;
    struct sheet_text about[SHEET_TEXTS];
    int n_about;
    struct arena arena;
};

/* The text of a sheet; name is used in messages only. figures NULL: section [about] only. */
int sheet_read(struct sheet *s, const char *name, struct str text, const struct sheet_figure *figures, int n,
               struct err *e);
/* path NULL: the sheet of the tree. */
int sheet_open(struct sheet *s, const char *chip, const char *path, const struct sheet_figure *figures, int n,
               struct err *e);
void sheet_close(struct sheet *s); /* accepts a zeroed struct */

/* "section.key=value" replaces what the sheet says: guessed. */
int sheet_assume(struct sheet *s, const char *text, struct err *e);

const char *sheet_about(const struct sheet *s, const char *key); /* "" if absent */
/* An error about item i: "FILE:LINE: section.key: ...". */
int sheet_fault(const struct sheet *s, int i, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Chips that have a sheet in the tree; NULL after the last. */
const char *sheet_chip(int i);

#endif
