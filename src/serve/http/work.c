/* SPDX-License-Identifier: Apache-2.0 */
/* Worker threads of http: a queue of requests, each with the function to run. As long as requests are
 * bounded, so is it. */
#include <stdlib.h>
#include "serve/http/http_int.h"

void http_run_route(struct http_request *r)
{
    if (r->h->o.before && !r->h->o.before(r->h->o.ud, r)) return;
    r->route->handle(r);
}

void http_work_push(struct http_request *r, void (*fn)(struct http_request *r))
{
    struct http_work *w = &r->h->work;
    pthread_mutex_lock(&w->lock);
    r->work = fn;
    r->next = NULL;
    if (w->last) w->last->next = r;
    else w->first = r;
    w->last = r;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

void http_defer(struct http_request *r, void (*fn)(struct http_request *r))
{
    http_work_push(r, fn);
}

static void *run_worker(void *arg)
{
    struct http_work *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->first && !w->stop) pthread_cond_wait(&w->more, &w->lock);
        struct http_request *r = w->first;
        if (!r) break;
        w->first = r->next;
        if (!w->first) w->last = NULL;
        void (*fn)(struct http_request *) = r->work;
        pthread_mutex_unlock(&w->lock);
        fn(r);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int http_work_start(struct http *h, int n_threads, struct err *e)
{
    struct http_work *w = &h->work;
    w->thread = calloc((size_t)n_threads, sizeof *w->thread);
    if (!w->thread) return err(e, ERR_MEMORY, "out of memory");
    for (; w->n_threads < n_threads; w->n_threads++)
        if (pthread_create(&w->thread[w->n_threads], NULL, run_worker, w))
            return err(e, ERR_MEMORY, "cannot start a worker thread");
    return 0;
}

void http_work_stop(struct http *h)
{
    struct http_work *w = &h->work;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->n_threads; i++) pthread_join(w->thread[i], NULL);
    free(w->thread);
    w->thread = NULL;
    w->n_threads = 0;
}
