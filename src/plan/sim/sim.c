/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See sim.h. The functions follow src/serve/sched/queue.c (room, preempt, admit, reserve) and sched/step.c (share). All
 * requests are of one rank and one owner, so those that wait do so in the order of arrival: whoever waits comes
 * after all that run, and `next` says where the waiting begin.
 */
#include "plan/sim/sim.h"

#include <math.h>
#include <stdlib.h>
#include "base/pace.h"
#include "kern/attn.h"
#include "kern/philox.h"
#include "plan/sim/prefix.h"

_Static_assert((int)SIM_PAGE == (int)ATTN_CHUNK, "the pages of chip/kv.h");

static const double GAP_FIRST_NS = 1000, GAP_RATIO = 1.05, NS = 1e-9;

struct running {
    int i;             /* of its request */
    int n_ids, n_kv;   /* tokens it has; of these in the cache */
    int feed;          /* this step */
    int64_t pages;     /* that hold its keys */
    int64_t shared;    /* of these the group's */
    bool uses;         /* its group's pages are in use by it */
};

struct sim {
    const struct sim_time *time;
    const struct sim_policy *p;
    const struct sim_request *req;
    struct sim_served *served;
    struct sim_stats *st;
    int n, next, arrived, ended, sent; /* sent: requests that have an instant of arrival */
    int *done;            /* [n] answer tokens */
    struct running *run;  /* [max_running] oldest first */
    int n_run;
    struct pace_prompt *prompts; /* [max_running] of those that run */
    int64_t now, used;    /* ns; pages */
    double run_ns;        /* answers times nanoseconds */
    int64_t gap_ns;       /* the last gap, and its class */
    int gap_class;
    struct pace pace;
    struct sim_prefix prefix;
    int n_groups;
    struct sim_step step;
};

static int64_t pages_for(int64_t tokens)
{
    return (tokens + SIM_PAGE - 1) / SIM_PAGE;
}

static int left(const struct running *r)
{
    return r->n_ids - r->n_kv;
}

double sim_gap_ns(int class)
{
    return GAP_FIRST_NS * pow(GAP_RATIO, class);
}

static void note_gap(struct sim *s, int64_t ns, int64_t times)
{
    if (ns != s->gap_ns) {
        double d = (double)ns;
        int class = d <= GAP_FIRST_NS ? 0 : (int)ceil(log(d / GAP_FIRST_NS) / log(GAP_RATIO));
        s->gap_ns = ns;
        s->gap_class = class < SIM_GAPS ? class : SIM_GAPS - 1;
    }
    s->st->gaps[s->gap_class] += times;
}

/* --- who runs ---------------------------------------------------------------------------------------------- */

static void give_up(struct sim *s, struct running *r)
{
    s->used -= r->pages - r->shared;
    if (r->uses) sim_prefix_leave(&s->prefix, s->req[r->i].group);
}

static void preempt_last(struct sim *s)
{
    struct running *r = &s->run[--s->n_run];
    give_up(s, r);
    s->next = r->i;
    s->served[r->i].preempted++;
    s->st->preemptions++;
}

/* What the cache has of its tokens; the last one is fed for its logits. */
static void take_over(struct sim *s, struct running *r)
{
    const struct sim_request *q = &s->req[r->i];
    int64_t most = (r->n_ids - 1) / SIM_PAGE;
    if (q->group) {
        int64_t there = sim_prefix_use(&s->prefix, q->group);
        r->uses = there > 0;
        r->shared = r->pages = there < most ? there : most;
    } else {
        int64_t there = (int64_t)(s->p->prefix_share * q->prompt) / SIM_PAGE;
        r->pages = there < most ? there : most;
        s->used += r->pages;
    }
    r->n_kv = (int)(r->pages * SIM_PAGE);
}

static bool has_room(const struct sim *s, const struct running *r)
{
    int64_t need = pages_for(r->n_ids + 1) - r->pages + s->n_run / 4;
    for (int i = 0; i < s->n_run; i++) {
        int64_t more = pages_for(s->run[i].n_ids + 1) - s->run[i].pages;
        if (more > 0) need += more;
    }
    return need <= s->p->pages - s->used + s->prefix.idle;
}

static void pass_ended(struct sim *s)
{
    while (s->next < s->n && s->done[s->next] == s->req[s->next].answer) s->next++;
}

static void admit(struct sim *s)
{
    while (s->arrived < s->sent && s->served[s->arrived].arrive_ns <= s->now) s->arrived++;
    for (pass_ended(s); s->next < s->arrived && s->n_run < s->p->max_running; pass_ended(s)) {
        struct running r = {.i = s->next, .n_ids = s->req[s->next].prompt + s->done[s->next]};
        take_over(s, &r);
        if (s->n_run && !has_room(s, &r)) {
            give_up(s, &r);
            return;
        }
        struct sim_served *v = &s->served[r.i];
        if (!v->preempted) {
            v->cached = r.n_kv;
            s->st->prompt_tokens += s->req[r.i].prompt;
            s->st->cached_tokens += r.n_kv;
        }
        s->run[s->n_run++] = r;
        s->next++;
    }
}

/* --- a step ------------------------------------------------------------------------------------------------ */

static void share(struct sim *s)
{
    int answers = 0, rows = 0, n = 0, at = 0;
    int64_t n_left = 0;
    for (int i = 0; i < s->n_run; i++) {
        struct running *r = &s->run[i];
        int more = s->req[r->i].answer - s->done[r->i] - 1;
        r->feed = left(r) == 1 ? 1 + (s->p->draft < more ? s->p->draft : more) : 0;
        answers += r->feed > 0;
        rows += r->feed;
        if (r->feed) continue;
        s->prompts[n++] = (struct pace_prompt){.left = left(r), .since = (double)s->served[r->i].arrive_ns};
        n_left += left(r);
    }
    pace_share(s->prompts, n, pace_piece(&s->pace, answers, n_left, s->p->step_tokens - rows));
    for (int i = 0; at < n; i++)
        if (!s->run[i].feed) s->run[i].feed = s->prompts[at++].take;
}

static void reserve(struct sim *s)
{
    for (int i = 0; i < s->n_run; i++) {
        struct running *r = &s->run[i];
        int64_t more = r->feed ? pages_for(r->n_kv + r->feed) - r->pages : 0;
        while (more > s->p->pages - s->used) {
            int64_t freed = sim_prefix_evict(&s->prefix);
            s->used -= freed;
            if (freed) continue;
            must(s->n_run > 1);
            preempt_last(s);
            if (i == s->n_run) return;
        }
        if (more <= 0) continue;
        r->pages += more;
        s->used += more;
    }
    if (s->used > s->st->peak_pages) s->st->peak_pages = s->used;
}

/* What the step that was shared out takes; answers and prompt tokens of it go to s->step. */
static int64_t step_ns(struct sim *s)
{
    int answers = 0, rows = 0, out = 0, drafted = 0;
    int64_t context = 0, ns = 0;
    double j = 0;
    for (int i = 0; i < s->n_run; i++) {
        const struct running *r = &s->run[i];
        rows += r->feed;
        out += r->feed > 0 && r->n_kv + r->feed >= r->n_ids;
        if (left(r) == 1 && r->feed)
            answers++, context += r->n_kv, drafted = r->feed - 1 > drafted ? r->feed - 1 : drafted;
        else if (r->feed) ns += sim_time_piece(s->time, r->n_kv, r->feed, &j);
    }
    s->step.answers = answers;
    s->step.rows = rows;
    s->step.prompt_tokens = 0;
    if (rows == 0) return 0;
    for (int i = 0; i < s->n_run; i++)
        if (left(&s->run[i]) > 1) s->step.prompt_tokens += s->run[i].feed;
    ns += sim_time_decode(s->time, answers, context, &j);
    ns += sim_time_dense(s->time, rows, out, &j);
    if (drafted) ns += (int64_t)(drafted * s->p->draft_share * (double)s->time->dense_ns[1]);
    s->st->joules += j;
    return ns > 0 ? ns : 1;
}

static int accepted(const struct sim *s, const struct running *r)
{
    int n = 0;
    for (; n < r->feed - 1; n++) {
        uint32_t at[4] = {(uint32_t)r->i, (uint32_t)r->n_ids, (uint32_t)n, 0x5bec}, out[4];
        const uint32_t key[2] = {(uint32_t)s->p->seed, (uint32_t)(s->p->seed >> 32)};
        philox4x32_10(at, key, out);
        if (out[0] >= s->p->accept * 4294967296.0) break;
    }
    return n;
}

static void end(struct sim *s, struct running *r)
{
    give_up(s, r);
    s->ended++;
    if (s->p->users && s->sent < s->n) s->served[s->sent++].arrive_ns = s->now + s->p->think_ns;
}

static void drop_ended(struct sim *s)
{
    int n = 0;
    for (int i = 0; i < s->n_run; i++) {
        struct running *r = &s->run[i];
        if (s->done[r->i] == s->req[r->i].answer) end(s, r);
        else s->run[n++] = *r;
    }
    s->n_run = n;
}

/* n tokens of an answer came at once, at s->now. */
static void take_tokens(struct sim *s, const struct running *r, int n)
{
    struct sim_served *v = &s->served[r->i];
    if (s->done[r->i] == 0) v->first_ns = s->now;
    else note_gap(s, s->now - v->last_ns, 1);
    if (n > 1) note_gap(s, 0, n - 1);
    v->last_ns = s->now;
    s->done[r->i] += n;
    s->st->answer_tokens += n;
}

static void after_part(struct sim *s, struct running *r)
{
    const struct sim_request *q = &s->req[r->i];
    bool answers = left(r) == 1;
    int n = answers ? 1 + accepted(s, r) : r->n_kv + r->feed == r->n_ids;
    r->n_kv += answers ? n : r->feed;
    if (n) {
        take_tokens(s, r, n);
        r->n_ids += n;
    }
    int64_t pages = q->prefix / SIM_PAGE;
    if (q->group && pages > 0 && !r->uses && r->n_kv >= pages * SIM_PAGE &&
        sim_prefix_keep(&s->prefix, q->group, pages)) {
        r->uses = true;
        r->shared = pages;
    }
}

static void count_step(struct sim *s, int64_t ns, int64_t times)
{
    s->st->steps += times;
    s->st->events++;
    s->st->busy_ns += ns * times;
    s->run_ns += (double)s->n_run * (double)(ns * times);
}

static void tell(struct sim *s, int64_t begin, int64_t ns, int64_t times,
                 void (*each)(void *ud, const struct sim_step *s), void *ud)
{
    s->step.begin_ns = begin;
    s->step.ns = ns;
    s->step.times = times;
    s->step.waiting = s->arrived - s->ended - s->n_run;
    s->step.pages_used = s->used;
    each(ud, &s->step);
}

static int64_t one_step(struct sim *s)
{
    share(s);
    reserve(s);
    int64_t ns = step_ns(s);
    if (ns == 0) return 0; /* the only one with a share lost its pages */
    s->now += ns;
    pace_note(&s->pace, s->step.answers, s->step.prompt_tokens, NS * (double)ns);
    count_step(s, ns, 1);
    for (int i = 0; i < s->n_run; i++)
        if (s->run[i].feed) after_part(s, &s->run[i]);
    drop_ended(s);
    return ns;
}

/* --- many equal steps at once ------------------------------------------------------------------------------ */

static int64_t more_pages(const struct sim *s, int64_t steps)
{
    int64_t more = 0;
    for (int i = 0; i < s->n_run; i++) more += pages_for(s->run[i].n_kv + steps) - s->run[i].pages;
    return more;
}

/* Steps from here on that are equal; 0 if a prompt is under way. Whoever waits now was refused, and stays so
 * until one ends. */
static int64_t equal_steps(const struct sim *s, int64_t *context)
{
    int64_t k = INT64_MAX;
    *context = 0;
    for (int i = 0; i < s->n_run; i++) {
        const struct running *r = &s->run[i];
        if (left(r) != 1) return 0;
        int64_t more = s->req[r->i].answer - s->done[r->i];
        if (more < k) k = more;
        *context += r->n_kv;
    }
    int64_t bucket = SIM_BUCKET - *context / s->n_run % SIM_BUCKET;
    return bucket < k ? bucket : k;
}

/* Returns how many steps of *ns were made; 0: none, a single step has to look closer. */
static int64_t jump(struct sim *s, int64_t *ns)
{
    int64_t context, k = s->n_run && !s->p->draft ? equal_steps(s, &context) : 0;
    if (k < 2) return 0;
    double j = 0;
    *ns = sim_time_decode(s->time, s->n_run, context, &j) + sim_time_dense(s->time, s->n_run, s->n_run, &j);
    if (*ns < 1) *ns = 1;
    if (s->next >= s->arrived && s->arrived < s->sent) { /* steps that begin before the next request is there */
        int64_t until = (s->served[s->arrived].arrive_ns - s->now + *ns - 1) / *ns;
        if (until < k) k = until;
    }
    while (k > 1 && more_pages(s, k) > s->p->pages - s->used) k /= 2;
    if (k < 2) return 0;
    for (int i = 0; i < s->n_run; i++) {
        struct running *r = &s->run[i];
        struct sim_served *v = &s->served[r->i];
        int64_t more = pages_for(r->n_kv + k) - r->pages;
        if (s->done[r->i]) note_gap(s, s->now + *ns - v->last_ns, 1);
        else v->first_ns = s->now + *ns; /* all of its prompt but the last token was in the cache */
        v->last_ns = s->now + k * *ns;
        r->pages += more, s->used += more;
        r->n_kv += (int)k, r->n_ids += (int)k, s->done[r->i] += (int)k;
    }
    note_gap(s, *ns, (k - 1) * s->n_run);
    if (s->used > s->st->peak_pages) s->st->peak_pages = s->used;
    for (int64_t i = 0; i < k; i++) pace_note(&s->pace, s->n_run, 0, NS * (double)*ns);
    s->now += k * *ns;
    s->st->answer_tokens += k * s->n_run;
    s->st->joules += (double)k * j;
    s->step.answers = s->step.rows = s->n_run;
    s->step.prompt_tokens = 0;
    count_step(s, *ns, k);
    drop_ended(s);
    return k;
}

/* --- all of it --------------------------------------------------------------------------------------------- */

static int check(struct sim *s, struct err *e)
{
    const struct sim_policy *p = s->p;
    if (p->max_running < 1 || p->max_running > s->time->out_max || p->draft < 0 || p->draft > SIM_DRAFT_MAX ||
        p->max_running > p->step_tokens / (1 + p->draft) || p->step_tokens > s->time->rows_max ||
        !(p->accept >= 0 && p->accept <= 1) || !(p->prefix_share >= 0 && p->prefix_share <= 1) ||
        p->pages < 1 || p->users < 0)
        return err(
            e, ERR_LIMIT,
            "%d answers in steps of %d tokens, %d drafted each, %lld pages: not a policy (tables hold %d and %d)",
            p->max_running, p->step_tokens, p->draft, (long long)p->pages, s->time->out_max,
            s->time->rows_max);
    if (s->n < 1 || s->n > SIM_REQUESTS_MAX)
        return err(e, ERR_LIMIT, "%d requests; 1..%d can be simulated", s->n, SIM_REQUESTS_MAX);
    for (int i = 0; i < s->n; i++) {
        const struct sim_request *q = &s->req[i];
        if (q->prompt < 1 || q->answer < 1 || q->prompt > SIM_TOKENS_MAX || q->answer > SIM_TOKENS_MAX ||
            q->prefix < 0 || q->prefix > q->prompt || q->group < 0 || q->group > SIM_REQUESTS_MAX ||
            q->arrive_ns < (i ? s->req[i - 1].arrive_ns : 0))
            return err(
                e, ERR_LIMIT,
                "request %d: %d tokens in, %d out, %d shared in group %d, at %lld ns: out of bounds or out of order",
                i, q->prompt, q->answer, q->prefix, q->group, (long long)q->arrive_ns);
        if (q->prompt + q->answer > s->time->context_max)
            return err(e, ERR_LIMIT, "request %d: %d tokens; the table of times goes to %d", i,
                       q->prompt + q->answer, s->time->context_max);
        if (pages_for((int64_t)q->prompt + q->answer + p->draft + 1) > p->pages)
            return err(
                e, ERR_LIMIT, "request %d: %d tokens in and %d out need %lld pages of %d; the cache has %lld",
                i, q->prompt, q->answer, (long long)pages_for((int64_t)q->prompt + q->answer + p->draft + 1),
                SIM_PAGE, (long long)p->pages);
        if (q->group > s->n_groups) s->n_groups = q->group;
    }
    return 0;
}

static int init(struct sim *s, struct err *e)
{
    s->sent = s->p->users && s->p->users < s->n ? s->p->users : s->n;
    s->done = calloc((size_t)s->n, sizeof *s->done);
    s->run = calloc((size_t)s->p->max_running, sizeof *s->run);
    s->prompts = calloc((size_t)s->p->max_running, sizeof *s->prompts);
    if (!s->done || !s->run || !s->prompts) return err(e, ERR_MEMORY, "out of memory for %d requests", s->n);
    for (int i = 0; i < s->n; i++)
        s->served[i] = (struct sim_served){.arrive_ns = s->p->users ? 0 : s->req[i].arrive_ns};
    return sim_prefix_init(&s->prefix, s->n_groups, e);
}

int sim_run(struct sim_stats *out, struct sim_served *served, const struct sim_time *time,
            const struct sim_policy *policy, const struct sim_request *requests, int n,
            void (*each)(void *ud, const struct sim_step *s), void *ud, struct err *e)
{
    struct sim s = {.time = time,
                    .p = policy,
                    .req = requests,
                    .served = served,
                    .st = out,
                    .n = n,
                    .pace.ratio = policy->pace};
    *out = (struct sim_stats){0};
    int rc = check(&s, e);
    if (!rc) rc = init(&s, e);
    while (!rc && s.ended < n) {
        int64_t begin = s.now, ns, times = 1;
        admit(&s);
        if (s.n_run == 0) {
            s.now = served[s.arrived].arrive_ns;
            continue;
        }
        if (policy->plain || !(times = jump(&s, &ns))) {
            times = 1;
            ns = one_step(&s);
        }
        if (each) tell(&s, begin, ns, times, each, ud);
    }
    out->end_ns = s.now;
    out->running = out->busy_ns ? s.run_ns / (double)out->busy_ns : 0;
    sim_prefix_finish(&s.prefix);
    free(s.done);
    free(s.run);
    free(s.prompts);
    return rc;
}
