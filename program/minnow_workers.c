/* SPDX-License-Identifier: MIT
 *
 * The parent of the workers; see minnow_workers.h.
 *
 * Workers belong to a generation: those of the start are the first, each restart is one more. The
 * first worker of a generation starts alone, so that a mistake is said once; when it is ready the
 * others follow, and when all are ready the generation before is told to drain. Should one of them
 * end before that, the new generation is given up, and the old one serves on.
 *
 * A worker is a new process image, not only a fork: it has addresses and canaries of its own, so
 * that an attacker who crashes workers learns nothing of the next one, and it has no memory and no
 * descriptor of the parent but those that it needs. */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include "minnow_workers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cluster/bus_hub.h"

enum {
    START_MS = 30000,       /* for a worker to be ready, and */
    REDIS_MS = 15000,       /* for each Redis, whose name is looked up, and which does not answer */
    OVER_MS = 5000,         /* for a worker to end that has closed the bus, or should have ended */
    KILL_MS = 1000,         /* the same after the second signal */
    BACKOFF_MS = 100,       /* before a worker that crashed is replaced; doubled for each that */
    LIVED_MS = 10000,       /* did not live this long, */
    BACKOFF_MAX_MS = 10000, /* up to this */
    PARENT_MEMORY = 64 << 20 /* bytes of what waits between workers, for each of them */
};

enum state { STARTING, SERVING, ENDING };

struct worker {
    struct worker *next;
    struct parent *parent;
    pid_t pid;
    uint32_t number;
    unsigned slot;
    unsigned generation;
    enum state state;
    uint64_t born_ms;
    struct ws_timer *kill_timer; /* it ends now, or is killed then */
};

struct slot {
    struct parent *parent;
    unsigned index;
    unsigned backoff_ms;    /* of the next replacement */
    struct ws_timer *timer; /* to it */
};

struct parent {
    struct minnow *minnow;
    struct bus_hub *hub;
    struct worker *workers;
    struct slot slots[MINNOW_WORKERS_MAX];
    unsigned count;      /* slots */
    unsigned generation; /* that serves; 0: none yet */
    unsigned rising;     /* that starts; 0: none */
    unsigned last_generation;
    unsigned ready;      /* workers of it that are ready */
    bool again;          /* SIGHUP came while it starts: one more follows */
    char path[PATH_MAX]; /* of the program */
    int program;         /* of the generation that serves, and */
    int rising_program;  /* of the one that starts; -1: none */
    uint32_t last_number;
    size_t max_clients; /* of all together */
    char sandbox[256];  /* what a worker says of its own */
    bool stopping;
    int status;
};

/* --- the log ---------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void say(struct parent *p, const char *format, ...)
{
    struct minnow *minnow = p->minnow;
    char text[512];
    va_list args;

    if (minnow->options->verbosity == MINNOW_QUIET && minnow->serving)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    minnow_log_add(&minnow->streams.log, "minnow: %s", text);
    minnow_streams_end_line(&minnow->streams);
}

/* --- starting a worker ------------------------------------------------------------------------ */

/* A number that no worker has, and no other one had lately. It is in the ids of sessions. */
static uint32_t free_number(struct parent *p)
{
    const struct worker *w;

    do {
        p->last_number = (p->last_number + 1) % (UINT16_MAX + 1);
        for (w = p->workers; w != NULL && w->number != p->last_number; w = w->next)
            ;
    } while (w != NULL);
    return p->last_number;
}

/* Does it start alone, to see whether the others can? */
static bool is_first(const struct parent *p, const struct worker *w)
{
    return w->generation == p->rising && w->slot == 0;
}

/* In the new process: give it what it needs, and become the program. */
static _Noreturn void become_worker(const struct parent *p, const struct worker *w, int program,
                                    int bus)
{
    const struct ws_server *s = p->minnow->server;
    char text[64 + 12 * MINNOW_SOCKETS_MAX];
    size_t len = (size_t)snprintf(text, sizeof text, "%d %u %u %u %d %d", MINNOW_PROTOCOL,
                                  w->number, w->slot, p->count, is_first(p, w), bus);
    int fd;

    fcntl(bus, F_SETFD, 0);
    for (size_t i = 0; i < MINNOW_SOCKETS_MAX && (fd = ws_server_socket(s, i)) >= 0; i++) {
        fcntl(fd, F_SETFD, 0);
        len += (size_t)snprintf(text + len, sizeof text - len, " %d", fd);
    }
    setenv(MINNOW_WORKER_VARIABLE, text, 1);
    syscall(SYS_execveat, program, "", p->minnow->argv, environ, AT_EMPTY_PATH);
    dprintf(STDERR_FILENO, "minnow: cannot execute %s: %s\n", p->path, strerror(errno));
    _exit(EXIT_FAILURE);
}

static void kill_due(void *arg)
{
    struct worker *w = arg;

    say(w->parent, "worker %u (pid %d) does not %s: killed", w->slot, (int)w->pid,
        w->state == STARTING ? "start" : "end");
    kill(w->pid, SIGKILL);
}

static void worker_free(struct worker *w)
{
    ws_timer_cancel(w->kill_timer);
    free(w);
}

static bool spawn(struct parent *p, unsigned slot, unsigned generation)
{
    int program = generation == p->rising ? p->rising_program : p->program;
    struct worker *w = calloc(1, sizeof *w);
    int ends[2] = {-1, -1};

    if (w != NULL) {
        *w = (struct worker){.parent = p, .slot = slot, .generation = generation};
        w->number = free_number(p);
        w->born_ms = ws_now_ms(p->minnow->server);
        w->kill_timer = ws_timer_new(p->minnow->server, NULL, kill_due, w);
    }
    if (w == NULL || w->kill_timer == NULL ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0 ||
        (w->pid = fork()) < 0) {
        say(p, "cannot start worker %u: %s", slot, strerror(errno));
        close(ends[0]);
        close(ends[1]);
        if (w != NULL)
            worker_free(w);
        return false;
    }
    if (w->pid == 0)
        become_worker(p, w, program, ends[1]);
    close(ends[1]);
    w->next = p->workers;
    p->workers = w;
    ws_timer_set(w->kill_timer, START_MS + REDIS_MS * (unsigned)p->minnow->options->redis.count);
    if (bus_hub_add(p->hub, w->number, ends[0]) != 0)
        kill(w->pid, SIGKILL); /* without the bus it is no worker */
    return true;
}

/* --- replacing one ---------------------------------------------------------------------------- */

static void replace_later(struct parent *p, unsigned slot, unsigned delay_ms);

static void replace_due(void *arg)
{
    struct slot *slot = arg;
    struct parent *p = slot->parent;

    slot->timer = NULL;
    if (!p->stopping && p->rising == 0 && !spawn(p, slot->index, p->generation))
        replace_later(p, slot->index, BACKOFF_MAX_MS);
}

static void replace_later(struct parent *p, unsigned slot, unsigned delay_ms)
{
    struct slot *s = &p->slots[slot];

    if (s->timer == NULL)
        s->timer = ws_timer_start(p->minnow->server, delay_ms, replace_due, s);
}

/* How long to wait before the one that follows `w` starts. */
static unsigned backoff(struct parent *p, const struct worker *w)
{
    struct slot *slot = &p->slots[w->slot];
    unsigned delay_ms;

    if (slot->backoff_ms == 0 || ws_now_ms(p->minnow->server) - w->born_ms >= LIVED_MS)
        slot->backoff_ms = BACKOFF_MS;
    delay_ms = slot->backoff_ms;
    slot->backoff_ms = 2 * delay_ms < BACKOFF_MAX_MS ? 2 * delay_ms : BACKOFF_MAX_MS;
    return delay_ms;
}

/* Places of the generation that serves which nobody fills: they were not filled while another
 * generation was to take over. */
static void fill_places(struct parent *p)
{
    for (unsigned slot = 0; slot < p->count; slot++) {
        const struct worker *w = p->workers;

        while (w != NULL && (w->slot != slot || w->generation != p->generation))
            w = w->next;
        if (w == NULL)
            replace_later(p, slot, BACKOFF_MS);
    }
}

/* --- ending them ------------------------------------------------------------------------------ */

static void end_worker(struct worker *w, unsigned type, struct ws_str content, unsigned ms)
{
    struct parent *p = w->parent;

    w->state = ENDING;
    bus_hub_tell(p->hub, w->number, type, content);
    ws_timer_set(w->kill_timer, ms);
}

static void stop_all(struct parent *p, bool in_time)
{
    unsigned ms = in_time ? p->minnow->options->server.close_timeout_ms + OVER_MS : KILL_MS;

    p->stopping = true;
    ws_server_drain(p->minnow->server);
    for (struct worker *w = p->workers; w != NULL; w = w->next)
        end_worker(w, MINNOW_FRAME_STOP, (struct ws_str){NULL, 0}, ms);
    if (p->workers == NULL)
        ws_server_stop(p->minnow->server);
}

static void drain(struct worker *w)
{
    const struct minnow_options *o = w->parent->minnow->options;
    uint8_t ms[4];

    bus_put_u32(ms, o->drain_timeout_ms);
    end_worker(w, MINNOW_FRAME_DRAIN, (struct ws_str){(const char *)ms, sizeof ms},
               o->drain_timeout_ms + o->server.close_timeout_ms + OVER_MS);
}

/* --- generations ------------------------------------------------------------------------------ */

static void close_program(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static bool rise(struct parent *p)
{
    const char *user = p->minnow->options->user_name;

    p->again = false;
    p->rising_program = open(p->path, O_PATH | O_CLOEXEC);
    if (p->rising_program < 0) {
        say(p, "cannot open %s%s%s: %s", p->path, user == NULL ? "" : " as --user ",
            user == NULL ? "" : user, strerror(errno));
        return false;
    }
    p->rising = ++p->last_generation;
    p->ready = 0;
    p->max_clients = 0;
    if (spawn(p, 0, p->rising))
        return true;
    p->rising = 0;
    close_program(&p->rising_program);
    return false;
}

/* The program may have been replaced since the one that is over now was opened. */
static void rise_again(struct parent *p)
{
    if (p->again && !p->stopping)
        rise(p);
}

/* The new one does not start: the old one serves on, if there is one. Those of the new one that
 * serve already have clients. */
static void rise_failed(struct parent *p)
{
    unsigned failed = p->rising;

    p->rising = 0;
    close_program(&p->rising_program);
    if (p->generation == 0) {
        p->status = EXIT_FAILURE;
        stop_all(p, false);
        return;
    }
    say(p, "the new workers do not start; the old ones serve on");
    for (struct worker *w = p->workers; w != NULL; w = w->next) {
        if (w->generation == failed && w->state == SERVING)
            drain(w);
        else if (w->generation == failed)
            end_worker(w, MINNOW_FRAME_STOP, (struct ws_str){NULL, 0}, OVER_MS);
    }
    fill_places(p);
    rise_again(p);
}

/* Those of the generation that serves are filled. */
static void forget_places(struct parent *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        ws_timer_cancel(p->slots[i].timer);
        p->slots[i].timer = NULL;
        p->slots[i].backoff_ms = 0;
    }
}

static void risen(struct parent *p)
{
    bool is_first = p->generation == 0;

    p->generation = p->rising;
    p->rising = 0;
    close_program(&p->program);
    p->program = p->rising_program;
    p->rising_program = -1;
    forget_places(p);
    for (struct worker *w = p->workers; w != NULL; w = w->next) {
        if (w->generation != p->generation && w->state != ENDING)
            drain(w);
    }
    if (!is_first) {
        say(p, "%u new workers serve; the old ones serve their clients for at most %g s", p->count,
            p->minnow->options->drain_timeout_ms / 1000.0);
    } else if (!minnow_print_start(p->minnow, p->max_clients, p->count, p->sandbox)) {
        p->status = EXIT_FAILURE;
        stop_all(p, true);
    }
    p->minnow->serving = true;
    rise_again(p);
}

/* --- events ----------------------------------------------------------------------------------- */

static struct worker *find(struct parent *p, uint32_t number)
{
    struct worker *w = p->workers;

    while (w != NULL && w->number != number)
        w = w->next;
    return w;
}

static void worker_ready(struct worker *w, struct ws_str content)
{
    struct parent *p = w->parent;
    char text[sizeof p->sandbox + 32];
    char *line;

    if (w->state != STARTING)
        return;
    snprintf(text, sizeof text, "%.*s", (int)content.len, content.data);
    w->state = SERVING;
    ws_timer_stop(w->kill_timer);
    if (w->generation != p->rising)
        return;
    p->max_clients += strtoull(text, &line, 10);
    snprintf(p->sandbox, sizeof p->sandbox, "%s", *line == ' ' ? line + 1 : line);
    p->ready++;
    for (unsigned slot = 1; p->ready == 1 && slot < p->count && p->rising != 0; slot++) {
        if (!spawn(p, slot, p->rising))
            rise_failed(p);
    }
    if (p->ready == p->count)
        risen(p);
}

static void frame_came(void *arg, uint32_t number, unsigned type, struct ws_str content)
{
    struct worker *w = find(arg, number);

    if (w != NULL && type == MINNOW_FRAME_READY)
        worker_ready(w, content);
}

/* Its end of the bus is closed: it ends, or it was cut off. */
static void bus_over(void *arg, uint32_t number)
{
    struct worker *w = find(arg, number);

    if (w == NULL)
        return;
    w->state = ENDING;
    ws_timer_set(w->kill_timer, OVER_MS);
}

static void describe(char *out, size_t size, int status)
{
    if (WIFSIGNALED(status))
        snprintf(out, size, "ended by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(out, size, "ended with status %d", WEXITSTATUS(status));
}

/* A worker that is not wanted any more may end; any other one is replaced. */
static void worker_ended(struct parent *p, struct worker *w, int status)
{
    bool failed = w->generation == p->rising && !p->stopping;
    char how[128];

    describe(how, sizeof how, status);
    if (failed && (WIFSIGNALED(status) || p->generation != 0))
        say(p, "worker %u (pid %d) %s before it served", w->slot, (int)w->pid, how);
    if (failed) {
        rise_failed(p);
    } else if (!p->stopping && w->generation == p->generation && p->rising == 0) {
        unsigned delay_ms = backoff(p, w);

        say(p, "worker %u (pid %d) %s; another one starts in %g s", w->slot, (int)w->pid, how,
            delay_ms / 1000.0);
        replace_later(p, w->slot, delay_ms);
    } else if (WIFSIGNALED(status) || (WEXITSTATUS(status) != 0 && !p->stopping)) {
        say(p, "worker %u (pid %d) %s", w->slot, (int)w->pid, how);
    }
}

static void children_ended(struct parent *p)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct worker **link = &p->workers;
        struct worker *w;

        while (*link != NULL && (*link)->pid != pid)
            link = &(*link)->next;
        w = *link;
        if (w == NULL)
            continue;
        *link = w->next;
        bus_hub_ended(p->hub, w->number);
        worker_ended(p, w, status);
        worker_free(w);
    }
    if (p->stopping && p->workers == NULL)
        ws_server_stop(p->minnow->server);
}

static void restart(struct parent *p)
{
    if (p->stopping)
        return;
    if (p->rising == 0) {
        rise(p);
        return;
    }
    if (!p->again)
        say(p, "SIGHUP: a restart is under way; another one follows");
    p->again = true;
}

static void signal_arrived(void *arg, uint32_t ready)
{
    struct parent *p = arg;
    struct signalfd_siginfo info;

    (void)ready;
    if (read(p->minnow->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGCHLD)
        children_ended(p);
    else if (info.ssi_signo == SIGHUP)
        restart(p);
    else
        stop_all(p, !p->stopping);
}

/* --- the start -------------------------------------------------------------------------------- */

/* The file of this program. What lies there when SIGHUP comes is the new one. */
static bool find_program(struct parent *p)
{
    ssize_t len = readlink("/proc/self/exe", p->path, sizeof p->path - 1);

    if (len < 0)
        return minnow_complain(p->minnow, "--workers needs /proc/self/exe", WS_ERR_SYSTEM);
    p->path[len] = '\0';
    return true;
}

static bool watch_signals(struct parent *p)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};

    signal(SIGCHLD, SIG_DFL); /* else nobody could wait for them */
    return minnow_watch_signals(p->minnow, numbers, 3, SIGCHLD, signal_arrived, p) == 0 ||
           minnow_complain(p->minnow, "cannot start", WS_ERR_SYSTEM);
}

static bool start(struct parent *p)
{
    const struct bus_hub_events events = {frame_came, bus_over, p};
    struct minnow *minnow = p->minnow;
    struct ws_options o = minnow->options->server;

    o.no_accept = true;
    o.max_memory = (size_t)PARENT_MEMORY * (p->count + 4);
    minnow->server = ws_server_new(&o);
    minnow->streams.server = minnow->server;
    if (minnow->server == NULL)
        return minnow->complained ? false : minnow_complain(minnow, "cannot start", WS_ERR_SYSTEM);
    if (!minnow_find_port(minnow)) /* `make campaign` lets getsockname() fail */
        return minnow_complain(minnow, "cannot tell the port", WS_ERR_SYSTEM); /* uncovered: so */
    p->hub = bus_hub_new(minnow->server, NULL, &events);
    if (p->hub == NULL)
        return minnow_complain(minnow, "cannot start", WS_ERR_NOMEM);
    if (!find_program(p) || !watch_signals(p) || !minnow_become_user(minnow))
        return false;
    if (!minnow->options->no_sandbox)
        minnow_sandbox_enter_parent(&minnow->sandbox, minnow->options->bind.items,
                                    minnow->options->redis.items);
    return rise(p);
}

static void release(struct parent *p)
{
    for (unsigned i = 0; i < p->count; i++)
        ws_timer_cancel(p->slots[i].timer);
    while (p->workers != NULL) {
        struct worker *w = p->workers;

        p->workers = w->next;
        kill(w->pid, SIGKILL);
        worker_free(w);
    }
    bus_hub_free(p->hub);
    close_program(&p->program);
    close_program(&p->rising_program);
    free(p);
}

int minnow_workers_serve(struct minnow *minnow)
{
    struct parent *p = calloc(1, sizeof *p);
    int status = EXIT_FAILURE;

    if (p == NULL) {
        minnow_complain(minnow, "cannot start", WS_ERR_NOMEM);
        return EXIT_FAILURE;
    }
    p->minnow = minnow;
    p->count = minnow->options->workers;
    p->program = p->rising_program = -1;
    p->last_number = UINT16_MAX;
    for (unsigned i = 0; i < p->count; i++)
        p->slots[i] = (struct slot){.parent = p, .index = i};
    if (start(p)) {
        int error = ws_server_run(minnow->server);

        if (error != 0)
            minnow_complain(minnow, "cannot go on", error);
        status = error == 0 ? p->status : EXIT_FAILURE;
    }
    release(p);
    return status;
}
