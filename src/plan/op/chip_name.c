/* SPDX-License-Identifier: Apache-2.0 */
/* See chip_name.h. */
#include "plan/op/chip_name.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 96 };

static bool says_nothing(const char *word)
{
    static const char *const words[] = {"nvidia",      "google",  "graphcore", "cerebras",   "sambanova",
                                        "groq",        "furiosa", "furiosaai", "rebellions", "sapeon",
                                        "deepx",       "geforce", "blackwell", "ada",        "server",
                                        "workstation", "edition", "gpu",       "sxm",        "sxm4",
                                        "sxm5",        "sxm6",    "hbm2e",     "hbm3",       "hbm3e"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(words[i], word)) return true;
    return !strncmp(word, "nvl", 3) && word[3]; /* a rack of so many */
}

/* The telling part of a name, in small letters; returns the gigabytes it names, or 0. */
static double strip(char out[NAME_MAX_BYTES], const char *name)
{
    char word[NAME_MAX_BYTES];
    size_t n = 0, at = 0;
    double gb = 0;
    for (const char *p = name;; p++) {
        if (isalnum((unsigned char)*p)) {
            if (n + 1 < sizeof word) word[n++] = (char)tolower((unsigned char)*p);
            continue;
        }
        word[n] = 0;
        char *end = word;
        double size = isdigit((unsigned char)*word) ? strtod(word, &end) : 0;
        if (size > 0 && !strcmp(end, "gb")) gb = size;
        else if (!says_nothing(word) && at + n < NAME_MAX_BYTES) memcpy(out + at, word, n), at += n;
        n = 0;
        if (!*p) break;
    }
    out[at] = 0;
    return gb;
}

bool chip_name_same(const char *a, const char *b)
{
    char x[NAME_MAX_BYTES], y[NAME_MAX_BYTES];
    strip(x, a), strip(y, b);
    return *x && !strcmp(x, y);
}

double chip_name_gb(const char *name)
{
    char rest[NAME_MAX_BYTES];
    return strip(rest, name);
}
