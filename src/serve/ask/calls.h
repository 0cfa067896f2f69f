/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls: function calls as models write them, read from a text that is nothing but calls.
 *
 *   {"name": "f", "arguments": {...}}, a list of such, several behind one another   most; "parameters": Llama 3
 *   [f(a=1, b="x"), g()]                                                            Llama 3.2, Gemma, OLMo 3
 *   f[CALL_ID]id[ARGS]{...}                                                         Mistral from version 11 on
 *   f <arg_key>a</arg_key> <arg_value>1</arg_value>                                 GLM-4.5
 *   <function=f> <parameter=a> 1 </parameter> </function>                           Qwen3-Coder, Seed-OSS
 *   <|tool_call_begin|>function<|tool_sep|>f ```json {...} ```<|tool_call_end|>     DeepSeek V3, R1
 *   <|tool_call_begin|>f<|tool_sep|>{...}<|tool_call_end|>                          DeepSeek V3.1
 *   <|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{...}<|tool_call_end|>   Kimi K2
 *
 * (DeepSeek's bars and low lines are other characters than here: marks.h.) A name must be a function of the
 * request. Values that are written as bare text are strings where the function's schema says so, and JSON
 * elsewhere if they can be read as such.
 */
#ifndef TUTTI_SERVE_ASK_CALLS_H
#define TUTTI_SERVE_ASK_CALLS_H

#include <jansson.h>
#include "base/str.h"

enum { CALLS_DEPTH_MAX = 64 }; /* nesting of Python literals */

/* tools: of the request. An array of {"name", "arguments": any value, or a string of JSON}; NULL: not only
 * calls, or out of memory. */
json_t *calls_read(const json_t *tools, struct str text);

/* The schema of a function's parameters, borrowed; for one without, something that describes none. NULL: no
 * such function. */
const json_t *calls_find(const json_t *tools, struct str name);

/* f(a=1, b=[True, None]) at *s, which is moved behind it. NULL: it is none; calls_python.c. */
json_t *calls_read_python(const json_t *tools, struct str *s);

#endif
