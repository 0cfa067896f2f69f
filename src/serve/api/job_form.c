/* SPDX-License-Identifier: Apache-2.0 */
/* The form that a job's answers must have, as masks for the scheduler. */
#include <stdlib.h>
#include "serve/api/job.h"
#include "serve/ask/form.h"

/* Tokens that choice i may have at most. */
int job_room(const struct job *j, int i)
{
    int room = j->call->m->engine->n_ctx - j->prompt[i / j->ask.n].n_ids;
    if (j->max_tokens && j->max_tokens < room) room = j->max_tokens;
    return room > 0 ? room : 1;
}

int job_set_form(struct job *j, const struct form_spec *s, struct fault *f)
{
    struct served_model *m = j->call->m;
    struct grammar *g;
    struct err e = {0};
    int rc = forms_find(m->forms, s, &g, &e);
    if (rc)
        return fault_set(f, rc == ERR_MEMORY ? 503 : 400, "invalid_request_error", NULL, s->param, "'%s': %s",
                         s->param, e.msg);
    if (!g) return 0;
    j->form_kind = form_kind_name[s->kind];
    j->form_text = form_text(s);
    if (!j->form_text) rc = fault_memory(f);
    j->mask = calloc((size_t)j->n_choices, sizeof *j->mask);
    j->mask_ops = &form_mask_ops;
    if (!j->mask) rc = fault_memory(f);
    for (int i = 0; i < j->n_choices && !rc; i++) {
        if (forms_mask(m->forms, g, job_room(j, i), &j->mask[i], &e)) rc = fault_memory(f);
    }
    grammar_unref(g);
    return rc;
}

int job_read_form(struct job *j, struct fault *f)
{
    struct form_spec s;
    int rc = form_read(j->ask.body, &s, f);
    if (!rc) rc = job_set_form(j, &s, f);
    json_decref(s.own);
    return rc;
}
