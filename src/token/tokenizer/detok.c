/* SPDX-License-Identifier: Apache-2.0 */
/* Ids to text: see tokenizer.h. A token may end inside a code point; the rest waits in the stream decoder. */
#include "token/tokenizer/tokenizer.h"

void detok_init(struct detok *d, const struct tokenizer *t, unsigned flags)
{
    *d = (struct detok){.t = t, .flags = flags};
}

int detok_feed(struct detok *d, int32_t id, struct buf *out)
{
    struct str s = tokenizer_piece(d->t, id);
    enum token_type type = tokenizer_type(d->t, id);
    bool hidden = type == TOKEN_CONTROL || type == TOKEN_UNKNOWN;
    if (s.n == 0 || (hidden && !(d->flags & DETOK_SPECIAL))) return out->failed;
    if ((d->flags & DETOK_SKIP_SPACE) && !d->started && s.p[0] == ' ' && tokenizer_adds_space(d->t)) {
        s.p++;
        s.n--;
    }
    d->started = true;
    return utf8_stream_feed(&d->utf8, s, out);
}

int detok_finish(struct detok *d, struct buf *out)
{
    return utf8_stream_finish(&d->utf8, out);
}
