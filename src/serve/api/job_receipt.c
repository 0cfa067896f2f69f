/* SPDX-License-Identifier: Apache-2.0 */
/* The receipts of a job: a witness for each choice, called before the first token and asked at the end. */
#include <stdlib.h>
#include <string.h>
#include "serve/api/job.h"

static int call_witness(struct job *j, int i, struct err *e)
{
    const struct ask *a = &j->ask;
    const struct job_prompt *p = &j->prompt[i / a->n];
    struct receipt_spec s;
    witness_spec(&s, j->call->m->engine);
    s.prompt = p->ids, s.n_prompt = p->n_ids;
    s.sample = a->sample, s.sample.choice = (uint32_t)(i % a->n);
    s.stop = a->stop, s.n_stop = a->n_stop;
    s.max_tokens = j->max_tokens;
    s.ignore_end = a->ignore_eos, s.show_special = !a->skip_special;
    s.min_tokens = a->min_tokens;
    s.allowed = j->allowed, s.n_allowed = j->n_allowed;
    s.stop_ids = a->stop_ids, s.n_stop_ids = a->n_stop_ids;
    if (j->form_kind)
        s.grammar_kind = str_from(j->form_kind), s.grammar = str_from(j->form_text),
        s.grammar_tokens = job_room(j, i);
    if (!(j->choice[i].witness = calloc(1, sizeof *j->choice[i].witness))) return err(e, ERR_MEMORY, "out of memory");
    return witness_begin(j->choice[i].witness, &s, a->receipt == ASK_RECEIPT_PRIVATE, e);
}

int job_call_witnesses(struct job *j, struct fault *f)
{
    struct server *s = j->call->s;
    struct err e = {0};
    if (j->ask.receipt == ASK_RECEIPT_NONE && s->o.receipts) j->ask.receipt = ASK_RECEIPT_OPEN;
    if (j->ask.receipt == ASK_RECEIPT_NONE) return 0;
    if (!s->o.signing)
        return fault_field(f, "receipt",
                           "'receipt': this server has no signing key ('tutti keys signing' makes one)");
    for (int i = 0; i < j->n_choices; i++)
        if (call_witness(j, i, &e)) return fault_err(f, "receipt", &e);
    return 0;
}

bool job_waits_for_root(struct job *j, void (*fn)(struct http_request *r))
{
    bool asked = j->n_choices && j->choice[0].witness && !j->err.code;
    return asked && server_wait_root(j->call->s, j->call->m, j->call->r, fn);
}

void job_write_receipt(const struct job *j, int i, struct buf *out)
{
    const struct job_choice *c = &j->choice[i];
    const struct served_model *m = j->call->m;
    struct witness_end end = {.end = c->stop_id >= 0 ? GENERATE_STOP : c->end,
                              .root = m->root,
                              .request = str_from(http_id(j->call->r)),
                              .model = str_from(m->name)};
    struct err e = {0};
    struct buf bytes;
    if (!c->witness) return;
    buf_init(&bytes, RECEIPT_BYTES_MAX);
    buf_append_z(out, ",\"receipt\":");
    if (!atomic_load(&m->has_root) || witness_write(c->witness, &end, j->call->s->o.signing, &bytes, &e)) {
        buf_append_z(out, "null"); /* the server is stopping, or out of memory */
    } else {
        buf_append_char(out, '"');
        receipt_to_text(buf_str(&bytes), out);
        buf_append_char(out, '"');
    }
    buf_finish(&bytes);
}

/* /receipt-key: the public half of the key that signs here. */
void api_receipt_key(struct http_request *r)
{
    struct call *c = call_of(r);
    struct fault f;
    struct buf b;
    char hex[SIGNING_HEX + 1], contract[65];
    if (!c->s->o.signing) {
        fault_set(&f, 404, "invalid_request_error", "no_signing_key", NULL, "this server signs no receipts");
        call_fail(c, &f);
        return;
    }
    signing_hex(c->s->o.signing->public, hex);
    engine_contract_id(contract);
    buf_init(&b, API_REPLY_MAX);
    buf_printf(&b,
               "{\"object\":\"receipt.key\",\"algorithm\":\"ed25519\",\"key\":\"%s\",\"contract\":\"%s\"}",
               hex, contract);
    call_json(c, 200, &b);
}
