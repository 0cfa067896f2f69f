/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chip: what executes a program. The CPU, a GPU and every simulated chip implement the same calls and obey the same
 * contract, so that logits are equal by construction and only the clock differs. Calls in the order main makes them:
 *
 *   chip_load      packs the weights, makes buffers; afterwards step allocates nothing
 *   chip_step      runs one batch: keys and values of its tokens enter the cache, wanted logits go to the sink
 *   chip_explain   which kernels are in use and where memory went
 *   chip_limits    what the machine could do at best; chip_time_steps: what each step took
 *   chip_counters  of a simulated chip: what it has simulated, and how fast; chip_cost: what a token would take on it
 *   chip_unload
 *
 * One thread owns a loaded chip.
 */
#ifndef TUTTI_CHIP_CHIP_H
#define TUTTI_CHIP_CHIP_H

#include "base/buf.h"
#include "base/err.h"
#include "chip/kv.h"
#include "kern/act.h"
#include "program/program.h"

struct chip_options {
    int n_threads;       /* 0: all CPUs this process may use */
    int n_chips;         /* that share the model, 0 as 1: from the name (chip_load) */
    const char *isa;     /* NULL: best; or the name of an instruction set */
    enum kv_type kv;     /* of the caches that steps will bring */
    /* memory for experts, which otherwise are read from the file when they are chosen; 0: for all */
    size_t experts_bytes;
    void (*progress)(void *ud, size_t done_bytes, size_t total_bytes); /* while loading, or NULL */
    void *progress_ud;
    /* Called by every worker before a product, for watching (serve/engine/importance.h): x holds n_rows rows
     * that meet matrix `weight` of the program. Slow; or NULL. */
    void (*observe)(void *ud, int weight, const struct act *x, int n_rows, int worker, int n_workers);
    void *observe_ud;
};

/* n consecutive tokens of one sequence, at positions pos .. pos + n - 1; all lower positions are in the
 * cache. The sequence has pages for them (kv_seq_reserve). A position that leaves the range of the arithmetic
 * has no result, nor have those after it: they see its key (kv_seq.fault). */
struct batch_part {
    struct kv_seq *seq;
    const int32_t *tokens;
    int n;
    int pos;
};

/* Called once per wanted row by the workers, all at once and in any order; otherwise as logits_fn. */
typedef void spread_fn(void *ud, int worker, int i_out, const float *logits, int status);

struct batch {
    const struct batch_part *parts; /* different sequences */
    int n_parts;
    const int *out; /* rows whose logits are wanted, ascending; rows count through all parts in order */
    int n_out;
    const int *hidden;  /* rows wanted as they are after the final norm, ascending: they come by the sink after the */
    int n_hidden;       /* logits, i_out from n_out on, n_embd floats each */
    spread_fn *spread;  /* takes the logits instead of the sink, or NULL; worker is 0 .. chip->n_workers - 1 */
};

/*
 * Called by the thread that called chip_step, once per wanted row, in order. status is 0 or ERR_RANGE (a number of
 * that row left the contract's range: no result). logits[n_vocab] are valid during the call.
 */
typedef void logits_fn(void *ud, int i_out, const float *logits, int status);

/* The bounds of a roofline, by short probes on all workers at once: see chip_limits. */
struct chip_limits {
    int workers;
    double read;     /* bytes/s of a working set as large as asked for, at best */
    double multiply; /* operations/s of the unit that multiplies bytes; 0: not known */
    const char *unit; /* its name */
    double meet;      /* seconds that workers need to meet after a step; 0: there is one worker */
};

/* What a simulated chip has done since it was loaded. */
struct chip_counters {
    int64_t tokens;
    int64_t cycles;  /* in which a chip worked; of several chips together */
    double idle;     /* share of unit-cycles without an instruction */
    /* that the chip would have taken, from the first chip's first cycle of a token to the last one's last */
    double chip_seconds, joules;
    /* that simulating them took, by the wall and of processor time; compiling is not in them */
    double seconds, core_seconds;
};

/* What one token takes on a simulated chip, one sequence at a time, as its compiler announces it. */
enum { CHIP_COST_PARTS = 8 };
struct chip_cost {
    int chips, context;       /* context: tokens that the same instructions serve */
    int64_t cycles;
    double seconds;
    struct chip_share {
        const char *what;
        double value;
    } busy[CHIP_COST_PARTS],  /* kinds of units: share of cycles, while a chip works */
        joule[CHIP_COST_PARTS];
    int n_busy, n_joule;
};

struct chip;
struct chip_ops {
    const char *name, *summary;
    uint64_t (*work_bytes)(const struct program *p, int n_threads); /* memory beside weights and cache, before load */
    int (*load)(struct chip **c, const struct program *p, const struct chip_options *opt, struct err *e);
    int (*step)(struct chip *c, const struct batch *b, logits_fn *sink, void *ud, struct err *e);
    void (*explain)(const struct chip *c, struct buf *out);
    void (*unload)(struct chip *c);
    /* NULL: cannot measure; read likewise */
    int (*limits)(struct chip *c, size_t bytes, struct chip_limits *out, struct err *e);
    size_t (*read)(struct chip *c, size_t bytes);
    int max_chips; /* that can share a model */
    int (*timeline)(const struct chip *c, struct buf *out, struct err *e); /* NULL: no time of its own */
    int (*listing)(const struct chip *c, const char *pass, struct buf *out, struct err *e); /* NULL: compiles nothing */
    void (*counters)(const struct chip *c, struct chip_counters *n); /* NULL: it does not simulate; likewise: */
    int (*cost)(struct chip *c, int context, struct chip_cost *out, struct err *e);
};

struct chip {
    const struct chip_ops *ops;
    const struct program *program; /* borrowed */
    uint64_t *step_ns;             /* see chip_time_steps */
    const struct act *head;        /* see chip_state; NULL: this chip does not tell */
    int head_first;                /* row of logits that head's first vector belongs to */
    void (*watch)(void *ud, const struct batch *b); /* see chip_watch; NULL: nobody */
    void *watch_ud;
    int n_workers; /* that may take rows of logits (batch.spread); 0: it hands out rows by the sink only */
};

extern const struct chip_ops chip_cpu;
extern const struct chip_ops chip_lpu; /* simulated */
const struct chip_ops *chip_at(int i); /* NULL after the last */
const struct chip_ops *chip_named(const char *name); /* NAME or NAME:N; NULL if unknown */

/* name NULL: the CPU; NAME:N: N such chips share the model. Unknown names are refused with a list. */
int chip_load(struct chip **c, const char *name, const struct program *p, const struct chip_options *opt,
              struct err *e);
int chip_step(struct chip *c, const struct batch *b, logits_fn *sink, void *ud, struct err *e);
/* While the sink or spread has row i_out: the quantised vector from which its logits were computed, as act_row hands it
 * over. It fixes all logits. False: this chip does not tell. */
bool chip_state(const struct chip *c, int i_out, void (*put)(void *ud, const void *p, size_t n), void *ud);
void chip_explain(const struct chip *c, struct buf *out);
/* One token as trace events (JSON of Chrome and Perfetto), and what a pass of the chip's compiler made. */
int chip_timeline(const struct chip *c, struct buf *out, struct err *e);
int chip_listing(const struct chip *c, const char *pass, struct buf *out, struct err *e);
bool chip_counters(const struct chip *c, struct chip_counters *n); /* false: this chip does not simulate */
/* Of the token behind `context` others. From now on chip_explain tells of the same. */
int chip_cost(struct chip *c, int context, struct chip_cost *out, struct err *e);
void chip_unload(struct chip *c); /* accepts NULL */

/* From now on watch is told of every batch that was executed: how another chip's clock counts
 * (plan/class/timed.h). NULL: nobody. */
void chip_watch(struct chip *c, void (*watch)(void *ud, const struct batch *b), void *ud);

/* Takes about a second. bytes: how much the workers read together, again and again, as a step reads its weights. */
int chip_limits(struct chip *c, size_t bytes, struct chip_limits *out, struct err *e);
/* All workers read packed weights and do nothing with them, about `bytes` in all, going on where the last
 * call ended. How long that takes is what a product of one token could reach at this moment, of a machine
 * shared with others. Returns the bytes; 0: this chip has no such memory. */
size_t chip_read(struct chip *c, size_t bytes);
/* From now on the time of step i of the program is added to ns[i]; NULL (as at load): no clock is looked at.
 * A chip with one worker may count its own time only, without what other programs took. */
void chip_time_steps(struct chip *c, uint64_t *ns);

#endif
