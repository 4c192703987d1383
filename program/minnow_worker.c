/* SPDX-License-Identifier: MIT
 *
 * A worker; see minnow_worker.h. */
#include "minnow_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "minnow.h"

enum {
    DRAIN_LOOK_MS = 100,            /* between two looks whether all clients have gone */
    DEFAULT_MEMORY = 256 << 20,     /* as ws_options.max_memory, for all together, but for */
    DEFAULT_MEMORY_LEAST = 64 << 20 /* each of them this */
};

/* --- what the parent says at the start -------------------------------------------------------- */

/* The next number of the variable. */
static bool next_number(const char **at, unsigned long max, unsigned long *n)
{
    char *end;

    if (**at == ' ')
        ++*at;
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *n = strtoul(*at, &end, 10);
    *at = end;
    return errno == 0 && *n <= max && (*end == ' ' || *end == '\0');
}

static bool next_descriptor(const char **at, int *fd)
{
    unsigned long n;

    if (!next_number(at, INT32_MAX, &n))
        return false;
    *fd = (int)n;
    return fcntl(*fd, F_SETFD, FD_CLOEXEC) == 0;
}

static bool parse(struct minnow_worker *w, const char *at)
{
    unsigned long protocol, number, slot, workers, is_first;
    size_t count = 0;

    if (!next_number(&at, UINT32_MAX, &protocol) || protocol != MINNOW_PROTOCOL ||
        !next_number(&at, UINT16_MAX, &number) || !next_number(&at, MINNOW_WORKERS_MAX, &slot) ||
        !next_number(&at, MINNOW_WORKERS_MAX, &workers) || slot >= workers ||
        !next_number(&at, 1, &is_first) || !next_descriptor(&at, &w->bus_fd))
        return false;
    while (*at != '\0' && count < MINNOW_SOCKETS_MAX) {
        if (!next_descriptor(&at, &w->sockets[count++]))
            return false;
    }
    w->sockets[count] = -1;
    w->number = (uint32_t)number;
    w->slot = (unsigned)slot;
    w->workers = (unsigned)workers;
    w->is_first = is_first != 0;
    w->is_worker = true;
    return *at == '\0' && count > 0;
}

bool minnow_worker_read(struct minnow_worker *w)
{
    const char *value = getenv(MINNOW_WORKER_VARIABLE);

    *w = (struct minnow_worker){.is_worker = false};
    if (value == NULL)
        return true;
    if (!parse(w, value)) {
        fprintf(stderr, "minnow: %s in the environment is not from a parent of this version\n",
                MINNOW_WORKER_VARIABLE);
        return false;
    }
    unsetenv(MINNOW_WORKER_VARIABLE);
    return true;
}

/* Never 0, which would be the default. */
static size_t share_of(const struct minnow_worker *w, size_t all)
{
    size_t share = all / w->workers + (w->slot < all % w->workers);

    return share > 0 ? share : 1;
}

/* Where max_clients is not given each process may have as many descriptors as the system allows. */
void minnow_worker_limit(struct minnow *minnow)
{
    const struct minnow_worker *w = &minnow->worker;
    struct ws_options *o = &minnow->options->server;

    if (!w->is_worker)
        return;
    o->sockets = w->sockets;
    o->bind = NULL;
    if (o->max_clients != 0)
        o->max_clients = share_of(w, o->max_clients);
    if (o->max_memory != 0)
        o->max_memory = share_of(w, o->max_memory);
    else if (w->workers > DEFAULT_MEMORY / DEFAULT_MEMORY_LEAST)
        o->max_memory = DEFAULT_MEMORY_LEAST;
    else
        o->max_memory = DEFAULT_MEMORY / w->workers;
}

/* --- what it says later ----------------------------------------------------------------------- */

/* Nor a connection that waits to be handed over. */
static bool has_nobody(const struct minnow *minnow)
{
    return ws_server_stats(minnow->server).connections == 0 &&
           (minnow->socketio == NULL || eio_first(sio_engine(minnow->socketio)) == NULL) &&
           bus_local_flush(minnow->worker.bus);
}

/* A session on polling has no connection at times, so sessions count, too. */
static void drain_look(void *arg)
{
    struct minnow *minnow = arg;

    if (has_nobody(minnow) || ws_now_ms(minnow->server) >= minnow->worker.drain_until_ms)
        minnow_stop(minnow);
    else
        ws_timer_set(minnow->worker.drain_timer, DRAIN_LOOK_MS);
}

static void frame_came(void *arg, unsigned type, struct ws_str content)
{
    struct minnow *minnow = arg;

    if (type == MINNOW_FRAME_STOP) {
        ws_timer_stop(minnow->worker.drain_timer);
        minnow_stop(minnow);
    } else if (type == MINNOW_FRAME_DRAIN && content.len == 4) {
        minnow->worker.drain_until_ms =
            ws_now_ms(minnow->server) + bus_get_u32((const uint8_t *)content.data);
        ws_server_drain(minnow->server);
        ws_timer_set(minnow->worker.drain_timer, 0);
    }
}

static void parent_over(void *arg)
{
    minnow_stop(arg);
}

/* Until the parent has said which workers there are, their sessions would be unknown here. */
static void wait_for_parent(const struct minnow_worker *w)
{
    struct pollfd parent = {.fd = w->bus_fd, .events = POLLIN};

    while (poll(&parent, 1, -1) < 0 && errno == EINTR)
        ;
}

bool minnow_worker_begin(struct minnow *minnow)
{
    struct minnow_worker *w = &minnow->worker;
    const struct bus_local_events events = {frame_came, parent_over, minnow};

    wait_for_parent(w);
    w->drain_timer = ws_timer_new(minnow->server, NULL, drain_look, minnow);
    if (w->drain_timer == NULL)
        return false;
    w->bus = bus_local_new(minnow->server, w->bus_fd, NULL, &events);
    return w->bus != NULL;
}

void minnow_worker_ready(struct minnow *minnow, const char *line)
{
    char text[MINNOW_LOG_LINE];

    snprintf(text, sizeof text, "%zu %s", ws_server_stats(minnow->server).max_clients, line);
    bus_local_tell(minnow->worker.bus, MINNOW_FRAME_READY, ws_str(text));
}

void minnow_worker_release(struct minnow_worker *w)
{
    bus_free(w->bus);
    w->bus = NULL;
    ws_timer_cancel(w->drain_timer);
    w->drain_timer = NULL;
}
