/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: token/grammar, a JSON Schema. What is no JSON is left out; what compiles is followed for some bytes. */
#include <stdint.h>
#include "grammar_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct grammar *g;
    struct err e = {0};
    json_error_t je;
    json_t *schema = json_loadb((const char *)data, size, JSON_DECODE_ANY, &je);
    if (!schema) return 0;
    int rc = grammar_compile_json_schema(&g, schema, &e);
    must(rc == 0 ? g != NULL : g == NULL && e.code == rc && *e.msg);
    json_decref(schema);
    if (!rc) grammar_walk(g, data, size);
    grammar_unref(g);
    return 0;
}
