/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marks: the strings around thoughts and calls in what models write, as their published templates have them.
 *
 * Marks of calls are the same for all models, since they are rare elsewhere. How a model thinks, and whether
 * it writes in channels (gpt-oss), is read from its template. Many marks are control tokens, which no text
 * shows; struct marks knows their ids, so that the text that is taken apart can have them
 * (generate_params.marks).
 */
#ifndef TUTTI_SERVE_ASK_MARKS_H
#define TUTTI_SERVE_ASK_MARKS_H

#include "token/tokenizer/tokenizer.h"

/* DeepSeek's marks have a full-width bar and a low block: DEEPSEEK("tool" LOW "sep"). */
#define DEEPSEEK(words) "<\xEF\xBD\x9C" words "\xEF\xBD\x9C>"
#define LOW "\xE2\x96\x81"

struct marks_pair {
    struct str open, close; /* close.n 0: until the answer ends */
    bool first;             /* counts only where the answer begins */
};

enum { MARKS_CALLS = 12, MARKS_THOUGHTS = 3, MARKS_CHANNELS = 7, MARKS_IDS_MAX = 64 };
extern const struct marks_pair marks_call[MARKS_CALLS];

/* Of channels: <|start|>assistant<|channel|>NAME to=RECIPIENT <|constrain|>json<|message|> ... <|end|>,
 * <|call|> or <|return|> */
enum marks_channel { MARK_START, MARK_CHANNEL, MARK_MESSAGE, MARK_END, MARK_CALL, MARK_RETURN, MARK_CONSTRAIN };
extern const struct str marks_channel[MARKS_CHANNELS];

struct marks {
    const struct marks_pair *think; /* NULL: the model does not think aloud */
    bool channels;
    bool tools;                     /* the template tells of functions; else the prompt must, in words (tools.h) */
    int32_t ids[MARKS_IDS_MAX];     /* [n_ids] marks that are control tokens */
    int n_ids;
};

/* template: its source, or nothing. */
void marks_read(struct marks *m, struct str template, const struct tokenizer *t);

/* Whether a prompt ends within a thought: the mark that opens one, and blanks behind it. */
bool marks_end_thinking(const struct marks *m, const struct tokenizer *t, const int32_t *ids, int n_ids);

#endif
