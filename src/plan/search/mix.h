/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mix: prompts on one kind of chip, answers on another. Each pool is searched by itself: one sees requests of
 * one output token, the other sees prompts that are all in its cache; any two pools make a plan. Between them
 * goes the cache of every prompt, layer by layer while the prompt is computed: what is left when it ends, and
 * one layer's share at least, delays the second token.
 *
 * Also the other cut, through each layer: attention on one chip and feed-forward on another, two batches
 * taking turns.
 */
#ifndef TUTTI_PLAN_SEARCH_MIX_H
#define TUTTI_PLAN_SEARCH_MIX_H

#include "plan/search/search.h"

struct mix_link {
    double rate, hop; /* bytes/s of one prompt replica to the answers' pool; seconds */
};

struct mix_pair {
    const struct search_chip *prompt, *answer;
    double dollars_hour;       /* NAN: n/p */
    int chips;
    double watts_limit;
    double bytes;              /* of a prompt's cache */
    double transfer_s, delay_s; /* on the link; of these not hidden behind the prompt */
    double use;                /* of a prompt replica's link */
    double ttft99, tpot99;     /* seconds; TPOT with the delay */
    double least_rate;         /* bytes/s: a slower link breaks a limit or is full */
    bool meets;
};

enum { MIX_PAIRS = 8 };
struct mix {
    struct search_chip *prompt, *answer; /* [n] pools by chip */
    int n;
    struct mix_pair pair[MIX_PAIRS];     /* best first */
    int n_pairs;
};

int mix_run(struct mix *m, const struct search_space *space, const struct want *w,
            const struct mix_link *link, struct err *e);
void mix_close(struct mix *m); /* accepts a zeroed struct */

struct mix_cut { /* one step, one batch */
    double batch, attention_s, ffn_s, link_s; /* of all layers */
    double tpot_s, chip_rate;  /* two batches take turns; output tokens/s of one chip */
    double alone_rate[2];      /* the same batch on either chip alone, tokens/s of one chip; 0: does not fit */
};
enum { MIX_CUTS = 12 };

/* Attention on a, feed-forward on b, each on as few chips as hold their part at the largest batch. Returns
 * how many rows. */
int mix_cut(struct mix_cut out[MIX_CUTS], int chips[2], const struct device *a, const struct device *b,
            const struct device_precision *p, const struct want *w, const struct mix_link *link,
            struct err *e);

#endif
