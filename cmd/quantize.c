/* SPDX-License-Identifier: Apache-2.0 */
/* tutti quantize: a model with other weight types, and what that costs. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/progress.h"
#include "cmd.h"
#include "common.h"
#include "file/cache.h"
#include "kern/encode.h"
#include "model/quantize.h"
#include "serve/importance.h"

static const struct args_doc doc = {
    "quantize", "IN OUT", "write a model with other weight types",
    "IN is a model file or the name of a pulled model with F16, BF16 or F32 weights; OUT is the file to write. It appears when it is\n"
    "complete: an interrupt or a full disk leaves what was there before.\n\n"
    "Types: n4 (4.25 bits a weight, own format, the fastest for prompts), q4_0, q4_1, q5_0, q5_1, q8_0, f16, bf16, f32. The matrix\n"
    "that gives the logits takes q8_0 below 8 bits (--head chooses another). Norms, biases and routers stay as they are, and so do\n"
    "matrices whose rows are no multiple of 32.\n\n"
    "The same input gives the same bytes on every machine."};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
}

static void show(void *ud, uint64_t done, uint64_t all)
{
    (void)all;
    progress_update(ud, done);
}

static void show_tokens(void *ud, int done, int all)
{
    (void)ud;
    if (done == all || done % 4096 == 0) fprintf(stderr, "tutti quantize: importance of columns, token %d of %d\n", done, all);
}

static const float *importance(void *ud, struct str name, uint64_t n)
{
    return importance_of(ud, name, n);
}

/* "q4_0" -> DTYPE_Q4_0; -1: not a type that can be written */
static int type_of(const char *name)
{
    int t = dtype_from_name(name);
    return t >= 0 && encode_supports((enum dtype)t) ? t : -1;
}

/* A renamed OUT would take the place of the file that is being read. */
static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int cmd_quantize(int argc, char **argv)
{
    const char *type = NULL, *head = NULL, *imatrix = NULL;
    bool requantize = false, force = false, quiet = false;
    int threads = 0, status;
    const struct arg table[] = {
        {"type", 0, ARG_STR, &type, "TYPE", "type of the matrices: n4, q4_0, q4_1, q5_0, q5_1, q8_0, f16, bf16, f32", 0, 0},
        {"head", 0, ARG_STR, &head, "TYPE", "type of the matrix that gives the logits (default: q8_0, or TYPE if that is wider)", 0, 0},
        {"allow-requantize", 0, ARG_FLAG, &requantize, NULL, "let IN be quantised already", 0, 0},
        {"imatrix-text", 0, ARG_STR, &imatrix, "FILE", "run IN over this text first; what large inputs meet is kept more exactly", 0, 0},
        {"force", 0, ARG_FLAG, &force, NULL, "overwrite OUT", 0, 0},
        {"threads", 't', ARG_INT, &threads, "N", "worker threads (default: all CPUs this process may use)", 1, POOL_ARG_MAX},
        {"quiet", 'q', ARG_FLAG, &quiet, NULL, "no progress", 0, 0},
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (argc - at != 2) return args_fault(&doc, "takes IN and OUT; see tutti quantize --help");
    if (!type || type_of(type) < 0) return args_fault(&doc, "--type %s: known are n4, q4_0, q4_1, q5_0, q5_1, q8_0, f16, bf16, f32", type ? type : "is missing");
    if (head && type_of(head) < 0) return args_fault(&doc, "--head %s: known are the types of --type", head);
    struct quantize_options opt = {.type = (enum dtype)type_of(type), .requantize = requantize, .n_threads = threads, .cancel = &interrupted};
    opt.head = head ? (enum dtype)type_of(head) : dtype_info(opt.type)->block == 1 ? opt.type : DTYPE_Q8_0;
    struct path path;
    struct gguf *in = NULL;
    struct err e = {0};
    struct progress bar;
    struct importance *im = NULL;
    char *text = NULL;
    size_t n_text = 0;
    int rc = model_path_resolve(argv[at], &path, &e);
    const char *out = argv[at + 1];
    if (!rc && same_file(path.z, out)) rc = err(&e, ERR_USAGE, "%s is the input: give another name", out);
    if (!rc && !force && path_is_file(out)) rc = err(&e, ERR_USAGE, "%s exists; --force overwrites it", out);
    if (!rc) rc = gguf_open(&in, path.z, &e);
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    if (!rc && imatrix) rc = common_read_file(imatrix, &text, &n_text, &e);
    if (!rc && imatrix) {
        struct importance_options io = {.n_threads = threads, .cancel = &interrupted, .progress = quiet ? NULL : show_tokens};
        rc = importance_gather(&im, path.z, (struct str){text, n_text}, &io, &e);
        opt.importance = importance;
        opt.importance_ud = im;
    }
    if (!rc) {
        progress_begin(&bar, path_base(out), 0, gguf_tensor_bytes(in), quiet);
        opt.progress = show;
        opt.progress_ud = &bar;
        rc = quantize_file(in, out, &opt, NULL, &e);
        progress_end(&bar, !rc);
    }
    importance_free(im);
    free(text);
    gguf_close(in);
    return rc ? common_fail(&doc, &e) : 0;
}
