/* SPDX-License-Identifier: MIT
 *
 * The listening sockets of a server. */
#ifndef ACCEPT_H
#define ACCEPT_H

#include "server.h"

/* Listen on all addresses, and have epoll watch. False with errno, perhaps also logged. */
bool accept_begin(struct ws_server *s);
void accept_ready(struct ws_server *s, struct listener *l);
void accept_close(struct ws_server *s);
/* The server cannot be made: the sockets of ws_options.sockets stay the caller's. */
void accept_give_back(struct ws_server *s);

#endif
