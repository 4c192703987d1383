/* SPDX-License-Identifier: MIT
 *
 * Functions on the server that all files of Socket.IO use; see sio_server.h. */
#include "sio_server.h"

enum { SCRATCH_KEPT = 1 << 16 /* bytes of the writer that are kept while it is not in use */ };

/* --- callbacks -------------------------------------------------------------------------------- */

void sio_callback_begin(struct sio_server *io)
{
    settle_enter(&io->marked);
}

void sio_callback_end(struct sio_server *io)
{
    if (settle_is_due(&io->marked))
        io->settle(io);
    settle_leave(&io->marked);
}

void sio_settle_posted(void *arg)
{
    struct sio_server *io = arg;

    io->marked.requested = false;
    sio_callback_begin(io);
    sio_callback_end(io);
}

/* Without memory for the post, the timer does it, which was made with the server. */
void sio_server_post(struct sio_server *io)
{
    if (io->marked.requested || io->ws == NULL)
        return;
    io->marked.requested = true;
    if (ws_post(io->ws, sio_settle_posted, io) != 0)
        ws_timer_set(io->settle_timer, 0);
}

/* --- what it has ------------------------------------------------------------------------------ */

struct json_writer *sio_scratch(struct sio_server *io)
{
    if (io->scratch.cap > SCRATCH_KEPT)
        json_writer_release(&io->scratch);
    json_writer_clear(&io->scratch);
    return &io->scratch;
}

struct sio_socket *sio_find(const struct sio_server *io, const char *id)
{
    struct sio_socket *s = (struct sio_socket *)name_table_find(&io->sockets, ws_str(id));

    return s != NULL && s->state == SIO_CONNECTED ? s : NULL;
}

void *sio_user(const struct sio_server *io)
{
    return io->options.user;
}

struct ws_server *sio_ws_server(const struct sio_server *io)
{
    return io->ws;
}

struct eio_server *sio_engine(const struct sio_server *io)
{
    return io->engine;
}
