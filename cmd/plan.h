/* SPDX-License-Identifier: Apache-2.0 */
/* plan: what tutti plan found, and its forms: text, JSON, a page. */
#ifndef TUTTI_CMD_PLAN_H
#define TUTTI_CMD_PLAN_H

#include <jansson.h>
#include <stdio.h>
#include "plan/search/analysis.h"
#include "plan/search/fleet.h"
#include "plan/search/mix.h"
#include "plan/search/trust.h"

enum { PLAN_CHIPS_MAX = 128 };

enum { PLAN_TIMELINE_MAX = 5000, PLAN_TIMELINE_SHOWN = 12 };
struct plan_timeline { /* of a lane of the first plan, from its first request on */
    struct sim_step step[PLAN_TIMELINE_MAX];
    int n;
};

/* What is only computed if asked for; each is there if its `has` says so. */
struct plan_more {
    bool has_mix, has_cut, has_day, has_cluster, has_train;
    struct mix_link link;
    struct mix mix;
    const struct device *cut_on[2];
    struct mix_cut cut[MIX_CUTS];
    int n_cut, cut_chips[2];
    struct fleet_hour day[FLEET_HOURS];
    struct fleet_trouble trouble;
    struct fleet_cluster cluster;
    int cluster_chips;
    double cluster_share, cluster_s; /* of what all can take at the busiest hour; seconds it took */
    struct fleet_train train;
    double train_tokens;
    struct plan_timeline timeline; /* always there where there is a plan */
};

struct plan_asked { /* by options */
    const char *cut, *link, *hop, *timeline;
    bool mix, day;
    int cluster;
    float share, train;
};

struct plan {
    struct shape shape;
    struct device_precision own; /* of a model file: the numbers that it holds */
    struct traffic traffic;
    const char *phrase;
    struct economy economy;
    struct want want;
    struct device *devices[PLAN_CHIPS_MAX];
    int n_devices;
    struct {
        char name[64], why[400];
    } refused[PLAN_CHIPS_MAX]; /* chips that cannot be timed: what is missing */
    int n_refused;
    struct search_chip chips[PLAN_CHIPS_MAX]; /* [n_devices] */
    struct analysis analysis;  /* of the best */
    struct search_chip nearest; /* where nothing meets what was asked; nearest.found */
    struct want relaxed;       /* what it does meet */
    double seconds; /* of the search */
    struct plan_more more;
};

static inline const struct search_chip *plan_best(const struct plan *p) /* NULL: nothing meets what was asked */
{
    return p->n_devices && p->chips[0].found ? &p->chips[0] : NULL;
}

void plan_text(const struct plan *p, FILE *f);
void plan_answer_text(const struct plan *p, FILE *f);  /* what to buy, in a sentence */
void plan_nearest_text(const struct plan *p, FILE *f); /* where nothing meets what was asked */
json_t *plan_json(const struct plan *p); /* NULL: out of memory */
/* Computes what is asked for beyond the table; text and JSON of it. */
int plan_more(struct plan *p, const struct plan_asked *o, const struct search_space *space, struct err *e);
void plan_more_text(const struct plan *p, FILE *f);
void plan_more_json(const struct plan *p, json_t *to);
int plan_html(const struct plan *p, const char *path, struct err *e);

enum { PLAN_TEXT_MAX = 64 };
const char *plan_split(const struct candidate *c, char out[PLAN_TEXT_MAX]); /* "12 x TP4 PP2" */

#endif
