/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: token/grammar, a grammar in GBNF. What compiles is followed for some bytes. */
#include <stdint.h>
#include "grammar_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct grammar *g;
    struct err e = {0};
    int rc = grammar_compile_gbnf(&g, (struct str){(const char *)data, size}, &e);
    must(rc == 0 ? g != NULL : g == NULL && e.code == rc && *e.msg);
    if (!rc) grammar_walk(g, data, size);
    grammar_unref(g);
    return 0;
}
