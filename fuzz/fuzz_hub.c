/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: file/hub, the choice of files from a repository's listing. First line of the input: the wanted
 * quant; the rest: the JSON answer. A chosen file has a name that stays in its folder, and all its parts.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/path.h"
#include "file/digest.h"
#include "file/hub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char quant[64];
    const uint8_t *nl = memchr(data, '\n', size < sizeof quant ? size : sizeof quant);
    if (!nl) return 0;
    size_t n = (size_t)(nl - data);
    memcpy(quant, data, n);
    quant[n] = 0;
    struct arena a;
    struct err e;
    struct hub_choice c = {0};
    arena_init(&a);
    struct str json = {(const char *)nl + 1, size - n - 1};
    int rc = hub_choose(json, "http://hub", "org/repo", quant, &a, &c, &e);
    if (rc) {
        must(e.code == rc && *e.msg && !strchr(e.msg, '\n'));
    } else {
        must(c.n_files >= 1 && c.n_files <= HUB_PARTS_MAX && *c.quant);
        for (int i = 0; i < c.n_files; i++) {
            const char *name = path_base(c.file[i].path);
            must(*name && *name != '.' && strlen(name) < 256);
            must(strncmp(c.file[i].url, "http://hub/org/repo/resolve/main/", 33) == 0);
            must(!c.file[i].sha256 || digest_is_hex(c.file[i].sha256));
        }
    }
    arena_finish(&a);
    return 0;
}
