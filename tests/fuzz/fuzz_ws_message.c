/* SPDX-License-Identifier: MIT
 *
 * ws_message.c, fed a stream of frames as a connection would: what comes of it is the same whether the
 * payloads come whole or byte by byte, and no message is longer than the limit. */
#include <stdlib.h>
#include <string.h>

#include "../../ws_message.h"
#include "../exact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX = 300 };

struct outcome {
    int error;
    unsigned messages, closes;
    size_t bytes;
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

/* The payload that there is, in pieces of `step`. */
static int data_frame(struct ws_message *m, struct outcome *o, const struct ws_frame *f,
                      const uint8_t *payload, size_t len, size_t step)
{
    int result = ws_message_admit(m, f, MAX);

    if (result == 0 && m->len > MAX)
        abort();
    for (size_t at = 0; at < len && result == 0; at += step)
        result = ws_message_payload(m, payload + at, len - at < step ? len - at : step);
    if (result != 0 || len < f->len)
        return result;
    o->bytes += len;
    result = ws_message_frame_end(m, f);
    if (result > 0 && (m->len != 0 || m->state != MESSAGE_NONE))
        abort();
    o->messages += result > 0;
    return result < 0 ? result : 0;
}

static struct outcome run(const uint8_t *data, size_t size, size_t step)
{
    struct ws_message m = {0};
    struct outcome o = {0};
    struct ws_frame f;
    int header;

    while (o.error == 0 && (header = ws_frame_decode(&f, data, size)) > 0) {
        size_t len = size - (size_t)header;
        uint8_t *payload;

        len = f.len < len ? (size_t)f.len : len;
        payload = exact_copy(data + header, len);
        ws_frame_unmask(payload, len, f.mask, 0);
        if (!ws_opcode_is_control(f.opcode))
            o.error = data_frame(&m, &o, &f, payload, len, step);
        else if (f.opcode == WS_OP_CLOSE && len == f.len)
            o.error = close_frame(&o, payload, len);
        free(payload);
        data += (size_t)header + len;
        size -= (size_t)header + len;
    }
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole = run(data, size, SIZE_MAX), bytes = run(data, size, 1);

    if (whole.error != bytes.error || whole.messages != bytes.messages ||
        whole.closes != bytes.closes || whole.bytes != bytes.bytes)
        abort();
    return 0;
}
