/* SPDX-License-Identifier: Apache-2.0 */
/* See shape_model.h. */
#include "plan/class/shape_model.h"

#include <stdio.h>
#include <string.h>
#include "base/dtype.h"
#include "file/cache.h"
#include "file/gguf.h"

/* Outputs of a layer's matrix, 0 where the file has none of this name; and its inputs. */
static double outputs(const struct model *m, int layer, const char *what, double *inputs)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, what);
    const struct tensor *t = gguf_tensor(m->file, name);
    if (inputs) *inputs = t ? (double)t->ne[0] : 0;
    return t ? (double)t->ne[1] : 0;
}

static void take_experts(struct shape *s, const struct model *m)
{
    int last = m->h.n_layer - 1;
    double wide = outputs(m, last, "ffn_up_exps", NULL), dense = outputs(m, 0, "ffn_up", NULL);
    if (wide <= 0) wide = outputs(m, last, "ffn_up.0", NULL); /* older files: a tensor for each expert */
    if (wide > 0) s->inter = wide;
    if (dense > 0) s->dense_inter = dense;
    s->shared = outputs(m, last, "ffn_up_shexp", NULL);
    if (s->shared <= 0) s->shared = outputs(m, last, "ffn_up", NULL); /* a common ffn beside the experts */
    while (s->dense_layers < last && !outputs(m, (int)s->dense_layers, "ffn_gate_inp", NULL)) s->dense_layers++;
}

static void take_latent(struct shape *s, const struct model *m)
{
    double values;
    s->rope = m->h.kv_extra;
    s->latent = outputs(m, 0, "attn_kv_a_mqa", NULL) - s->rope;
    s->q_rank = outputs(m, 0, "attn_q_a", NULL);
    s->key_dim = outputs(m, 0, s->q_rank > 0 ? "attn_q_b" : "attn_q", NULL) / s->heads;
    outputs(m, 0, "attn_output", &values);
    s->value_dim = values / s->heads;
    s->head_dim = s->key_dim, s->kv_heads = 1;
}

void shape_from_model(struct shape *s, struct device_precision *p, const struct model *m)
{
    const struct hparams *h = &m->h;
    double bytes = 0, elements = 0, most = 0;
    const char *type = "";
    *s = (struct shape){.layers = h->n_layer,
                        .hidden = h->n_embd,
                        .inter = h->n_ff,
                        .heads = h->n_head,
                        .kv_heads = h->n_head_kv,
                        .head_dim = h->head_dim,
                        .vocab = h->n_vocab,
                        .dense_inter = h->n_ff,
                        .experts = h->n_expert,
                        .topk = h->n_expert_used,
                        .tied = gguf_tensor(m->file, "output.weight") == NULL};
    if (h->n_expert > 0) take_experts(s, m);
    if (h->kv_extra > 0) take_latent(s, m);
    snprintf(s->name, sizeof s->name, "%.*s",
             (int)(h->name.n < sizeof s->name ? h->name.n : sizeof s->name - 1), h->name.p);
    for (size_t i = 0; i < gguf_n_tensors(m->file); i++) {
        const struct tensor *t = gguf_tensor_at(m->file, i);
        if (t->n_dims < 2) continue;
        bytes += (double)t->size_bytes;
        elements += (double)t->ne[0] * (double)t->ne[1] * (double)t->ne[2] * (double)t->ne[3];
        if ((double)t->size_bytes > most) most = (double)t->size_bytes, type = dtype_name(t->type);
    }
    *p = *device_precision("int8");
    p->name = type;
    p->weight_bytes = p->end_bytes = elements > 0 ? bytes / elements : 1;
    p->cache_bytes = 2;
    if (p->weight_bytes > 1.9) *p = *device_precision("16-bit");
}

int shape_of_model(struct shape *s, struct device_precision *p, const char *name, struct err *e)
{
    struct path path = {0};
    struct gguf *file = NULL;
    struct model *m = NULL;
    int rc = model_path_resolve(name, &path, e);
    if (!rc) rc = gguf_open(&file, path.z, e);
    if (!rc) rc = model_open(&m, file, e);
    if (!rc) shape_from_model(s, p, m);
    model_close(m);
    gguf_close(file);
    return rc;
}
