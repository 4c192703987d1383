/* SPDX-License-Identifier: MIT
 *
 * The command line. */
#ifndef MINNOW_OPTIONS_H
#define MINNOW_OPTIONS_H

#include "ws.h"

enum { MINNOW_LIST_MAX = 64 }; /* --bind, --origin, --subprotocol */

/* -q and -v; the last one given counts. */
enum minnow_verbosity { MINNOW_QUIET, MINNOW_NORMAL, MINNOW_VERBOSE };

/* In place; its pointers are to words of the command line. */
struct minnow_options {
    struct ws_options server;              /* `log` is left to the caller */
    const char *bind[MINNOW_LIST_MAX + 1]; /* ends with NULL */
    const char *origins[MINNOW_LIST_MAX + 1];
    const char *subprotocols[MINNOW_LIST_MAX + 1];
    size_t bind_count;
    size_t origin_count;
    size_t subprotocol_count;
    bool mode_given;
    bool echo;
    bool no_socketio;
    const char *socket_mode; /* as given, for what is said of it; NULL: not given */
    enum minnow_verbosity verbosity;
};

/* Read the command line into `o`, which may not be moved after that. Where it is wrong, or asks for
 * nothing but a text, the text is written and the process exits. */
void minnow_options_parse(struct minnow_options *o, int argc, char **argv);

bool minnow_is_unix(const char *address);

#endif
