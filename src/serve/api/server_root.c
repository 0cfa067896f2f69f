/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The roots of the served models. A kept one is there at once; others are computed by a thread of low
 * priority after all models are loaded, while answers are already given. Replies with a receipt wait for it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "serve/api/api.h"
#include "serve/http/log.h"

enum { NICE = 10 };

static void wake_all(struct server *s)
{
    pthread_mutex_lock(&s->root_lock);
    for (int i = 0; i < s->n_waits; i++) http_defer(s->wait[i].r, s->wait[i].fn);
    s->n_waits = 0;
    pthread_mutex_unlock(&s->root_lock);
}

static void *compute_roots(void *arg)
{
    struct server *s = arg;
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE); /* of this thread alone, on Linux */
    for (int i = 0; i < s->n_models && !atomic_load(&s->root_stop); i++) {
        struct served_model *m = &s->model[i];
        struct err e = {0};
        if (atomic_load(&m->has_root)) continue;
        double begin = server_now();
        if (root_compute(m->engine->file, m->root, &s->root_stop, &e)) {
            if (e.code != ERR_CANCELLED)
                log_event("fault", ",\"text\":\"model %s: no root: %s\"", m->name, err_text(e.code));
            break;
        }
        root_keep(m->engine->file, m->path.z, m->root);
        atomic_store(&m->has_root, true);
        wake_all(s);
        log_event("root", ",\"model\":\"%s\",\"seconds\":%.3f", m->name, server_now() - begin);
    }
    pthread_mutex_lock(&s->root_lock);
    s->roots_done = true; /* what is missing now will not come */
    pthread_mutex_unlock(&s->root_lock);
    wake_all(s);
    return NULL;
}

void server_begin_roots(struct server *s)
{
    bool all = true;
    for (int i = 0; i < s->n_models; i++) {
        struct served_model *m = &s->model[i];
        if (root_recall(m->engine->file, m->path.z, m->root)) atomic_store(&m->has_root, true);
        else all = false;
    }
    s->rooting = !all && pthread_create(&s->rooter, NULL, compute_roots, s) == 0;
    pthread_mutex_lock(&s->root_lock);
    if (!s->rooting) s->roots_done = true;
    pthread_mutex_unlock(&s->root_lock);
    wake_all(s);
}

bool server_wait_root(struct server *s, const struct served_model *m, struct http_request *r,
                      void (*fn)(struct http_request *r))
{
    bool waits = false;
    pthread_mutex_lock(&s->root_lock);
    if (!atomic_load(&m->has_root) && !s->roots_done) {
        if (s->n_waits == s->cap_waits) {
            int cap = s->cap_waits ? 2 * s->cap_waits : 64;
            struct root_wait *w = realloc(s->wait, (size_t)cap * sizeof *w);
            if (w) s->wait = w, s->cap_waits = cap;
        }
        waits = s->n_waits < s->cap_waits;
        if (waits) s->wait[s->n_waits++] = (struct root_wait){r, fn};
    }
    pthread_mutex_unlock(&s->root_lock);
    return waits;
}

void server_end_roots(struct server *s)
{
    atomic_store(&s->root_stop, 1);
    if (s->rooting) pthread_join(s->rooter, NULL);
    s->rooting = false;
}
