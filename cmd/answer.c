/* SPDX-License-Identifier: Apache-2.0 */
/* See answer.h. */
#include "answer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "file/cache.h"

/* --- signals ---------------------------------------------------------------------------------------------- */

atomic_int answer_cancel, answer_signal;
static int wake[2] = {-1, -1};

static void on_signal(int sig)
{
    int saved = errno;
    atomic_store(&answer_cancel, 1);
    if (sig != SIGINT) atomic_store(&answer_signal, sig);
    ssize_t n = write(wake[1], "", 1); /* a full pipe is readable, too */
    (void)n;
    errno = saved;
}

void answer_signals(bool once)
{
    if (wake[0] < 0 && pipe2(wake, O_CLOEXEC | O_NONBLOCK)) wake[0] = wake[1] = -1;
    struct sigaction a = {.sa_handler = on_signal};
    sigfillset(&a.sa_mask);
    a.sa_flags = once ? (int)SA_RESETHAND : 0;
    sigaction(SIGINT, &a, NULL);
    a.sa_flags = (int)SA_RESETHAND;
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGHUP, &a, NULL);
}

int answer_wake_fd(void)
{
    return wake[0];
}

void answer_wake_drain(void)
{
    char drop[64];
    while (read(wake[0], drop, sizeof drop) > 0) {}
}

/* --- output ----------------------------------------------------------------------------------------------- */

/* Waits until standard output takes a piece; false if a signal asked to end. The wake pipe closes the gap between the
 * look at the flag and a write that blocks. */
static bool may_write(void)
{
    while (!atomic_load(&answer_cancel)) {
        struct pollfd p[2] = {{.fd = STDOUT_FILENO, .events = POLLOUT}, {.fd = wake[0], .events = POLLIN}};
        if (poll(p, wake[0] < 0 ? 1 : 2, -1) < 0 && errno != EINTR) return true;
        if (p[0].revents) return true;
        if (p[1].revents && !atomic_load(&answer_cancel)) answer_wake_drain();
    }
    return false;
}

static int take_text(void *ud, struct str s)
{
    struct talk *t = ud;
    if (!may_write()) return 1;
    if (!show_piece(&t->show, s)) return 0;
    if (t->show.write_errno == EINTR && atomic_load(&answer_cancel)) {
        t->show.write_errno = 0;
        clearerr(stdout);
    }
    return 1;
}

/* --- conversation ----------------------------------------------------------------------------------------- */

/* {role, content}; faults of the text become U+FFFD, since JSON holds UTF-8. */
static json_t *make_message(const char *role, struct str text)
{
    struct buf b;
    buf_init(&b, 3 * (size_t)COMMON_FILE_MAX);
    json_t *m = utf8_append_replaced(&b, text)
                    ? NULL
                    : json_pack("{s:s, s:s%}", "role", role, "content", b.p ? b.p : "", b.n);
    buf_finish(&b);
    return m;
}

/* --spec: off, lookup or draft=MODEL. */
static int open_spec(struct talk *t, const struct common *c, struct err *e)
{
    static const char draft[] = "draft=";
    const char *how = t->speculate;
    int rc;
    if (!how || strcmp(how, "off") == 0) return 0;
    if (strcmp(how, "lookup") == 0) return spec_open_lookup(&t->g.spec, e);
    if (strncmp(how, draft, sizeof draft - 1))
        return err(e, ERR_USAGE, "--spec %s is unknown: off, lookup or draft=MODEL", how);
    struct engine_options opt = {.chip = c->chip,
                                 .isa = c->isa,
                                 .n_threads = c->threads,
                                 .n_batch = c->batch,
                                 .kv = t->o.engine->kv->shape.type};
    if ((rc = model_path_resolve(how + sizeof draft - 1, &t->draft.path, e)) ||
        (rc = engine_open(&t->draft.engine, t->draft.path.z, &opt, e)))
        return err_prefix(e, "draft model");
    return spec_open_draft(&t->g.spec, t->draft.engine, t->o.engine->model->h.n_vocab, e);
}

int talk_open(struct talk *t, const struct common *c, struct err *e)
{
    int rc;
    t->messages = json_array();
    t->system = make_message("system", STR(TALK_SYSTEM));
    if (!t->messages || !t->system) return err(e, ERR_MEMORY, "out of memory");
    if (t->plain && (t->show.tools_file || t->show.kwargs_text))
        return err(e, ERR_USAGE, "--tools and --template-kwargs need a chat template, and the model has none");
    if ((rc = show_open(&t->show, t->plain ? (struct str){NULL, 0} : t->o.text.chat_source, &t->o.text, e)) ||
        (rc = generate_open(&t->g, t->o.engine, &t->o.text, c->ctx, e)))
        return rc;
    return open_spec(t, c, e);
}

void talk_close(struct talk *t)
{
    spec_close(t->g.spec);
    generate_close(&t->g);
    form_close(&t->form);
    common_close(&t->draft);
    json_decref(t->messages);
    json_decref(t->system);
    show_close(&t->show);
    common_close(&t->o);
}

int talk_set_system(struct talk *t, const char *text, struct err *e)
{
    json_t *m = *text ? make_message("system", str_from(text)) : NULL;
    if (*text && !m) return err(e, ERR_MEMORY, "out of memory");
    json_decref(t->system);
    t->system = m;
    t->own_system = true;
    return 0;
}

const char *talk_system(const struct talk *t)
{
    const char *s = json_string_value(json_object_get(t->system, "content"));
    return s ? s : "";
}

void talk_clear(struct talk *t)
{
    json_array_clear(t->messages);
}

json_t *talk_messages(const struct talk *t)
{
    json_t *all = json_array();
    if (all && !(t->system && json_array_append(all, t->system)) && !json_array_extend(all, t->messages)) return all;
    json_decref(all);
    return NULL;
}

static int render(struct talk *t, struct ids *ids, struct err *e)
{
    json_t *all = talk_messages(t);
    const json_t *tools = t->show.tools.list;
    if (all && tools && !t->show.marks.tools) {
        json_t *words = tools_in_words(&t->show.tools, all);
        json_decref(all);
        all = words;
        tools = NULL;
    }
    struct template_input in = {
        .messages = all, .tools = tools, .kwargs = t->show.kwargs, .add_generation_prompt = true};
    int rc = all ? text_prompt(&t->o.text, t->o.text.scratch, &in, ids, NULL, e) : err(e, ERR_MEMORY, "out of memory");
    json_decref(all);
    return rc;
}

static int make_prompt(struct talk *t, struct str text, struct ids *ids, struct err *e)
{
    if (t->plain)
        return tokenizer_encode(t->o.text.tok, t->o.text.scratch, text, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL,
                                ids, e);
    json_t *m = make_message("user", text);
    if (!m || json_array_append_new(t->messages, m)) return err(e, ERR_MEMORY, "out of memory");
    int rc = render(t, ids, e);
    if (rc != ERR_USAGE || t->own_system || !t->system) return rc;
    /* The template refuses a system message that nobody asked for. */
    json_decref(t->system);
    t->system = NULL;
    return render(t, ids, e);
}

static void see_token(void *ud, int32_t id)
{
    struct talk *t = ud;
    uint8_t state[ENGINE_STATE_BYTES];
    int rc = engine_state(t->o.engine, 0, state);
    if (!rc) witness_token(t->witness, id, state);
    if (rc) t->witness->failed = rc;
}

static int call_witness(struct talk *t, const struct ids *ids, struct generate_params *p, struct err *e)
{
    struct receipt_spec s;
    witness_spec(&s, t->o.engine);
    s.prompt = ids->p, s.n_prompt = (int)ids->n, s.sample = p->sample;
    s.stop = p->stop, s.n_stop = p->n_stop, s.max_tokens = p->max_tokens, s.ignore_end = p->ignore_end,
    s.show_special = p->show_special;
    p->drawn = see_token;
    return witness_begin(t->witness, &s, false, e);
}

int talk_answer(struct talk *t, struct str text, struct err *e)
{
    struct ids ids;
    size_t n_before = json_array_size(t->messages);
    struct generate_params p = {.sample = t->sample,
                                .stop = t->stop,
                                .n_stop = t->n_stop,
                                .max_tokens = t->max_tokens,
                                .show_special = t->show_special,
                                .ignore_end = t->ignore_end,
                                .marks = t->show.marks.ids,
                                .n_marks = t->show.apart ? t->show.marks.n_ids : 0,
                                .cancel = &answer_cancel,
                                .text = take_text,
                                .ud = t};
    ids_init(&ids, TEXT_IDS_MAX);
    int rc = make_prompt(t, text, &ids, e);
    if (!rc)
        rc = form_begin(&t->form, (int)ids.n < t->g.n_ctx ? t->g.n_ctx - (int)ids.n : 1, t->max_tokens,
                        &p.grammar, e);
    if (!rc && t->witness) rc = call_witness(t, &ids, &p, e);
    show_begin(&t->show, &t->o.text, ids.p, (int)ids.n, p.grammar != NULL);
    if (!rc) rc = generate_run(&t->g, ids.p, (int)ids.n, &p, e);
    show_end(&t->show);
    grammar_state_destroy(p.grammar);
    ids_finish(&ids);
    if (!t->plain && !rc) {
        json_t *m = make_message("assistant", buf_str(&t->show.text));
        if (m && t->show.calls) json_object_set(m, "tool_calls", t->show.calls);
        if (!m || json_array_append_new(t->messages, m)) rc = err(e, ERR_MEMORY, "out of memory");
    }
    if (rc)
        while (json_array_size(t->messages) > n_before)
            json_array_remove(t->messages, json_array_size(t->messages) - 1);
    return rc;
}

static double rate(int n, double s)
{
    return n > 0 && s > 0 ? n / s : 0;
}

static void report_timed(const struct timed *timed)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    timed_report(timed, &b);
    fwrite(b.p, 1, b.n, stderr);
    buf_finish(&b);
}

void talk_report(const struct talk *t)
{
    const struct generate *g = &t->g;
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    fprintf(stderr, "load:    %.2f s\n", t->o.load_s);
    fprintf(stderr, "prompt:  %d tokens in %.3f s, %.1f tokens/s", g->n_prompt - g->n_cached, g->prompt_s,
            rate(g->n_prompt - g->n_cached, g->prompt_s));
    if (g->n_cached) fprintf(stderr, " (%d more were in the cache)", g->n_cached);
    fprintf(stderr, "\nanswer:  %d tokens in %.3f s, %.1f tokens/s; ended by: %s\n", g->n_answer, g->answer_s,
            rate(g->n_answer - 1, g->answer_s), generate_end_name[g->end]);
    if (g->spec) {
        const struct spec_counts *c = &g->spec->counts;
        fprintf(stderr,
                "guesses: %d of %d right (%.0f %%), in %d of %d steps; %.2f times the speed of steps without",
                c->accepted, c->proposed, c->proposed ? 100.0 * c->accepted / c->proposed : 0, c->guessing,
                c->steps, c->speedup);
        fprintf(stderr, c->rests ? "; rested %d times\n" : "\n", c->rests);
    }
    fprintf(stderr, "context: %d of %d tokens\n", g->n_ids, g->n_ctx);
    if (t->sample.temperature > 0)
        fprintf(stderr, "seed:    %" PRIu64 ", temperature %g\n", t->sample.seed, (double)t->sample.temperature);
    else
        fprintf(stderr, "seed:    not used, temperature 0\n");
    fprintf(stderr, "kernels: %s\nmemory:  %.1f MiB at most\n", t->o.engine->kern->name, (double)u.ru_maxrss / 1024);
    common_print_simulated(stderr, t->o.engine->chip);
    if (t->o.timed) report_timed(t->o.timed);
}
