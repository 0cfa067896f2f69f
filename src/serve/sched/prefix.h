/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefix: full pages of keys and values that later requests with the same beginning take over instead of
 * computing them. A tree: a node is one page of 128 tokens after everything on the way to it.
 *
 *   root(salt) -- [128 tokens] -- [128 tokens] -- ...      each node holds its page (kv_page_hold)
 *                             `-- [128 tokens]
 *
 * A page is found by comparing all token ids on its way, never by a hash alone, so a collision cannot give
 * somebody else's keys. The bits of a page depend on these ids only; who computed it, and in which pieces,
 * does not matter, and so pages may be shared by all users. What sharing does show is time (and the count of
 * cached tokens): whether somebody asked the same before. Where that matters, a salt per user keeps the trees
 * apart.
 *
 * Pages that no sequence uses go, longest unused first and leaves before their parents, when memory is
 * wanted. Only full pages are kept and a full page is never written, so nothing is ever copied on write. One
 * thread owns it, with its pool.
 */
#ifndef TUTTI_SERVE_SCHED_PREFIX_H
#define TUTTI_SERVE_SCHED_PREFIX_H

#include "chip/kv.h"

struct prefix;
struct prefix_node;

int prefix_create(struct prefix **p, struct kv_pool *pool, struct err *e);
void prefix_destroy(struct prefix *p); /* accepts NULL; drops all pages */

/* Gives a sequence that has the pages up to *at (none, whatever *at is, if it is empty) those that follow, as
 * far as ids are kept, at most n / 128 in all; returns the number of positions that it has then. *at: where
 * it is in the tree, for prefix_add. */
int prefix_find(struct prefix *p, uint64_t salt, const int32_t *ids, int n, struct kv_seq *seq,
                struct prefix_node **at);

/* The page with these 128 ids, after `at`, is kept. */
bool prefix_goes_on(const struct prefix *p, uint64_t salt, const struct prefix_node *at, const int32_t *ids);

/* The sequence has filled page i with these 128 ids, after `at` (NULL: its first page). It is kept; if it is
 * kept already, the sequence takes that page and frees its own. Returns the new place, or NULL if out of
 * memory: then nothing that follows can be kept. */
struct prefix_node *prefix_add(struct prefix *p, uint64_t salt, struct prefix_node *at, const int32_t *ids,
                               struct kv_seq *seq, int i);

/* The place k pages before `at`. */
struct prefix_node *prefix_up(struct prefix_node *at, int k);

/* Frees up to n pages that nobody uses; returns how many. */
int prefix_evict(struct prefix *p, int n);
int prefix_idle(const struct prefix *p); /* pages that prefix_evict could free */

#endif
