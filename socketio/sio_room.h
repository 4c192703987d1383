/* SPDX-License-Identifier: MIT
 *
 * Rooms, for the other files of Socket.IO; the functions for applications are in sio.h. */
#ifndef SOCKETIO_SIO_ROOM_H
#define SOCKETIO_SIO_ROOM_H

#include "sio_server.h"

void sio_leave_rooms(struct sio_socket *s);

/* Is there a room of that name, or a socket whose id it is? */
bool sio_room_exists(const struct sio_namespace *n, struct ws_str name);

/* Walk the rooms of a namespace, without those of single sockets: first with NULL, then with the
 * previous one, until NULL. No room may open or end meanwhile. */
const char *sio_next_room(const struct sio_namespace *n, const char *room);

/* Walk the rooms of a socket from s->seats on, the latest first, until NULL. */
const char *sio_room_of(const struct sio_seat *seat);
const struct sio_seat *sio_next_seat(const struct sio_seat *seat);

/* Call visit(arg, s) for each connected socket of a target. It may end `s` and change its rooms. */
void sio_visit(const struct sio_target *t, void (*visit)(void *arg, struct sio_socket *s),
               void *arg);

#endif
