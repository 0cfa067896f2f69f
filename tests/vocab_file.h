/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a vocabulary from a text file, for tests only (tests/oracle/tokenizer.py writes it):
 *   model gpt2 | pre smollm | bos 1 | eos 2 | eot, eom, unk, pad, add_bos, add_eos, add_space_prefix, norm
 *   tokens N      then N lines: type score bytes-in-hex
 *   merges M      then M lines: bytes-in-hex of "left right"
 * Anything wrong ends the program.
 */
#ifndef TUTTI_TESTS_VOCAB_FILE_H
#define TUTTI_TESTS_VOCAB_FILE_H

#include <stdio.h>
#include <stdlib.h>
#include "base/arena.h"
#include "token/tokenizer/vocab.h"

static inline void vocab_file_fail(const char *path, const char *why)
{
    fprintf(stderr, "vocab file %s: %s\n", path, why);
    exit(1);
}

static inline struct str vocab_file_hex(struct arena *a, const char *path, const char *hex)
{
    size_t n = strcspn(hex, "\r\n") / 2;
    char *p = ARENA_NEW(a, char, n + 1);
    if (!p) vocab_file_fail(path, "out of memory");
    for (size_t i = 0; i < n; i++) {
        char two[3] = {hex[2 * i], hex[2 * i + 1], 0};
        p[i] = (char)strtoul(two, NULL, 16);
    }
    return (struct str){p, n};
}

static inline struct vocab_spec vocab_file_read(struct arena *a, const char *path)
{
    struct vocab_spec s;
    vocab_spec_init(&s);
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    if (!f) vocab_file_fail(path, "cannot be opened");
    while (getline(&line, &cap, f) > 0) {
        char key[32], value[64];
        if (sscanf(line, "%31s %63s", key, value) != 2) vocab_file_fail(path, "a line is not 'key value'");
        int32_t v = (int32_t)strtol(value, NULL, 10);
        struct str name = str_from(key);
        if (str_eqz(name, "model")) s.model = (struct str){arena_strdup(a, str_from(value)), strlen(value)};
        if (str_eqz(name, "pre")) s.pre = (struct str){arena_strdup(a, str_from(value)), strlen(value)};
        if (str_eqz(name, "bos")) s.bos = v;
        if (str_eqz(name, "eos")) s.eos = v;
        if (str_eqz(name, "eot")) s.eot = v;
        if (str_eqz(name, "eom")) s.eom = v;
        if (str_eqz(name, "unk")) s.unk = v;
        if (str_eqz(name, "pad")) s.pad = v;
        if (str_eqz(name, "add_bos")) s.add_bos = v;
        if (str_eqz(name, "add_eos")) s.add_eos = v;
        if (str_eqz(name, "add_space_prefix")) s.add_space_prefix = v;
        if (str_eqz(name, "norm")) s.norm = (enum vocab_norm)v;
        if (str_eqz(name, "tokens")) {
            struct str *t = ARENA_NEW(a, struct str, (size_t)v);
            float *score = ARENA_NEW(a, float, (size_t)v);
            int32_t *type = ARENA_NEW(a, int32_t, (size_t)v);
            for (int32_t i = 0; i < v; i++) {
                char *at;
                if (getline(&line, &cap, f) <= 0) vocab_file_fail(path, "too few tokens");
                type[i] = (int32_t)strtol(line, &at, 10);
                score[i] = strtof(at, &at);
                t[i] = vocab_file_hex(a, path, at + (*at == ' '));
            }
            s.n_tokens = (size_t)v;
            s.tokens = t;
            s.scores = score;
            s.types = type;
        }
        if (str_eqz(name, "merges")) {
            struct str *m = ARENA_NEW(a, struct str, (size_t)v);
            for (int32_t i = 0; i < v; i++) {
                if (getline(&line, &cap, f) <= 0) vocab_file_fail(path, "too few merges");
                m[i] = vocab_file_hex(a, path, line);
            }
            s.n_merges = (size_t)v;
            s.merges = m;
        }
    }
    free(line);
    fclose(f);
    return s;
}

#endif
