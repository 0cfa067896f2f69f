/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program/: the tiny models compile to programs that verify and fit their memory plan, and the verifier sees faults: a
 * program with one number changed is refused, or it computes the same logits (then the number did not matter).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "chip/chip.h"
#include "file/gguf.h"
#include "program/program.h"

enum { FAULTS = 300, TOKENS = 5, VOCAB_MAX = 512 };

static const char *const tiny[] = {"tests/data/tiny.gguf", "tests/data/tiny-f16.gguf",
                                   "tests/data/tiny-q4_1.gguf", "tests/data/tiny-q4_k.gguf",
                                   "tests/data/tiny-experts.gguf"};
enum { N_TINY = sizeof tiny / sizeof *tiny };

struct opened {
    struct gguf *file;
    struct model *model;
    struct program *program;
};

static void open_program(struct opened *o, const char *path, int max_rows, int max_out)
{
    struct err e = {0};
    *o = (struct opened){0};
    if (gguf_open(&o->file, path, &e) || model_open(&o->model, o->file, &e) ||
        program_compile(&o->program, o->model, &(struct program_options){max_rows, max_out}, &e))
        fail_msg("%s: %s", path, e.msg);
}

static void close_program(struct opened *o)
{
    program_close(o->program);
    model_close(o->model);
    gguf_close(o->file);
}

/* --- what a right program looks like ------------------------------------------------------------------------ */

static void tiny_models_compile(void **state)
{
    (void)state;
    static const int rows[][2] = {{1, 1}, {7, 3}, {512, 16}, {PROGRAM_ROWS_MAX, PROGRAM_ROWS_MAX}};
    for (int i = 0; i < N_TINY; i++) {
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            struct opened o;
            struct err e = {0};
            open_program(&o, tiny[i], rows[r][0], rows[r][1]);
            const struct program *p = o.program;
            int attend = 0;
            for (int s = 0; s < p->n_steps; s++) attend += p->steps[s].kind == STEP_ATTEND;
            assert_int_equal(attend, o.model->h.n_layer);
            assert_int_equal(program_verify(p, &e), 0);
            size_t all = 0; /* the plan shares memory: fewer bytes than all buffers side by side */
            for (int b = 0; b < p->n_buffers; b++)
                if (p->buffers[b].first >= 0 && !p->buffers[b].local) all += p->buffers[b].bytes;
            assert_true(p->block_bytes < all);
            close_program(&o);
        }
    }
}

static void sizes_are_checked(void **state)
{
    (void)state;
    struct opened o;
    struct program *p = NULL;
    struct err e = {0};
    open_program(&o, tiny[0], 8, 1);
    static const int bad[][2] = {{0, 1}, {PROGRAM_ROWS_MAX + 1, 1}, {8, 0}, {8, 9}, {-1, -1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(program_compile(&p, o.model, &(struct program_options){bad[i][0], bad[i][1]}, &e),
                         ERR_USAGE);
    assert_null(p);
    struct buf text;
    buf_init(&text, 1 << 20);
    program_print(o.program, &text);
    assert_int_equal(text.failed, 0);
    assert_non_null(strstr(text.p, "attn_q.weight"));
    buf_finish(&text);
    close_program(&o);
}

/* --- faults ------------------------------------------------------------------------------------------------- */

static uint64_t rng;

static int below(int n) /* splitmix64 */
{
    uint64_t z = (rng += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (int)((z ^ (z >> 31)) % (uint64_t)n);
}

static int other(int x) /* a number near x, or a wild one */
{
    static const int wild[] = {-1, -2, 0, 1, 63, 1 << 20, INT32_MAX, INT32_MIN};
    return below(2) ? x + (below(2) ? 1 + below(4) : -1 - below(4)) : wild[below(8)];
}

static void hurt_int(int *x)
{
    int old = *x;
    while (*x == old) *x = other(old);
}

/* A number of a step that its kind uses. */
static void hurt_step(struct step *s)
{
    if (below(8) == 0) {
        s->kind = (enum step_kind)((int)s->kind + 1 + below(4));
    } else if (below(6) == 0 && (s->kind == STEP_ROWS || s->kind == STEP_MATMUL || s->kind == STEP_EXPERTS)) {
        hurt_int(&s->n);
    } else if (s->kind == STEP_ROWS) {
        struct row_op *r = &s->row[below(s->n)];
        int kind = (int)r->kind,
            used[5] = {0, 1, 2, kind == ROW_EMBED || kind == ROW_NORM ? 3 : 0, kind == ROW_ROPE ? 4 : 1};
        switch (used[below(5)]) {
        case 0: hurt_int(&r->dst); break;
        case 1: hurt_int(&r->src); break;
        case 2: hurt_int(&kind), r->kind = (enum row_op_kind)kind; break;
        case 3: hurt_int(&r->w); break;
        case 4: hurt_int(&r->n_head); break;
        }
    } else if (s->kind == STEP_PLACE) {
        hurt_int(((int *[]){&s->place.route, &s->place.n_expert, &s->place.n_used})[below(3)]);
    } else if (s->kind == STEP_EXPERTS && below(4) == 0) {
        hurt_int(&s->n_expert);
    } else if (s->kind == STEP_MATMUL || s->kind == STEP_EXPERTS) {
        struct step_mat *m = &s->mat[below(s->n)];
        hurt_int(((int *[]){&m->w, &m->bias, &m->src, &m->dst})[below(4)]);
    } else {
        hurt_int(((int *[]){s->kind == STEP_STORE ? &s->attn.k : &s->attn.q,
                            s->kind == STEP_STORE ? &s->attn.v : &s->attn.out, &s->layer})[below(3)]);
    }
}

static void hurt_buffer(struct buffer *b)
{
    switch (below(9)) {
    case 8: hurt_int(&b->slots); break;
    case 0: b->at += 64 * (size_t)(1 + below(200)); break;
    case 1: b->at = b->at > 4096 ? b->at - 4096 : b->at + 4096; break;
    case 2: b->bytes = below(2) ? b->bytes / 2 : SIZE_MAX - (size_t)below(5000); break;
    case 3: hurt_int(&b->width); break;
    case 4: hurt_int(below(2) ? &b->first : &b->last); break;
    case 5: b->head = !b->head; break;
    case 6: b->local = !b->local; break;
    case 7:
        if (b->kind == BUFFER_CODES && below(2))
            b->tier = (enum act_tier)((int)b->tier + 1 + below(4));
        else
            b->kind = (enum buffer_kind)((int)b->kind ^ 1);
        break;
    }
}

static void hurt(struct program *p)
{
    int i = below(p->n_steps), used;
    struct step s = p->steps[i];
    switch (below(6)) {
    case 0:
    case 1: hurt_step(&p->steps[i]); break;
    case 2:
    case 3:
        do used = below(p->n_buffers);
        while (p->buffers[used].first < 0);
        hurt_buffer(&p->buffers[used]);
        break;
    case 4: /* a step is lost, or two change places */
        if (below(2) || i + 1 == p->n_steps) {
            memmove(&p->steps[i], &p->steps[i + 1], (size_t)(p->n_steps - i - 1) * sizeof s);
            p->n_steps--;
            if (i < p->n_body) p->n_body--;
        } else {
            p->steps[i] = p->steps[i + 1];
            p->steps[i + 1] = s;
        }
        break;
    case 5: hurt_int(((int *[]){&p->n_body, &p->turn[0], &p->logits, &p->max_out})[below(4)]); break;
    }
}

struct result {
    float z[VOCAB_MAX];
    int status;
};

static void keep(void *ud, int i, const float *logits, int status)
{
    struct result *r = ud;
    memcpy(r->z, logits, sizeof r->z / VOCAB_MAX * 384); /* the smallest of the vocabularies */
    r->status = status;
    (void)i;
}

static void run(const struct program *p, struct result *r)
{
    struct err e = {0};
    struct chip *chip;
    struct kv_pool *pool;
    struct kv_seq seq;
    const struct hparams *h = &p->model->h;
    int32_t tokens[TOKENS] = {3, 141, 59, 26, 53};
    int out = TOKENS - 1;
    struct batch_part part = {&seq, tokens, TOKENS, 0};
    memset(r, 0, sizeof *r);
    assert_int_equal(chip_load(&chip, NULL, p, &(struct chip_options){.n_threads = 1, .isa = "ref"}, &e), 0);
    assert_int_equal(
        kv_pool_create(&pool, &(struct kv_shape){KV16, h->n_layer, h->n_head_kv, h->head_dim, h->kv_extra}, 128, 1, &e),
        0);
    assert_int_equal(kv_seq_init(&seq, pool, 128, &e), 0);
    assert_int_equal(kv_seq_reserve(&seq, TOKENS, &e), 0);
    assert_int_equal(
        chip_step(chip, &(struct batch){.parts = &part, .n_parts = 1, .out = &out, .n_out = 1}, keep, r, &e),
        0);
    kv_seq_finish(&seq);
    kv_pool_destroy(pool);
    chip_unload(chip);
}

static void verifier_sees_faults(void **state)
{
    (void)state;
    static struct result right, wrong;
    for (int i = 0; i < N_TINY; i++) {
        struct opened o;
        open_program(&o, tiny[i], 8, 2);
        const struct program *p = o.program;
        run(p, &right);
        assert_int_equal(right.status, 0);
        struct step *steps = malloc((size_t)p->n_steps * sizeof *steps);
        struct buffer *buffers = malloc((size_t)p->n_buffers * sizeof *buffers);
        int refused = 0, harmless = 0;
        for (int k = 0; k < FAULTS; k++) {
            struct program q = *p;
            struct err e = {0};
            rng = (uint64_t)(i * FAULTS + k) * 1000003;
            memcpy(steps, p->steps, (size_t)p->n_steps * sizeof *steps);
            memcpy(buffers, p->buffers, (size_t)p->n_buffers * sizeof *buffers);
            q.steps = steps;
            q.buffers = buffers;
            hurt(&q);
            if (program_verify(&q, &e)) {
                assert_true(e.code == ERR_INTERNAL && e.msg[0]);
                refused++;
                continue;
            }
            run(&q, &wrong);
            if (memcmp(&right, &wrong, sizeof right))
                fail_msg("%s: fault %d passed the verifier and changed the result", tiny[i], k);
            harmless++;
        }
        printf("%s: %d faults, %d refused, %d harmless\n", tiny[i], FAULTS, refused, harmless);
        assert_true(refused > FAULTS / 2);
        free(steps);
        free(buffers);
        close_program(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tiny_models_compile),
                                       cmocka_unit_test(sizes_are_checked),
                                       cmocka_unit_test(verifier_sees_faults)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
