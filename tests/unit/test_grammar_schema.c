/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schema to grammar: for each keyword texts that fit and texts that do not, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include "grammar_toy.h"

static int compile(struct grammar **g, const char *schema, struct err *e)
{
    json_error_t je;
    json_t *s = json_loads(schema, JSON_DECODE_ANY, &je);
    if (!s) fail_msg("'%s': %s", schema, je.text);
    int rc = grammar_compile_json_schema(g, s, e);
    json_decref(s);
    return rc;
}

/* want: '+' fits, '~' may go on to fit, '-' does not. */
static void check(const char *schema, const char *const *want)
{
    struct grammar *g = NULL;
    struct err e = {0};
    if (compile(&g, schema, &e)) fail_msg("'%s': %s", schema, e.msg);
    for (; *want; want++) {
        int fits = **want == '+' ? 1 : **want == '~' ? 0 : -1;
        int got = grammar_match(g, str_from(*want + 1), NULL);
        if (got != fits) fail_msg("'%s' on '%s': got %d, expected %d", schema, *want + 1, got, fits);
    }
    grammar_unref(g);
}

#define CHECK(schema, ...) check(schema, (const char *const[]){__VA_ARGS__, NULL})

static void test_any(void **state)
{
    (void)state;
    CHECK("true", "+1", "+\"a\"", "+{}", "+{\"a\": [1, {\"b\": null}]}", "~{\"a\"", "-x", "+-0.5e+7", "~1.", "-01");
    CHECK("{}", "+[]", "+[1,\"x\"]", "~[1,", "-[,");
    CHECK("{\"type\":\"object\"}", "+{}", "+{\"a\":1,\"b\":{}}", "-[]", "+{\n  \"a\": 1\n}", "-{  \"a\":1}",
          "-{\"a\" :1}", "-{,}");
    CHECK("{\"type\":[\"string\",\"null\"]}", "+null", "+\"\"", "-1");
    CHECK("{\"type\":\"string\",\"nullable\":true}", "+null", "+\"a\"");
    CHECK("{\"type\":\"boolean\"}", "+true", "+false", "-null");
}

static void test_strings(void **state)
{
    (void)state;
    CHECK("{\"type\":\"string\"}", "+\"\"", "+\"a\\n\\u00e9\\\"\"", "-\"\n\"", "-\"\\x\"", "+\"\xC3\xA9\"",
          "+\"\\ud83d\\ude00\"", "-\"\\ud83d\"", "-\"\\ude00", "~\"\\ud83d\\u");
    CHECK("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "~\"a", "-\"a\"", "+\"ab\"",
          "+\"a\\n\xC3\xA9\"", "-\"abcd", "+\"\\ud83d\\ude00b\"");
    CHECK("{\"type\":\"string\",\"pattern\":\"^[a-c]+$\"}", "+\"abc\"", "-\"d", "-\"\"", "-\"\\u0061\"");
    CHECK("{\"type\":\"string\",\"pattern\":\"b\"}", "+\"abc\"", "~\"aaa", "-\"aaa\"");
    CHECK("{\"pattern\":\"^a.*z$\",\"maxLength\":4}", "+\"az\"", "+\"abcz\"", "-\"abcd", "~\"abc");
    CHECK("{\"type\":\"string\",\"pattern\":\"^a{2,3}$\",\"minLength\":3}", "+\"aaa\"", "-\"aa\"");
    CHECK("{\"allOf\":[{\"pattern\":\"a\"},{\"pattern\":\"b\"}],\"type\":\"string\"}", "+\"ab\"", "+\"ba\"",
          "-\"a\"", "~\"a");
    CHECK("{\"type\":\"string\",\"pattern\":\"^\\\"\\\\\\\\$\"}", "+\"\\\"\\\\\"", "-\"\"\"");
    CHECK("{\"format\":\"date\"}", "+\"2024-02-28\"", "-\"2024-02-30", "-\"2024-13", "~\"2024-");
    CHECK("{\"type\":\"string\",\"format\":\"date-time\"}", "+\"2024-12-31T23:59:59Z\"",
          "+\"2024-12-31T00:00:00.5+02:00\"", "-\"2024-12-31 ");
    CHECK("{\"type\":\"string\",\"format\":\"uuid\"}", "+\"123e4567-e89b-12d3-a456-426614174000\"", "-\"123e4567e");
    CHECK("{\"type\":\"string\",\"format\":\"ipv4\"}", "+\"192.168.0.255\"", "-\"256");
    CHECK("{\"type\":\"string\",\"format\":\"email\"}", "+\"a.b+c@d-e.org\"", "-\"a@\"", "-\"@");
    CHECK("{\"type\":\"string\",\"format\":\"uri\"}", "+\"https://a.org/b?c=d#e\"", "-\"a b\"");
    CHECK("{\"type\":\"string\",\"format\":\"somebodys-own\"}", "+\"anything\"");
}

static void test_numbers(void **state)
{
    (void)state;
    CHECK("{\"type\":\"integer\"}", "+0", "+-12", "-1.5", "-01", "-1e", "~-");
    CHECK("{\"type\":\"number\"}", "+0.5", "+1e10", "+-1.5E-3", "~1.", "-.5", "-+1");
    CHECK("{\"type\":\"integer\",\"minimum\":0}", "+0", "+7", "--1");
    CHECK("{\"type\":\"integer\",\"minimum\":-17,\"maximum\":205}", "+-17", "--18", "+205", "-206", "+0",
          "+99", "-300");
    CHECK("{\"type\":\"integer\",\"exclusiveMinimum\":9,\"exclusiveMaximum\":12}", "~1", "+10", "+11", "-12", "-9");
    CHECK("{\"type\":\"integer\",\"minimum\":9,\"exclusiveMinimum\":true}", "+10", "~9", "+90");
    CHECK("{\"type\":\"integer\",\"minimum\":37.5,\"maximum\":38.5}", "+38", "-37.", "-39", "~3");
    CHECK("{\"type\":\"number\",\"minimum\":0.5,\"maximum\":12.75}", "+0.5", "-0.4", "+12.75", "-12.76", "+1",
          "+12", "-13", "+0.51");
    CHECK("{\"type\":\"number\",\"exclusiveMinimum\":0,\"maximum\":1}", "~0", "+0.001", "+1", "+1.0", "-1.01",
          "-2", "~0.0");
    CHECK("{\"type\":\"number\",\"maximum\":-1}", "+-1", "+-1.5", "--0.", "-1");
    CHECK("{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":1,\"maximum\":30}", "+7", "~1", "+14", "+28",
          "-35", "-15");
    CHECK("{\"enum\":[0,5,10000000000,20000000000,25000000000],\"multipleOf\":1e10}", "+10000000000",
          "+20000000000", "+0", "-5", "-25");
    CHECK("{\"type\":\"number\",\"multipleOf\":0.5}", "+3");
    CHECK("{\"type\":\"integer\",\"not\":{\"const\":3},\"minimum\":0,\"maximum\":6}", "+2", "+4", "-3");
    CHECK("{\"oneOf\":[{\"type\":\"number\"},{\"type\":\"integer\"}]}", "+1.5", "~1", "-\"");
}

static void test_enums(void **state)
{
    (void)state;
    CHECK("{\"enum\":[\"a\",1,null,{\"x\":[1]}]}", "+\"a\"", "+1", "+null", "+{\"x\":[1]}", "-2", "-\"b");
    CHECK("{\"const\":\"q\\\"\\n\"}", "+\"q\\\"\\n\"", "-\"q\"");
    CHECK("{\"type\":\"string\",\"enum\":[\"a\",1]}", "+\"a\"", "-1");
    CHECK("{\"enum\":[1,2,3],\"minimum\":2}", "-1", "+2");
    CHECK("{\"enum\":[\"ab\",\"c\"],\"maxLength\":1}", "+\"c\"", "-\"a");
    CHECK("{\"type\":\"string\",\"not\":{\"enum\":[\"a\"]}}", "-\"a\"", "+\"ab\"", "+\"\"");
}

static void test_arrays(void **state)
{
    (void)state;
    CHECK("{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", "+[]", "+[1,2, 3]", "-[\"", "~[1,",
          "+[\n  1,\n  2\n]");
    CHECK("{\"type\":\"array\",\"items\":{\"type\":\"null\"},\"minItems\":1,\"maxItems\":2}", "-[]",
          "+[null]", "+[null,null]", "-[null,null,");
    CHECK("{\"minItems\":3,\"items\":{\"type\":\"null\"},\"type\":\"array\"}", "-[null,null]",
          "+[null,null,null,null]");
    CHECK("{\"prefixItems\":[{\"type\":\"string\"},{\"type\":\"null\"}],\"items\":false}", "+[]", "+[\"a\"]",
          "+[\"a\",null]", "-[\"a\",null,");
    CHECK(
        "{\"type\":\"array\",\"items\":[{\"type\":\"string\"}],\"additionalItems\":{\"type\":\"null\"},\"minItems\":2}",
        "+[\"a\",null]", "-[\"a\"]", "-[\"a\",1");
    CHECK("{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"contains\":{\"minimum\":10}}", "+[10]",
          "-[]", "-[1]", "~[1", "+[1,12,3]", "+[1,2,30]", "-[1,2]");
    CHECK("{\"contains\":{\"type\":\"integer\"},\"minContains\":2,\"maxItems\":3}", "+[1,2]", "+[1,\"a\",2]",
          "-[1,\"a\",\"b\"]", "-[1]", "-[1,2,3,", "-[\"a\",\"b\"]");
    CHECK("{\"type\":\"array\",\"contains\":{\"type\":\"string\"},\"minContains\":0,\"maxContains\":1}",
          "+[]", "+[1,2,3]", "+[1,\"a\",2]", "-[\"a\",\"b\"");
    CHECK(
        "{\"contains\":{\"const\":\"x\"},\"minContains\":1,\"maxContains\":2,\"minItems\":3,\"maxItems\":3,\"items\":{\"enum\":[\"x\",\"y\"]}}",
        "+[\"x\",\"y\",\"x\"]", "-[\"y\",\"y\",\"y\"", "-[\"x\",\"x\",\"x\"", "-[\"x\",\"y\"]",
        "+[\"y\",\"y\",\"x\"]");
    CHECK("{\"prefixItems\":[{\"type\":\"boolean\"}],\"contains\":{\"type\":\"null\"}}", "-[true]",
          "+[true,null]", "-[null", "+[false,1,null,2]");
    CHECK("{\"type\":\"string\",\"not\":{\"enum\":[\"a\",\"ab\",\"b\",2]}}", "-\"a\"", "-\"ab\"", "-\"b\"",
          "+\"ba\"", "+\"abc\"", "+\"\"");
    CHECK("{\"type\":\"boolean\",\"not\":{\"const\":true}}", "+false", "-true");
    CHECK("{\"type\":[\"null\",\"boolean\"],\"not\":{\"enum\":[null,false]}}", "+true", "-false", "-null");
    CHECK("{\"type\":\"array\",\"contains\":{\"type\":\"null\"},\"minContains\":0}", "+[]", "+[1]");
    CHECK("{\"type\":\"array\",\"items\":{\"enum\":[\"a\",\"b\",\"c\"]},\"uniqueItems\":true,\"minItems\":1}",
          "+[\"a\",\"c\"]", "+[\"b\",\"a\"]", "-[\"a\",\"a", "-[]", "+[\"b\"]", "+[\"c\",\"b\",\"a\"]",
          "-[\"c\",\"b\",\"a\",");
    CHECK(
        "{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":-1,\"exclusiveMaximum\":3},\"uniqueItems\":true,\"maxItems\":3}",
        "+[2,0,-1]", "-[2,2", "-[3", "+[]", "-[2,1,0,");
    CHECK("{\"items\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":40},\"uniqueItems\":true}", "+[2,3,40]",
          "-[3,2,", "-[2,2]"); /* too many sets: in their order */
    CHECK("{\"items\":{\"type\":[\"boolean\",\"null\"]},\"uniqueItems\":true}", "+[true,null,false]",
          "-[true,true", "+[null]");
    CHECK(
        "{\"items\":{\"anyOf\":[{\"const\":\"a\"},{\"enum\":[1,1.0,[1]]},{\"const\":[1.0]}]},\"uniqueItems\":true}",
        "+[\"a\",[1],1]", "-[1,1", "-[[1],[1]", "-[1,1.0]");
    CHECK("{\"items\":{\"enum\":[1,2,3,4],\"multipleOf\":2},\"uniqueItems\":true,\"minItems\":2}", "+[4,2]",
          "-[1", "-[2]");
    /* few values, however far apart */
    CHECK(
        "{\"items\":{\"type\":\"integer\",\"minimum\":-1.5,\"maximum\":9e14,\"multipleOf\":3e14},\"uniqueItems\":true}",
        "+[300000000000000,0]", "-[0,0", "-[1", "-[-");
    CHECK(
        "{\"prefixItems\":[{\"const\":1},{\"type\":\"string\"},{\"type\":\"object\"}],\"items\":false,\"uniqueItems\":true}",
        "+[1,\"a\",{}]", "-[1,1");
    CHECK("{\"type\":\"array\",\"maxItems\":0}", "+[]", "-[1");
    CHECK("{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"maxItems\":1000000}", "+[1,2,3]");
}

static void test_objects(void **state)
{
    (void)state;
#define AB "\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"null\"}}"
    CHECK("{\"type\":\"object\"," AB "}", "+{}", "+{\"a\":1}", "+{\"b\": null}", "+{\"a\":1,\"b\":null}",
          "-{\"b\":null,\"a", "-{\"c");
    CHECK("{" AB ",\"required\":[\"b\"]}", "-{}", "-{\"a\":1}", "+{\"b\":null}", "+{\"a\":1, \"b\":null}");
    CHECK("{" AB ",\"required\":[\"c\"]}", "+{\"c\":[]}", "+{\"a\":1,\"c\":1}", "-{\"a\":1}");
    CHECK("{" AB ",\"additionalProperties\":{\"type\":\"boolean\"}}", "+{\"x\":true}",
          "+{\"a\":2,\"x\":true,\"y\":false}", "-{\"x\":1", "-{\"a\":true", "+{\"aa\":true}");
    CHECK("{\"type\":\"object\",\"additionalProperties\":false}", "+{}", "-{\"");
    CHECK("{\"type\":\"object\",\"properties\":{\"a\":false},\"additionalProperties\":true}", "-{\"a\"", "+{\"b\":1}");
    CHECK(
        "{\"type\":\"object\",\"patternProperties\":{\"^x\":{\"type\":\"null\"}},\"additionalProperties\":false}",
        "+{\"x1\":null}", "-{\"y", "-{\"x1\":1");
    CHECK("{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"p\",\"q\"]}}", "+{\"p\":1}", "-{\"r");
    CHECK("{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-b]$\"},\"maxProperties\":1}",
          "+{\"b\":1}", "-{\"c", "-{\"a\":1,");
    CHECK("{" AB ",\"minProperties\":1}", "-{}", "+{\"b\":null}");
    CHECK("{" AB ",\"maxProperties\":1}", "+{}", "+{\"b\":null}", "-{\"a\":1,");
    CHECK("{\"type\":\"object\",\"maxProperties\":0}", "+{}", "-{\"");
    CHECK("{" AB ",\"dependentRequired\":{\"a\":[\"b\"]}}", "+{\"b\":null}", "-{\"a\":1}",
          "+{\"a\":1,\"b\":null}", "+{}");
    CHECK("{\"type\":\"object\",\"properties\":{\"a\\\"\\n\":{\"type\":\"null\"}}}", "+{\"a\\\"\\n\":null}");
}

static void test_combinations(void **state)
{
    (void)state;
    CHECK("{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"integer\",\"minimum\":5}]}", "+null", "+7", "~1", "-\"");
    CHECK("{\"oneOf\":[{\"type\":\"integer\",\"minimum\":0},{\"type\":\"integer\",\"maximum\":10}]}", "+-5",
          "~5", "+11", "-3.");
    CHECK("{\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]," AB ",\"type\":\"object\"}",
          "+{\"a\":1}", "+{\"b\":null}", "-{\"a\":1,", "-{}");
    CHECK("{\"allOf\":[{" AB "},{\"properties\":{\"a\":{\"minimum\":5}},\"required\":[\"a\"]}]}",
          "+{\"a\":5}", "-{\"a\":4}", "-{\"b");
    CHECK("{\"not\":{\"type\":\"string\"}}", "+1", "-\"");
    CHECK("{" AB ",\"not\":{\"required\":[\"a\",\"b\"]}}", "+{\"a\":1}", "+{\"b\":null}", "-{\"a\":1,\"b\"");
    CHECK(
        "{\"if\":{\"properties\":{\"a\":{\"const\":1}},\"required\":[\"a\"]},\"then\":{\"required\":[\"b\"]}," AB
        ",\"type\":\"object\"}",
        "+{\"a\":1,\"b\":null}", "-{\"a\":1}", "+{\"a\":2}", "+{\"b\":null}");
    CHECK(
        "{\"$ref\":\"#/$defs/n\",\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"n\":{\"$ref\":\"#/$defs/n\"}}}}}",
        "+{}", "+{\"n\":{\"n\":{}}}", "-{\"n\":1");
    CHECK("{\"definitions\":{\"a~/ b\":{\"type\":\"null\"}},\"$ref\":\"#/definitions/a~0~1%20b\"}", "+null");
    CHECK(
        "{\"properties\":{\"p\":{\"$ref\":\"#x\"}},\"$defs\":{\"d\":{\"$anchor\":\"x\",\"type\":\"null\"}},\"required\":[\"p\"]}",
        "+{\"p\":null}", "-{\"p\":1");
    CHECK(
        "{\"title\":\"t\",\"description\":\"d\",\"default\":1,\"examples\":[],\"$comment\":\"c\",\"x-own\":{},\"type\":\"null\"}",
        "+null");
}

static void check_refused(const char *schema, int code, const char *part)
{
    struct grammar *g = NULL;
    struct err e = {0};
    int rc = compile(&g, schema, &e);
    if (rc != code || !strstr(e.msg, part))
        fail_msg("'%s': got %d '%s', expected %d '%s'", schema, rc, e.msg, code, part);
    assert_null(g);
}

static void test_refused(void **state)
{
    (void)state;
    check_refused("{\"properties\":{\"a\":{\"items\":{\"unevaluatedItems\":{}}}}}", ERR_UNSUPPORTED,
                  "schema at #/properties/a/items: keyword 'unevaluatedItems'");
    check_refused("{\"enum\":[[1]],\"contains\":{\"const\":2}}", ERR_UNSUPPORTED, "beside 'enum'");
    check_refused("{\"contains\":{\"const\":2},\"uniqueItems\":true}", ERR_UNSUPPORTED, "beside 'contains'");
    check_refused("{\"allOf\":[{\"contains\":{\"const\":2}},{\"contains\":{\"const\":3}}]}", ERR_UNSUPPORTED,
                  "once of an array");
    check_refused("{\"contains\":{\"const\":2},\"minContains\":100,\"minItems\":100}", ERR_LIMIT, "counts of items");
    check_refused("{\"unevaluatedProperties\":false}", ERR_UNSUPPORTED, "'unevaluatedProperties'");
    check_refused("{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"string\"}}",
                  ERR_UNSUPPORTED, "'uniqueItems'");
    check_refused(
        "{\"prefixItems\":[{\"type\":\"string\"},{\"enum\":[\"a\"]}],\"items\":false,\"uniqueItems\":true}",
        ERR_UNSUPPORTED, "'uniqueItems'");
    check_refused("{\"items\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":1e9},\"uniqueItems\":true}",
                  ERR_UNSUPPORTED, "integers between bounds");
    check_refused(
        "{\"items\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":9e14,\"allOf\":[{\"multipleOf\":1e6},{\"multipleOf\":999999}]},\"uniqueItems\":true}",
        ERR_UNSUPPORTED, "integers between bounds"); /* 900 values, too many tries */
#define TEN(ref) "{\"anyOf\":[" ref "," ref "," ref "," ref "," ref "," ref "," ref "," ref "," ref "," ref "]}"
    check_refused(
        "{\"$defs\":{\"a\":" TEN("{\"$ref\":\"#/$defs/b\"}") ",\"b\":" TEN("{\"$ref\":\"#/$defs/c\"}") ",\"c\":" TEN(
            "{\"$ref\":\"#/$defs/d\"}") ",\"d\":" TEN("{\"const\":1}") "},\"items\":{\"$ref\":\"#/$defs/a\"},\"uniqueItems\":true}",
        ERR_UNSUPPORTED, "short list"); /* one value by 10,000 ways */
    check_refused(
        "{\"not\":{\"$ref\":\"#/$defs/a\"},\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/a\"}]}}}",
        ERR_UNSUPPORTED, "'not' is not supported"); /* a circle */
    /* 12^6 ways to fail */
#define REF(name) "{\"$ref\":\"#/$defs/" name "\"}"
#define FOUR(a, b, c, d, to) "\"" a "\":" REF(to) ",\"" b "\":" REF(to) ",\"" c "\":" REF(to) ",\"" d "\":" REF(to)
#define TWELVE(name, to) "\"" name "\":{\"properties\":{" FOUR("1", "2", "3", "4", to) "," FOUR("5", "6", "7", "8", to) "," FOUR("9", "x", "y", "z", to) "}},"
    check_refused("{\"not\":" REF("a") ",\"$defs\":{" TWELVE("a", "b") TWELVE("b", "c") TWELVE("c", "d")
                      TWELVE("d", "e") TWELVE("e", "f") TWELVE("f", "g") "\"g\":{\"minLength\":3}}}",
                  ERR_LIMIT, "too much to compare");
    check_refused("{\"$ref\":\"other.json#/a\"}", ERR_UNSUPPORTED, "$ref 'other.json#/a'");
    check_refused("{\"$ref\":\"#\"}", ERR_FORMAT, "refers to itself");
    check_refused("{\"type\":\"strin\"}", ERR_FORMAT, "type 'strin'");
    check_refused("{\"pattern\":\"(a\"}", ERR_FORMAT, "schema at #, keyword 'pattern'");
    check_refused("{\"pattern\":\"\\\\bx\"}", ERR_UNSUPPORTED, "word boundaries");
    check_refused("{\"minLength\":-1}", ERR_FORMAT, "'minLength' is not a count");
    check_refused("{\"properties\":[]}", ERR_FORMAT, "'properties'");
    check_refused("{\"anyOf\":{}}", ERR_FORMAT, "expected a list of schemas");
    check_refused("{\"anyOf\":[3]}", ERR_FORMAT, "a schema is an object");
    check_refused("false", ERR_USAGE, "satisfies the schema");
    check_refused("{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", ERR_USAGE, "satisfies");
    check_refused("{\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", ERR_USAGE, "satisfies");
    check_refused("{\"type\":\"array\",\"items\":false,\"minItems\":1}", ERR_USAGE, "satisfies");
    check_refused("{\"allOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", ERR_USAGE, "satisfies");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any),          cmocka_unit_test(test_strings), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_enums),        cmocka_unit_test(test_arrays),  cmocka_unit_test(test_objects),
        cmocka_unit_test(test_combinations), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
