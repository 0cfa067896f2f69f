/* SPDX-License-Identifier: Apache-2.0 */
/* See sentencepiece.h. */
#include "folder/sentencepiece.h"

#include <inttypes.h>
#include <math.h>
#include "token/tokenizer/vocab.h"

enum { WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_32 = 5 };
enum { KIND_UNIGRAM = 1, KIND_BPE = 2 };

/* --- protocol buffers ------------------------------------------------------------------------------------------ */

struct field {
    uint64_t no, value; /* value: of a varint, or the bits of a fixed number */
    int wire;
    struct str bytes;
};

static bool varint(struct str *s, uint64_t *v)
{
    *v = 0;
    for (int shift = 0; shift < 64 && s->n; shift += 7) {
        uint8_t b = (uint8_t)*s->p++;
        s->n--;
        *v |= (uint64_t)(b & 127) << shift;
        if (b < 128) return true;
    }
    return false;
}

/* The next field; false at the end or at a fault, which *ok tells. */
static bool next(struct str *s, struct field *f, bool *ok)
{
    uint64_t tag, n;
    *ok = true;
    if (s->n == 0) return false;
    *ok = false;
    if (!varint(s, &tag)) return false;
    f->no = tag >> 3;
    f->wire = (int)(tag & 7);
    f->bytes = (struct str){"", 0};
    f->value = 0;
    switch (f->wire) {
    case WIRE_VARINT: return *ok = varint(s, &f->value);
    case WIRE_64:
    case WIRE_32: n = f->wire == WIRE_32 ? 4 : 8; break;
    case WIRE_BYTES:
        if (!varint(s, &n)) return false;
        break;
    default: return false;
    }
    if (n > s->n) return false;
    f->bytes = (struct str){s->p, (size_t)n};
    if (f->wire != WIRE_BYTES) memcpy(&f->value, s->p, (size_t)n);
    s->p += n;
    s->n -= (size_t)n;
    return *ok = true;
}

static int damaged(const char *what, struct err *e)
{
    return err(e, ERR_FORMAT, "tokenizer.model: %s is no SentencePiece data: damaged, or another format", what);
}

/* --- parts ----------------------------------------------------------------------------------------------------- */

static int read_piece(struct sentencepiece *s, struct str part, struct err *e)
{
    struct field f;
    bool ok;
    size_t i = s->n;
    uint32_t bits;
    s->type[i] = TOKEN_NORMAL;
    s->piece[i] = (struct str){"", 0};
    s->score[i] = 0;
    while (next(&part, &f, &ok)) {
        if (f.no == 1 && f.wire == WIRE_BYTES) s->piece[i] = f.bytes;
        if (f.no == 2 && f.wire == WIRE_32) bits = (uint32_t)f.value, memcpy(&s->score[i], &bits, sizeof bits);
        if (f.no == 3 && f.wire == WIRE_VARINT)
            s->type[i] =
                f.value >= TOKEN_NORMAL && f.value <= TOKEN_BYTE ? (int32_t)f.value : TOKEN_UNDEFINED;
    }
    if (!ok || s->piece[i].n == 0 || !isfinite(s->score[i])) return damaged("a piece", e);
    s->n++;
    return 0;
}

static int read_trainer(struct sentencepiece *s, struct str part, struct err *e)
{
    struct field f;
    bool ok;
    uint64_t kind = KIND_UNIGRAM; /* where nothing is said */
    while (next(&part, &f, &ok)) {
        int32_t id = f.value <= INT32_MAX ? (int32_t)f.value : -1;
        if (f.wire != WIRE_VARINT) continue;
        if (f.no == 3) kind = f.value;
        if (f.no == 40) s->unk = id;
        if (f.no == 41) s->bos = id;
        if (f.no == 42) s->eos = id;
        if (f.no == 43) s->pad = id;
    }
    if (!ok) return damaged("its trainer", e);
    if (kind == KIND_BPE) return 0;
    return err(e, ERR_UNSUPPORTED, "tokenizer.model: a SentencePiece model of kind %s; only BPE is read",
               kind == KIND_UNIGRAM ? "Unigram" : "word or character");
}

static int read_normalizer(struct sentencepiece *s, struct str part, struct err *e)
{
    struct field f;
    bool ok, joins = true;
    while (next(&part, &f, &ok)) {
        if (f.no == 2 && f.bytes.n)
            return err(e, ERR_UNSUPPORTED,
                       "tokenizer.model: a normalizer with a table of replacements is not supported");
        if (f.no == 3 && f.wire == WIRE_VARINT) s->space = f.value != 0;
        if (f.no == 4 && f.wire == WIRE_VARINT) joins = f.value != 0;
    }
    if (!ok) return damaged("its normalizer", e);
    return joins ? err(e, ERR_UNSUPPORTED, "tokenizer.model: a normalizer that joins spaces is not supported") : 0;
}

static size_t count_pieces(struct str file)
{
    struct field f;
    bool ok;
    size_t n = 0;
    while (next(&file, &f, &ok)) n += f.no == 1 && f.wire == WIRE_BYTES;
    return n;
}

int sentencepiece_read(struct sentencepiece *s, struct str file, struct arena *a, struct err *e)
{
    size_t n = count_pieces(file);
    struct field f;
    bool ok, trainer = false, normalizer = false;
    int rc = 0;
    *s = (struct sentencepiece){.unk = 0, .bos = 1, .eos = 2, .pad = -1, .space = true}; /* where nothing is said */
    if (n == 0 || n > VOCAB_TOKENS_MAX) return damaged("it", e);
    s->piece = ARENA_NEW(a, struct str, n);
    s->score = ARENA_NEW(a, float, n);
    s->type = ARENA_NEW(a, int32_t, n);
    if (!s->piece || !s->score || !s->type) return err(e, ERR_MEMORY, "out of memory for %zu pieces", n);
    while (!rc && next(&file, &f, &ok)) {
        if (f.wire != WIRE_BYTES) continue;
        if (f.no == 1) rc = read_piece(s, f.bytes, e);
        if (f.no == 2) rc = read_trainer(s, f.bytes, e), trainer = true;
        if (f.no == 3) rc = read_normalizer(s, f.bytes, e), normalizer = true;
    }
    if (rc) return rc;
    return ok && trainer && normalizer ? 0 : damaged("it", e);
}
