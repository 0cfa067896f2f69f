/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: files of measurements from strangers, as tutti validate reads them. The first byte chooses the
 * file that the rest is put into. Rows that are taken have sizes and times above 0, and every prediction for
 * them is a number at or above its floor.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "plan/class/layers.h"
#include "plan/class/published.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"gemm.csv",           "attention_decode.csv",  "moe.csv",
                                    "collectives.csv",    "attention_context.csv", "published.csv",
                                    "tpu_v6e_layers.csv", "tpu_v6e_attention.csv"};
static char dir[] = "/tmp/tutti-fuzz-XXXXXX";

static void remove_dir(void)
{
    char path[64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static void check_group(const struct measured_group *m, const struct gpu *g)
{
    double c[OP_CONSTANTS_MAX];
    validate_neutral(m->op, c);
    for (size_t i = 0; i < m->n && i < 64; i++) {
        const struct measured_row *r = &m->rows[i];
        double t = m->op->time_us(g, r->shape, c), floor = m->op->floor_us(g, r->shape);
        must(r->us > 0 && isfinite(t) && floor >= 0 && t >= floor);
    }
}

/* The operator whose file it is, if it is one. */
static void read_operator(const struct gpu *g, const char *name)
{
    struct measured m;
    struct err e = {0};
    measured_init(&m);
    for (int i = 0; op_all[i]; i++) {
        if (!op_all[i]->file || strcmp(op_all[i]->file, name)) continue;
        int rc = measured_read(&m, dir, op_all[i], &e);
        must(rc == 0 || (e.code == rc && *e.msg && !strchr(e.msg, '\n')));
    }
    for (int i = 0; i < m.n; i++) check_group(m.groups[i], g);
    measured_close(&m);
}

static void take(void *ud, const struct published_row *r)
{
    (void)ud;
    must(*r->why || (isfinite(r->predicted) && r->predicted > 0 && r->value > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gpu g;
    static struct constants known;
    struct layers l;
    struct err e = {0};
    char path[64];
    if (!known.sets) {
        must(mkdtemp(dir) && atexit(remove_dir) == 0);
        must(gpu_find(&g, "h100", &e) == 0 && constants_open(&known, NULL, &e) == 0);
    }
    if (!size) return 0;
    const char *name = names[*data % (sizeof names / sizeof *names)];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    must(f && fwrite(data + 1, 1, size - 1, f) == size - 1 && fclose(f) == 0);
    read_operator(&g, name);
    int rc = layers_read(&l, dir, &known, &e);
    must(rc == 0 || (e.code == rc && *e.msg));
    layers_close(&l);
    rc = published_read(dir, &known, take, NULL, &e);
    must(rc == 0 || (e.code == rc && *e.msg));
    unlink(path);
    return 0;
}
