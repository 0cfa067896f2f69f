/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions over code points, as automata: from the syntax that JSON Schema's "pattern" and
 * clients' "regex" use. The language is what counts: groups capture nothing, lazy and greedy are the same.
 *
 *   pattern_parse ──► struct pattern (no byte-less conditions left in it)
 *   pattern_dfa   ──► struct dfa ──► and, not, lengths
 *
 * Where Python's re and ECMAScript disagree (what \d, \w and . match beyond ASCII), the set that both match
 * is taken, so that a text made from a pattern satisfies either.
 */
#ifndef TUTTI_TOKEN_GRAMMAR_PATTERN_H
#define TUTTI_TOKEN_GRAMMAR_PATTERN_H

#include "base/err.h"
#include "base/str.h"
#include "token/grammar/cset.h"

enum {
    PATTERN_NODES_MAX = 1 << 17,  /* of one pattern's automaton */
    PATTERN_NEST_MAX = 200,       /* groups in groups */
    PATTERN_REPEAT_MAX = 1 << 14, /* a bound of {m,n} */
    DFA_CELLS_MAX = 1 << 21,      /* states times intervals */
};

struct pattern_node {
    int32_t set; /* index of the set of the edge to `to`; -1: none */
    int32_t to;
    int32_t eps[2]; /* -1: none */
    bool accept;    /* the text may end here */
};

struct pattern {
    struct pattern_node *node;
    int n_node;
    struct cset *set;
    int n_set;
    int32_t *start; /* [n_start] */
    int n_start;
    bool empty;     /* the empty text matches */
    /* ^[set]{min,max}$, the whole of it: */
    bool simple;
    struct cset of;
    int32_t min, max; /* max INT32_MAX: no bound */
};

enum pattern_mode {
    PATTERN_WHOLE,  /* the expression is the whole text */
    PATTERN_SEARCH, /* it matches somewhere in the text, as JSON Schema has it */
};

/* A pattern with a look-ahead at its beginning comes as a deterministic automaton: *dfa is set and *p is not. */
struct dfa;
int pattern_parse(struct arena *a, struct str text, enum pattern_mode mode, struct pattern **p,
                  struct dfa **dfa, struct err *e);

/* Deterministic: a state and an interval of code points give the next state, -1 for none. State 0 is the start. */
struct dfa {
    int n_state, n_interval;
    const uint32_t *from; /* [n_interval] first code point of each interval; from[0] = 0 */
    int32_t *next;        /* [n_state * n_interval] */
    bool *accept;         /* [n_state] */
};

int dfa_of_pattern(struct arena *a, const struct pattern *p, struct dfa **out, struct err *e);
int dfa_not(struct arena *a, const struct dfa *d, struct dfa **out, struct err *e);
int dfa_and(struct arena *a, const struct dfa *x, const struct dfa *y, struct dfa **out, struct err *e);
/* Texts of d with min to max code points (max INT32_MAX: no bound). */
int dfa_lengths(struct arena *a, const struct dfa *d, int32_t min, int32_t max, struct dfa **out, struct err *e);
/* The texts of a list and no others. */
int dfa_of_list(struct arena *a, const struct str *list, int n, struct dfa **out, struct err *e);
bool dfa_empty(struct arena *a, const struct dfa *d); /* matches nothing; true when memory is out */
bool dfa_matches(const struct dfa *d, struct str text);

#endif
