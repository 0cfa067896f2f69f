/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chip/lpu/: the datasheet refuses what it must; the simulated chip gives the CPU's bits on models of every
 * kind of weight and both caches, over the end of a chunk of keys, with sequences side by side; announced
 * cycles are those that are counted (a step fails otherwise); changed queues are refused by the verifier or
 * change no bit; a number out of range is an error of its sequence; and doc/lpu.md names every instruction.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "chip/lpu/lpu.h"
#include "serve/engine/engine.h"

/* --- datasheet ---------------------------------------------------------------------------------------------- */

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *p = calloc(1, 1 << 18);
    assert_non_null(p);
    assert_true(fread(p, 1, (1 << 18) - 1, f) > 0);
    fclose(f);
    return p;
}

/* The sheet of the tree with one place changed. */
static int read_changed(const char *from, const char *to, struct err *e)
{
    char *text = read_text("data/chips/lpu.ini"), *at = strstr(text, from),
         *new = malloc(strlen(text) + strlen(to) + 1);
    assert_non_null(at);
    assert_non_null(new);
    memcpy(new, text, (size_t)(at - text));
    new[at - text] = 0;
    snprintf(new + (at - text), strlen(text) + strlen(to) + 1 - (size_t)(at - text), "%s%s", to, at + strlen(from));
    struct lpu_arch a;
    *e = (struct err){0};
    int rc = lpu_arch_read(&a, "x.ini", str_from(new), e);
    if (!rc) lpu_arch_close(&a);
    free(text), free(new);
    return rc;
}

static void datasheet_faults(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *says;
    } t[] = {
        {"clock = 900 MHz", "clock = 900 GHz", "unit 'GHz', expected 'MHz'"},
        {"clock = 900 MHz", "clocks = 900 MHz", "'chip.clocks' is not a figure of this chip"},
        {"clock = 900 MHz |", "clock = fast MHz |", "does not start with a number"},
        {"clock = 900 MHz", "clock = -900 MHz", "is outside 1..10000"},
        {"clock = 900 MHz | published", "clock = 900 MHz | guessed", "evidence 'guessed'"},
        {"| published | ISCA22, nominal; ISCA20 quotes peaks at 1 GHz", "| published |", "has no source"},
        {"clock = 900 MHz", "clock = 1000 MHz",
         "derived.int8_peak: 737 TOPS, but the other figures give 819.2"},
        {"superlanes          = 20", "superlanes          = 21", "336 lanes in all"},
        {"slices         = 88", "slices         = 86", "86 slices: each half needs"},
        {"slices         = 88", "slices         = 87", "87 slices"},
        {"slices         = 88", "slices         = 80.5", "must be a whole number"},
        {"sram             = 220", "sram             = 230", "derived.sram"},
        {"banks          = 2 count     | published | ISCA20: a read and a write in a cycle if the banks differ",
         "", "'mem.banks' is missing"},
        {"[vxm]\n", "[vxm]\nalus = 16 count | published | x\n", "given twice"},
        {"[vxm]\n", "[vxm\n", "x.ini:"},
    };
    struct err e;
    assert_int_equal(read_changed("[vxm]", "[vxm]", &e), 0);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        assert_int_equal(read_changed(t[i].from, t[i].to, &e), ERR_FORMAT);
        if (!strstr(e.msg, t[i].says) || strncmp(e.msg, "x.ini:", 6) != 0)
            fail_msg("'%s' does not say '%s'", e.msg, t[i].says);
    }
    struct lpu_arch a;
    assert_int_equal(lpu_arch_open(&a, NULL, &e), 0); /* the built-in one */
    assert_int_equal(a.half, 44);
    lpu_arch_close(&a);
    assert_int_equal(lpu_arch_open(&a, "no/such/file", &e), ERR_IO);
}

/* --- bits --------------------------------------------------------------------------------------------------- */

enum { TOKENS = 140, IDS = 384 };
static int32_t text[TOKENS];

struct sum {
    uint64_t hash[4];
    int n_vocab, bad;
};

static void add(void *ud, int i, const float *logits, int status)
{
    struct sum *s = ud;
    s->bad += status != 0;
    for (int j = 0; j < s->n_vocab && !status; j++) {
        uint32_t bits;
        float z = logits[j] + 0.0f;
        memcpy(&bits, &z, 4);
        s->hash[i % 4] = (s->hash[i % 4] ^ bits) * 0x100000001b3u;
    }
}

static struct engine *open_engine(const char *path, const char *chip, enum kv_type kv, int seqs)
{
    struct engine *en = NULL;
    struct err e = {0};
    struct engine_options opt = {.chip = chip, .kv = kv, .n_ctx = TOKENS, .n_seqs = seqs, .n_threads = 1};
    if (engine_open(&en, path, &opt, &e)) fail_msg("%s: %s", path, e.msg);
    return en;
}

/* Two sequences in the same steps; logits of all rows of the last tokens and of some before. */
static struct sum run(const char *path, const char *chip, enum kv_type kv, int n)
{
    struct engine *en = open_engine(path, chip, kv, 2);
    struct sum s = {.n_vocab = en->model->h.n_vocab};
    struct kv_seq a, b;
    struct err e = {0};
    assert_int_equal(kv_seq_init(&a, en->kv, n, &e), 0);
    assert_int_equal(kv_seq_init(&b, en->kv, n, &e), 0);
    for (int at = 0; at < n; at += 10) {
        int out[] = {0, 9, 12};
        struct batch_part part[] = {{&a, text + at, 10, at}, {&b, text + at / 2, 3, at / 10 * 3}};
        struct batch batch = {.parts = part, .n_parts = 2, .out = out, .n_out = at % 40 == 0 || at + 20 >= n ? 3 : 0};
        assert_int_equal(kv_seq_reserve(&a, at + 10, &e), 0);
        assert_int_equal(kv_seq_reserve(&b, at / 10 * 3 + 3, &e), 0);
        if (chip_step(en->chip, &batch, add, &s, &e)) fail_msg("%s: %s", path, e.msg);
    }
    kv_seq_finish(&a), kv_seq_finish(&b);
    engine_close(en);
    return s;
}

static void same_bits_as_the_cpu(void **state)
{
    (void)state;
    static const char *const tiny[] = {"tests/data/tiny.gguf", "tests/data/tiny-f16.gguf",
                                       "tests/data/tiny-q4_1.gguf", "tests/data/tiny-q4_k.gguf",
                                       "tests/data/tiny-n4.gguf"};
    for (int i = 0; i < 5; i++) {
        for (int kv = KV16; kv <= KV8; kv++) {
            int n = i == 0 ? TOKENS : 20;
            struct sum want = run(tiny[i], "cpu", (enum kv_type)kv, n), got = run(tiny[i], "lpu", (enum kv_type)kv, n);
            assert_int_equal(got.bad, 0);
            for (int j = 0; j < 4; j++)
                if (want.hash[j] != got.hash[j]) fail_msg("%s, cache %d: other bits in row %d", tiny[i], kv, j);
        }
    }
}

/* Chips in a line give the same bits; a launch whose vectors would not be there in time is refused. */
/* A chip on the engine's program: logits of every tenth row and of the last 15 ones. */
static struct sum run_on(struct engine *en, struct chip *chip)
{
    struct sum s = {.n_vocab = en->model->h.n_vocab};
    struct kv_seq seq;
    struct err e = {0};
    assert_int_equal(kv_seq_init(&seq, en->kv, TOKENS, &e), 0);
    for (int at = 0; at < TOKENS; at++) {
        struct batch_part part = {&seq, text + at, 1, at};
        struct batch batch = {
            .parts = &part, .n_parts = 1, .out = &(int){0}, .n_out = at % 10 == 0 || at >= TOKENS - 15};
        assert_int_equal(kv_seq_reserve(&seq, at + 1, &e), 0);
        if (chip_step(chip, &batch, add, &s, &e)) fail_msg("position %d: %s", at, e.msg);
    }
    kv_seq_finish(&seq);
    return s;
}

/* Windows: one that the first chunk slides out of before the last token, and one that cuts it. */
static void narrow(struct step *s, int i)
{
    if (s->kind == STEP_ATTEND) s->attn.window = i % 2 ? 100 : 5;
}

/* Norms of each half of the residual stream instead of the whole. */
static void halve(struct step *s, int i)
{
    (void)i;
    for (int j = 0; s->kind == STEP_ROWS && j < s->n; j++)
        if (s->row[j].kind == ROW_NORM) s->row[j].n_head = 2;
}

/* A program of which only that is another: the same change for both chips. */
static void same_bits_after(void (*change)(struct step *s, int layer))
{
    struct engine *en = open_engine("tests/data/tiny.gguf", "cpu", KV16, 1);
    struct chip *lpu;
    struct err e = {0};
    uint64_t without = run_on(en, en->chip).hash[0];
    for (int i = 0; i < en->program->n_steps; i++) change(&en->program->steps[i], en->program->steps[i].layer);
    struct chip_options opt = {.n_threads = 1, .kv = KV16};
    if (chip_load(&lpu, "lpu", en->program, &opt, &e)) fail_msg("%s", e.msg);
    struct sum want = run_on(en, en->chip), got = run_on(en, lpu);
    assert_int_equal(got.bad, 0);
    assert_true(want.hash[0] != without);
    assert_true(want.hash[0] == got.hash[0]);
    chip_unload(lpu);
    engine_close(en);
}

static void same_bits_with_windows(void **state)
{
    (void)state;
    same_bits_after(narrow);
}

static void same_bits_with_norms_of_heads(void **state)
{
    (void)state;
    same_bits_after(halve);
}

static void same_bits_on_several_chips(void **state)
{
    (void)state;
    static const char *const files[] = {"tests/data/tiny.gguf", "tests/data/tiny-f16.gguf",
                                        "tests/data/tiny-q4_1.gguf", "tests/data/tiny-q4_k.gguf"};
    for (int i = 0; i < 4; i++) {
        const char *const chips[] = {"lpu:2", i < 3 ? "lpu:4" : "lpu:3"}; /* the last one has a single layer */
        struct sum want = run(files[i], "cpu", KV16, 20);
        for (int j = 0; j < 2; j++) {
            struct sum got = run(files[i], chips[j], KV16, 20);
            assert_int_equal(got.bad, 0);
            assert_memory_equal(want.hash, got.hash, sizeof want.hash);
        }
    }
    struct engine *en = open_engine(files[0], "lpu:2", KV16, 1);
    struct lpu *c = ((struct lpu *)en->chip)->next;
    struct lpu_launch *l = &c->body[1];
    struct lpu_params p = lpu_params_of(c, l);
    struct err e = {0};
    assert_non_null(c);
    assert_true(l->n_arrive > 0);
    assert_int_equal(l->n_arrive, c->before->body[1].n_sent);
    lpu_code_patch(&l->code, &c->arch, &p);
    assert_int_equal(lpu_verify(&c->arch, &l->graph, &l->code, &p, &e), 0);
    l->arrive[l->n_arrive - 1] += 4096;
    assert_int_equal(lpu_verify(&c->arch, &l->graph, &l->code, &p, &e), ERR_INTERNAL);
    assert_non_null(strstr(e.msg, "has not arrived"));
    engine_close(en);
    struct engine_options opt = {.chip = "lpu:40", .n_ctx = TOKENS, .n_seqs = 1, .n_threads = 1};
    assert_int_equal(engine_open(&en, files[0], &opt, &e), ERR_LIMIT);
    assert_non_null(strstr(e.msg, "can be cut into"));
}

/* A model with an infinite norm gain: out of range from its first token on, and the chip says so, too. */
static void out_of_range(void **state)
{
    (void)state;
    for (int chip = 0; chip < 2; chip++) {
        struct engine *en = open_engine("tests/data/tiny.gguf", chip ? "lpu" : "cpu", KV16, 2);
        struct sum s = {.n_vocab = en->model->h.n_vocab};
        struct kv_seq a;
        struct err e = {0};
        struct lpu *c = (struct lpu *)en->chip;
        if (chip) {
            uint32_t huge[LPU_LANES];
            for (int l = 0; l < LPU_LANES; l++) huge[l] = 0x7f000000;
            lpu_sim_put(c->sim, c->vectors[0][0], huge);
        } else {
            float *gain = (float *)(uintptr_t)en->program->vectors[0].x;
            gain[0] = 0x1p100f;
        }
        assert_int_equal(kv_seq_init(&a, en->kv, 20, &e), 0);
        assert_int_equal(engine_feed(en, &a, text, 5, 0, 2, true, add, &s, &e), ERR_RANGE);
        assert_true(s.bad >= 1);
        assert_int_equal(a.fault, 0);
        kv_seq_finish(&a);
        engine_close(en);
    }
}

/* --- faults ------------------------------------------------------------------------------------------------- */

static uint32_t seed = 7;

static uint32_t draw(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

/* The first word of `op` at or after i, around the end; i if there is none. */
static int next_of(const struct lpu_code *c, int i, enum lpu_op op)
{
    int n = c->first[LPU_QUEUES];
    for (int k = 0; k < n; k++)
        if (c->words[(i + k) % n].op == op) return (i + k) % n;
    return i;
}

/* A border between the queues of two slices moves by a word: an instruction stands in the queue of the next slice. */
static void move_border(struct lpu_code *c)
{
    int q = QUEUE_READ + 1 + (int)draw(LPU_SLICES - 1) + (draw(2) ? QUEUE_WRITE : 0);
    int by = draw(2) ? 1 : -1;
    if (c->first[q] + by >= c->first[q - 1] && c->first[q] + by <= c->first[q + 1]) c->first[q] += by;
}

/* One change: of a field, lost, doubled, earlier, later, two words exchanged, into the next slice, an install
 * or a word of a link lost. */
static void corrupt(struct lpu_code *c)
{
    static const struct lpu_instr nothing = {.op = OP_NOP, .x = 1};
    int i = (int)draw((uint32_t)c->first[LPU_QUEUES] - 1);
    struct lpu_instr *w = &c->words[i], t;
    switch (draw(16)) {
    case 12: move_border(c); break;
    case 13: c->words[next_of(c, i, OP_IW)] = nothing; break;
    case 14: c->words[next_of(c, i, draw(2) ? OP_SEND : OP_RECEIVE)] = nothing; break;
    case 15: /* what waits for its turn on a link waits a cycle more or less */
        if ((i = next_of(c, i, draw(2) ? OP_SEND : OP_RECEIVE)) > 0)
            c->words[i - 1].x = (uint16_t)(c->words[i - 1].x + (draw(2) ? 1 : -1));
        break;
    case 0: *w = (struct lpu_instr){.op = OP_NOP, .x = 1}; break;
    case 1: t = w[0], w[0] = w[1], w[1] = t; break;
    case 2: w[0] = w[1]; break;
    case 3: w->op = (uint8_t)draw(LPU_OPS); break;
    case 4: w->out ^= (uint8_t)(1u << draw(8)); break;
    case 5: w->a ^= (uint8_t)(1u << draw(8)); break;
    case 6: w->b ^= (uint8_t)(1u << draw(8)); break;
    case 7: w->row ^= (uint16_t)(1u << draw(13)); break;
    case 8: w->x = (uint16_t)(w->x + 1); break;
    case 9: w->x = (uint16_t)(w->x - 1); break;
    case 10: w->imm ^= 1u << draw(32); break;
    default: w->flag ^= (uint8_t)(1u << draw(7));
    }
}

/* The last token once more, through the line, by the queues as they are. */
static int run_token(struct lpu *c, uint32_t *logits, struct err *e)
{
    int cycles, rc;
    bool trapped;
    for (;; c = c->next) {
        lpu_sim_links(c->sim, c->before ? &c->before->link : NULL, c->next ? &c->link : NULL, c->body[1].start);
        if ((rc = lpu_sim_run(c->sim, &c->body[1].code, &cycles, &trapped, e))) return rc;
        if (!c->next) break;
    }
    if ((rc = lpu_sim_run(c->sim, &c->head.code, &cycles, &trapped, e))) return rc;
    const struct lpu_buffer *b = &c->buffers[c->chip.program->logits];
    for (int i = 0; i < b->n_vec; i++)
        if ((rc = lpu_sim_get(c->sim, b->at[i], logits + i * LPU_LANES))) return rc;
    return 0;
}

struct patient { /* a chip, or a line of them, behind its fourth token */
    struct engine *en;
    struct kv_seq seq;
    struct lpu *first;
    uint32_t want[4 * LPU_LANES]; /* its logits */
};

static void admit(struct patient *p, const char *chip)
{
    struct err e = {0};
    p->en = open_engine("tests/data/tiny.gguf", chip, KV16, 1);
    p->first = (struct lpu *)p->en->chip;
    struct sum s = {.n_vocab = p->en->model->h.n_vocab};
    assert_int_equal(kv_seq_init(&p->seq, p->en->kv, 8, &e), 0);
    assert_int_equal(engine_feed(p->en, &p->seq, text, 4, 0, 0, false, add, &s, &e), 0);
    assert_int_equal(run_token(p->first, p->want, &e), 0);
}

static void discharge(struct patient *p)
{
    kv_seq_finish(&p->seq);
    engine_close(p->en);
}

static bool same_logits(const struct patient *p, const uint32_t *got)
{
    return memcmp(p->want, got, (size_t)p->en->model->h.n_vocab * sizeof *got) == 0;
}

/* A changed queue is refused, or gives the same bits. Refused ones run, too, now and then: the simulator
 * survives them. */
static void faults_on(const char *chip, int n)
{
    struct patient p;
    int refused = 0, stopped = 0, harmless = 0;
    uint32_t got[4 * LPU_LANES];
    admit(&p, chip);
    for (int i = 0; i < n; i++) {
        struct lpu *c = p.first;
        for (int k = (int)draw((uint32_t)c->n_chips); k > 0; k--) c = c->next;
        struct lpu_launch *l = draw(3) || c->next ? &c->body[1] : &c->head;
        struct lpu_params params = lpu_params_of(c, l);
        struct lpu_code keep = l->code;
        struct err e = {0};
        size_t bytes = (size_t)keep.first[LPU_QUEUES] * sizeof *keep.words;
        l->code.words = malloc(bytes);
        assert_non_null(l->code.words);
        memcpy(l->code.words, keep.words, bytes);
        corrupt(&l->code);
        bool run_it = true, is_refused = lpu_verify(&c->arch, &l->graph, &l->code, &params, &e) != 0;
        if (is_refused) {
            refused++;
            run_it = i % 8 == 0;
            stopped += run_it && run_token(p.first, got, &e) != 0;
        } else {
            if (run_token(p.first, got, &e))
                fail_msg("%s, change %d was not refused, but the chip stops: %s", chip, i, e.msg);
            if (!same_logits(&p, got)) fail_msg("%s, change %d was not refused and gives other bits", chip, i);
            harmless++;
        }
        free(l->code.words);
        l->code = keep;
        if (is_refused && run_it && (run_token(p.first, got, &e) || !same_logits(&p, got)))
            discharge(&p), admit(&p, chip); /* its memory is spoilt */
    }
    printf(
        "%s: %d changes: %d refused (%d of every eighth stopped the chip, too), %d harmless with equal bits\n",
        chip, n, refused, stopped, harmless);
    assert_true(refused > n / 4); /* most other changes touch fields that the instruction does not use */
    discharge(&p);
}

/* $TUTTI_FAULTS: how many on each line (make check-faults: 1000). */
static void faults_are_found(void **state)
{
    (void)state;
    static const char *const chips[] = {"lpu", "lpu:2", "lpu:4"};
    const char *n = getenv("TUTTI_FAULTS");
    for (int i = 0; i < 3; i++) faults_on(chips[i], n ? (int)strtol(n, NULL, 10) : 70);
}

/* A read that is lost on the second chip: its reader stops the run and says where. */
static void missed_operand_is_named(void **state)
{
    (void)state;
    struct patient p;
    struct err e = {0};
    uint32_t got[4 * LPU_LANES];
    admit(&p, "lpu:2");
    struct lpu_code *c = &p.first->next->body[1].code;
    int i = c->first[QUEUE_READ];
    while (c->words[i].op != OP_READ || c->words[i + 1].op == OP_REPEAT) i++;
    assert_true(i < c->first[QUEUE_WRITE]);
    c->words[i] = (struct lpu_instr){.op = OP_NOP, .x = 1};
    assert_int_equal(run_token(p.first, got, &e), ERR_INTERNAL);
    if (strncmp(e.msg, "chip 1, cycle ", 14) || !strstr(e.msg, "': ") ||
        !strstr(e.msg, "an operand is not there"))
        fail_msg("'%s' does not name chip, cycle, unit and instruction", e.msg);
    printf("a lost read: %s\n", e.msg);
    discharge(&p);
}

/* --- documentation ------------------------------------------------------------------------------------------ */

static void doc_names_every_instruction(void **state)
{
    (void)state;
    char *doc = read_text("doc/lpu.md");
    for (int i = 0; i < LPU_OPS; i++) {
        char row[64];
        snprintf(row, sizeof row, "| `%s` |", lpu_op_info[i].mnemonic);
        const char *at = strstr(doc, row);
        if (!at || !strstr(at, lpu_op_info[i].what))
            fail_msg("doc/lpu.md: no row '%s ... %s' ('tutti chips lpu --instructions')", row,
                     lpu_op_info[i].what);
    }
    free(doc);
}

int main(void)
{
    uint32_t x = 12345;
    for (int i = 0; i < TOKENS; i++) {
        x = x * 1664525 + 1013904223;
        text[i] = (int32_t)(x >> 16) % IDS;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datasheet_faults),
        cmocka_unit_test(same_bits_as_the_cpu),
        cmocka_unit_test(same_bits_with_windows),
        cmocka_unit_test(same_bits_with_norms_of_heads),
        cmocka_unit_test(same_bits_on_several_chips),
        cmocka_unit_test(out_of_range),
        cmocka_unit_test(faults_are_found),
        cmocka_unit_test(missed_operand_is_named),
        cmocka_unit_test(doc_names_every_instruction),
    };
    return cmocka_run_group_tests_name("lpu", tests, NULL, NULL);
}
