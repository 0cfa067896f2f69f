/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: folder/. The input is files, each begun by a line "<file NAME>"; they are written to a folder
 * in memory (where the system has /dev/shm) and opened. What opens is used as the engine does: the graph is
 * built, every row of every tensor read.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/path.h"
#include "folder/folder.h"
#include "model/model.h"
#include "serve/engine/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILES_MAX = 12, ROWS_MAX = 1 << 12 };
#define MARK "<file "

static volatile uint64_t sink;
static struct path dir;
static unsigned there; /* which of names the last input wrote */

static const char *const names[] = {"config.json",
                                    "tokenizer.json",
                                    "tokenizer_config.json",
                                    "tokenizer.model",
                                    "generation_config.json",
                                    "chat_template.jinja",
                                    "model.safetensors",
                                    "model.safetensors.index.json",
                                    "a.safetensors",
                                    "b.safetensors",
                                    "m-TP-000.safetensors",
                                    "m-TP-001.safetensors",
                                    "m-TP-common.safetensors"};

static void write_file(struct str name, const uint8_t *p, size_t n)
{
    struct path path;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!str_eqz(name, names[i]) || path_format(&path, NULL, "%s/%s", dir.z, names[i])) continue;
        FILE *f = fopen(path.z, "wb");
        must(f && fwrite(p, 1, n, f) == n);
        must(fclose(f) == 0);
        there |= 1u << i;
    }
}

static void write_files(const uint8_t *data, size_t size)
{
    const uint8_t *end = data + size;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct path path;
        if (there >> i & 1 && !path_format(&path, NULL, "%s/%s", dir.z, names[i])) unlink(path.z);
    }
    there = 0;
    for (int i = 0; i < FILES_MAX; i++) {
        const uint8_t *mark = memmem(data, (size_t)(end - data), MARK, sizeof MARK - 1);
        const uint8_t *line = mark ? memchr(mark, '\n', (size_t)(end - mark)) : NULL;
        if (!line) return;
        const uint8_t *from = line + 1, *next = memmem(from, (size_t)(end - from), MARK, sizeof MARK - 1);
        struct str name = {(const char *)mark + sizeof MARK - 1, (size_t)(line - mark) - (sizeof MARK - 1)};
        if (name.n && name.p[name.n - 1] == '>') name.n--;
        write_file(name, from, (size_t)((next ? next : end) - from));
        data = next ? next : end;
    }
}

static void use(const struct gguf *g)
{
    struct model *m = NULL;
    struct text t;
    struct err e = {0};
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *x = gguf_tensor_at(g, i);
        uint64_t row = dtype_row_bytes(x->type, x->ne[0]), rows = x->size_bytes / row;
        uint8_t *scratch = malloc((size_t)row);
        must(scratch && row && x->size_bytes % row == 0);
        for (uint64_t r = 0; r < rows && r < ROWS_MAX; r++) {
            const uint8_t *p = tensor_rows(x, r, 1, scratch);
            for (uint64_t k = 0; k < row; k++) sink += p[k];
        }
        free(scratch);
    }
    if (model_open(&m, g, &e) == 0) model_close(m);
    if (text_open(&t, g, &e) == 0) text_close(&t);
}

static void remove_dir(void)
{
    path_remove_tree(dir.z, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *g = NULL;
    struct err e = {0};
    if (!dir.z[0]) {
        must(path_format(&dir, NULL, "%s/tutti-fuzz-XXXXXX",
                         access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") == 0 &&
             mkdtemp(dir.z));
        atexit(remove_dir);
    }
    write_files(data, size);
    int rc = model_file_open(&g, dir.z, &e);
    must(rc ? g == NULL && e.code == rc && strlen(e.msg) > 0 && !strchr(e.msg, '\n') : g != NULL);
    if (rc == 0) use(g);
    gguf_close(g);
    return 0;
}
