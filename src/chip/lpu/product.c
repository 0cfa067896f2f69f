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
    p->tensor = (struct tensor){.name = str_from("product"),
                                .type = type,
                                .n_dims = 2,
                                .ne = {(uint64_t)k, (uint64_t)n, 1, 1},
                                .data = rows};
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
    p->program = (struct program){.model = &p->model,
                                  .max_rows = 1,
                                  .max_out = 1,
                                  .steps = p->steps,
                                  .n_steps = 2,
                                  .n_body = 1,
                                  .buffers = p->buffers,
                                  .n_buffers = 3,
                                  .weights = &p->weight,
                                  .n_weights = 1,
                                  .turn = {-1, -1},
                                  .logits = BUFFER_Y};
    struct chip_options opt = {.n_threads = 1, .kv = KV16};
    struct chip *chip;
    int rc = chip_lpu.load(&chip, &p->program, &opt, e);
    if (!rc) p->chip = (struct lpu *)chip;
    return rc;
}

void lpu_product_close(struct lpu_product *p)
{
    lpu_launch_finish(&p->quant), lpu_launch_finish(&p->multiply);
    if (p->chip) chip_lpu.unload(&p->chip->chip);
    *p = (struct lpu_product){0};
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static void put(struct lpu *c, int loc, const float *x, int n)
{
    uint32_t lanes[LPU_LANES] = {0};
    memcpy(lanes, x, (size_t)n * sizeof *x);
    lpu_sim_put(c->sim, loc, lanes);
}

static int get(const struct lpu *c, int loc, float *y, int n, struct err *e)
{
    uint32_t lanes[LPU_LANES];
    if (lpu_sim_get(c->sim, loc, lanes)) return err(e, ERR_INTERNAL, "outputs were never written");
    memcpy(y, lanes, (size_t)n * sizeof *y);
    return 0;
}

static int run(struct lpu *c, struct lpu_launch *quant, struct lpu_launch *multiply, struct err *e)
{
    bool bad = false;
    int rc;
    if ((rc = lpu_run(c, quant, &bad, e)) || (rc = lpu_run(c, multiply, &bad, e))) return rc;
    return bad ? err(e, ERR_RANGE, "a number left the range") : 0;
}

int lpu_product_run(struct lpu_product *p, const float *x, float *y, struct err *e)
{
    struct lpu *c = p->chip;
    const struct lpu_buffer *in = &c->buffers[BUFFER_X], *out = &c->buffers[BUFFER_Y];
    for (int v = 0; v < in->n_vec; v++)
        put(c, in->at[v], x + v * in->lanes, least(p->weight.k - v * in->lanes, in->lanes));
    int rc = run(c, &c->body[1], &c->head, e);
    for (int v = 0; v < out->n_vec && !rc; v++)
        rc = get(c, out->at[v], y + v * out->lanes, least(p->weight.n - v * out->lanes, out->lanes), e);
    return rc;
}

int lpu_product_batch(struct lpu_product *p, int rows, struct err *e)
{
    struct lpu *c = p->chip;
    int rc;
    lpu_launch_finish(&p->quant), lpu_launch_finish(&p->multiply);
    if ((rc = lpu_batch_init(&p->batch, c, rows, e))) return rc;
    if ((rc = lpu_map_batch_quant(c, &p->batch, &p->quant.graph, e)) ||
        (rc = lpu_compile(c, &p->quant, 0, e)))
        return rc;
    return (rc = lpu_map_batch(c, &p->batch, &p->multiply.graph, e)) ? rc : lpu_compile(c, &p->multiply, 0, e);
}

int lpu_product_run_batch(struct lpu_product *p, const float *x, float *y, struct err *e)
{
    struct lpu *c = p->chip;
    int in = c->mats[0].in_lanes, out = c->mats[0].out_lanes, n = p->weight.n, k = p->weight.k;
    for (int r = 0; r < p->batch.rows; r++)
        for (int v = 0; v < c->mats[0].n_slabs; v++)
            put(c, lpu_batch_x(&p->batch, c, v, r), x + r * k + v * in, least(k - v * in, in));
    int rc = run(c, &p->quant, &p->multiply, e);
    for (int r = 0; r < p->batch.rows; r++)
        for (int t = 0; t < c->mats[0].n_tiles && !rc; t++)
            rc = get(c, lpu_batch_y(&p->batch, c, t, r), y + r * n + t * out, least(n - t * out, out), e);
    return rc;
}

double lpu_product_stream_floor(const struct lpu_product *p)
{
    const struct lpu_mat *m = &p->chip->mats[0];
    return (double)p->weight.n * p->weight.k * m->parts / lpu_value(&p->chip->arch, LPU_derived_stream_bandwidth);
}

double lpu_product_matrix_floor(const struct lpu_product *p, int rows)
{
    const struct lpu_arch *a = &p->chip->arch;
    double products = lpu_value(a, LPU_mxm_planes) * lpu_value(a, LPU_mxm_rows) *
                      lpu_value(a, LPU_mxm_columns); /* in a cycle */
    return (double)p->weight.n * p->weight.k * rows / products;
}
