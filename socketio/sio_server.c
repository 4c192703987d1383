/* SPDX-License-Identifier: MIT
 *
 * Functions on the server that all files of Socket.IO use; see sio_server.h. */
#include "sio_server.h"

#include "msgpack.h"
#include "sio_msgpack.h"

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

void sio_writer_empty(struct json_writer *w)
{
    if (w->cap > SCRATCH_KEPT)
        json_writer_release(w);
    json_writer_clear(w);
}

struct json_writer *sio_scratch(struct sio_server *io)
{
    sio_writer_empty(&io->scratch);
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

/* --- packets out ------------------------------------------------------------------------------ */

static enum sio_type binary(enum sio_type type)
{
    return type == SIO_EVENT ? SIO_BINARY_EVENT : type == SIO_ACK ? SIO_BINARY_ACK : type;
}

struct json_writer *sio_message_begin(struct sio_server *io, const struct sio_packet *p)
{
    struct json_writer *w = sio_scratch(io);

    if (io->options.parser == SIO_PARSER_DEFAULT)
        sio_packet_begin(w, p->attachments == 0 ? p->type : binary(p->type), p->attachments, p->nsp,
                         p->id);
    return w;
}

int sio_message_end(struct sio_server *io, struct sio_packet *p, const struct ws_str *attachments,
                    struct ws_str *message)
{
    int error = 0;

    *message = json_written(&io->scratch);
    if (io->options.parser == SIO_PARSER_MSGPACK && message->data != NULL) {
        sio_writer_empty(&io->packed);
        p->json = *message;
        error = sio_msgpack_encode(&io->packed, p, attachments);
        *message = json_written(&io->packed);
    }
    if (message->data == NULL || error == MSGPACK_NOMEM)
        return WS_ERR_NOMEM;
    return error == 0 ? 0 : WS_ERR_INVALID;
}

enum ws_opcode sio_message_opcode(const struct sio_server *io)
{
    return io->options.parser == SIO_PARSER_DEFAULT ? WS_OP_TEXT : WS_OP_BINARY;
}

size_t sio_parts_behind(const struct sio_server *io, const struct sio_args *args)
{
    return io->options.parser == SIO_PARSER_DEFAULT ? args->attachment_count : 0;
}
