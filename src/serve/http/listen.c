/* SPDX-License-Identifier: Apache-2.0 */
/* The listening socket: ours to open, so that faults have names; or handed over by systemd (sd_listen_fds(3)). */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "serve/http/http_int.h"

enum { BACKLOG = 1024 };

static int port_of(int fd)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr sa;
    } a;
    char port[8];
    socklen_t n = sizeof a;
    if (getsockname(fd, &a.sa, &n) || getnameinfo(&a.sa, n, NULL, 0, port, sizeof port, NI_NUMERICSERV)) return 0;
    int v = 0;
    for (const char *p = port; *p >= '0' && *p <= '9'; p++) v = 10 * v + (*p - '0');
    return v;
}

static int bind_fault(const struct http_options *o, struct err *e)
{
    if (errno == EADDRINUSE)
        return err(
            e, ERR_USAGE,
            "port %d of %s is in use by another program: choose one with --port, or 0 for any that is free",
            o->port, o->host);
    if (errno == EACCES)
        return err(e, ERR_USAGE, "port %d needs root's rights: choose one from 1024 on with --port", o->port);
    return err(e, ERR_IO, "cannot listen on %s port %d: %s", o->host, o->port, strerror(errno));
}

int http_listen(const struct http_options *o, int *fd, int *port, struct err *e)
{
    if (o->listen_fd >= 0) {
        int listens = 0;
        socklen_t n = sizeof listens;
        if (getsockopt(o->listen_fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) || !listens)
            return err(e, ERR_USAGE, "descriptor %d is no listening socket", o->listen_fd);
        *fd = o->listen_fd;
        *port = port_of(*fd);
        return 0;
    }
    char service[16];
    snprintf(service, sizeof service, "%d", o->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list;
    int gai = getaddrinfo(o->host, service, &hints, &list), rc = 0, on = 1;
    if (gai) return err(e, ERR_USAGE, "--host %s: %s", o->host, gai_strerror(gai));
    int s = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0) {
        rc = err(e, ERR_IO, "cannot make a socket: %s", strerror(errno));
    } else {
        setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(s, list->ai_addr, list->ai_addrlen) || listen(s, BACKLOG)) rc = bind_fault(o, e);
    }
    freeaddrinfo(list);
    if (rc) {
        if (s >= 0) close(s);
        return rc;
    }
    *fd = s;
    *port = port_of(s);
    return 0;
}
