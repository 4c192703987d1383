/* SPDX-License-Identifier: MIT
 *
 * --redis; see minnow_cluster.h. */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include "minnow_cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cluster/redis_lookup.h"
#include "cluster/redis_url.h"
#include "minnow.h"
#include "minnow_kernel.h"

enum { STEP_MS = 100, FOLLOWER_MS = 1000, CLOSED_AT_MOST = 65536 };

/* A worker that follows others, or replaces one, starts while Redis is away, too: it serves its own
 * clients until Redis is back, as the others do. */
static bool is_follower(const struct minnow *minnow)
{
    return minnow->worker.is_worker && !minnow->worker.is_first;
}

/* Before the server runs, the option is named in place of what it is about. */
static void log_line(void *arg, enum ws_log_level level, const char *line)
{
    static const char prefix[] = "redis: ";
    struct minnow *minnow = arg;
    enum minnow_verbosity verbosity = minnow->options->verbosity;
    bool is_start = !minnow->serving && !is_follower(minnow);

    if (verbosity < (level == WS_LOG_INFO ? MINNOW_VERBOSE : MINNOW_NORMAL) &&
        (!is_start || level == WS_LOG_INFO))
        return;
    minnow_streams_begin_line(&minnow->streams);
    if (is_start && strncmp(line, prefix, strlen(prefix)) == 0) {
        minnow_log_add(&minnow->streams.log, "--redis ");
        line += strlen(prefix);
    }
    minnow_options_say(&minnow->streams.log, line);
    minnow_streams_end_line(&minnow->streams);
}

static bool complain(struct minnow *minnow)
{
    minnow_log_add(&minnow->streams.log, "minnow: --redis: %s", strerror(errno));
    minnow_streams_end_line(&minnow->streams);
    return false;
}

/* --- names ------------------------------------------------------------------------------------ */

static bool has_names(const struct minnow_list *urls)
{
    for (size_t i = 0; i < urls->count; i++) {
        struct redis_addresses a;
        struct redis_url url;

        if (redis_url_parse(&url, urls->items[i]) == NULL && url.host[0] != '\0' &&
            !redis_lookup_numeric(url.host, &a))
            return true;
    }
    return false;
}

/* Not one by one up to the limit of descriptors: that may be a thousand million. */
static void close_from(unsigned first)
{
    if (syscall(KERNEL_CLOSE_RANGE, first, UINT_MAX, 0) == 0)
        return;
    for (unsigned fd = first; fd < CLOSED_AT_MOST; fd++) /* Linux before 5.9 */
        close((int)fd);
}

/* The child: it has nothing of the server's but its end of the pair, and ends with the server. The
 * sandbox of a worker's parent lets it open /dev/null for reading alone. */
_Noreturn static void serve_lookup(int fd)
{
    enum { OWN = STDERR_FILENO + 1 };
    int null = open("/dev/null", O_RDONLY);

    for (int i = STDIN_FILENO; null >= 0 && i <= STDERR_FILENO; i++)
        dup2(null, i);
    dup2(fd, OWN);
    close_from(OWN + 1);
    redis_lookup_serve(OWN);
    _exit(0);
}

/* In the sandbox no name can be looked up: that opens files and sends datagrams. A thread outside
 * of it would be of no use, since an attacker could write to its memory. So a process does it,
 * which gets names and gives addresses, and is not reached by any client. */
static bool start_lookup(struct minnow_cluster *c)
{
    int ends[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    pid = fork();
    if (pid == 0)
        serve_lookup(ends[1]);
    close(ends[1]);
    c->lookup_fd = ends[0];
    return pid > 0;
}

/* --- begin and end ---------------------------------------------------------------------------- */

/* Turns of the server until a Redis has answered, or none has; for a follower, not for long. */
static bool wait_for_redis(const struct minnow *minnow)
{
    uint64_t start_ms = ws_now_ms(minnow->server);
    int result = 1;

    while (result == 1 && !bus_is_up(minnow->cluster.bus) &&
           bus_redis_fault(minnow->cluster.bus) == NULL &&
           !(is_follower(minnow) && ws_now_ms(minnow->server) - start_ms >= FOLLOWER_MS))
        result = ws_server_step(minnow->server, STEP_MS);
    return bus_is_up(minnow->cluster.bus) || is_follower(minnow);
}

/* Without --cluster the channels have the names that Node's servers expect. */
static bool join_with_socketio(struct minnow *minnow, struct bus *bus)
{
    const struct sio_cluster_options options = {.prefix = minnow->options->cluster};
    struct minnow_cluster *c = &minnow->cluster;

    if (minnow->socketio == NULL)
        return true;
    c->socketio = sio_cluster_new(minnow->socketio, bus, &options);
    if (c->socketio == NULL)
        errno = ENOMEM;
    return c->socketio != NULL;
}

/* The workers of one parent are a cluster, too. */
static bool join_workers(struct minnow *minnow)
{
    struct minnow_cluster *c = &minnow->cluster;

    c->rooms = ws_cluster_new(minnow->server, minnow->worker.bus, NULL);
    return (c->rooms != NULL && join_with_socketio(minnow, minnow->worker.bus)) ||
           minnow_complain(minnow, "cannot start", WS_ERR_NOMEM);
}

bool minnow_cluster_begin(struct minnow *minnow)
{
    const struct minnow_options *o = minnow->options;
    struct minnow_cluster *c = &minnow->cluster;
    struct bus_redis_options redis = {.urls = o->redis.items, .log = log_line, .log_arg = minnow};

    if (o->redis.count == 0)
        return !minnow->worker.is_worker || o->echo || join_workers(minnow);
    if (has_names(&o->redis) && !start_lookup(c))
        return complain(minnow);
    redis.lookup_fd = c->lookup_fd < 0 ? 0 : c->lookup_fd;
    c->bus = bus_redis_new(minnow->server, &redis);
    if (c->bus == NULL)
        return complain(minnow);
    c->rooms = ws_cluster_new(minnow->server, c->bus, o->cluster);
    if (c->rooms == NULL || !join_with_socketio(minnow, c->bus))
        return complain(minnow);
    return o->redis_optional || wait_for_redis(minnow);
}

void minnow_cluster_end(struct minnow_cluster *c)
{
    ws_cluster_free(c->rooms);
    sio_cluster_free(c->socketio);
    bus_free(c->bus);
    if (c->lookup_fd >= 0)
        close(c->lookup_fd);
}
