/* SPDX-License-Identifier: Apache-2.0 */
/* See product.h. */
#include "chip/lpu/product.h"

#include <string.h>
#include "kern/rope.h"

enum { BUFFER_X, BUFFER_Q, BUFFER_Y };

int lpu_product_open(struct lpu_product *p, enum dtype type, int n, int k, const void *rows, struct err *e)
{
    *p = (struct lpu_product){0};
    struct hparams *h = &p->model.h;
    h->n_vocab = n;
    h->head_dim = 64;
    h->n_ctx_train = 1;
    h->n_rope = 1;
    h->rope[0] = rope_config_default(64, 10000.0f);
    p->tensor = (struct tensor){.name = str_from("product"), .type = type, .n_dims = 2, .ne = {(uint64_t)k, (uint64_t)n, 1, 1}, .data = rows};
    p->tensor.size_bytes = (uint64_t)n * dtype_row_bytes(type, (uint64_t)k);
    p->weight = (struct weight){.t = &p->tensor, .n = n, .k = k, .role = MAT_BODY};
    enum act_tier tier = mat_tier(type, MAT_BODY);
    p->buffers[BUFFER_X] = (struct buffer){.name = "x", .kind = BUFFER_FLOAT, .width = k, .last = 0};
    p->buffers[BUFFER_Q] = (struct buffer){.name = "codes", .kind = BUFFER_CODES, .tier = tier, .width = k, .last = 1};
    p->buffers[BUFFER_Y] = (struct buffer){.name = "y", .kind = BUFFER_FLOAT, .width = n, .first = 1, .last = 1};
    p->steps[0] = (struct step){.kind = STEP_ROWS, .layer = -1, .n = 1};
    p->steps[0].row[0] = (struct row_op){.kind = ROW_QUANT, .dst = BUFFER_Q, .src = BUFFER_X, .src2 = -1, .w = -1};
    p->steps[1] = (struct step){.kind = STEP_MATMUL, .layer = -1, .n = 1};
    p->steps[1].mat[0] = (struct step_mat){0, -1, BUFFER_Q, BUFFER_Y};
    p->program = (struct program){.model = &p->model, .max_rows = 1, .max_out = 1, .steps = p->steps, .n_steps = 2, .n_body = 1,
                                  .buffers = p->buffers, .n_buffers = 3, .weights = &p->weight, .n_weights = 1, .turn = {-1, -1}, .logits = BUFFER_Y};
    struct chip_options opt = {.n_threads = 1, .kv = KV16};
    struct chip *chip;
    int rc = chip_lpu.load(&chip, &p->program, &opt, e);
    if (!rc) p->chip = (struct lpu *)chip;
    return rc;
}

void lpu_product_close(struct lpu_product *p)
{
    if (p->chip) chip_lpu.unload(&p->chip->chip);
    *p = (struct lpu_product){0};
}

static void put(struct lpu_product *p, const float *x)
{
    const struct lpu_buffer *b = &p->chip->buffers[BUFFER_X];
    for (int v = 0; v < b->n_vec; v++) {
        uint32_t lanes[LPU_LANES] = {0};
        int rest = p->weight.k - v * b->lanes;
        memcpy(lanes, x + v * b->lanes, (size_t)(rest < b->lanes ? rest : b->lanes) * sizeof *x);
        lpu_sim_put(p->chip->sim, b->at[v], lanes);
    }
}

int lpu_product_run(struct lpu_product *p, const float *x, float *y, struct err *e)
{
    struct lpu *c = p->chip;
    const struct lpu_buffer *b = &c->buffers[BUFFER_Y];
    bool bad = false;
    int rc;
    put(p, x);
    if ((rc = lpu_run(c, &c->body[1], &bad, e)) || (rc = lpu_run(c, &c->head, &bad, e))) return rc;
    if (bad) return err(e, ERR_RANGE, "a number left the range");
    for (int v = 0; v < b->n_vec; v++) {
        uint32_t lanes[LPU_LANES];
        int rest = p->weight.n - v * b->lanes;
        if (lpu_sim_get(c->sim, b->at[v], lanes)) return err(e, ERR_INTERNAL, "outputs %d.. were never written", v * b->lanes);
        memcpy(y + v * b->lanes, lanes, (size_t)(rest < b->lanes ? rest : b->lanes) * sizeof *y);
    }
    return 0;
}

double lpu_product_stream_floor(const struct lpu_product *p)
{
    const struct lpu_mat *m = &p->chip->mats[0];
    return (double)p->weight.n * p->weight.k * m->parts / lpu_value(&p->chip->arch, LPU_derived_stream_bandwidth);
}
