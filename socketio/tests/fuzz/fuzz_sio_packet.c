/* SPDX-License-Identifier: MIT
 *
 * sio_packet.c: whatever is taken for a packet, has only fields that may be used as they are, and
 * is read the same after it was written anew. */
#include <stdlib.h>
#include <string.h>

#include "../../sio_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(struct ws_str a, struct ws_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static void check(const struct sio_packet *p)
{
    bool binary = p->type == SIO_BINARY_EVENT || p->type == SIO_BINARY_ACK;

    if (p->type > SIO_BINARY_ACK || p->attachments > SIO_ATTACHMENTS_MAX ||
        (p->attachments != 0) != binary || p->id < SIO_NO_ID || p->nsp.len == 0 ||
        p->nsp.data[0] != '/')
        abort();
    if (p->json.data != NULL && json_parse(p->json).len != p->json.len)
        abort();
}

static void check_again(const struct sio_packet *p)
{
    struct json_writer w = {0};
    struct sio_packet again;

    sio_packet_begin(&w, p->type, p->attachments, p->nsp, p->id);
    json_write_text(&w, p->json.data, p->json.len);
    if (sio_packet_decode(&again, json_written(&w)) != 0 || again.type != p->type ||
        again.attachments != p->attachments || again.id != p->id || !same(again.nsp, p->nsp) ||
        !same(again.json, p->json))
        abort();
    json_writer_release(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ws_str text = {(const char *)data, size};
    struct sio_packet p;

    if (sio_packet_decode(&p, text) == 0) {
        check(&p);
        check_again(&p);
    }
    return 0;
}
