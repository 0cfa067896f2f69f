/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schema to a grammar. */
#include "token/grammar_text.h"

int grammar_compile_json_schema(struct grammar **g, const json_t *schema, struct err *e)
{
    (void)schema;
    *g = NULL;
    return err(e, ERR_UNSUPPORTED, "JSON Schema is not supported yet");
}

int grammar_compile_json_object(struct grammar **g, struct err *e)
{
    *g = NULL;
    return err(e, ERR_UNSUPPORTED, "JSON objects are not supported yet");
}
