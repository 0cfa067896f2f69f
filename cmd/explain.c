/* SPDX-License-Identifier: Apache-2.0 */
/* tutti explain: the compiled program of a model: steps, buffers, kernels in use. */
#include <stdio.h>
#include "cmd.h"
#include "common.h"

/* The timeline into a file, or one pass on stdout. */
static int show_more(const struct args_doc *doc, const struct opened *o, const char *timeline, const char *pass)
{
    struct err e = {0};
    struct buf b;
    buf_init(&b, 1024 << 20);
    int rc = pass ? chip_listing(o->engine->chip, pass, &b, &e) : chip_timeline(o->engine->chip, &b, &e);
    if (!rc && b.failed) rc = err(&e, ERR_MEMORY, "the listing is too long");
    FILE *f = rc ? NULL : pass ? stdout : fopen(timeline, "wb");
    if (!rc && !f) rc = err(&e, ERR_IO, "cannot write '%s'", timeline);
    if (!rc && fwrite(b.p, 1, b.n, f) != b.n) rc = err(&e, ERR_IO, "cannot write '%s'", pass ? "stdout" : timeline);
    if (f && f != stdout && fclose(f) && !rc) rc = err(&e, ERR_IO, "cannot write '%s'", timeline);
    buf_finish(&b);
    return rc ? common_fail(doc, &e) : 0;
}

int cmd_explain(int argc, char **argv)
{
    static const struct args_doc doc = {"explain", "MODEL",
                                        "show the program of a model: steps, buffers, kernels in use", NULL};
    struct common c = {0};
    const char *timeline = NULL, *pass = NULL;
    int status;
    const struct arg table[] = {
        {"timeline", 0, ARG_STR, &timeline, "FILE",
         "of a simulated chip: one token as a trace for Perfetto, into FILE", 0, 0},
        {"pass", 0, ARG_STR, &pass, "NAME",
         "of a simulated chip: what a pass of its compiler made (divide, place, map, schedule, queues, verify)",
         0, 0},
        COMMON_ARGS(c),
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (argc - at != 1) return args_fault(&doc, "takes one MODEL; see tutti explain --help");
    struct opened o;
    if ((status = common_open(&doc, &o, argv[at], &c, 1, 1))) return status;
    if (timeline || pass) {
        status = show_more(&doc, &o, timeline, pass);
        common_close(&o);
        return status;
    }
    struct buf b;
    buf_init(&b, 256 << 20);
    program_print(o.engine->program, &b);
    buf_append_char(&b, '\n');
    chip_explain(o.engine->chip, &b);
    if (o.timed) timed_report(o.timed, &b);
    const struct kv_pool *kv = o.engine->kv;
    buf_printf(
        &b, "kv:      %d bits, pages of %d tokens, %.1f KiB each, context %d tokens = %.1f MiB when full\n",
        kv->shape.type == KV8 ? 8 : 16, ATTN_CHUNK, (double)kv->page_bytes / 1024, o.engine->n_ctx,
        (double)kv->page_bytes * ((o.engine->n_ctx + ATTN_CHUNK - 1) / ATTN_CHUNK) / 1048576);
    if (b.failed)
        status = args_fault(&doc, "the listing is too long");
    else
        fwrite(b.p, 1, b.n, stdout);
    buf_finish(&b);
    common_close(&o);
    return status;
}
