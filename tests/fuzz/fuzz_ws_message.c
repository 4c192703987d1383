/* SPDX-License-Identifier: MIT
 *
 * ws_message.c, fed a stream of frames as a connection would: what comes of it is the same whether
 * the payloads come whole or in pieces and are judged while they are unmasked, or come byte by byte
 * and are unmasked before; and no message is longer than the limit. */
#include <stdlib.h>
#include <string.h>

#include "../../ws_message.h"
#include "../exact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX = 3000, UNMASKED_BEFORE = 1 };

struct outcome {
    int error;
    unsigned messages, closes;
    size_t bytes;
    uint64_t sum; /* of the unmasked bytes */
};

static int close_frame(struct outcome *o, const uint8_t *payload, size_t len)
{
    struct ws_close_status status;
    int error = ws_close_decode(&status, payload, len);
    uint8_t out[WS_CONTROL_MAX];
    unsigned code = status.code == WS_CLOSE_NO_STATUS ? WS_CLOSE_NONE : status.code;

    if (error != 0)
        return error;
    if (ws_close_encode(out, code, status.reason, status.reason_len) != len ||
        (len != 0 && memcmp(out, payload, len) != 0))
        abort();
    o->closes++;
    return 0;
}

static int piece(struct ws_message *m, const struct ws_frame *f, uint8_t *payload, size_t at,
                 size_t len, size_t step)
{
    static const struct ws_frame plain = {0};
    size_t n = len - at < step ? len - at : step;

    return ws_message_unmask(m, step == UNMASKED_BEFORE ? &plain : f, payload + at, n, at);
}

static void add(struct outcome *o, const uint8_t *payload, size_t len)
{
    for (size_t i = 0; i < len; i++)
        o->sum = o->sum * 31 + payload[i];
}

/* A message that lies whole in one frame. */
static int whole_message(struct outcome *o, const struct ws_frame *f, uint8_t *payload, size_t len)
{
    int result = ws_message_whole(f, payload, MAX);

    if (result < 0)
        return result;
    add(o, payload, len);
    o->bytes += len;
    o->messages++;
    return 0;
}

/* The payload that there is, in pieces of `step`. */
static int data_frame(struct ws_message *m, struct outcome *o, const struct ws_frame *f,
                      uint8_t *payload, size_t len, size_t step)
{
    bool alone = f->fin && f->opcode != WS_OP_CONTINUATION && m->state == MESSAGE_NONE;
    int result;

    if (step == SIZE_MAX && alone && len == f->len)
        return whole_message(o, f, payload, len);
    result = ws_message_admit(m, f, MAX);
    if (result == 0 && m->len > MAX)
        abort();
    if (step == UNMASKED_BEFORE)
        ws_frame_unmask(payload, len, f->mask, 0);
    for (size_t at = 0; at < len && result == 0; at = len - at > step ? at + step : len)
        result = piece(m, f, payload, at, len, step);
    if (result != 0)
        return result;
    if (len == f->len && (result = ws_message_frame_end(m, f)) < 0)
        return result;
    add(o, payload, len);
    if (result > 0 && (m->len != 0 || m->state != MESSAGE_NONE))
        abort();
    o->bytes += len == f->len ? len : 0;
    o->messages += result > 0;
    return 0;
}

static struct outcome run(const uint8_t *data, size_t size, size_t step)
{
    struct ws_message m = {0};
    struct outcome o = {0};
    struct ws_frame f;
    int header;

    while (o.error == 0 && (header = ws_frame_decode(&f, data, size, 0)) > 0) {
        size_t len = size - (size_t)header;
        uint8_t *payload;

        len = f.len < len ? (size_t)f.len : len;
        payload = exact_copy(data + header, len);
        if (!ws_opcode_is_control(f.opcode)) {
            o.error = data_frame(&m, &o, &f, payload, len, step);
        } else if (f.opcode == WS_OP_CLOSE && len == f.len) {
            ws_frame_unmask(payload, len, f.mask, 0);
            o.error = close_frame(&o, payload, len);
        }
        free(payload);
        data += (size_t)header + len;
        size -= (size_t)header + len;
    }
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome bytes = run(data, size, UNMASKED_BEFORE);
    const struct outcome others[] = {run(data, size, SIZE_MAX),
                                     run(data, size, 2 + (size == 0 ? 0 : data[size / 2] % 200u))};

    for (size_t i = 0; i < 2; i++)
        if (others[i].error != bytes.error || others[i].messages != bytes.messages ||
            others[i].closes != bytes.closes || others[i].bytes != bytes.bytes ||
            others[i].sum != bytes.sum)
            abort();
    return 0;
}
