/* SPDX-License-Identifier: MIT
 *
 * eio_codec.c: the packets of a payload, joined again, are the payload; each is decoded or refused;
 * and what base64 gives is encoded back to something that gives the same. */
#include <stdlib.h>
#include <string.h>

#include "../../eio_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_binary(struct ws_str text)
{
    uint8_t *out = malloc(EIO_BINARY_ROOM(text.len));
    size_t len = eio_binary_decode(out, text);
    char *packet = malloc(eio_message_size(WS_OP_BINARY, len));
    size_t packet_len = eio_message_encode(packet, WS_OP_BINARY, out, len);
    uint8_t *again = malloc(EIO_BINARY_ROOM(packet_len - 1));

    if (len > text.len / 4 * 3 + 2 ||
        eio_binary_decode(again, (struct ws_str){packet + 1, packet_len - 1}) != len ||
        memcmp(again, out, len) != 0)
        abort();
    free(again);
    free(packet);
    free(out);
}

static void check_packet(struct ws_str packet)
{
    struct eio_decoded p;

    if (!eio_decode(&p, packet))
        return;
    if (p.data.data != packet.data + 1 || p.data.len != packet.len - 1 ||
        p.binary != (packet.data[0] == 'b') || (unsigned)p.type > EIO_TYPE_NOOP)
        abort();
    if (p.binary)
        check_binary(p.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct ws_str rest = {size == 0 ? "" : text, size};
    struct ws_str packet;
    size_t at = 0;

    while (eio_payload_next(&rest, &packet)) {
        if (at > size || (at != 0 && text[at - 1] != EIO_SEPARATOR) ||
            (size != 0 && packet.data != text + at) ||
            (packet.len != 0 && memchr(packet.data, EIO_SEPARATOR, packet.len) != NULL))
            abort();
        at += packet.len + 1;
        check_packet(packet);
    }
    if (at != size + 1)
        abort();
    return 0;
}
