/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replica: one copy of a model on some chips, as servers that a simulation can run (sim.h). Where chips form
 * a pipeline of stages, each stage works on another batch: a replica then is as many equal servers ("lanes")
 * as batches are under way, each with its share of the cache and the whole pipeline's time for a step.
 * Attention groups that share experts are lanes, too.
 */
#ifndef TUTTI_PLAN_SEARCH_REPLICA_H
#define TUTTI_PLAN_SEARCH_REPLICA_H

#include "plan/class/device.h"
#include "plan/sim/time.h"

enum { REPLICA_BATCH_MAX = 1024 };

struct replica {
    const struct device *device;
    struct device_setup setup;
    int chips, lanes, groups; /* lanes: groups x stages at work */
    double tokens;            /* that the cache of one lane holds */
    int batch_max;            /* answers in a step of a lane that the chip allows */
    bool has_joules;          /* the datasheet says enough for energy */
    enum evidence evidence;   /* of its times */
    double error;             /* expected of them, as a share: the greater of answers' and prompts'; NAN unknown */
    const char *note;         /* on them, or NULL */
};

/* A setup for requests of so many tokens in and out. ERR_LIMIT: one of them does not fit; the message says
 * how many chips do. */
int replica_open(struct replica *r, const struct device *d, const struct device_setup *s, double prompt,
                 double answer, struct err *e);
/* What a step of one lane takes; the model points to r. */
struct sim_model replica_model(const struct replica *r);

/* A lane in steady state with `batch` answers at once and prompts between them. */
struct replica_flow {
    double rate;         /* requests/s */
    double step_s, tpot_s; /* a step without prompts; between tokens with them */
    double prompt_s;     /* what a whole prompt adds, alone */
    double prompt_share; /* of the time */
};
struct replica_flow replica_flow(const struct replica *r, double batch, double prompt, double answer, double cached);

#endif
