/* SPDX-License-Identifier: MIT
 *
 * The program: start, signals, end. Like all of program/ it uses only ws.h and socketio/sio.h of
 * the library. */
#include "minnow.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "minnow_chat.h"
#include "minnow_socketio.h"
#include "minnow_trace.h"

static bool is_wanted(const struct minnow *minnow, enum ws_log_level level)
{
    switch (level) {
    case WS_LOG_ERROR:
        return minnow->options->verbosity > MINNOW_QUIET || !minnow->serving;
    case WS_LOG_INFO:
        return minnow->options->verbosity == MINNOW_VERBOSE;
    }
    return true;
}

static void log_line(void *arg, enum ws_log_level level, const char *line)
{
    struct minnow *minnow = arg;

    minnow->complained |= level == WS_LOG_ERROR;
    if (!is_wanted(minnow, level))
        return;
    minnow_log_add(&minnow->streams.log, "minnow: ");
    minnow_options_say(&minnow->streams.log, line);
    minnow_streams_end_line(&minnow->streams);
}

/* Raise the limit of descriptors to the maximum that is allowed: each client needs one. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
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

static bool complain(struct minnow *minnow, const char *what, int error)
{
    const char *why = error == WS_ERR_SYSTEM ? strerror(errno) : ws_strerror(error);

    minnow_log_add(&minnow->streams.log, "minnow: %s: %s", what, why);
    minnow_streams_end_line(&minnow->streams);
    return false;
}

static void add_sandbox_line(struct minnow *minnow, bool is_root)
{
    const struct minnow_options *o = minnow->options;
    struct minnow_log *out = &minnow->streams.out;

    minnow_log_add(out, "minnow: sandbox: ");
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
    minnow_log_end(out);
}

/* --user. What only root may do is done by now, apart from giving files away. */
static bool become_user(struct minnow *minnow)
{
    const struct minnow_options *o = minnow->options;
    struct minnow_log *log = &minnow->streams.log;
    const char *address;
    const char *why;

    if (o->user_name == NULL)
        return true;
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

/* Give up what the server does not need once it listens, and say what is active. */
static void confine(struct minnow *minnow)
{
    const struct minnow_options *o = minnow->options;
    bool is_root = geteuid() == 0; /* in the sandbox nobody may ask */

    if (!o->no_sandbox)
        minnow_sandbox_enter(&minnow->sandbox);
    if (o->verbosity > MINNOW_QUIET)
        add_sandbox_line(minnow, is_root);
}

static void add_start_lines(struct minnow *minnow)
{
    const struct minnow_options *o = minnow->options;
    struct minnow_log *out = &minnow->streams.out;
    unsigned port = ws_server_port(minnow->server);

    for (size_t i = 0; o->bind.items[i] != NULL; i++)
        add_address_line(out, o->echo ? "echo" : "chat", o->bind.items[i], port);
    if (o->verbosity > MINNOW_QUIET) {
        minnow_log_add(out, "minnow: up to %zu clients",
                       ws_server_stats(minnow->server).max_clients);
        minnow_log_end(out);
    }
}

/* Print the address first: programs wait for this line and read the port from it. False when stdout
 * cannot be written to. If its reader has not read yet, the server starts all the same. */
static bool print_start(struct minnow *minnow)
{
    int error;

    add_start_lines(minnow);
    confine(minnow); /* so these lines are written in the sandbox already */
    error = minnow_log_flush(&minnow->streams.out);
    if (error != 0 && error != EAGAIN) {
        minnow_log_add(&minnow->streams.log, "minnow: cannot write to stdout: %s", strerror(error));
        minnow_streams_end_line(&minnow->streams);
        return false;
    }
    minnow_streams_flush(&minnow->streams);
    return true;
}

static void signal_arrived(void *arg, uint32_t ready)
{
    const struct minnow *minnow = arg;
    struct signalfd_siginfo info;

    (void)ready;
    if (read(minnow->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (minnow->socketio != NULL)
        sio_server_close(minnow->socketio);
    ws_server_stop(minnow->server); /* the second call does not wait any more */
}

/* A signal that the parent process ignores stays ignored: a shell ignores SIGINT for what it starts
 * in the background. It must not be in the signalfd's set, since a blocked signal is delivered
 * there even if it is ignored. */
static void add_unless_ignored(sigset_t *set, int signal_number)
{
    struct sigaction action;

    if (sigaction(signal_number, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
        sigaddset(set, signal_number);
}

/* Signals are read from a descriptor, like all other input: a signal handler would need a global
 * variable. */
static int watch_signals(struct minnow *minnow)
{
    sigset_t set;

    sigemptyset(&set);
    add_unless_ignored(&set, SIGINT);
    add_unless_ignored(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    minnow->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (minnow->signal_fd < 0)
        return WS_ERR_SYSTEM;
    return ws_watch(minnow->server, minnow->signal_fd, EPOLLIN, signal_arrived, minnow);
}

static void on_request(struct ws_conn *c, const struct ws_request *req)
{
    const struct minnow *minnow = ws_user(c);

    minnow_page_respond(&minnow->page, c, req);
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
    minnow->socketio = minnow_socketio_new(minnow->server, &o->server, o->echo);
    if (minnow->socketio == NULL)
        return complain(minnow, "cannot start", WS_ERR_SYSTEM);
    if (o->socketio_client != NULL)
        error = minnow_script_handle(&minnow->script, minnow->server);
    return error == 0 || complain(minnow, "cannot start", error);
}

/* Start the server, up to the first line on stdout. */
static bool start(struct minnow *minnow)
{
    const struct minnow_options *o = minnow->options;
    struct ws_handlers handlers = {
        .on_request = on_request, .subprotocols = o->subprotocols.items, .user = minnow};
    int error;

    minnow_chat_handle(&handlers, o);
    if (!minnow_page_init(&minnow->page, o->echo))
        return complain(minnow, "cannot start", WS_ERR_NOMEM);
    if (!read_script(minnow))
        return false;
    minnow->server = ws_server_new(&o->server);
    minnow->streams.server = minnow->server;
    if (minnow->server == NULL)
        return minnow->complained ? false : complain(minnow, "cannot start", WS_ERR_SYSTEM);
    if (!start_socketio(minnow))
        return false;
    error = ws_server_handle(minnow->server, "/", &handlers);
    if (error == 0)
        error = watch_signals(minnow);
    if (error != 0)
        return complain(minnow, "cannot start", error);
    if (!o->no_sandbox)
        minnow_sandbox_init(&minnow->sandbox, o->bind.items, o->redis.items);
    if (!become_user(minnow) || !minnow_cluster_begin(minnow))
        return false;
    minnow->serving = true;
    return print_start(minnow);
}

static int serve(struct minnow *minnow)
{
    int error;

    if (!start(minnow))
        return EXIT_FAILURE;
    error = ws_server_run(minnow->server);
    if (error != 0)
        complain(minnow, "cannot go on", error);
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
                            .signal_fd = -1,
                            .cluster.lookup_fd = -1,
                            .sandbox.landlock.ruleset = -1};
    int status;

    signal(SIGPIPE, SIG_IGN); /* the reader of the log may exit */
    signal(SIGXFSZ, SIG_IGN); /* the log file may reach its size limit */
    keep_standard_numbers();
    minnow_options_parse(&options, argc, argv);
    options.server.log = log_line;
    options.server.log_arg = &minnow;
    options.server.trace = minnow_trace_of(options.trace);
    options.server.trace_arg = &minnow.streams;
    minnow_streams_init(&minnow.streams);
    raise_descriptor_limit();
    status = serve(&minnow);
    release(&minnow);
    return status;
}
