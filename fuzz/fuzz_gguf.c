/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: file/gguf. What the reader accepts is then used as the engine would use it: every lookup,
 * every value in every form, and the first and last byte of every tensor. Seed corpus:
 * tools/gen-gguf-corpus.py.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "file/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_PARTS = 4 };
#define MARK "<next part>"

static volatile uint64_t sink;

static void use_key(const struct gguf *g, const struct gguf_key *k, struct arena *a)
{
    char *name = arena_strdup(a, k->name);
    struct err e;
    struct str s, *strs;
    int32_t *ints;
    uint32_t u;
    int64_t i;
    uint64_t w;
    float f, *floats;
    double d;
    bool b;
    size_t n, pos = 0;
    must(name && gguf_find(g, name) == k);
    if (gguf_get_u32(g, name, &u, &e) == 0) sink += u;
    if (gguf_get_u64(g, name, &w, &e) == 0) sink += w;
    if (gguf_get_i64(g, name, &i, &e) == 0) sink += (uint64_t)i;
    if (gguf_get_f32(g, name, &f, &e) == 0) sink += f > 0;
    if (gguf_get_bool(g, name, &b, &e) == 0) sink += b;
    if (gguf_get_str(g, name, &s, &e) == 0 && s.n) sink += (uint8_t)s.p[s.n - 1];
    must(gguf_opt_u32(g, "no such key", 1, &u, &e) == 0 && u == 1);
    must(gguf_opt_f32(g, "no such key", 1, &f, &e) == 0 && f > 0);
    must(gguf_opt_bool(g, "no such key", true, &b, &e) == 0 && b);
    must(gguf_opt_str(g, "no such key", STR("x"), &s, &e) == 0 && s.n == 1);
    if (gguf_get_strs(g, name, a, &strs, &n, &e) == 0 && n && strs[n - 1].n)
        sink += (uint8_t)strs[n - 1].p[0];
    if (gguf_get_i32s(g, name, a, &ints, &n, &e) == 0 && n) sink += (uint32_t)ints[n - 1];
    if (gguf_get_f32s(g, name, a, &floats, &n, &e) == 0 && n) sink += floats[n - 1] > 0;
    for (uint64_t at = 0; at < k->n && at < 64; at++) {
        if (gguf_value_i64(k, at, &i)) sink += (uint64_t)i;
        if (gguf_value_u64(k, at, &w)) sink += w;
        if (gguf_value_f64(k, at, &d)) sink += d > 0;
    }
    while (gguf_value_str(k, &pos, &s))
        if (s.n) sink += (uint8_t)s.p[0];
}

/* The input is one file, or the parts of a split model with MARK between them. */
static int split_input(const uint8_t *data, size_t size, struct str *part, uint64_t **copy)
{
    int n = 0;
    for (size_t at = 0; n < MAX_PARTS; n++) {
        const uint8_t *end = memmem(data + at, size - at, MARK, sizeof MARK - 1);
        size_t bytes = end && n < MAX_PARTS - 1 ? (size_t)(end - data) - at : size - at;
        copy[n] = malloc(bytes ? bytes : 1); /* exact size: a sanitizer sees one byte too far */
        must(copy[n]);
        if (bytes) memcpy(copy[n], data + at, bytes);
        part[n] = (struct str){(const char *)copy[n], bytes};
        at += bytes + sizeof MARK - 1;
        if (at > size) return n + 1;
    }
    return n;
}

static void use_model(const struct gguf *g, const struct str *part)
{
    struct arena a;
    arena_init(&a);
    for (size_t i = 0; i < gguf_n_keys(g); i++) use_key(g, gguf_key_at(g, i), &a);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        const char *p = t->data, *start = part[t->file].p;
        char *name = arena_strdup(&a, t->name);
        must(name && gguf_tensor(g, name) == t && t->size_bytes > 0);
        must(p >= start && p + t->size_bytes <= start + part[t->file].n);
        sink += (uint8_t)p[0] + (uint8_t)p[t->size_bytes - 1];
        gguf_drop(g, t);
    }
    gguf_drop_all(g);
    sink += gguf_tensor_bytes(g) + gguf_file_bytes(g) + gguf_version(g) + gguf_alignment(g);
    arena_finish(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str part[MAX_PARTS];
    uint64_t *copy[MAX_PARTS];
    struct gguf *g;
    struct err e;
    int n = split_input(data, size, part, copy);
    int rc = gguf_open_memory(&g, part, n, &e);
    must(rc ? g == NULL && e.code == rc && strlen(e.msg) > 0 && !strchr(e.msg, '\n') : g != NULL);
    if (rc == 0) use_model(g, part);
    gguf_close(g);
    for (int i = 0; i < n; i++) free(copy[i]);
    return 0;
}
