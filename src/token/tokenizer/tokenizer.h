/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to token ids and back.
 *
 *   text ─► faults become U+FFFD ─► special tokens cut out ─► words (split.h) ─► pairs merge (merge.h) ─► ids
 *   ids ─► pieces (tokenizer_piece) ─► whole code points (struct detok)
 *
 * A chat prompt is a list of segments: what the template wrote is trusted and may hold control tokens, what a
 * user wrote is not and never becomes one, neither alone nor together with its neighbours. Words and merges
 * still go across segments, so the ids are those of the joined text.
 *
 * A tokenizer is read-only after tokenizer_create: any number of threads may use it, each with its own
 * scratch.
 */
#ifndef TUTTI_TOKEN_TOKENIZER_TOKENIZER_H
#define TUTTI_TOKEN_TOKENIZER_TOKENIZER_H

#include "base/buf.h"
#include "base/utf8.h"
#include "token/tokenizer/ids.h"
#include "token/tokenizer/vocab.h"

#define TOKENIZER_TEXT_BYTES_MAX ((size_t)256 << 20) /* all segments of one call */
#define TOKENIZER_MARKS_MAX 1024 /* combining marks on one character that a normalising tokenizer takes */

struct tokenizer;
struct tok_scratch;

int tokenizer_create(struct tokenizer **t, const struct vocab_spec *spec, struct err *e);
void tokenizer_destroy(struct tokenizer *t); /* accepts NULL */

/* Memory of one thread for encoding, with a cache of words: worth keeping between calls. */
int tok_scratch_create(struct tok_scratch **x, const struct tokenizer *t, struct err *e);
void tok_scratch_destroy(struct tok_scratch *x); /* accepts NULL */

enum {
    TOK_ADD_SPECIAL =
        1, /* bos before (unless the text begins with it) and eos after, if the model wants them */
    TOK_PARSE_SPECIAL = 2, /* the text is trusted: control tokens in it are recognised */
};

struct tok_segment {
    struct str text;
    bool trusted;
};

/* Append the ids of a text, or of segments, to out. x: a scratch of t, or NULL for one of the call. On an
 * error out keeps what it held before the call. */
int tokenizer_encode(const struct tokenizer *t, struct tok_scratch *x, struct str text, unsigned flags,
                     struct ids *out, struct err *e);
int tokenizer_encode_segments(const struct tokenizer *t, struct tok_scratch *x, const struct tok_segment *seg,
                              size_t n_seg, unsigned flags, struct ids *out, struct err *e);

/* The bytes that id stands for; a control token as it is written. Empty for an id outside the vocabulary. */
struct str tokenizer_piece(const struct tokenizer *t, int32_t id);

size_t tokenizer_n_tokens(const struct tokenizer *t);
/* TOKEN_UNDEFINED outside the vocabulary */
enum token_type tokenizer_type(const struct tokenizer *t, int32_t id);
bool tokenizer_is_end(const struct tokenizer *t, int32_t id); /* generation stops after it */
int32_t tokenizer_bos(const struct tokenizer *t);             /* -1: none */
int32_t tokenizer_eos(const struct tokenizer *t);
int32_t tokenizer_eot(const struct tokenizer *t);
bool tokenizer_adds_bos(const struct tokenizer *t);
bool tokenizer_adds_eos(const struct tokenizer *t);
bool tokenizer_adds_space(const struct tokenizer *t); /* a text gets a space in front (SentencePiece) */
/* the control token written so, or -1 */
int32_t tokenizer_find_special(const struct tokenizer *t, struct str text);

/* Ids to text, as they come: only whole code points leave. All that leaves is what Python's
 * bytes.decode('utf-8', errors='replace') makes of all pieces joined. */
enum {
    DETOK_SPECIAL = 1, /* control and unknown tokens are printed, too */
    DETOK_SKIP_SPACE =
        2, /* the space that tokenizer_encode put before the text is left out (SentencePiece) */
};

struct detok {
    const struct tokenizer *t;
    unsigned flags;
    bool started; /* something was printed */
    struct utf8_stream utf8;
};

void detok_init(struct detok *d, const struct tokenizer *t, unsigned flags);
/* appends what is now whole; returns out->failed */
int detok_feed(struct detok *d, int32_t id, struct buf *out);
int detok_finish(struct detok *d, struct buf *out); /* appends what is left */

#endif
