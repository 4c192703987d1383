/* SPDX-License-Identifier: MIT
 *
 * sio_msgpack.c: whatever is taken for a packet, has only fields that may be used as they are, and
 * is read the same after it was written anew. */
#include <stdlib.h>
#include <string.h>

#include "../../sio_msgpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(struct ws_str a, struct ws_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static void check(const struct sio_packet *p)
{
    if (p->type > SIO_CONNECT_ERROR || p->attachments > SIO_BINARY_MAX || p->id < SIO_NO_ID ||
        p->id > SIO_ID_MAX || !sio_namespace_is_legal(p->nsp))
        abort();
    if (p->json.data != NULL && json_parse(p->json).len != p->json.len)
        abort();
    if ((p->type == SIO_EVENT || p->type == SIO_ACK) && json_type(p->json) != JSON_ARRAY)
        abort();
}

/* A lone surrogate, which UTF-8 does not have, becomes another character; and an object that looks
 * like a placeholder becomes the binary value that it names. */
static bool may_change(const struct sio_packet *p)
{
    return p->json.data != NULL && (memmem(p->json.data, p->json.len, "\\ud", 3) != NULL ||
                                    memmem(p->json.data, p->json.len, "_placeholder", 12) != NULL);
}

static void check_again(const struct sio_packet *p, const struct ws_str *attachments)
{
    struct ws_str attachments_again[SIO_BINARY_MAX];
    struct json_writer w = {0};
    struct json_writer json = {0};
    struct sio_packet again;

    if (sio_msgpack_encode(&w, p, attachments) != 0 ||
        sio_msgpack_decode(&again, json_written(&w), &json, attachments_again) != 0 ||
        again.type != p->type || again.id != p->id || !same(again.nsp, p->nsp))
        abort();
    if (!may_change(p) && (!same(again.json, p->json) || again.attachments != p->attachments))
        abort();
    json_writer_release(&w);
    json_writer_release(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ws_str attachments[SIO_BINARY_MAX];
    struct json_writer json = {0};
    struct sio_packet p;

    if (sio_msgpack_decode(&p, (struct ws_str){(const char *)data, size}, &json, attachments) ==
        0) {
        check(&p);
        check_again(&p, attachments);
    }
    json_writer_release(&json);
    return 0;
}
