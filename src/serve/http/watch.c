/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watcher. The HTTP library does not look at a connection whose request is being answered, so this thread has an
 * epoll of its own over all connections, for one event: the client closed its side (EPOLLRDHUP). Work for a client that
 * does not wait is given up within one step. Once a second it also sends heartbeats on silent streams, and ends
 * connections whose request does not arrive.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "serve/http/http_int.h"

enum { EVENTS = 64, TICK_MS = 1000, WAKE = -1, UNSENT_MS = 60000,
       SEND_BYTES = 64 << 10 /* that the system keeps for a client which does not read; it would take megabytes */ };

static uint64_t event_key(int slot, uint32_t generation)
{
    return (uint64_t)(uint32_t)slot << 32 | generation;
}

int http_slot_take(struct http *h, int fd)
{
    int on = 1, unsent_ms = UNSENT_MS, send_bytes = SEND_BYTES;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unsent_ms, sizeof unsent_ms);
    pthread_mutex_lock(&h->slot_lock);
    int i = h->first_free;
    if (i >= 0) {
        struct http_slot *s = &h->slot[i];
        h->first_free = s->next_free;
        if (i >= h->n_used) h->n_used = i + 1;
        h->n_conns++;
        *s = (struct http_slot){.fd = fd, .generation = s->generation, .used = true, .receive_s = http_now()};
        struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLET, .data.u64 = event_key(i, s->generation)};
        epoll_ctl(h->watch_fd, EPOLL_CTL_ADD, fd, &ev); /* without it the client is noticed by the next write */
    }
    pthread_mutex_unlock(&h->slot_lock);
    return i;
}

void http_slot_drop(struct http *h, int i)
{
    if (i < 0) return;
    pthread_mutex_lock(&h->slot_lock);
    struct http_slot *s = &h->slot[i];
    struct http_request *r = s->current;
    epoll_ctl(h->watch_fd, EPOLL_CTL_DEL, s->fd, NULL);
    h->n_active -= !!r;
    *s = (struct http_slot){.fd = -1, .generation = s->generation + 1, .next_free = h->first_free};
    h->first_free = i;
    h->n_conns--;
    pthread_mutex_unlock(&h->slot_lock);
    if (r) http_request_unref(r);
}

void http_slot_set(struct http *h, int i, struct http_request *r)
{
    if (i < 0) return;
    pthread_mutex_lock(&h->slot_lock);
    struct http_slot *s = &h->slot[i];
    struct http_request *old = s->current;
    if (r) http_request_ref(r);
    s->current = r;
    h->n_active += !!r - !!old;
    s->receive_s = http_now();
    bool lost = r && s->half;
    pthread_mutex_unlock(&h->slot_lock);
    if (old) http_request_unref(old);
    if (lost) http_request_lost(r);
}

void http_slot_received(struct http *h, int i)
{
    if (i < 0) return;
    pthread_mutex_lock(&h->slot_lock);
    h->slot[i].receive_s = 0;
    pthread_mutex_unlock(&h->slot_lock);
}

int http_conns(struct http *h)
{
    pthread_mutex_lock(&h->slot_lock);
    int n = h->n_conns;
    pthread_mutex_unlock(&h->slot_lock);
    return n;
}

int http_active(struct http *h)
{
    pthread_mutex_lock(&h->slot_lock);
    int n = h->n_active;
    pthread_mutex_unlock(&h->slot_lock);
    return n;
}

static int slots_used(struct http *h)
{
    pthread_mutex_lock(&h->slot_lock);
    int n = h->n_used;
    pthread_mutex_unlock(&h->slot_lock);
    return n;
}

static void notice(struct http *h, uint64_t key)
{
    int i = (int)(key >> 32);
    struct http_request *r = NULL;
    pthread_mutex_lock(&h->slot_lock);
    struct http_slot *s = &h->slot[i];
    if (s->used && s->generation == (uint32_t)key) {
        s->half = true;
        /* wakes the library, which else overlooks an end that came with data */
        if (s->receive_s > 0) shutdown(s->fd, SHUT_RDWR);
        if ((r = s->current)) http_request_ref(r);
    }
    pthread_mutex_unlock(&h->slot_lock);
    if (!r) return;
    http_request_lost(r);
    http_request_unref(r);
}

static void tick(struct http *h)
{
    double now = http_now();
    for (int i = 0, n = slots_used(h); i < n; i++) {
        struct http_request *r = NULL;
        pthread_mutex_lock(&h->slot_lock);
        struct http_slot *s = &h->slot[i];
        if (s->used && s->receive_s > 0 && now - s->receive_s > HTTP_RECEIVE_S) shutdown(s->fd, SHUT_RDWR);
        if (s->used && (r = s->current)) http_request_ref(r);
        pthread_mutex_unlock(&h->slot_lock);
        if (!r) continue;
        pthread_mutex_lock(&r->lock);
        if (r->state == HTTP_STREAMING && !r->ended && !r->gone && now - r->written_s > HTTP_HEARTBEAT_S &&
            r->type && strncmp(r->type, HTTP_EVENTS, strlen("text/event-stream")) == 0 &&
            r->out.n - r->out_at < HTTP_PENDING_SHARE) {
            size_t before = r->out.n;
            buf_append_z(&r->out, ": waiting\n\n");
            atomic_fetch_add(&h->pending, r->out.n - before);
            r->written_s = now;
            http_resume(r);
        }
        pthread_mutex_unlock(&r->lock);
        http_request_unref(r);
    }
}

static void *run_watcher(void *arg)
{
    struct http *h = arg;
    struct epoll_event ev[EVENTS];
    double last = http_now();
    for (;;) {
        int n = epoll_wait(h->watch_fd, ev, EVENTS, TICK_MS);
        if (n < 0 && errno != EINTR) break;
        for (int i = 0; i < n; i++) {
            if (ev[i].data.u64 == (uint64_t)WAKE) return NULL;
            notice(h, ev[i].data.u64);
        }
        if (http_now() - last < 1e-3 * TICK_MS) continue;
        last = http_now();
        tick(h);
    }
    return NULL;
}

void http_slots_wake(struct http *h)
{
    for (int i = 0, n = slots_used(h); i < n; i++) {
        pthread_mutex_lock(&h->slot_lock);
        struct http_request *r = h->slot[i].current;
        if (r) http_request_ref(r);
        pthread_mutex_unlock(&h->slot_lock);
        if (!r) continue;
        http_request_lost(r);
        pthread_mutex_lock(&r->lock);
        r->cut = true;
        http_resume(r);
        pthread_mutex_unlock(&r->lock);
        http_request_unref(r);
    }
}

int http_watch_start(struct http *h, struct err *e)
{
    h->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uint64_t)WAKE};
    if (h->watch_fd < 0 || h->wake_fd < 0 || epoll_ctl(h->watch_fd, EPOLL_CTL_ADD, h->wake_fd, &ev) ||
        pthread_create(&h->watcher, NULL, run_watcher, h))
        return err(e, ERR_IO, "cannot watch connections: %s", strerror(errno));
    h->watching = true;
    return 0;
}

void http_watch_stop(struct http *h)
{
    if (h->watching) {
        eventfd_write(h->wake_fd, 1);
        pthread_join(h->watcher, NULL);
    }
    if (h->watch_fd >= 0) close(h->watch_fd);
    if (h->wake_fd >= 0) close(h->wake_fd);
    h->watching = false;
    h->watch_fd = h->wake_fd = -1;
}
