/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of grammar: rules as automata, and the states that use finds in them.
 *
 *   node    a place in the body of a rule; edges lead to other nodes: by no byte, by a byte of a set, or by a
 *           call of another rule
 *   rule    start and final node, and how often its counted edges may be taken
 *   frame   a set of nodes of one rule together with what is left of its count: where one call of the rule
 *           is. Found when first met, kept for the life of the grammar (subset construction, rule by rule)
 *   stack   frames that wait for the call above them to end; shared tails
 *   head    a frame on a stack: one reading of the text so far. A state is a list of heads
 *
 * Counts exist so that "at most 5000 characters" is one small automaton: masks of frames with much room left
 * are the same mask (grammar/mask.c).
 */
#ifndef TUTTI_TOKEN_GRAMMAR_GRAMMAR_INT_H
#define TUTTI_TOKEN_GRAMMAR_GRAMMAR_INT_H

#include <stdatomic.h>
#include "base/arena.h"
#include "token/grammar/grammar.h"

enum { GRAMMAR_INF = INT32_MAX }; /* no upper bound */
enum { GRAMMAR_FAR = 1 << 28 };   /* distance of what has no end */

enum edge_kind {
    EDGE_EPS,  /* always */
    EDGE_MORE, /* if the count allows another one */
    EDGE_DONE, /* if the count allows to stop */
    EDGE_BYTE, /* arg: index of a byte set */
    EDGE_CALL, /* arg: rule */
};

struct edge {
    uint32_t to;
    uint32_t next; /* of the same node; 0: none */
    uint32_t arg;
    uint8_t kind;
    bool count;    /* BYTE, CALL: taking it uses one of the count */
};

struct byte_set {
    uint64_t w[4];
};

struct rule {
    uint32_t start, final;
    int32_t min, max;   /* of counted edges */
    uint32_t item;      /* rule that a counted round calls; 0: a round is one byte or more */
    uint32_t frame;     /* of the start; 0: not made yet */
    const char *name;   /* for messages; NULL: none */
};

int32_t grammar_rule_dist(const struct grammar *g, uint32_t rule); /* least bytes of a call */
int32_t grammar_round_dist(const struct grammar *g, const struct rule *r);

struct frame_call {
    uint32_t start, after; /* frames; after 0: nothing follows in this rule */
};

struct mask;

struct frame {
    uint32_t *next;  /* [n_class]; 0: not known, 1: none, else frame */
    uint32_t nodes;  /* index in set_pool */
    uint32_t n_nodes;
    int32_t min, max; /* left of the count */
    struct frame_call *call;
    uint32_t n_call;
    bool final, has_bytes, has_calls, expanded;
    int32_t dist;    /* least bytes to the end of the rule */
    uint32_t rule;   /* whose frame this is */
    struct mask *mask;
    uint32_t hash_next;
};

enum { FRAME_UNKNOWN = 0, FRAME_NONE = 1, FRAME_FIRST = 2 };

struct grammar {
    atomic_int refs;
    struct arena arena;
    /* by the front ends */
    uint32_t *node;  /* [n_node] first edge; 0: none */
    int n_node, cap_node;
    struct edge *edge; /* [n_edge]; 0 is unused */
    int n_edge, cap_edge;
    struct byte_set *set;
    int n_set, cap_set;
    struct rule *rule; /* [n_rule]; 0 is nobody's */
    int n_rule, cap_rule;
    uint32_t root;
    int failed; /* a front end ran out of memory or met a limit */
    /* by grammar_finish */
    uint8_t class_of[256];
    uint8_t class_byte[256]; /* a byte of the class */
    int n_class;
    int32_t *node_dist; /* [n_node] */
    /* found by use */
    struct frame *frame;
    int n_frame, cap_frame;
    uint32_t *set_pool;
    int n_pool, cap_pool;
    uint32_t *frame_hash;
    uint32_t frame_hash_mask;
    uint32_t *mark; /* [n_node] stamp of the last closure that saw the node */
    uint32_t stamp;
    uint32_t *work; /* [n_node] */
    const struct grammar_vocab *vocab;
    struct mask *mask_list;
    size_t mask_bytes;
    struct err error; /* code 0: none */
};

/* --- building (grammar/build.c): node 0 of a failed grammar is returned when memory or a limit is met ------- */
int grammar_create(struct grammar **g, struct err *e);
/* Classes, distances, left recursion; takes ownership: on an error g is destroyed. */
int grammar_finish(struct grammar **g, uint32_t root, struct err *e);
uint32_t grammar_node(struct grammar *g);
uint32_t grammar_rule(struct grammar *g, const char *name); /* with start and final node, not counted */
void grammar_edge(struct grammar *g, uint32_t from, uint32_t to, enum edge_kind kind, uint32_t arg, bool count);
void grammar_eps(struct grammar *g, uint32_t from, uint32_t to);
void grammar_range(struct grammar *g, uint32_t from, uint32_t to, uint8_t lo, uint8_t hi, bool count);
uint32_t grammar_literal(struct grammar *g, uint32_t from, struct str s); /* the node behind it */
uint32_t grammar_call(struct grammar *g, uint32_t from, uint32_t rule);
int grammar_check(const struct grammar *g, struct err *e); /* g->failed as an error */

/* --- frames (grammar/frame.c) ----------------------------------------------------------------------------- */
uint32_t frame_start(struct grammar *g, uint32_t rule);
uint32_t frame_next(struct grammar *g, uint32_t f, uint8_t byte);
int frame_expand(struct grammar *g, uint32_t f); /* fills call */
/* The frame with the same mask whose counts are at most `far` or without bound. */
uint32_t frame_clamped(struct grammar *g, uint32_t f, int32_t far);

/* --- heads (grammar/run.c) -------------------------------------------------------------------------------- */
enum { STACK_EMPTY = 0, STACK_BOTTOM = 1, STACK_FIRST = 2 };

struct stack {
    uint32_t frame, parent;
    uint32_t hash_next;
    int32_t depth;
    int32_t dist; /* least bytes until the whole stack has ended */
};

struct head {
    uint32_t frame, stack;
};

struct heads {
    struct head *p;
    int n;
    bool end;    /* the text may end here */
    bool bottom; /* something below STACK_BOTTOM may go on here */
};

/* Stacks of one answer or of one walk. */
struct stacks {
    struct stack *p;
    int n, cap;
    uint32_t *hash;
    uint32_t hash_mask;
};

int stacks_init(struct stacks *s);
void stacks_finish(struct stacks *s);
void stacks_release(struct stacks *s, int n); /* forgets all from number n on */

/* Appends (frame, stack) and all that can be reached from it without a byte. out->p has room for GRAMMAR_HEADS_MAX. */
int heads_add(struct grammar *g, struct stacks *s, struct heads *out, uint32_t frame, uint32_t stack);
/* in after one byte, into out (which is emptied first). */
int heads_step(struct grammar *g, struct stacks *s, const struct heads *in, uint8_t byte, struct heads *out);
int32_t heads_dist(const struct grammar *g, const struct stacks *s, const struct heads *h);

/* --- masks (grammar/mask.c) ------------------------------------------------------------------------------- */
struct grammar_vocab {
    struct arena arena;
    int n_vocab, n_words;
    int n_trie;            /* trie in preorder; node 0 is the root */
    uint8_t *byte;         /* [n_trie] */
    uint16_t *depth;       /* [n_trie] */
    uint32_t *skip;        /* [n_trie] first node behind the subtree */
    int32_t *token;        /* [n_trie] first token that ends here; -1: none */
    int32_t *twin;         /* [n_vocab] another token of the same bytes; -1: none */
    uint32_t *end;         /* [n_words] the end tokens */
    struct str *piece;     /* [n_vocab] p NULL: no part of any text */
    int piece_max;         /* bytes of the longest */
};

struct walk; /* work memory of a walk through the trie */
int walk_create(struct walk **w, const struct grammar_vocab *v);
void walk_destroy(struct walk *w);
void mask_drop_all(struct grammar *g);
/* Sets the bits of all tokens that heads h allow. limit: a token counts only if the text can then end within so many
 * bytes; GRAMMAR_FAR: no limit. */
int mask_of_heads(struct grammar *g, struct walk *w, struct stacks *s, const struct heads *h, int32_t limit,
                  uint32_t *bits);

#endif
