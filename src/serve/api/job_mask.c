/* SPDX-License-Identifier: Apache-2.0 */
/* allowed_token_ids and min_tokens of a job, around the masks that its form has made. */
#include <stdlib.h>
#include "serve/api/job.h"
#include "serve/ask/mask.h"

static int read_allowed(struct job *j, struct fault *f)
{
    const json_t *list = j->ask.allowed_ids;
    size_t n = json_array_size(list);
    char got[FAULT_GOT_MAX];
    if (!list) return 0;
    if (n < 1 || n > SAMPLER_VOCAB_MAX)
        return fault_field(f, "allowed_token_ids", "'allowed_token_ids': expected 1..%d token ids, got %zu",
                           SAMPLER_VOCAB_MAX, n);
    if (!(j->allowed = calloc(n, sizeof *j->allowed))) return fault_memory(f);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= SAMPLER_VOCAB_MAX)
            return fault_field(f, "allowed_token_ids", "'allowed_token_ids': expected token ids, got %s",
                               fault_got(v, got));
        j->allowed[j->n_allowed++] = (int32_t)json_integer_value(v);
    }
    return 0;
}

int job_wrap_masks(struct job *j, struct fault *f)
{
    struct mask_spec s = {.min_tokens = j->ask.min_tokens,
                          .tokenizer = j->call->m->text.tok,
                          .n_vocab = j->call->m->engine->model->h.n_vocab};
    const struct sched_mask_ops *inside = j->mask_ops;
    struct err e = {0};
    if (j->mask) j->ask.ignore_eos = false; /* nothing may follow a text whose form is whole */
    int rc = read_allowed(j, f), wrapped = 0;
    s.only = j->allowed, s.n_only = j->n_allowed;
    if (rc || (!s.n_only && !s.min_tokens)) return rc;
    if (!j->mask && !(j->mask = calloc((size_t)j->n_choices, sizeof *j->mask)))
        rc = err(&e, ERR_MEMORY, "out of memory");
    while (!rc && wrapped < j->n_choices && !(rc = mask_wrap(&j->mask[wrapped], inside, &s, &e))) wrapped++;
    for (int i = 0; rc && i < wrapped; i++) { /* all of one kind, so that job_fail can free them */
        mask_ops.free(j->mask[i]);
        j->mask[i] = NULL;
    }
    if (!rc) j->mask_ops = &mask_ops;
    return rc ? fault_err(f, NULL, &e) : 0;
}
