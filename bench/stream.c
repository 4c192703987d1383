/* SPDX-License-Identifier: MIT
 *
 * The cycle of messages; see stream.h. */
#include "stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEPARATOR = 0x1e,  /* of packets on polling */
    TEXT_FRAME = 0x81, /* FIN and the opcode */
    BINARY_FRAME = 0x82,
    MASKED = 0x80,
    CYCLE_BYTES = 256 * 1024, /* about so many bytes of messages, so that they stay in the CPU's
                                 cache ... */
    CYCLE_MIN = 3,            /* ... but at least so many messages, so that neighbours differ */
    CYCLE_MAX = 1021
};

/* A message in the form of the protocol: one or two payloads, each in its own frame. */
struct parts {
    uint8_t *text;
    size_t text_len; /* 0: there is no text part */
    const uint8_t *binary;
    size_t binary_len;
};

static const char event_start[] = "42[\"m\",\"";
static const char event_end[] = "\"]";
static const char attachment[] = "451-[\"m\",{\"_placeholder\":true,\"num\":0}]";

/* xorshift64*: the same messages in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

/* --- payloads --------------------------------------------------------------------------------- */

static size_t put_ascii(uint8_t *out, uint64_t random)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ .0123456789";

    out[0] = (uint8_t)letters[(random >> 32) % (sizeof letters - 1)];
    return 1;
}

static size_t put_character(uint8_t *out, uint32_t code)
{
    if (code < 0x800) {
        out[0] = (uint8_t)(0xc0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xe0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

static size_t put_chinese(uint8_t *out, uint64_t random)
{
    return put_character(out, 0x4e00 + (uint32_t)(random >> 32) % 0x51a6);
}

/* Mostly ASCII, with an accent, a Chinese character or an emoji in between: no long run of one
 * kind. */
static size_t put_mixed(uint8_t *out, uint64_t random)
{
    switch (random >> 60) {
    case 0:
        return put_character(out, 0xe0 + (uint32_t)(random >> 32) % 0x20);
    case 1:
        return put_character(out, 0x1f600 + (uint32_t)(random >> 32) % 0x40);
    case 2:
    case 3:
        return put_chinese(out, random);
    default:
        return put_ascii(out, random);
    }
}

static size_t put_one(uint8_t *out, enum stream_kind kind, uint64_t random)
{
    switch (kind) {
    case STREAM_BINARY:
        out[0] = (uint8_t)(random >> 56);
        return 1;
    case STREAM_ASCII:
        return put_ascii(out, random);
    case STREAM_CHINESE:
        return put_chinese(out, random);
    case STREAM_MIXED:
        return put_mixed(out, random);
    }
    return 0;
}

void stream_payload(uint8_t *out, size_t len, enum stream_kind kind, uint64_t *random)
{
    size_t n = 0;

    while (n < len) {
        /* The longest character has 4 bytes: the last bytes are filled with ASCII. */
        if (len - n < 4 && kind != STREAM_BINARY)
            n += put_ascii(out + n, next_random(random));
        else
            n += put_one(out + n, kind, next_random(random));
    }
}

/* --- frames ----------------------------------------------------------------------------------- */

static size_t put_header(uint8_t *out, uint8_t first, uint8_t mask_bit, size_t len)
{
    size_t extended = len < 126 ? 0 : len <= 0xffff ? 2 : 8;

    out[0] = first;
    out[1] = (uint8_t)(mask_bit | (extended == 0 ? len : extended == 2 ? 126 : 127));
    for (size_t i = 0; i < extended; i++)
        out[2 + i] = (uint8_t)((uint64_t)len >> (8 * (extended - 1 - i)));
    return 2 + extended;
}

size_t stream_frame(uint8_t *out, uint8_t opcode, const uint8_t *payload, size_t len, uint32_t key)
{
    size_t header = put_header(out, (uint8_t)(0x80 | opcode), MASKED, len);
    uint8_t mask[4];

    memcpy(mask, &key, sizeof mask);
    memcpy(out + header, mask, sizeof mask);
    header += sizeof mask;
    for (size_t i = 0; i < len; i++)
        out[header + i] = payload[i] ^ mask[i & 3];
    return header + len;
}

static size_t reply_frame(uint8_t *out, uint8_t first, const uint8_t *payload, size_t len)
{
    size_t header = put_header(out, first, 0, len);

    memcpy(out + header, payload, len);
    return header + len;
}

/* --- messages --------------------------------------------------------------------------------- */

static size_t frame_len(size_t payload_len, size_t mask_len)
{
    return payload_len == 0 ? 0
                            : 2 + mask_len + payload_len +
                                  (size_t)(payload_len < 126       ? 0
                                           : payload_len <= 0xffff ? 2
                                                                   : 8);
}

/* How long the two parts are. */
static struct parts measure(enum stream_protocol protocol, enum stream_kind kind, size_t size)
{
    struct parts parts = {0};

    if (protocol == STREAM_POLLING || (protocol == STREAM_SOCKETIO && kind != STREAM_BINARY)) {
        parts.text_len = sizeof event_start - 1 + size + sizeof event_end - 1;
    } else if (protocol == STREAM_SOCKETIO) {
        parts.text_len = sizeof attachment - 1;
        parts.binary_len = size;
    } else if (kind == STREAM_BINARY) {
        parts.binary_len = size;
    } else {
        parts.text_len = size;
    }
    return parts;
}

/* Write the payload as the protocol requires. `text` has room for text_len bytes. */
static void compose(struct parts *parts, enum stream_protocol protocol, enum stream_kind kind,
                    const uint8_t *payload, size_t size)
{
    uint8_t *at = parts->text;

    parts->binary = payload;
    if (protocol == STREAM_SOCKETIO && kind == STREAM_BINARY) {
        memcpy(at, attachment, sizeof attachment - 1);
    } else if (protocol == STREAM_SOCKETIO || protocol == STREAM_POLLING) {
        memcpy(at, event_start, sizeof event_start - 1);
        memcpy(at + sizeof event_start - 1, payload, size);
        memcpy(at + sizeof event_start - 1 + size, event_end, sizeof event_end - 1);
    } else if (kind != STREAM_BINARY) {
        memcpy(at, payload, size);
    }
}

static void write_packet(uint8_t *out, const struct parts *parts)
{
    memcpy(out, parts->text, parts->text_len);
    out[parts->text_len] = SEPARATOR;
}

static void write_message(struct stream *s, size_t index, const struct parts *parts,
                          enum stream_protocol protocol, uint64_t *random)
{
    uint8_t *request = s->requests + index * s->request_len;
    uint8_t *reply = s->replies + index * s->reply_len;

    if (protocol == STREAM_POLLING) {
        write_packet(request, parts);
        write_packet(reply, parts);
        return;
    }
    if (protocol == STREAM_RAW) {
        stream_frame(request, BINARY_FRAME & 0xf, parts->binary, parts->binary_len,
                     (uint32_t)next_random(random));
        memcpy(reply, request, s->reply_len);
        return;
    }
    if (parts->text_len != 0) {
        request += stream_frame(request, TEXT_FRAME & 0xf, parts->text, parts->text_len,
                                (uint32_t)next_random(random));
        reply += reply_frame(reply, TEXT_FRAME, parts->text, parts->text_len);
    }
    if (parts->binary_len != 0) {
        stream_frame(request, BINARY_FRAME & 0xf, parts->binary, parts->binary_len,
                     (uint32_t)next_random(random));
        reply_frame(reply, BINARY_FRAME, parts->binary, parts->binary_len);
    }
}

static void measure_message(struct stream *s, const struct parts *parts,
                            enum stream_protocol protocol)
{
    if (protocol == STREAM_POLLING) {
        s->request_len = s->reply_len = parts->text_len + 1;
        return;
    }
    s->request_len = frame_len(parts->text_len, 4) + frame_len(parts->binary_len, 4);
    s->reply_len = protocol == STREAM_RAW
                       ? s->request_len
                       : frame_len(parts->text_len, 0) + frame_len(parts->binary_len, 0);
    s->reply_split =
        parts->text_len != 0 && parts->binary_len != 0 ? frame_len(parts->text_len, 0) : 0;
}

static bool stream_alloc(struct stream *s)
{
    assert(s->request_len != 0);
    s->count = CYCLE_BYTES / s->request_len;
    s->count = s->count < CYCLE_MIN ? CYCLE_MIN : s->count > CYCLE_MAX ? CYCLE_MAX : s->count;
    s->requests = malloc(s->count * s->request_len);
    s->replies = malloc(s->count * s->reply_len);
    return s->requests != NULL && s->replies != NULL;
}

bool stream_init(struct stream *s, enum stream_protocol protocol, enum stream_kind kind,
                 size_t size)
{
    bool raw = protocol == STREAM_RAW;
    struct parts parts = measure(protocol, raw ? STREAM_BINARY : kind, size);
    uint64_t random = 0x9e3779b97f4a7c15u;
    uint8_t *payload = malloc(size);

    parts.text = malloc(parts.text_len + 1);
    *s = (struct stream){0};
    measure_message(s, &parts, protocol);
    if (payload == NULL || parts.text == NULL || !stream_alloc(s)) {
        free(payload);
        free(parts.text);
        stream_release(s);
        return false;
    }
    for (size_t i = 0; i < s->count; i++) {
        stream_payload(payload, size, kind, &random);
        compose(&parts, protocol, raw ? STREAM_BINARY : kind, payload, size);
        write_message(s, i, &parts, protocol, &random);
    }
    free(payload);
    free(parts.text);
    return true;
}

void stream_release(struct stream *s)
{
    free(s->requests);
    free(s->replies);
    *s = (struct stream){0};
}
