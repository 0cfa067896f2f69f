/* SPDX-License-Identifier: Apache-2.0 */
/* tutti quantize: a model with other weight types, and what that costs. */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include "base/progress.h"
#include "cmd.h"
#include "common.h"
#include "distance.h"
#include "file/cache.h"
#include "folder/folder.h"
#include "kern/encode.h"
#include "model/quantize.h"
#include "serve/engine/importance.h"

static const struct args_doc doc = {
    "quantize", "IN OUT", "write a model with other weight types",
    "IN is a model file or the name of a pulled model with F16, BF16 or F32 weights; OUT is the file to write. It appears when it is\n"
    "complete: an interrupt or a full disk leaves what was there before.\n\n"
    "Types: n4 (4.25 bits a weight, own format, the fastest for prompts), q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, q4_k, q5_k, q6_k, f16, bf16,\n"
    "f32; q4_k_m and q5_k_m: the same with q6_k for attn_v and ffn_down of every third layer and of the first and last ones. The matrix\n"
    "that gives the logits takes q8_0 below 8 bits (--head chooses another). Where rows are no multiple of 256, q4_k, q5_k, q6_k become\n"
    "q5_0, q5_1, q8_0. Norms, biases and routers stay as they are, and so do matrices whose rows are no multiple of 32.\n\n"
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
    if (done == all || done % 4096 == 0)
        fprintf(stderr, "tutti quantize: importance of columns, token %d of %d\n", done, all);
}

static const float *importance(void *ud, struct str name, uint64_t n)
{
    return importance_of(ud, name, n);
}

/* "q4_k_m" -> "q4_k", and that some matrices take more bits. */
static bool is_mix(const char **type)
{
    if (strcasecmp(*type, "q4_k_m") != 0 && strcasecmp(*type, "q5_k_m") != 0) return false;
    *type = strcasecmp(*type, "q4_k_m") == 0 ? "q4_k" : "q5_k";
    return true;
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

static void print_tensor(const char *name, int width, const char *from, const char *to, double bytes,
                         double n, double error, double size)
{
    printf("%-*s  %-5s %-5s %9.2f %6.2f", width, name, from, to, bytes / 1048576, n > 0 ? 8 * bytes / n : 0);
    if (size > 0) printf(" %8.3f", 100 * sqrt(error / size));
    putchar('\n');
}

/* What became of each matrix, and of all. */
static void print_report(const struct quantize_tensor *list, size_t n)
{
    struct quantize_tensor all = {0};
    printf("%-30s  %-5s %-5s %9s %6s %8s\n", "matrix", "from", "to", "MiB", "bits", "error %");
    for (size_t i = 0; i < n; i++) {
        const struct quantize_tensor *q = &list[i];
        char name[GGUF_MAX_NAME_BYTES + 1];
        snprintf(name, sizeof name, "%.*s", STR_ARG(q->name));
        if (q->from != q->to)
            print_tensor(name, 30, dtype_name(q->from), dtype_name(q->to), (double)q->bytes, (double)q->n,
                         q->error, q->size);
        all.bytes += q->bytes, all.n += q->n, all.error += q->error, all.size += q->size;
    }
    print_tensor("all tensors", 30, "", "", (double)all.bytes, (double)all.n, all.error, all.size);
}

static int print_distance(const char *out, const char *in, const char *text, size_t n_text, int windows,
                          int threads, struct err *e)
{
    struct distance d;
    int rc = distance_measure(&d, out, in, (struct str){text, n_text}, windows, threads, &interrupted, e);
    if (rc) return rc;
    printf("kld %.6g +- %.2g from the source over %" PRId64 " tokens; perplexity %.4f, the source's %.4f\n",
           d.kld, d.kld_95, d.n, d.ppl_of, d.ppl_to);
    return 0;
}

int cmd_quantize(int argc, char **argv)
{
    const char *type = NULL, *head = NULL, *imatrix = NULL;
    const char *kld_text = NULL;
    bool requantize = false, force = false, quiet = false, report = false;
    int threads = 0, windows = 8, status;
    const struct arg table[] = {
        {"type", 0, ARG_STR, &type, "TYPE",
         "type of the matrices: n4, q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, q4_k, q5_k, q6_k, q4_k_m, q5_k_m, f16, bf16, f32",
         0, 0},
        {"head", 0, ARG_STR, &head, "TYPE",
         "type of the matrix that gives the logits (default: q8_0, or TYPE if that is wider)", 0, 0},
        {"allow-requantize", 0, ARG_FLAG, &requantize, NULL, "let IN be quantised already", 0, 0},
        {"imatrix-text", 0, ARG_STR, &imatrix, "FILE",
         "run IN over this text first; what large inputs meet is kept more exactly", 0, 0},
        {"force", 0, ARG_FLAG, &force, NULL, "overwrite OUT", 0, 0},
        {"report", 0, ARG_FLAG, &report, NULL,
         "print size, bits per weight and relative error of every matrix", 0, 0},
        {"kld-text", 0, ARG_STR, &kld_text, "FILE", "measure the KL divergence from IN over this text", 0, 0},
        {"windows", 0, ARG_INT, &windows, "N", "of 512 tokens, for --kld-text (default: 8)", 1, 1 << 20},
        {"threads", 't', ARG_INT, &threads, "N", "worker threads (default: all CPUs this process may use)", 1,
         POOL_ARG_MAX},
        {"quiet", 'q', ARG_FLAG, &quiet, NULL, "no progress", 0, 0},
        {0}};
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at < 0) return status;
    if (argc - at != 2) return args_fault(&doc, "takes IN and OUT; see tutti quantize --help");
    bool mix = type && is_mix(&type);
    if (!type || type_of(type) < 0)
        return args_fault(
            &doc,
            "--type %s: known are n4, q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, q4_k, q5_k, q6_k, q4_k_m, q5_k_m, f16, bf16, f32",
            type ? type : "is missing");
    if (head && type_of(head) < 0) return args_fault(&doc, "--head %s: known are the types of --type", head);
    struct quantize_options opt = {.type = (enum dtype)type_of(type),
                                   .mix = mix,
                                   .requantize = requantize,
                                   .n_threads = threads,
                                   .cancel = &interrupted};
    opt.head = head ? (enum dtype)type_of(head) : dtype_info(opt.type)->block == 1 ? opt.type : DTYPE_Q8_0;
    struct path path;
    struct gguf *in = NULL;
    struct err e = {0};
    struct progress bar;
    struct importance *im = NULL;
    struct quantize_tensor *list = NULL;
    char *text = NULL, *kld = NULL;
    size_t n_text = 0, n_kld = 0;
    int rc = model_path_resolve(argv[at], &path, &e);
    const char *out = argv[at + 1];
    if (!rc && same_file(path.z, out)) rc = err(&e, ERR_USAGE, "%s is the input: give another name", out);
    if (!rc && !force && path_is_file(out)) rc = err(&e, ERR_USAGE, "%s exists; --force overwrites it", out);
    if (!rc) rc = model_file_open(&in, path.z, &e);
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND}; /* a second one ends it at once */
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    if (!rc && kld_text) rc = common_read_file(kld_text, &kld, &n_kld, &e);
    if (!rc && imatrix) rc = common_read_file(imatrix, &text, &n_text, &e);
    if (!rc && imatrix) {
        struct importance_options io = {
            .n_threads = threads, .cancel = &interrupted, .progress = quiet ? NULL : show_tokens};
        rc = importance_gather(&im, path.z, (struct str){text, n_text}, &io, &e);
        opt.importance = importance;
        opt.importance_ud = im;
    }
    if (!rc && !(list = calloc(gguf_n_tensors(in) + 1, sizeof *list))) rc = err(&e, ERR_MEMORY, "out of memory");
    if (!rc) {
        opt.measure = report;
        progress_begin(&bar, path_base(out), 0, gguf_tensor_bytes(in), quiet);
        opt.progress = show;
        opt.progress_ud = &bar;
        rc = quantize_file(in, out, &opt, list, &e);
        progress_end(&bar, !rc);
    }
    if (!rc && report) print_report(list, gguf_n_tensors(in));
    if (!rc && kld) rc = print_distance(out, path.z, kld, n_kld, windows, threads, &e);
    importance_free(im);
    free(list);
    free(kld);
    free(text);
    gguf_close(in);
    return rc ? common_fail(&doc, &e) : 0;
}
