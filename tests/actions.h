/* SPDX-License-Identifier: MIT
 *
 * What fuzz_conn.c and fuzz_sio.c share: the actions of a program that are the same for every
 * server. What they need to know is read from the tape (peers.h); calls fail and the clock stands
 * by calls.h. */
#ifndef TESTS_ACTIONS_H
#define TESTS_ACTIONS_H

#include "calls.h"
#include "peers.h"

enum { SCRIPT_MAX = 8, QUIET_TURNS = 3000 /* after which a server without new input is at rest */ };

/* Actions that the callbacks of the application take by turns. All zero is empty. */
struct script {
    uint8_t actions[SCRIPT_MAX];
    size_t len, at;
};

/* An action of the application. */
typedef void act_fn(unsigned what, unsigned a, unsigned b);

void script_choose(struct script *s, struct tape *t);
void script_next(struct script *s, act_fn *act); /* nothing, when it is empty */

void act_now(struct tape *t, act_fn *act);

/* One of these calls fails, sooner or later. */
void choose_fault(struct tape *t, const enum call *some, size_t count);

/* How many bytes are sent or read in one go: often all. */
size_t choose_amount(struct tape *t);

/* One turn of the loop, unless the server has stopped. */
void turn(struct ws_server *s, bool *stopped);

/* All that is sent is read, on both sides, until nothing more happens. */
void come_to_rest(struct ws_server *s, bool *stopped, const struct peer_events *e);

/* For ws_options: a message is one line. */
void on_log(void *arg, enum ws_log_level level, const char *line);

/* Read all of it, for AddressSanitizer. */
void touch(struct ws_str s);

#endif
