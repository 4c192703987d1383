/* SPDX-License-Identifier: MIT
 *
 * The command line. */
#ifndef MINNOW_OPTIONS_H
#define MINNOW_OPTIONS_H

#include "minnow_log.h"
#include "minnow_user.h"
#include "ws.h"

enum { MINNOW_LIST_MAX = 64, MINNOW_WORKERS_MAX = 256 };

/* The values of an option that may be repeated. */
struct minnow_list {
    const char *items[MINNOW_LIST_MAX + 1]; /* ends with NULL */
    size_t count;
};

/* -q and -v; the last one given counts. */
enum minnow_verbosity { MINNOW_QUIET, MINNOW_NORMAL, MINNOW_VERBOSE };

/* --trace, --trace=hex. */
enum minnow_trace_form { MINNOW_TRACE_OFF, MINNOW_TRACE_LINES, MINNOW_TRACE_HEX };

/* In place; its pointers point into the command line. */
struct minnow_options {
    struct ws_options server; /* `log` and `trace` are left to the caller */
    struct minnow_list bind;
    struct minnow_list origins;
    struct minnow_list hosts;
    struct minnow_list proxies;
    struct minnow_list subprotocols;
    bool mode_given;
    bool echo;
    bool no_socketio;
    bool is_worker;   /* not from the command line */
    unsigned workers; /* processes that serve */
    unsigned drain_timeout_ms;
    const char *socketio_client; /* a file; NULL: not given */
    struct minnow_list redis;    /* URLs that are in order */
    bool redis_optional;
    const char *cluster; /* NULL: not given */
    enum minnow_trace_form trace;
    bool no_sandbox;
    const char *user_name; /* as given; NULL: not given */
    struct minnow_user user;
    const char *proxy_header; /* as given, for error messages; NULL: not given */
    const char *socket_mode;  /* as given, for error messages; NULL: not given */
    enum minnow_verbosity verbosity;
};

/* Read the command line into `o`, which must not be moved after that. If it is wrong, or has --help
 * or --version, a text is printed and the process exits. For a worker `user` is not looked up: its
 * parent has done so, and in the sandbox of that it may not be possible. */
void minnow_options_parse(struct minnow_options *o, int argc, char **argv, bool is_worker);

/* Add a line of the library to `log`, with the option in place of the field:
 * `ws_options.max_memory` becomes --max-memory. */
void minnow_options_say(struct minnow_log *log, const char *line);

bool minnow_is_unix(const char *address);

#endif
