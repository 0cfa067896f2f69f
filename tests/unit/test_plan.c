/* SPDX-License-Identifier: Apache-2.0 */
/* plan: tables from strangers, the fit, formulas above their floors, constants by chip, whole models. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "plan/op/constants.h"
#include "plan/op/fit.h"
#include "plan/class/layers.h"
#include "plan/op/measured.h"
#include "plan/class/published.h"
#include "plan/op/regret.h"
#include "plan/class/device.h"
#include "plan/op/table.h"
#include "plan/op/validate.h"

static char dir[] = "/tmp/tutti-plan-XXXXXX";

static const char *put(const char *name, const char *text)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fputs(text, f) < 0, 0);
    assert_int_equal(fclose(f), 0);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"t.csv",         "c.json",      "gemm.csv",
                                        "published.csv", "config.json", "tpu_v6e_layers.csv"};
    char path[256];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static void table_reads_and_refuses(void **state)
{
    struct table *t = NULL;
    struct err e = {0};
    double v;
    (void)state;
    assert_int_equal(table_open(&t, put("t.csv", "a,b\r\n1,x\n\n2.5e3,\n"), &e), 0);
    assert_int_equal(table_column(t, "b", &e), 1);
    assert_int_equal(table_column(t, "c", &e), ERR_FORMAT);
    assert_int_equal(table_next(t, &e), 1);
    assert_int_equal(table_number(t, 0, &v, &e), 0);
    assert_true(v == 1);
    assert_int_equal(table_number(t, 1, &v, &e), ERR_FORMAT);
    assert_non_null(strstr(e.msg, "t.csv:2: column 'b' is 'x'"));
    assert_int_equal(table_next(t, &e), 1);
    assert_int_equal(table_number(t, 0, &v, &e), 0);
    assert_true(v == 2500);
    assert_int_equal(table_next(t, &e), 0);
    table_close(t);

    assert_int_equal(table_open(&t, put("t.csv", "a,b\n1\n3,4\n"), &e), 0);
    assert_int_equal(table_next(t, &e), ERR_FORMAT);
    assert_int_equal(table_next(t, &e), 1); /* goes on behind it */
    assert_string_equal(table_cell(t, 1).p, "4");
    table_close(t);
    assert_int_equal(table_open(&t,
                                put("t.csv", "\xef\xbb\xbf"
                                             "a,\"b,c\"\r\n\"x, \"\"y\"\"\"z,\"\"\r\n\"open,1\n"),
                                &e),
                     0);
    assert_int_equal(table_column(t, "a", &e), 0);
    assert_int_equal(table_column(t, "b,c", &e), 1);
    assert_int_equal(table_next(t, &e), 1);
    assert_string_equal(table_cell(t, 0).p, "x, \"y\"z");
    assert_int_equal(table_cell(t, 1).n, 0);
    assert_int_equal(table_next(t, &e), ERR_FORMAT); /* a quote that nothing closes: one cell */
    table_close(t);
    assert_int_equal(table_open(&t, put("t.csv", ""), &e), ERR_FORMAT);
    assert_int_equal(table_open(&t, "/nowhere/t.csv", &e), ERR_NOT_FOUND);
    char *wide = malloc(TABLE_LINE_MAX * 2);
    memset(wide, 'x', TABLE_LINE_MAX * 2 - 1);
    wide[TABLE_LINE_MAX * 2 - 1] = 0;
    assert_int_equal(table_open(&t, put("t.csv", wide), &e), ERR_LIMIT);
    memset(wide, ',', 100);
    wide[100] = 0;
    assert_int_equal(table_open(&t, put("t.csv", wide), &e), ERR_LIMIT);
    free(wide);
}

static double bowl(void *ud, const double *x)
{
    (void)ud;
    return (x[0] - 3) * (x[0] - 3) + 10 * (x[1] - 0.25) * (x[1] - 0.25) + fabs(x[2] - 7);
}

static void fit_finds_a_minimum(void **state)
{
    double x[3] = {1, 0.5, 2}, again[3] = {1, 0.5, 2};
    const double lo[3] = {0, 0, 0}, hi[3] = {5, 1, 8};
    (void)state;
    assert_true(fit(x, lo, hi, 3, 4000, bowl, NULL) < 1e-4);
    assert_true(fabs(x[0] - 3) < 0.02 && fabs(x[1] - 0.25) < 0.02 && fabs(x[2] - 7) < 0.02);
    fit(again, lo, hi, 3, 4000, bowl, NULL);
    assert_memory_equal(x, again, sizeof x);
}

static double drawn(uint64_t *state, double lo, double hi) /* even in the logarithm */
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return floor(exp(log(lo) + (double)(*state >> 11) / 9007199254740992.0 * (log(hi) - log(lo))));
}

static void no_time_is_below_the_floor(void **state)
{
    static const char *const words[][3] = {
        {"fp8", "bfloat16"},      {"bfloat16", "bfloat16"},     {"all_reduce", "custom_all_reduce", "graph"},
        {"bfloat16", "balanced"}, {"int4_wo", "power_law_1.2"}, {"alltoall", "nccl", "eager"}};
    uint64_t seed = 1;
    struct gpu g;
    struct err e = {0};
    int tried = 0;
    (void)state;
    assert_int_equal(gpu_find(&g, "H100-SXM-80GB", &e), 0);
    for (int n = 0; n < 3000; n++)
        for (int o = 0; op_all[o]; o++)
            for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
                double shape[OP_SHAPE_MAX] = {0}, c[OP_CONSTANTS_MAX], t, f;
                for (int i = 0; i < OP_SHAPE_MAX && op_all[o]->shape[i]; i++) shape[i] = drawn(&seed, 1, 40000);
                if (op_all[o]->words(words[w], shape)) continue;
                for (int i = 0; i < op_all[o]->n_constants; i++) {
                    const struct op_constant *k = &op_all[o]->constants[i];
                    c[i] = n % 2 ? k->lo + (k->hi - k->lo) * (drawn(&seed, 1, 1000) - 1) / 999 : k->neutral;
                }
                t = op_all[o]->time_us(&g, shape, c);
                f = op_all[o]->floor_us(&g, shape);
                assert_true(isfinite(t) && t >= f && f >= 0);
                tried++;
            }
    assert_true(tried > 10000);
}

static void datasheets_agree_with_themselves(void **state)
{
    static const char *const chips[] = {"a100",  "h100", "h200",  "h800",    "gh200",     "b200",
                                        "gb200", "b300", "gb300", "rtx4090", "rtxpro6000"};
    (void)state;
    for (size_t i = 0; i < sizeof chips / sizeof *chips; i++) {
        struct gpu g;
        struct err e = {0};
        assert_int_equal(gpu_find(&g, chips[i], &e), 0);
        assert_true(g.aliases.n > 0 && g.like.n > 0);
    }
}

static void names_are_spelt_in_many_ways(void **state)
{
    static const struct {
        const char *name, *chip; /* NULL: no chip of the tree */
    } spelt[] = {{"H200", "h200"},
                 {"NVIDIA H200 141GB HBM3e", "h200"},
                 {"B200-SXM6-192GB", "b200"},
                 {"gb300_nvl72", "gb300"},
                 {"B300-SXM-270GB", "b300"},
                 {"H100-PCIe-80GB", NULL},
                 {"A100-SXM4-40GB", NULL},
                 {"L40S", NULL},
                 {"", NULL},
                 {"nvidia", NULL},
                 {"GH200-144GB", NULL},
                 {"RTX PRO 6000 Blackwell Server Edition", "rtxpro6000"}};
    (void)state;
    for (size_t i = 0; i < sizeof spelt / sizeof *spelt; i++) {
        struct gpu g;
        int rc = gpu_find(&g, spelt[i].name, NULL);
        assert_int_equal(rc, spelt[i].chip ? 0 : ERR_NOT_FOUND);
        if (!rc) assert_string_equal(g.chip, spelt[i].chip);
    }
}

/* Chips and types of which nothing was measured: above the floor, no less for more work, and not absurdly
 * slow for long work. */
static void what_was_never_measured_stays_plausible(void **state)
{
    static const char *const chips[] = {"a100", "h200", "b200", "gb300", "rtx4090", "rtxpro6000"};
    static const struct {
        const struct op_model *op;
        const char *words[3];
        double shape[OP_SHAPE_MAX];
        int grows;     /* column that grows */
        double slower; /* than the floor at most, at the end */
    } sweeps[] = {
        {&op_gemm, {"bfloat16"}, {1, 8192, 8192}, 0, 2},          {&op_gemm, {"fp8"}, {1, 8192, 8192}, 0, 2.5},
        {&op_gemm, {"nvfp4"}, {1, 8192, 8192}, 0, 3},             {&op_gemm, {"int4_wo"}, {1, 8192, 8192}, 0, 2},
        {&op_attention_decode, {"bfloat16", "bfloat16"}, {16, 16, 64, 8, 128, 0}, 1, 2.5},
        {&op_attention_decode, {"fp8", "bfloat16"}, {1, 4096, 64, 8, 128, 0}, 0, 3.5},
        {&op_attention_context, {"bfloat16", "bfloat16"}, {1, 16, 64, 8, 128, 0}, 1, 3},
        {&op_moe, {"nvfp4", "balanced"}, {1, 4096, 14336, 2, 8, 1, 1, 3}, 0, 4},
        {&op_moe, {"bfloat16", "power_law_1.2"}, {1, 7168, 2048, 8, 256, 1, 8, 3}, 0, 1e9},
        {&op_collective, {"all_reduce", "nccl", "nccl-tests"}, {8, 1024}, 1, 3.5},
    };
    struct constants k;
    struct err e = {0};
    (void)state;
    assert_int_equal(constants_open(&k, NULL, &e), 0);
    for (size_t c = 0; c < sizeof chips / sizeof *chips; c++)
        for (size_t i = 0; i < sizeof sweeps / sizeof *sweeps; i++) {
            double shape[OP_SHAPE_MAX], before = 0, t = 0, floor = 0;
            struct gpu g;
            assert_int_equal(gpu_find(&g, chips[c], &e), 0);
            memcpy(shape, sweeps[i].shape, sizeof shape);
            assert_int_equal(sweeps[i].op->words(sweeps[i].words, shape), 0);
            const struct constants_set *s = constants_find(&k, sweeps[i].op, &g, "trtllm", sweeps[i].words);
            assert_non_null(s);
            for (int step = 0; step < 20; step++, shape[sweeps[i].grows] *= 2) {
                t = sweeps[i].op->time_us(&g, shape, s->value);
                floor = sweeps[i].op->floor_us(&g, shape);
                if (!(t >= floor && t >= 0.95 * before))
                    print_error("%s %s %s, step %d: %g after %g, floor %g\n", chips[c], sweeps[i].op->name,
                                *sweeps[i].words, step, t, before, floor);
                /* another tile may be better in its range */
                assert_true(isfinite(t) && t >= floor && t >= 0.95 * before);
                before = t;
            }
            if (floor > 0 && t > sweeps[i].slower * floor)
                print_error("%s %s %s: %g, floor %g\n", chips[c], sweeps[i].op->name, *sweeps[i].words, t,
                            floor);
            assert_true(floor <= 0 || t <= sweeps[i].slower * floor);
        }
    constants_close(&k);
}

static void constants_are_checked(void **state)
{
    struct constants c;
    struct err e = {0};
    (void)state;
    assert_int_equal(constants_open(&c, NULL, &e), 0);
    assert_true(c.n > 50);
    constants_close(&c);
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"{}", "expected a list"},
        {"[{\"op\": \"gemm\"}]", "must be texts"},
        {"[{\"op\": \"gem\", \"chip\": \"x\", \"framework\": \"y\"}]", "no operator 'gem'"},
        {"[{\"op\": \"gemm\", \"chip\": \"x\", \"framework\": \"y\", \"words\": []}]",
         "lacks the text for 'dtype'"},
        {"[{\"op\": \"gemm\", \"chip\": \"x\", \"framework\": \"y\", \"words\": [\"fp8\"], \"constants\": {\"launch\": 900}}]",
         "launch is 900, outside"},
        {"[{\"op\": \"gemm\", \"chip\": \"x\", \"framework\": \"y\", \"words\": [\"fp8\"], \"constants\": {}}]",
         "'launch' is missing"},
        {"[1,", "c.json:1:"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(constants_open(&c, put("c.json", bad[i].text), &e), ERR_FORMAT);
        assert_non_null(strstr(e.msg, bad[i].says));
    }
}

static void constants_are_carried_to_like_chips(void **state)
{
    static const char *const words[] = {"bfloat16"}, *const other[] = {"int3"};
    struct constants c;
    struct gpu g;
    struct err e = {0};
    (void)state;
    assert_int_equal(constants_open(&c, NULL, &e), 0);
    assert_int_equal(gpu_find(&g, "B200-SXM-180GB", &e), 0);
    const struct constants_set *s = constants_find(&c, &op_gemm, &g, "vllm", words);
    assert_non_null(s);
    assert_string_equal(s->chip, "H100-SXM-80GB");
    assert_string_equal(s->framework, "vllm");
    assert_non_null(constants_find(&c, &op_gemm, &g, "unheard of", words));
    assert_null(constants_find(&c, &op_gemm, &g, "vllm", other));
    static const char *const near[][2] = {
        {"fp8_block_v2", "balanced"}, {"nvfp4", "power_law_1.01"}, {"w4a8_mxfp4_mxfp8_trtllm", "uniform"}};
    static const char *const taken[][2] = {{"fp8_block", "balanced"}, {"fp8", "power_law_1.2"}, {"fp8", "balanced"}};
    for (size_t i = 0; i < sizeof near / sizeof *near; i++) {
        s = constants_find(&c, &op_moe, &g, "trtllm", near[i]);
        assert_non_null(s);
        assert_string_equal(s->words[0], taken[i][0]);
        assert_string_equal(s->words[1], taken[i][1]);
        assert_false(constants_of(s, &g, near[i]));
    }
    constants_close(&c);
}

static void measurements_split_one_in_five(void **state)
{
    enum { N = 2000 };
    char *text = malloc(N * 64 + 128), *p = text;
    struct measured m;
    struct err e = {0};
    (void)state;
    p += sprintf(p, "gpu,framework,version,dtype,kernel,m,n,k,latency_us\n");
    for (int i = 0; i < N; i++)
        p += sprintf(p, "H100-SXM-80GB,vllm,1,%s,x,%d,%d,256,9.5\n", i % 10 ? "bfloat16" : "int2", 1 + i,
                     64 * (1 + i % 7));
    put("gemm.csv", text);
    measured_init(&m);
    assert_int_equal(measured_read(&m, dir, &op_gemm, &e), 0);
    assert_int_equal(m.n, 1);
    assert_int_equal(m.n_rows, N);
    assert_int_equal(m.n_unknown, N / 10);
    assert_int_equal(m.groups[0]->n, N - N / 10);
    assert_in_range(m.groups[0]->n_held, 280, 440);
    measured_close(&m);

    put("gemm.csv",
        "gpu,framework,dtype,m,n,k,latency_us\nx,y,fp8,1,2,3,0\nx,y,fp8,nan,2,3,4\nx,y,fp8,0,2,3,4\nx,y,fp8,1,2\nx,y,fp8,1,2,1e30,4\nx,y,fp8,1,2,3,4\n");
    measured_init(&m);
    assert_int_equal(measured_read(&m, dir, &op_gemm, &e), 0);
    assert_int_equal(m.odd.n, 5);
    assert_non_null(strstr(m.odd.first.msg, "latency_us is 0"));
    assert_int_equal(m.groups[0]->n, 1);
    assert_int_equal(measured_read(&m, dir, &op_moe, &e), ERR_NOT_FOUND);
    put("gemm.csv", "gpu,framework,dtype,m,n,latency_us\nx,y,fp8,1,2,3\n");
    assert_int_equal(measured_read(&m, dir, &op_gemm, &e), ERR_FORMAT);
    assert_non_null(strstr(e.msg, "no column 'k'"));
    measured_close(&m);
    free(text);
}

/* A fit on times that the formula itself made finds them again. */
static void a_fit_explains_its_own_formula(void **state)
{
    double c[OP_CONSTANTS_MAX], made[OP_CONSTANTS_MAX];
    struct gpu g;
    struct err e = {0};
    struct validate_errors v;
    struct measured_row rows[400] = {0};
    struct measured_group m = {.op = &op_collective, .chip = "x", .framework = "y", .rows = rows, .n = 400};
    (void)state;
    assert_int_equal(gpu_find(&g, "h100", &e), 0);
    for (int i = 0; i < op_collective.n_constants; i++)
        made[i] = 0.7 * op_collective.constants[i].lo + 0.3 * op_collective.constants[i].hi;
    for (int i = 0; i < 400; i++) {
        static const char *const words[] = {"all_reduce", "custom_all_reduce", "graph"};
        rows[i].shape[0] = 2 << i % 3;
        rows[i].shape[1] = 256 * pow(1.04, i);
        assert_int_equal(op_collective.words(words, rows[i].shape), 0);
        rows[i].us = op_collective.time_us(&g, rows[i].shape, made);
        m.n_held += rows[i].held = i % 5 == 0;
    }
    assert_int_equal(validate_fit(c, &m, &g, &e), 0);
    assert_int_equal(validate_group(&v, &m, &g, c, VALIDATE_HELD, &e), 0);
    assert_int_equal(v.n, 80);
    assert_true(v.median < 0.03);
    assert_int_equal(validate_cross(&v, &m, &g, VALIDATE_LARGE, &e), 0);
    assert_in_range(v.n, 60, 80);
    assert_true(v.median < 0.1);
    assert_true(m.n_held == 80 && rows[0].held && !rows[399].held); /* as before */
    validate_neutral(&op_collective, c);
    assert_int_equal(validate_group(&v, &m, &g, c, VALIDATE_HELD, &e), 0);
    assert_true(v.median > 0.2 && v.bias < 0);
}

static void shapes_count_what_is_known(void **state)
{
    struct shape s;
    struct err e = {0};
    (void)state;
    assert_int_equal(shape_open(&s, "smollm2-135m", &e), 0);
    assert_in_range((uint64_t)shape_weights(&s), 134000000, 135000000);
    assert_int_equal(shape_open(&s, "llama-3.1-8b", &e), 0);
    assert_in_range((uint64_t)shape_weights(&s), 8000000000, 8100000000);
    assert_int_equal(shape_open(&s, "mixtral-8x7b", &e), 0);
    assert_in_range((uint64_t)shape_weights(&s), 46600000000, 46800000000);
    assert_int_equal(shape_open(&s, "deepseek-v3", &e), 0);
    /* 671 G as published; 576 elements per token and layer */
    assert_true(shape_weights(&s) > 670.5e9 && shape_weights(&s) < 671.5e9 && (int)shape_kv(&s) == 61 * 576);
    assert_int_equal(shape_open(&s, "grok-1", &e), 0);
    assert_in_range((uint64_t)shape_weights(&s), 313000000000, 317000000000);
    assert_int_equal(shape_open(&s, "grok-2", &e), 0);
    assert_true(shape_weights(&s) > 269e9 && shape_weights(&s) < 270e9 && s.shared > 32767 &&
                (int)shape_kv(&s) == 64 * 2 * 8 * 128); /* 270 G as reported */
    assert_int_equal(
        shape_open(
            &s,
            put("config.json",
                "{\"num_hidden_layers\": 2, \"hidden_size\": 64, \"intermediate_size\": 96, \"moe_intermediate_size\": 32, \"num_attention_heads\": 2,"
                "\"vocab_size\": 9, \"num_experts\": 4, \"num_experts_per_tok\": 2, \"shared_expert_intermediate_size\": 48}"),
            &e),
        0);
    assert_true(s.shared > 47 && s.shared < 49 && s.inter < 33);
    assert_int_equal(shape_open(&s, "gpt-9", &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "llama-3.1-8b"));
    assert_int_equal(
        shape_open(&s, put("config.json", "{\"num_hidden_layers\": 2, \"hidden_size\": -1}"), &e),
        ERR_FORMAT);
    assert_non_null(strstr(e.msg, "'hidden_size' must be a whole number"));
}

static int n_rows, n_compared;

static void count(void *ud, const struct published_row *r)
{
    (void)ud;
    n_rows++;
    n_compared += !*r->why;
    if (!*r->why) assert_true(r->predicted > 0 && isfinite(r->predicted) && (r->datasheet > 0 || isnan(r->datasheet)));
}

static void published_rows_are_compared_or_say_why(void **state)
{
    struct constants c;
    struct err e = {0};
    (void)state;
    put("published.csv",
        "chip,n_chips,model,precision,batch_or_concurrency,input_len,output_len,metric,value,unit,source,confidence\n"
        "H100-SXM-80GB,1,Llama-3-8B,16-bit,16,1024,1024,batch_latency,10,s,made up,claim\n"
        "H100-SXM-80GB,1,Llama-3-70B,16-bit,16,1024,1024,batch_latency,10,s,made up: does not fit,claim\n"
        "H100-SXM-80GB,1,Llama-3-8B,16-bit,offline,1024,1024,output_throughput,10,tokens/s,made up,claim\n"
        "Abacus,1,Llama-3-8B,16-bit,1,1024,1024,batch_latency,10,s,made up,claim\n"
        "H100-SXM-80GB,1,Llama-3-8B,16-bit,1,1024,1024,gpu_power_avg,400,W,made up,claim\n"
        "DeepX DX-M1,1,Qwen3-1.7B,int8,1,96,,user_speed,11,tokens/s/user,made up,claim\n"
        "H100-SXM-80GB,1,Llama-3-8B,16-bit,1,1024,1024,system_wall_power,10,W,made up,claim\n"
        "H100-SXM-80GB,1,Llama-3-8B,16-bit,1,1024,1024,batch_latency,nan,s,made up,claim\nH100-SXM-80GB,1\n");
    assert_int_equal(constants_open(&c, NULL, &e), 0);
    assert_int_equal(published_read(dir, &c, count, NULL, &e), 0);
    assert_int_equal(n_rows, 9);
    assert_int_equal(n_compared, 3);
    constants_close(&c);
}

/* Pieces of layers: sums of what a compiler fused, rows of strangers counted, faults refused. */
static void layers_are_summed_and_compared(void **state)
{
    char text[8192], *p = text;
    struct constants c;
    struct layers l;
    struct err e = {0};
    (void)state;
    assert_int_equal(constants_open(&c, NULL, &e), 0);
    assert_int_equal(layers_read(&l, dir, &c, &e), ERR_NOT_FOUND);
    p += snprintf(p, 100, "gpu,model,dtype,tp,op,tokens,latency_us\n");
    for (int t = 1; t <= 40; t++)
        p += snprintf(
            p, 200,
            "TPU-v6e,Llama-3.1-8B,bfloat16,1,gate_proj,%d,80\nTPU-v6e,Llama-3.1-8B,bfloat16,1,down_proj,%d,155\n",
            t, t);
    snprintf(
        p, 200,
        "TPU-v6e,Llama-3.1-8B,bfloat16,1,rope,8,1\nAbacus,Llama-3.1-8B,bfloat16,1,lm_head,8,1\nTPU-v6e,Llama-3.1-8B,bfloat16,1,lm_head,8,680\n");
    put("tpu_v6e_layers.csv", text);
    assert_int_equal(layers_read(&l, dir, &c, &e), 0);
    assert_int_equal(l.piece[LAYERS_FFN].rows, 40);
    assert_in_range(l.piece[LAYERS_FFN].n, 1, 20);
    for (size_t i = 0; i < l.piece[LAYERS_FFN].n; i++) {
        assert_true(fabs(l.piece[LAYERS_FFN].ratio[i] - 1) < 0.1);
        assert_true(l.piece[LAYERS_FFN].datasheet[i] < l.piece[LAYERS_FFN].ratio[i]);
    }
    assert_int_equal(l.piece[LAYERS_HEAD].rows, 1);
    assert_int_equal(l.n_fused, 1);
    assert_int_equal(l.n_unknown, 1);
    layers_close(&l);
    put("tpu_v6e_layers.csv",
        "gpu,model,dtype,tp,op,tokens,latency_us\nTPU-v6e,Llama-3.1-8B,bfloat16,1,lm_head,8,-1\nTPU-v6e,x\n");
    assert_int_equal(layers_read(&l, dir, &c, &e), 0);
    assert_int_equal(l.odd.n, 2);
    layers_close(&l);
    constants_close(&c);
}

/* Two ways for one problem: the choice costs what the measurements say, whatever the model thinks of their times. */
static void regret_is_what_a_choice_costs(void **state)
{
    static const char *const words[] = {"bfloat16", "balanced"};
    static const double ways[2][2] = {{8, 1}, {1, 8}};
    struct measured_row rows[2] = {{.us = 100}, {.us = 80}};
    struct measured_group m = {.op = &op_moe, .chip = "x", .framework = "y", .rows = rows, .n = 2};
    double c[OP_CONSTANTS_MAX], predicted[2];
    struct regret r;
    struct gpu g;
    struct err e = {0};
    (void)state;
    assert_int_equal(gpu_find(&g, "h100", &e), 0);
    validate_neutral(&op_moe, c);
    for (int i = 0; i < 2; i++) {
        const double shape[] = {64, 4096, 14336, 2, 8, ways[i][0], ways[i][1], 3};
        memcpy(rows[i].shape, shape, sizeof shape);
        assert_int_equal(op_moe.words(words, rows[i].shape), 0);
        predicted[i] = op_moe.time_us(&g, rows[i].shape, c);
    }
    int chosen = predicted[1] < predicted[0];
    assert_int_equal(regret_group(&r, &m, &g, c, &e), 0);
    assert_int_equal(r.sweeps, 1);
    assert_true(fabs(r.mean - (1 - 80 / rows[chosen].us)) < 1e-12);
    rows[chosen].us = 50, rows[!chosen].us = 100;
    assert_int_equal(regret_group(&r, &m, &g, c, &e), 0);
    assert_true(r.mean < 1e-12 && (predicted[0] == predicted[1] || r.tau == 1));
    rows[1].shape[0] = 128; /* another problem: no choice is left */
    assert_int_equal(regret_group(&r, &m, &g, c, &e), 0);
    assert_int_equal(r.sweeps, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_reads_and_refuses),
        cmocka_unit_test(fit_finds_a_minimum),
        cmocka_unit_test(no_time_is_below_the_floor),
        cmocka_unit_test(datasheets_agree_with_themselves),
        cmocka_unit_test(names_are_spelt_in_many_ways),
        cmocka_unit_test(constants_are_checked),
        cmocka_unit_test(what_was_never_measured_stays_plausible),
        cmocka_unit_test(constants_are_carried_to_like_chips),
        cmocka_unit_test(measurements_split_one_in_five),
        cmocka_unit_test(a_fit_explains_its_own_formula),
        cmocka_unit_test(shapes_count_what_is_known),
        cmocka_unit_test(regret_is_what_a_choice_costs),
        cmocka_unit_test(layers_are_summed_and_compared),
        cmocka_unit_test(published_rows_are_compared_or_say_why),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
