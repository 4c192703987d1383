/* SPDX-License-Identifier: MIT
 *
 * Engine.IO 4 packets and payloads. */
#include "eio_codec.h"

#include <string.h>

bool eio_decode(struct eio_decoded *p, struct ws_str packet)
{
    if (packet.len == 0)
        return false;
    p->data = (struct ws_str){packet.data + 1, packet.len - 1};
    p->binary = packet.data[0] == 'b';
    p->type = EIO_TYPE_MESSAGE;
    if (p->binary)
        return true;
    if (packet.data[0] < '0' || packet.data[0] > '0' + (int)EIO_TYPE_NOOP)
        return false;
    p->type = (enum eio_type)(packet.data[0] - '0');
    return true;
}

bool eio_payload_next(struct ws_str *rest, struct ws_str *packet)
{
    const char *separator;

    if (rest->data == NULL)
        return false;
    separator = rest->len == 0 ? NULL : memchr(rest->data, EIO_SEPARATOR, rest->len);
    *packet = *rest;
    if (separator == NULL) {
        *rest = (struct ws_str){NULL, 0};
        return true;
    }
    packet->len = (size_t)(separator - rest->data);
    rest->data = separator + 1;
    rest->len -= packet->len + 1;
    return true;
}

/* Copy the base64 digits of either alphabet to `out`, in the standard alphabet, up to the padding.
 * Returns how many. */
static size_t keep_digits(char *out, struct ws_str text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len && text.data[i] != '='; i++) {
        char c = text.data[i];

        c = c == '-' ? '+' : c == '_' ? '/' : c;
        if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
            c == '+' || c == '/')
            out[n++] = c;
    }
    return n;
}

/* ws_base64_decode() is strict: it wants whole groups of four digits, and unused bits that are
 * zero. So the last group is filled up with zero digits, and the bytes that these add are cut
 * off. */
size_t eio_binary_decode(void *out, struct ws_str text)
{
    char *digits = out;
    size_t n = keep_digits(digits, text);
    size_t missing;

    if (n % 4 == 1) /* one digit has 6 bits, less than a byte */
        n--;
    missing = (4 - n % 4) % 4;
    memset(digits + n, 'A', missing);
    return (size_t)ws_base64_decode(out, digits, n + missing) - missing;
}

size_t eio_message_size(enum ws_opcode opcode, size_t len)
{
    return 1 + (opcode == WS_OP_BINARY ? WS_BASE64_SIZE(len) : len);
}

size_t eio_message_encode(char *out, enum ws_opcode opcode, const void *data, size_t len)
{
    if (opcode == WS_OP_BINARY) {
        out[0] = 'b';
        return 1 + ws_base64_encode(out + 1, data, len);
    }
    out[0] = '0' + (int)EIO_TYPE_MESSAGE;
    if (len != 0)
        memcpy(out + 1, data, len);
    return 1 + len;
}
