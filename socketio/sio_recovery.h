/* SPDX-License-Identifier: MIT
 *
 * Connection state recovery, explained in sio_recovery.c. It is off if n->recovery is NULL. The
 * namespace owns the timer and calls sio_recovery_prune() when it fires. */
#ifndef SOCKETIO_SIO_RECOVERY_H
#define SOCKETIO_SIO_RECOVERY_H

#include "sio_server.h"

bool sio_recovery_init(struct sio_namespace *n); /* false when out of memory */

/* Give the socket a pid: the previous one, with id, rooms and data, if its client sends that pid
 * and an offset that is still known; else a new one. False when out of memory. */
bool sio_recovery_begin(struct sio_socket *s, struct ws_str auth);

/* Send the events that it missed. False when some of them are not in the log any more; they may
 * have been dropped while on_auth was not answered. */
bool sio_recovery_replay(struct sio_socket *s);

/* The socket has ended. If it may be recovered, it is kept with its data; else on_forget gets the
 * data. */
void sio_recovery_end(struct sio_socket *s);

/* The offset of the packet that is emitted next, as text; false when recovery is off. */
enum { SIO_OFFSET_SIZE = 24 };
bool sio_recovery_offset(struct sio_namespace *n, char out[SIO_OFFSET_SIZE]);

/* Add an encoded packet to the log. */
void sio_recovery_log(const struct sio_target *t, struct ws_str text, const struct sio_args *args);

/* The timer has fired: forget what is too old. Calls on_forget. */
void sio_recovery_prune(struct sio_namespace *n);

/* Is no socket kept? Then the log is not needed. */
bool sio_recovery_is_idle(const struct sio_namespace *n);
void sio_recovery_free(struct sio_namespace *n); /* calls on_forget for what is kept */

#endif
