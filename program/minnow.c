/* SPDX-License-Identifier: MIT
 *
 * The program: start, signals, end. Like all of program/ it uses only public headers of the
 * library. */
#define _GNU_SOURCE 1 /* program_invocation_short_name, and what -std=c11 hides */
#include "minnow.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "minnow_chat.h"
#include "minnow_socketio.h"
#include "minnow_trace.h"
#include "minnow_workers.h"

/* Lines that are no errors come only with --verbose: ws_options.log_level asks for them. */
static bool is_wanted(const struct minnow *minnow, enum ws_log_level level)
{
    return level != WS_LOG_ERROR || minnow->options->verbosity > MINNOW_QUIET || !minnow->serving;
}

static void log_line(void *arg, enum ws_log_level level, const char *line)
{
    struct minnow *minnow = arg;

    minnow->complained |= level == WS_LOG_ERROR;
    if (!is_wanted(minnow, level))
        return;
    minnow_streams_begin_line(&minnow->streams);
    minnow_options_say(&minnow->streams.log, line);
    minnow_streams_end_line(&minnow->streams);
}

/* Raise the limit of descriptors to the maximum that is allowed: each client needs one. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return; /* uncovered: `make campaign` lets it fail */
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void add_address_line(struct minnow_log *out, const char *mode, const char *host,
                             unsigned port)
{
    bool bare_ipv6 = strchr(host, ':') != NULL;
    const char *left = bare_ipv6 ? "[" : "";
    const char *right = bare_ipv6 ? "]" : "";

    if (minnow_is_unix(host))
        minnow_log_add(out, "minnow: %s on %s", mode, host);
    else
        minnow_log_add(out, "minnow: %s on http://%s%s%s:%u/ (ws://%s%s%s:%u/)", mode, left, host,
                       right, port, left, host, right, port);
    minnow_log_end(out);
}

bool minnow_complain(struct minnow *minnow, const char *what, int error)
{
    const char *why = error == WS_ERR_SYSTEM ? strerror(errno) : ws_strerror(error);

    minnow_log_add(&minnow->streams.log, "minnow: %s: %s", what, why);
    minnow_streams_end_line(&minnow->streams);
    return false;
}

/* What is active, without the end of the line. */
static void add_sandbox(struct minnow *minnow, bool is_root)
{
    const struct minnow_options *o = minnow->options;
    struct minnow_log *out = &minnow->streams.out;

    if (o->no_sandbox)
        minnow_log_add(out, "none, as --no-sandbox asks");
    else
        minnow_sandbox_say(&minnow->sandbox, out);
    if (o->user_name != NULL) {
        minnow_log_add(out, "; user ");
        minnow_log_add_beginning(out, o->user_name, strlen(o->user_name));
    } else if (is_root) {
        minnow_log_add(out, "; warning: it runs as root, see --user");
    }
}

bool minnow_become_user(struct minnow *minnow)
{
    const struct minnow_options *o = minnow->options;
    struct minnow_log *log = &minnow->streams.log;
    const char *address;
    const char *why;

    if (o->user_name == NULL || minnow->worker.is_worker)
        return true; /* a worker's parent has done so */
    address = minnow_user_own(&o->user, o->bind.items);
    why = address != NULL ? strerror(errno) : minnow_user_become(&o->user);
    if (why == NULL)
        return true;
    if (address != NULL)
        minnow_log_add(log, "minnow: cannot give %s to --user '", address);
    else
        minnow_log_add(log, "minnow: cannot become --user '");
    minnow_log_add_beginning(log, o->user_name, strlen(o->user_name));
    minnow_log_add(log, "': %s", why);
    minnow_streams_end_line(&minnow->streams);
    return false;
}

/* Give up what the server does not need once it listens, and begin a line about it. */
static void confine(struct minnow *minnow)
{
    bool is_root = geteuid() == 0; /* in the sandbox nobody may ask */

    if (!minnow->options->no_sandbox)
        minnow_sandbox_enter(&minnow->sandbox);
    add_sandbox(minnow, is_root);
}

/* `workers`: what a worker says of its own. */
static void add_sandbox_of_parent(struct minnow *minnow, const char *workers)
{
    struct minnow_log *out = &minnow->streams.out;

    minnow_log_add(out, "%s", workers);
    if (minnow->options->no_sandbox)
        return;
    minnow_log_add(out, "; their parent: ");
    minnow_sandbox_say(&minnow->sandbox, out);
}

static void add_start_lines(struct minnow *minnow, size_t max_clients, unsigned workers)
{
    const struct minnow_options *o = minnow->options;
    struct minnow_log *out = &minnow->streams.out;

    for (size_t i = 0; o->bind.items[i] != NULL; i++)
        add_address_line(out, o->echo ? "echo" : "chat", o->bind.items[i], minnow->port);
    if (o->verbosity == MINNOW_QUIET)
        return;
    minnow_log_add(out, "minnow: up to %zu clients", max_clients);
    if (workers > 1)
        minnow_log_add(out, ", served by %u workers", workers);
    minnow_log_end(out);
}

bool minnow_print_start(struct minnow *minnow, size_t max_clients, unsigned workers,
                        const char *sandbox)
{
    struct minnow_log *out = &minnow->streams.out;
    int error;

    add_start_lines(minnow, max_clients, workers);
    minnow_log_add(out, "minnow: sandbox: ");
    if (sandbox == NULL)
        confine(minnow); /* so these lines are written in the sandbox already */
    else
        add_sandbox_of_parent(minnow, sandbox);
    if (minnow->options->verbosity > MINNOW_QUIET)
        minnow_log_end(out);
    else
        minnow_log_drop(out);
    error = minnow_log_flush(&minnow->streams.out);
    if (error != 0 && error != EAGAIN) {
        minnow_log_add(&minnow->streams.log, "minnow: cannot write to stdout: %s", strerror(error));
        minnow_streams_end_line(&minnow->streams);
        return false;
    }
    minnow_streams_flush(&minnow->streams);
    return true;
}

/* The parent prints what a worker has to say. */
static bool tell_start(struct minnow *minnow)
{
    char text[MINNOW_LOG_LINE];

    minnow->streams.worker = (int)minnow->worker.slot;
    confine(minnow);
    minnow_log_take(&minnow->streams.out, text, sizeof text);
    minnow_worker_ready(minnow, text);
    return true;
}

void minnow_stop(struct minnow *minnow)
{
    if (minnow->socketio != NULL)
        sio_server_close(minnow->socketio);
    ws_server_stop(minnow->server);
}

static void signal_arrived(void *arg, uint32_t ready)
{
    struct minnow *minnow = arg;
    struct signalfd_siginfo info;

    (void)ready;
    if (read(minnow->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;          /* uncovered: `make campaign` lets it fail */
    minnow_stop(minnow); /* the second call does not wait any more */
}

/* A signal that the parent process ignores stays ignored: a shell ignores SIGINT for what it starts
 * in the background. It must not be in the signalfd's set, since a blocked signal is delivered
 * there even if it is ignored. */
static void add_unless_ignored(sigset_t *set, int signal_number)
{
    struct sigaction action;

    if (sigaction(signal_number, NULL, &action) != 0 || action.sa_handler != SIG_IGN)
        sigaddset(set, signal_number);
}

/* Signals are read from a descriptor, like all other input: a signal handler would need a global
 * variable. */
int minnow_watch_signals(struct minnow *minnow, const int *numbers, size_t count, int always,
                         void (*fn)(void *arg, uint32_t ready), void *arg)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < count; i++)
        add_unless_ignored(&set, numbers[i]);
    if (always != 0)
        sigaddset(&set, always);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return WS_ERR_SYSTEM; /* uncovered: `make campaign` lets it fail */
    minnow->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (minnow->signal_fd < 0)
        return WS_ERR_SYSTEM;
    return ws_watch(minnow->server, minnow->signal_fd, EPOLLIN, fn, arg);
}

/* A worker hears from its parent when to stop. The parent has blocked these signals for it: Ctrl-C
 * reaches all processes of a terminal, and what stops a service often sends SIGTERM to all of
 * them. */
static int watch_signals(struct minnow *minnow)
{
    static const int numbers[] = {SIGINT, SIGTERM};

    if (minnow->worker.is_worker)
        return minnow_worker_begin(minnow) ? 0 : WS_ERR_NOMEM;
    return minnow_watch_signals(minnow, numbers, 2, 0, signal_arrived, minnow);
}

static void on_request(struct ws_conn *c, const struct ws_request *req)
{
    const struct minnow *minnow = ws_user(c);

    minnow_page_respond(&minnow->page, c, req);
}

bool minnow_find_port(struct minnow *minnow)
{
    const char *const *bind = minnow->options->bind.items;
    bool has_tcp = false;

    for (size_t i = 0; bind[i] != NULL; i++)
        has_tcp = has_tcp || !minnow_is_unix(bind[i]);
    minnow->port = ws_server_port(minnow->server);
    return !has_tcp || minnow->port != 0;
}

/* --socketio-client. The file is read before the sandbox closes the file system. */
static bool read_script(struct minnow *minnow)
{
    const char *path = minnow->options->socketio_client;
    const char *why = path == NULL ? NULL : minnow_script_read(&minnow->script, path);

    if (why == NULL)
        return true;
    minnow_log_add(&minnow->streams.log, "minnow: cannot serve --socketio-client '");
    minnow_log_add_beginning(&minnow->streams.log, path, strlen(path));
    minnow_log_add(&minnow->streams.log, "': %s", why);
    minnow_streams_end_line(&minnow->streams);
    return false;
}

/* Socket.IO, and the script of its client. */
static bool start_socketio(struct minnow *minnow)
{
    const struct minnow_options *o = minnow->options;
    int error = 0;

    if (o->no_socketio)
        return true;
    minnow->socketio = minnow_socketio_new(minnow->server, &o->server, &minnow->worker, o->echo);
    if (minnow->socketio == NULL)
        return minnow_complain(minnow, "cannot start", WS_ERR_SYSTEM);
    if (o->socketio_client != NULL)
        error = minnow_script_handle(&minnow->script, minnow->server);
    return error == 0 || minnow_complain(minnow, "cannot start", error);
}

/* Start the server, up to the first line on stdout. */
static bool start(struct minnow *minnow)
{
    static const char *const nowhere[] = {NULL};
    const struct minnow_options *o = minnow->options;
    bool is_worker = minnow->worker.is_worker;
    struct ws_handlers handlers = {
        .on_request = on_request, .subprotocols = o->subprotocols.items, .user = minnow};
    int error;

    if (is_worker && !minnow->worker.is_first) /* the first one speaks for all until it serves */
        minnow->streams.worker = (int)minnow->worker.slot;
    minnow_chat_handle(&handlers, o);
    if (!minnow_page_init(&minnow->page, o->echo))
        return minnow_complain(minnow, "cannot start", WS_ERR_NOMEM); /* uncovered: no memory */
    if (!read_script(minnow))
        return false;
    minnow->server = ws_server_new(&o->server);
    minnow->streams.server = minnow->server;
    if (minnow->server == NULL)
        return minnow->complained ? false : minnow_complain(minnow, "cannot start", WS_ERR_SYSTEM);
    if (!start_socketio(minnow))
        return false;
    error = ws_server_handle(minnow->server, "/", &handlers);
    if (error == 0)
        error = watch_signals(minnow);
    if (error != 0)
        return minnow_complain(minnow, "cannot start", error);
    if (!minnow_find_port(minnow)) /* `make campaign` lets getsockname() fail */
        return minnow_complain(minnow, "cannot tell the port", WS_ERR_SYSTEM); /* uncovered: so */
    if (!o->no_sandbox)
        minnow_sandbox_init(&minnow->sandbox, is_worker ? nowhere : o->bind.items, o->redis.items,
                            is_worker);
    if (!minnow_become_user(minnow) || !minnow_cluster_begin(minnow))
        return false;
    minnow->serving = true;
    return is_worker
               ? tell_start(minnow)
               : minnow_print_start(minnow, ws_server_stats(minnow->server).max_clients, 1, NULL);
}

static int serve(struct minnow *minnow)
{
    int error;

    if (!start(minnow))
        return EXIT_FAILURE;
    error = ws_server_run(minnow->server);
    if (error != 0)
        minnow_complain(minnow, "cannot go on", error);
    return error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* If stderr is closed, the first socket would get its number, and the log would be written to it.
 * So /dev/null is opened in its place, for reading, so that a write to it is still an error. */
static void keep_standard_numbers(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

static void release(struct minnow *minnow)
{
    minnow->streams.server = NULL; /* the server is freed: the log must not use its timers */
    minnow_cluster_end(&minnow->cluster);
    minnow_worker_release(&minnow->worker);
    ws_server_free(minnow->server);
    sio_server_free(minnow->socketio);
    if (minnow->signal_fd >= 0)
        close(minnow->signal_fd);
    minnow_landlock_release(&minnow->sandbox.landlock);
    minnow_page_release(&minnow->page);
    minnow_script_release(&minnow->script);
    minnow_streams_release(&minnow->streams);
}

int main(int argc, char **argv)
{
    struct minnow_options options;
    struct minnow minnow = {.options = &options,
                            .argv = argv,
                            .signal_fd = -1,
                            .cluster.lookup_fd = -1,
                            .sandbox.landlock.ruleset = -1};
    int status;

    signal(SIGPIPE, SIG_IGN); /* the reader of the log may exit */
    signal(SIGXFSZ, SIG_IGN); /* the log file may reach its size limit */
    keep_standard_numbers();
    if (!minnow_worker_read(&minnow.worker))
        return EXIT_FAILURE;
    if (minnow.worker.is_worker) /* Linux before 6.14 names it by the descriptor that it is of */
        prctl(PR_SET_NAME, program_invocation_short_name);
    minnow.worker.minnow = &minnow;
    minnow_options_parse(&options, argc, argv, minnow.worker.is_worker);
    minnow_worker_limit(&minnow);
    options.server.log = log_line;
    options.server.log_arg = &minnow;
    options.server.trace = minnow_trace_of(options.trace);
    options.server.trace_arg = &minnow.streams;
    minnow_streams_init(&minnow.streams);
    raise_descriptor_limit();
    status = options.workers > 1 && !minnow.worker.is_worker ? minnow_workers_serve(&minnow)
                                                             : serve(&minnow);
    release(&minnow);
    return status;
}
