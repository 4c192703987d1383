/* SPDX-License-Identifier: MIT
 *
 * Messages for many sessions; see eio_packet.h. Their memory counts in the account of the server,
 * so that it is not limited by the share of one session. */
#include "eio_packet.h"

#include <string.h>

#include "eio_codec.h"
#include "eio_server.h"

bool eio_message_is_legal(enum ws_opcode opcode, const void *data, size_t len)
{
    if (opcode == WS_OP_TEXT)
        return len == 0 || memchr(data, EIO_SEPARATOR, len) == NULL;
    return opcode == WS_OP_BINARY;
}

static bool write_text(struct eio_packet *p, enum ws_opcode opcode, const void *data)
{
    p->text = eio_text_new(p->account, eio_message_size(opcode, p->len));
    if (p->text == NULL)
        return false;
    eio_message_encode(p->text->data, opcode, data, p->len);
    return true;
}

/* Of a text message the text form is the message. */
struct eio_packet *eio_packet_new(struct eio_server *e, enum ws_opcode opcode, const void *data,
                                  size_t len)
{
    size_t kept = opcode == WS_OP_BINARY ? len : 0;
    struct eio_packet *p;

    if (!eio_message_is_legal(opcode, data, len) || len > SIZE_MAX / 2)
        return NULL;
    p = ws_account_take(e->account, sizeof *p + kept);
    if (p == NULL)
        return NULL;
    p->server = e;
    p->account = e->account;
    p->references = 1;
    p->binary = opcode == WS_OP_BINARY;
    p->len = len;
    if (kept != 0)
        memcpy(p->data, data, kept);
    if (!p->binary && !write_text(p, opcode, data)) {
        eio_packet_release(p);
        return NULL;
    }
    return p;
}

bool eio_packet_write(struct eio_packet *p)
{
    return p->text != NULL || write_text(p, WS_OP_BINARY, p->data);
}

bool eio_packet_prepare(struct eio_packet *p)
{
    struct ws_server *ws = p->server->ws;

    if (p->prepared == NULL)
        p->prepared = p->binary ? ws_prepare(ws, WS_OP_BINARY, p->data, p->len)
                                : ws_prepare(ws, WS_OP_TEXT, p->text->data, p->text->len);
    return p->prepared != NULL;
}

bool eio_packet_encode(struct eio_packet *p)
{
    const struct eio_server *e = p->server;

    return (e->websocket_count == 0 || eio_packet_prepare(p)) &&
           (e->text_count == 0 || eio_packet_write(p));
}

struct eio_packet *eio_packet_keep(struct eio_packet *p)
{
    p->references++;
    return p;
}

void eio_packet_release(struct eio_packet *p)
{
    if (p == NULL || --p->references > 0)
        return;
    ws_release_prepared(p->prepared);
    eio_text_release(p->text);
    ws_account_give(p->account, p, sizeof *p + (p->binary ? p->len : 0));
}
