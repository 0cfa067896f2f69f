/* SPDX-License-Identifier: Apache-2.0 */
/* Repositories of GGUF files: see hub.h. */
#include "file/hub.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/buf.h"
#include "base/path.h"
#include "file/download.h"

#define DEFAULT_BASE "https://huggingface.co"
enum { URL_MAX = 8192, PART_TAIL = sizeof "-00001-of-00003.gguf" - 1 };

/* What is taken when nothing is asked for: small and good first, then what the engine reads at all. */
static const char *const preferred[] = {
    "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS", "MXFP4",  "Q5_K_M", "Q5_K_S", "Q5_1",
    "Q5_0",   "Q6_K",   "Q8_0", "BF16", "F16",    "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K",   "F32",
};
enum { N_PREFERRED = sizeof preferred / sizeof *preferred };

const char *hub_base(void)
{
    const char *b = getenv("TUTTI_HUB");
    return b && *b ? b : DEFAULT_BASE;
}

const char *hub_token(void)
{
    const char *t = getenv("HF_TOKEN");
    return t && *t ? t : NULL;
}

/* --- names --- */

static bool is_word_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* Whether name holds the type as a word of its own: "Q4_K" is not in "x-Q4_K_M.gguf". */
static bool has_type(const char *name, const char *type)
{
    size_t n = strlen(type);
    for (const char *s = name; (s = strcasestr(s, type)); s++)
        if ((s == name || !is_word_char(s[-1])) && !is_word_char(s[n])) return true;
    return false;
}

static bool is_model(const char *path)
{
    const char *name = path_base(path);
    size_t n = strlen(name);
    return n > 5 && n < 200 && *name != '.' && strcasecmp(name + n - 5, ".gguf") == 0 &&
           !strcasestr(name, "mmproj") && !strcasestr(name, "imatrix");
}

/* Part number (from 1) and count of a path that ends in -00001-of-00003.gguf; 1 of 1 for other names. */
static void part_of(const char *path, unsigned *no, unsigned *count)
{
    size_t n = strlen(path);
    unsigned i, c;
    char end;
    *no = *count = 1;
    if (n <= PART_TAIL || sscanf(path + n - PART_TAIL, "-%5u-of-%5u.ggu%c", &i, &c, &end) != 3 || end != 'f')
        return;
    if (i < 1 || i > c || c > HUB_PARTS_MAX) return;
    *no = i;
    *count = c;
}

/* --- choosing --- */

struct listing {
    struct hub_file *file; /* first parts only */
    size_t n;
};

static const char *copy(struct arena *a, const char *z)
{
    return arena_strdup(a, str_from(z));
}

static int describe(struct arena *a, const char *base, const char *repo, const json_t *x, struct hub_file *f,
                    struct err *e)
{
    const json_t *lfs = json_object_get(x, "lfs");
    const char *oid = json_string_value(json_object_get(lfs, "oid"));
    const char *path = json_string_value(json_object_get(x, "path"));
    json_int_t size = json_integer_value(json_object_get(lfs ? lfs : x, "size"));
    struct buf url;
    buf_init(&url, URL_MAX);
    if (oid && strncmp(oid, "sha256:", 7) == 0) oid += 7;
    buf_printf(&url, "%s/%s/resolve/main/", base, repo);
    download_escape(&url, path);
    *f = (struct hub_file){.path = copy(a, path), .url = arena_strdup(a, buf_str(&url))};
    if (oid && digest_is_hex(oid)) f->sha256 = copy(a, oid);
    if (size > 0) f->bytes = (uint64_t)size;
    bool bad = url.failed || !f->path || !f->url || (oid && digest_is_hex(oid) && !f->sha256);
    buf_finish(&url);
    return bad ? err(e, ERR_MEMORY, "out of memory for the address of %.200s", path) : 0;
}

/* Index of the file that is meant, or -1. The shortest path wins among several of one type. */
static int pick(const struct listing *l, const char *quant, const char **type)
{
    size_t n = strlen(quant);
    int best = -1;
    if (n > 5 && strcasecmp(quant + n - 5, ".gguf") == 0) {
        *type = quant;
        for (size_t i = 0; i < l->n; i++)
            if (strcmp(l->file[i].path, quant) == 0 || strcmp(path_base(l->file[i].path), quant) == 0)
                return (int)i;
        return -1;
    }
    const char *const *wish = n ? &quant : preferred;
    for (int w = 0; w < (n ? 1 : N_PREFERRED) && best < 0; w++) {
        for (size_t i = 0; i < l->n; i++) {
            if (!has_type(path_base(l->file[i].path), wish[w])) continue;
            if (best < 0 || strlen(l->file[i].path) < strlen(l->file[best].path)) best = (int)i;
        }
        *type = wish[w];
    }
    if (best < 0 && n == 0 && l->n == 1) {
        *type = path_base(l->file[0].path);
        return 0;
    }
    return best;
}

static int none_fits(const struct listing *l, const char *repo, const char *quant, struct err *e)
{
    struct buf names;
    if (l->n == 0)
        return err(
            e, ERR_NOT_FOUND,
            "repository '%s' has neither a GGUF model nor config.json with model.safetensors; look for one whose name ends in -GGUF (converted from it)",
            repo);
    buf_init(&names, 600);
    for (size_t i = 0; i < l->n; i++) buf_printf(&names, "%s%s", i ? ", " : "", path_base(l->file[i].path));
    int rc = *quant ? err(e, ERR_NOT_FOUND, "repository '%s' has no '%s'; it has %s", repo, quant, names.p)
                    : err(e, ERR_NOT_FOUND,
                          "repository '%s' has several models; say which, as in %s:NAME.gguf: %s", repo, repo,
                          names.p);
    buf_finish(&names);
    return rc;
}

/* All parts of the chosen file, found in the listing by their names. */
static int collect_parts(const json_t *root, const char *base, const char *repo, const struct hub_file *first,
                         struct arena *a, struct hub_choice *out, struct err *e)
{
    unsigned no, count;
    part_of(first->path, &no, &count);
    out->file = ARENA_NEW(a, struct hub_file, count);
    if (!out->file) return err(e, ERR_MEMORY, "out of memory for %u parts", count);
    out->n_files = (int)count;
    out->file[0] = *first;
    for (unsigned i = 2; i <= count; i++) {
        struct path p;
        size_t at;
        const json_t *x = NULL, *found = NULL;
        int rc = path_format(&p, e, "%.*s-%05u-of-%05u.gguf", (int)(strlen(first->path) - PART_TAIL),
                             first->path, i, count);
        if (rc) return rc;
        json_array_foreach((json_t *)(uintptr_t)root, at, x)
        {
            const char *path = json_string_value(json_object_get(x, "path"));
            if (path && strcmp(path, p.z) == 0) found = x;
        }
        if (!found)
            return err(e, ERR_NOT_FOUND, "repository '%s' lacks %s, part %u of %u", repo, p.z, i, count);
        if ((rc = describe(a, base, repo, found, &out->file[i - 1], e))) return rc;
    }
    return 0;
}

/* --- folders of safetensors --- */

/* What folder/ reads, config.json apart; shards lie beside it and are named model..., or ...-TP-... where
 * they are pieces. */
static bool is_of_folder(const char *path)
{
    static const char *const names[] = {
        "generation_config.json",      "tokenizer.json",      "tokenizer.model",
        "tokenizer_config.json",       "chat_template.jinja", "chat_template.json",
        "model.safetensors.index.json"};
    static const char end[] = ".safetensors";
    size_t n = strlen(path), k = sizeof end - 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(path, names[i]) == 0) return true;
    return n > k && n < 200 && !strchr(path, '/') &&
           (strncmp(path, "model", 5) == 0 || strstr(path, "-TP-")) && strcmp(path + n - k, end) == 0;
}

/* All files of the model at the top of the repository, config.json first; n_files = 0 if there is none. */
static int choose_folder(const json_t *root, const char *base, const char *repo, struct arena *a,
                         struct hub_choice *out, struct err *e)
{
    const json_t *x, *config = NULL;
    size_t at;
    bool shards = false;
    int n = 0;
    json_array_foreach((json_t *)(uintptr_t)root, at, x)
    {
        const char *path = json_string_value(json_object_get(x, "path"));
        if (path && strcmp(path, "config.json") == 0) config = x;
        if (!path || !is_of_folder(path)) continue;
        shards |= strstr(path, ".safetensors") != NULL && !strstr(path, ".json");
        n++;
    }
    *out = (struct hub_choice){.quant = HUB_SAFETENSORS};
    if (!config || !shards) return 0;
    if (n >= HUB_PARTS_MAX)
        return err(e, ERR_LIMIT, "repository '%s': %d files of one model, at most %d are read", repo, n + 1,
                   HUB_PARTS_MAX);
    if (!(out->file = ARENA_NEW(a, struct hub_file, (size_t)n + 1)))
        return err(e, ERR_MEMORY, "out of memory for %d files", n + 1);
    int rc = describe(a, base, repo, config, &out->file[0], e);
    out->n_files = 1;
    json_array_foreach((json_t *)(uintptr_t)root, at, x)
    {
        const char *path = json_string_value(json_object_get(x, "path"));
        if (!rc && path && is_of_folder(path)) rc = describe(a, base, repo, x, &out->file[out->n_files++], e);
    }
    return rc;
}

static int choose(const json_t *root, const char *base, const char *repo, const char *quant, struct arena *a,
                  struct hub_choice *out, struct err *e)
{
    size_t n = json_array_size(root), at;
    const json_t *x;
    const char *type = "";
    if (!json_is_array(root))
        return err(e, ERR_FORMAT, "repository '%s': the listing is not a JSON array", repo);
    if (n > HUB_FILES_MAX)
        return err(e, ERR_LIMIT, "repository '%s': %zu files, at most %d are read", repo, n, HUB_FILES_MAX);
    struct listing l = {.file = ARENA_NEW(a, struct hub_file, n)};
    if (!l.file) return err(e, ERR_MEMORY, "out of memory for %zu files", n);
    json_array_foreach((json_t *)(uintptr_t)root, at, x)
    {
        unsigned no, count;
        const char *path = json_string_value(json_object_get(x, "path"));
        if (!path || !is_model(path)) continue;
        part_of(path, &no, &count);
        if (no != 1) continue;
        int rc = describe(a, base, repo, x, &l.file[l.n], e);
        if (rc) return rc;
        l.n++;
    }
    if (l.n == 0 || strcasecmp(quant, HUB_SAFETENSORS) == 0) {
        int rc = choose_folder(root, base, repo, a, out, e);
        if (rc || out->n_files) return rc;
    }
    int i = pick(&l, quant, &type);
    if (i < 0) return none_fits(&l, repo, quant, e);
    out->quant = copy(a, type);
    if (!out->quant) return err(e, ERR_MEMORY, "out of memory");
    return collect_parts(root, base, repo, &l.file[i], a, out, e);
}

int hub_choose(struct str json, const char *base, const char *repo, const char *quant, struct arena *a,
               struct hub_choice *out, struct err *e)
{
    json_error_t je;
    json_t *root = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, &je);
    if (!root) return err(e, ERR_FORMAT, "repository '%s': the listing is not JSON: %s", repo, je.text);
    int rc = choose(root, base, repo, quant, a, out, e);
    json_decref(root);
    return rc;
}

int hub_find(const char *repo, const char *quant, unsigned stall_s, const volatile sig_atomic_t *cancel,
             struct arena *a, struct hub_choice *out, struct err *e)
{
    struct buf url, json;
    const char *base = hub_base();
    buf_init(&url, URL_MAX);
    buf_init(&json, DOWNLOAD_TEXT_MAX);
    buf_printf(&url, "%s/api/models/%s/tree/main?recursive=true", base, repo);
    int rc = url.failed ? err(e, ERR_LIMIT, "the address of repository '%s' is too long", repo)
                        : download_text(url.p, hub_token(), stall_s, cancel, &json, e);
    if (rc) err_prefix(e, "cannot list repository '%s'", repo);
    if (!rc) rc = hub_choose(buf_str(&json), base, repo, quant, a, out, e);
    buf_finish(&url);
    buf_finish(&json);
    return rc;
}
