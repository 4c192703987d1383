/* SPDX-License-Identifier: MIT
 *
 * Connections: the parts of the handshake that are kept, packets of the protocol itself, and the
 * packet that waits for its attachments. */
#include "sio_conn.h"

#include <assert.h>
#include <string.h>

/* --- making ----------------------------------------------------------------------------------- */

static void add_text(struct json_writer *w, struct ws_str text)
{
    json_write_text(w, text.data, text.len);
    json_write_text(w, "", 1);
}

/* The parts of the handshake that sockets may be asked for: address, query, and for each header
 * that is kept "=value", or nothing if there was none. */
static struct ws_str write_handshake(struct sio_server *io, const struct eio_handshake *h)
{
    struct json_writer *w = sio_scratch(io);
    const char *const *name = io->options.keep_headers;

    add_text(w, ws_str(h->address));
    add_text(w, ws_request_query(h->request));
    for (; name != NULL && *name != NULL; name++) {
        struct ws_str value = ws_request_header(h->request, *name);

        if (value.data != NULL)
            json_write_text(w, "=", 1);
        add_text(w, value);
    }
    return json_written(w);
}

struct sio_conn *sio_conn_new(struct sio_server *io, struct eio_session *engine,
                              const struct eio_handshake *h)
{
    struct ws_str handshake = write_handshake(io, h);
    size_t size = sizeof(struct sio_conn) + handshake.len;
    struct ws_account *account = eio_session_account(engine);
    struct sio_conn *c = handshake.data == NULL ? NULL : ws_account_take(account, size);

    if (c == NULL)
        return NULL;
    c->server = io;
    c->engine = engine;
    c->account = ws_account_keep(account);
    c->size = size;
    name_table_init(&c->members, account, io->sockets.key);
    c->began_ms = ws_now_ms(io->ws);
    memcpy(c->handshake, handshake.data, handshake.len);
    return c;
}

/* --- the end ---------------------------------------------------------------------------------- */

void sio_conn_fail(struct sio_conn *c)
{
    if (c->engine != NULL)
        eio_close(c->engine);
}

void sio_conn_free_unused(struct sio_conn *c)
{
    struct ws_account *account = c->account;

    if (c->engine != NULL || c->sockets != NULL)
        return;
    sio_pending_drop(c);
    ws_account_give(account, c, c->size);
    ws_account_release(account);
}

/* --- packets for the protocol ----------------------------------------------------------------- */

void sio_conn_send(struct sio_conn *c, struct sio_packet *p)
{
    struct sio_server *io = c->server;
    struct ws_str message;
    int result;

    if (c->engine == NULL || io->ws == NULL)
        return;
    result = sio_message_end(io, p, NULL, &message);
    if (result == 0)
        result = eio_send(c->engine, sio_message_opcode(io), message.data, message.len, 0);
    if (result < 0 && result != WS_ERR_CLOSED)
        sio_conn_fail(c);
}

void sio_conn_refuse(struct sio_conn *c, struct ws_str nsp, const char *message, struct ws_str data)
{
    struct sio_packet p = {.type = SIO_CONNECT_ERROR, .nsp = nsp, .id = SIO_NO_ID};
    struct json_writer *w = sio_message_begin(c->server, &p);

    json_write_text(w, "{", 1);
    json_write_name(w, "message");
    json_write_string(w, message, strlen(message));
    if (data.data != NULL) {
        json_write_name(w, "data");
        json_write_raw(w, data);
    }
    json_end_object(w);
    sio_conn_send(c, &p);
}

/* --- a packet whose attachments are still to come --------------------------------------------- */

void sio_pending_free(struct sio_pending *p)
{
    struct sio_conn *c = p->conn;

    if (c->server->ws != NULL) /* else ws_server_free() has freed the timer */
        ws_timer_cancel(p->deadline);
    sio_assembly_release(&p->assembly, c->account);
    ws_account_give(c->account, p, sizeof *p);
}

void sio_pending_drop(struct sio_conn *c)
{
    struct sio_pending *p = c->pending;

    c->pending = NULL;
    if (p != NULL)
        sio_pending_free(p);
}

static void deadline_passed(void *arg)
{
    struct sio_pending *p = arg;
    struct sio_conn *c = p->conn;
    struct sio_server *io = c->server;

    sio_callback_begin(io);
    sio_pending_drop(c);
    sio_conn_fail(c);
    sio_callback_end(io);
}

bool sio_pending_begin(struct sio_conn *c, struct ws_str text, unsigned attachments)
{
    struct sio_server *io = c->server;
    struct sio_pending *p = ws_account_take(c->account, sizeof *p);

    assert(c->pending == NULL && attachments > 0);
    if (p == NULL)
        return false;
    c->pending = p;
    p->conn = c;
    if (sio_assembly_begin(&p->assembly, c->account, text, attachments) != 0)
        return false;
    p->deadline = ws_timer_new(io->ws, c->account, deadline_passed, p);
    if (p->deadline == NULL)
        return false;
    ws_timer_set(p->deadline, io->options.engine.ping_timeout_ms);
    return true;
}

int sio_pending_add(struct sio_conn *c, const void *data, size_t len)
{
    struct sio_assembly *a = &c->pending->assembly;
    size_t max = c->server->options.max_binary;

    if (a->len > max || len > max - a->len)
        return SIO_TOO_LARGE;
    return sio_assembly_add(a, c->account, data, len);
}

struct sio_pending *sio_pending_take(struct sio_conn *c)
{
    struct sio_pending *p = c->pending;

    assert(p != NULL);
    c->pending = NULL;
    ws_timer_cancel(p->deadline);
    p->deadline = NULL;
    return p;
}
