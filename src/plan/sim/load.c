/* SPDX-License-Identifier: Apache-2.0 */
/* See sim/load.h. */
#include "plan/sim/load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "kern/philox.h"

static const double BURST_SHARE = 0.1, BURST_S = 10; /* of the time; seconds a burst takes */
enum { STREAM_GAP, STREAM_PROMPT, STREAM_ANSWER, STREAM_BURST, STREAM_TURN };

/* Uniform in (0, 1); a pure function of seed, stream, place and try. */
static void draw(double out[4], uint64_t seed, uint32_t stream, uint32_t i, uint32_t try)
{
    const uint32_t at[4] = {i, stream, 0x10ad, try}, key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words[4];
    philox4x32_10(at, key, words);
    for (int k = 0; k < 4; k++) out[k] = (words[k] + 0.5) / 4294967296.0;
}

static double uniform(uint64_t seed, uint32_t stream, uint32_t i)
{
    double u[4];
    draw(u, seed, stream, i, 0);
    return u[0];
}

static double normal(uint64_t seed, uint32_t stream, uint32_t i, uint32_t try)
{
    double u[4];
    draw(u, seed, stream, i, try);
    return sqrt(-2 * log(u[0])) * cos(2 * acos(-1) * u[1]);
}

/*
 * Time between every `turns`-th event of a Poisson process of rate `turns`: a gamma variate of that shape
 * over it, by squeezing the cube of a normal one (Marsaglia and Tsang 2000), which takes hardly more than one
 * try.
 */
static double turn(const struct sim_draw *d, uint32_t i)
{
    double a = d->turns - 1.0 / 3, c = 1 / sqrt(9 * a), u[4];
    for (uint32_t try = 1;; try++) {
        double x = normal(d->seed, STREAM_GAP, i, try), v = 1 + c * x;
        if (v <= 0) continue;
        v = v * v * v;
        draw(u, d->seed, STREAM_TURN, i, try);
        if (log(u[0]) < x * x / 2 + a * (1 - v + log(v)) || try > 64) return a * v / d->turns;
    }
}

static int tokens(const struct sim_draw *d, uint32_t stream, int i, double mean)
{
    double x = mean;
    if (d->spread > 0) {
        double sigma = sqrt(log1p(d->spread * d->spread));
        x = mean * exp(sigma * normal(d->seed, stream, (uint32_t)i, 0) - sigma * sigma / 2);
    }
    return x < 1 ? 1 : x > SIM_TOKENS_MAX / 4.0 ? SIM_TOKENS_MAX / 4 : (int)lround(x);
}

/* Bursts and calm take turns, both of random length; times at rate 1 become times at the rate of their moment. */
struct bursts {
    double high, low, until;
    bool on;
    uint32_t n;
};

static double gap(const struct sim_draw *d, int i, double now, struct bursts *b)
{
    double need = d->arrivals == SIM_EVEN ? 1
                  : d->turns > 1          ? turn(d, (uint32_t)i)
                                          : -log(uniform(d->seed, STREAM_GAP, (uint32_t)i)),
           at = now;
    if (d->arrivals != SIM_BURSTS) return need / d->rate;
    for (;;) {
        double rate = b->on ? b->high : b->low, room = rate * (b->until - at);
        if (need <= room) return at + need / rate - now;
        need -= room;
        at = b->until;
        b->on = !b->on;
        b->until = at - log(uniform(d->seed, STREAM_BURST, b->n++)) * BURST_S *
                            (b->on ? 1 : (1 - BURST_SHARE) / BURST_SHARE);
    }
}

int sim_load_draw(struct sim_load *l, const struct sim_draw *d, int n, struct err *e)
{
    *l = (struct sim_load){0};
    if (!(d->rate > 0 && d->rate < 1e9) || !(d->prompt >= 1) || !(d->answer >= 1) ||
        d->prompt + d->answer > SIM_TOKENS_MAX / 4.0 || !(d->spread >= 0 && d->spread <= 10) ||
        (d->arrivals == SIM_BURSTS && !(d->burst >= 1 && d->burst <= 1000)) || n < 1 || n > SIM_REQUESTS_MAX)
        return err(e, ERR_LIMIT,
                   "%d requests at %g per second, %g tokens in, %g out, spread %g: out of bounds", n, d->rate,
                   d->prompt, d->answer, d->spread);
    struct sim_request *r = calloc((size_t)n, sizeof *r);
    if (!r) return err(e, ERR_MEMORY, "out of memory for %d requests", n);
    double low = d->rate / (1 - BURST_SHARE + BURST_SHARE * fmax(1, d->burst)), now = 0;
    struct bursts b = {.low = low, .high = low * d->burst};
    for (int i = 0; i < n; i++) {
        now += gap(d, i, now, &b);
        if (now > 1e9) {
            free(r);
            return err(e, ERR_LIMIT, "%d requests at %g per second take more than 30 years", n, d->rate);
        }
        r[i] = (struct sim_request){.arrive_ns = (int64_t)(now * 1e9),
                                    .prompt = tokens(d, STREAM_PROMPT, i, d->prompt),
                                    .answer = tokens(d, STREAM_ANSWER, i, d->answer)};
    }
    *l = (struct sim_load){r, n};
    return 0;
}

int sim_load_share(struct sim_load *out, const struct sim_load *all, int first, int n, struct err *e)
{
    int count = (all->n - first + n - 1) / n;
    *out = (struct sim_load){0};
    if (count < 1) return err(e, ERR_USAGE, "%d requests cannot be shared by %d replicas", all->n, n);
    out->requests = calloc((size_t)count, sizeof *out->requests);
    if (!out->requests) return err(e, ERR_MEMORY, "out of memory for %d requests", count);
    for (int i = first; i < all->n; i += n) out->requests[out->n++] = all->requests[i];
    return 0;
}

void sim_load_finish(struct sim_load *l)
{
    free(l->requests);
    *l = (struct sim_load){0};
}

struct sim_mean sim_load_mean(const struct sim_load *l)
{
    struct sim_mean m = {0};
    if (l->n == 0) return m;
    for (int i = 0; i < l->n; i++) {
        const struct sim_request *r = &l->requests[i];
        m.prompt += r->prompt;
        m.answer += r->answer;
        if (r->prompt + r->answer > m.longest) m.longest = r->prompt + r->answer;
    }
    m.prompt /= l->n, m.answer /= l->n;
    double s = 1e-9 * (double)(l->requests[l->n - 1].arrive_ns - l->requests[0].arrive_ns);
    m.rate = s > 0 ? (l->n - 1) / s : 0;
    return m;
}
